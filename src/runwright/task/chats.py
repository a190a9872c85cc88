"""Chats in the rows of a data set: lists of messages, or prompts and responses in columns of their own."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from runwright.errors import ConfigError, DataError, listed

Message = dict[str, str]  # role and content
Form = Mapping[str, str]  # what a column holds (for messages also a key): its name

ANSWER = "assistant"
CHAT = {"messages", "role", "content"}
PAIR = {"prompt", "response"}


def check_forms(forms: Mapping[str, Form]) -> None:
    """Raise ConfigError for a form that is neither of messages nor of pairs."""
    for name, form in forms.items():
        if {*form} != CHAT and not PAIR <= {*form} <= PAIR | {"input", "system"}:
            expected = (
                "messages, role and content; or prompt, response, and where there are such input, system"
            )
            raise ConfigError(f"task.forms.{name}: given the keys {listed(form)}, expected {expected}")


def form_of(forms: Mapping[str, Form], names: Collection[str]) -> Form | None:
    """The first form whose columns are there; without responses the first whose prompts are."""
    for needed in ({"messages", "prompt", "response"}, {"messages", "prompt"}):
        for form in forms.values():
            if all(form[key] in names for key in needed & form.keys()):
                return form
    return None


def chat_of(
    row: Mapping[str, Any], form: Form, *, roles: Mapping[str, str], system: str | None
) -> list[Message]:
    """The messages of one row, by its columns; `system` begins those that begin otherwise.

    Without a response the last one is to be answered. Raises DataError for what is no chat, and for a message
    without text.
    """
    if "messages" in form:
        chat = _messages(row[form["messages"]], form, roles)
    else:
        chat = _messages(row[form["prompt"]], form, roles)
        more = row.get(form.get("input", ""))
        if more is not None and str(more).strip():
            chat[-1]["content"] += f"\n\n{more}"
        if form["response"] in row:
            chat += _messages(row[form["response"]], form, roles, role=ANSWER)
        first = row.get(form.get("system", ""))
        system = str(first) if first is not None and str(first).strip() else system
    for message in chat:
        if not message["content"].strip():
            noun = "answer" if message["role"] == ANSWER else "prompt"
            raise DataError(f"the {noun} is empty (a message of {message['role']}); drop such rows")
    if not chat or chat[0]["role"] == ANSWER:
        raise DataError("there is no prompt before the first answer; drop such rows")
    return [{"role": "system", "content": system}, *chat] if system and chat[0]["role"] != "system" else chat


def _messages(value: Any, form: Form, roles: Mapping[str, str], *, role: str = "user") -> list[Message]:
    """A text as a message of that role; a list of messages, which may be written as JSON, as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[{", "[ {")):
        with suppress(ValueError):  # a text that begins so
            value = json.loads(value)
    if value is None or isinstance(value, str):
        return [{"role": role, "content": value or ""}]
    role_key, content_key = form.get("role", "role"), form.get("content", "content")
    chat: list[Message] = []
    for message in value if isinstance(value, Sequence) else [value]:
        if not isinstance(message, Mapping) or role_key not in message or content_key not in message:
            expected = f"messages with {role_key!r} and {content_key!r} (task.forms names them)"
            raise DataError(f"given {message!r:.60}, expected {expected}")
        name, content = message[role_key], message[content_key]
        if not isinstance(content, str | None):
            raise DataError(f"{content_key!r} is {content!r:.60}, expected a text")
        chat.append({"role": roles.get(str(name), str(name)), "content": content or ""})
    return chat


def without_oldest(chat: Sequence[Message]) -> list[Message] | None:
    """The chat without its oldest prompt and the answers to it; None where there is no other prompt."""
    start = int(chat[0]["role"] == "system")
    answers = [index for index, message in enumerate(chat) if message["role"] == ANSWER]
    rest = next(
        (i for i in range(start + 1, len(chat)) if i - 1 in answers and chat[i]["role"] != ANSWER), len(chat)
    )
    return None if rest == len(chat) else [*chat[:start], *chat[rest:]]

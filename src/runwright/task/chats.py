"""Chats in the rows of a data set: lists of messages, or prompts and responses in columns of their own."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from jinja2 import TemplateError

from runwright.errors import ConfigError, DataError, listed
from runwright.store import local_path

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
    """The first form whose columns are all there; else without the input, then without the response."""
    for lacking in (set(), {"input"}, {"response"}, {"input", "response"}):
        for form in forms.values():
            needed = {"messages", "prompt", "input", "response"} - lacking
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
        if chat and more is not None and str(more).strip():
            chat[-1]["content"] += f"\n\n{more}"
        if form["response"] in row:
            answer = _messages(row[form["response"]], form, roles, role=ANSWER)
            chat += answer or [{"role": ANSWER, "content": ""}]
        system = row.get(form.get("system", "")) or system
    if system and chat and chat[0]["role"] != "system":
        chat = [{"role": "system", "content": system}, *chat]
    chat = [message for message in chat if message["role"] != "system" or message["content"].strip()]
    for message in chat:
        if not message["content"].strip():
            noun, key = ("answer", "response") if message["role"] == ANSWER else ("prompt", "prompt")
            problem = f"the {noun} is empty (a message of {message['role']}); drop such rows"
            raise DataError(problem, column=form.get(key))
    if next((message["role"] for message in chat if message["role"] != "system"), ANSWER) == ANSWER:
        raise DataError("there is no prompt before the first answer; drop such rows")
    return chat


def texts_of(value: Any) -> list[str]:
    """The texts of a list that holds nothing else, as several good answers; of other values none."""
    is_list = isinstance(value, list) and all(isinstance(text, str) for text in value)
    return [text for text in value if text.strip()] if is_list else []


def is_answered(chat: Sequence[Message]) -> bool:
    return chat[-1]["role"] == ANSWER


def _messages(value: Any, form: Form, roles: Mapping[str, str], *, role: str = "user") -> list[Message]:
    """A text (of several the first) as a message of that role; a list of messages, also as JSON, as it is."""
    value = next(iter(texts_of(value)), value)
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


@contextmanager
def naming_the_template() -> Iterator[None]:
    """Turn what a template raises while it renders a chat into a DataError."""
    try:
        yield
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        reason = str(error).strip() or type(error).__name__
        raise DataError(f"the chat template fails: {reason.splitlines()[0]}") from error


def read_template(option: str | None) -> str | None:
    """The text of a chat template: the option itself, or what the file that it names holds."""
    if option is None or "{{" in option or "{%" in option:
        return option
    try:
        return local_path(option).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"task.chat_template: cannot read {option!r}: {reason}") from error


def without_oldest(chat: Sequence[Message]) -> list[Message] | None:
    """The chat without its oldest prompt and the answers to it; None where there is no other prompt."""
    start = int(chat[0]["role"] == "system")
    is_answer = [message["role"] == ANSWER for message in chat]
    rest = next((i for i in range(start + 1, len(chat)) if is_answer[i - 1] and not is_answer[i]), 0)
    return [*chat[:start], *chat[rest:]] if rest else None


def answer_spans(chat: Sequence[Message], text: str, tokenizer: Any) -> list[tuple[int, int]]:
    """First character of each answer in the rendered chat, and one past its end token.

    Raises DataError for a template that renders the beginning of a chat otherwise where it goes on.
    """
    render, spans = tokenizer.apply_chat_template, []
    for turn in [number for number, message in enumerate(chat) if message["role"] == ANSWER]:
        before = render(chat[:turn], tokenize=False, add_generation_prompt=True)
        after = render(chat[: turn + 1], tokenize=False)
        if not (text.startswith(after) and after.startswith(before)):
            raise DataError(
                f"the chat template renders turn {turn + 1} otherwise where it ends or others follow; "
                "mark the answers in it with {% generation %} and {% endgeneration %}"
            )
        end = after.rfind(tokenizer.eos_token, len(before)) + len(tokenizer.eos_token)
        spans.append((len(before), len(after) if after[end:].strip() else end))
    return spans

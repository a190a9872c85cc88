"""Answers to instructions: pairs of a prompt and a response, or chats, written by a chat template."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Literal

import torch
from datasets import Dataset
from jinja2 import TemplateError
from torch import Tensor

from runwright.dataset.cleaning.passes import lines_of_file
from runwright.dataset.readers.raw import left_out_of
from runwright.errors import ConfigError, DataError, first_line, listed
from runwright.task.generating import GeneratingTask
from runwright.task.text import IGNORED, RowNotes, add_note, as_texts, notes_of
from runwright.types import Batch, Example, PositiveInt, Splits

Message = dict[str, str]  # role and content
Form = Mapping[str, str]  # what a column holds (for messages also a key): its name

ANSWER = "assistant"
CHAT = {"messages", "role", "content"}
PAIR = {"prompt", "response"}
MARKS_ANSWERS = re.compile(r"\{%-?\s*generation\s*-?%\}")


class InstructionTuning(GeneratingTask):
    """Trains on every answer of a chat and on nothing else; the last one is written to evaluate.

    Answers are what the template puts into `{% generation %}`. One without that is rendered up to each answer
    and with it: what is added is the answer, up to the end token.
    """

    auto_class = "AutoModelForCausalLM"
    needs_token = ("eos",)
    token_fields: ClassVar = {"labels": IGNORED}
    learned: ClassVar = ("form", "template")

    def __init__(
        self,
        tokenizer: Any,
        *,
        forms: dict[str, dict[str, str]],
        roles: dict[str, str],
        system: str | None,
        chat_template: str | None,
        max_length: PositiveInt,
        too_long: Literal["refuse", "drop"],
    ) -> None:
        super().__init__(tokenizer, text_columns=(), max_length=max_length)
        for name, form in forms.items():
            if {*form} != CHAT and not PAIR <= {*form} <= PAIR | {"input", "system"}:
                pair = "prompt, response, and where there are such input, system"
                expected = f"expected messages, role and content; or {pair}"
                raise ConfigError(f"task.forms.{name}: given the keys {listed(form)}, {expected}")
        self.forms, self.roles, self.system = forms, roles, system
        self.opening: list[Message] = [{"role": "system", "content": system}] if system else []
        self.form: Form = {}  # of the first split
        self.template_option = chat_template
        self.template: str | None = None  # its text
        self.too_long = too_long

    def fit(self, splits: Splits) -> None:
        """Read every chat and the template; raises DataError naming split, row and column."""
        split, first = next(iter(splits.items()))
        left_out = left_out_of(first)
        self.form = dict(self._form([*first.column_names, *left_out]))
        for column in left_out.keys() & {*self.form.values()}:
            raise left_out[column]
        if (answers := self.form.get("response", "")) not in ("", *first.column_names):
            raise DataError("no answers to learn from", split=split, column=answers)
        option = self.template_option
        if option is not None and "{{" not in option and "{%" not in option:  # a file that holds it
            option = "\n".join(lines_of_file(option, "the chat template"))
        self.template = option or self.tokenizer.chat_template
        if not self.template:
            hint = "give a file with one, or its text (docs/language-models.md has one)"
            raise ConfigError(f"task.chat_template: the tokenizer has none; {hint}")
        self.use_learned()
        notes: dict[str, RowNotes] = {split: {} for split in splits}
        for split, rows in splits.items():
            self._chats(rows, split=split, notes=notes[split])
        self.notes = notes_of(notes, splits)

    def use_learned(self) -> None:
        keys = ("messages", "prompt", "input")
        self.text_columns = tuple(self.form[key] for key in keys if key in self.form)
        others = ("input", "system", "response")
        self.label_columns = tuple(self.form[key] for key in others if key in self.form)
        self.optional_columns = tuple(self.form[key] for key in others[:2] if key in self.form)
        self.tokenizer.chat_template = self.template  # saved with it

    def _form(self, names: Collection[str]) -> Form:
        """The first form whose columns are all there; else without the input, then without the response."""
        for lacking in (set(), {"input"}, {"response"}, {"input", "response"}):
            for form in self.forms.values():
                needed = {"messages", "prompt", "input", "response"} - lacking
                if all(form[key] in names for key in needed & form.keys()):
                    return form
        wanted = "; ".join(f"{name}: {listed(form.values())}" for name, form in self.forms.items())
        present = listed(name for name in names if name != "row_id")
        raise DataError(f"columns are {present}, expected those of one of task.forms ({wanted})")

    def columns_in(self, names: Collection[str]) -> tuple[str, ...]:
        form = self._form(names)
        return (form["messages" if "messages" in form else "prompt"],)

    def texts_in(self, names: Collection[str]) -> tuple[str, ...]:
        form = self._form(names)
        keys = ("messages", "system", "prompt", "input", "response")
        return tuple(form[key] for key in keys if key in form and form[key] in names)

    def _chats(
        self, rows: Any, *, split: str | None = None, notes: RowNotes | None = None, to_answer: bool = False
    ) -> list[list[Message]]:
        """The messages of each row up to the last answer, or to the prompt before it."""
        names = getattr(rows, "column_names", rows)
        form = self._form(names)
        used = self.texts_in(names)
        has_answers = "messages" in form or form["response"] in names
        chats: list[list[Message]] = []
        for row, values in enumerate(zip(*(rows[name][:] for name in used), strict=True)):
            columns = dict(zip(used, values, strict=True))
            try:
                chat = chat_of(columns, form, roles=self.roles, system=self.system)
            except DataError as error:
                column = error.column or used[0]
                raise DataError(error.problem, split=split, row=row, column=column) from error
            while to_answer and is_answered(chat):
                chat.pop()
            end = max((i + 1 for i, message in enumerate(chat) if message["role"] == ANSWER), default=0)
            if has_answers and not end and not to_answer:
                problem = f"a chat without a turn of {ANSWER!r} (task.roles gives other names of it)"
                raise DataError(problem, split=split, row=row, column=used[0])
            add_note(notes, "turns after the last answer are left out", row, when=0 < end < len(chat))
            chats.append(chat[:end] if end and not to_answer else chat)
        return chats

    def inputs_of(self, rows: Dataset, *, split: str) -> Dataset:
        """`row_id` and `messages`, each chat as JSON."""
        chats = [json.dumps(chat) for chat in self._chats(rows, split=split)]
        return rows.select_columns(["row_id"]).add_column("messages", chats)  # pyright: ignore

    def references(self, rows: Any) -> list[list[str]] | None:
        """The last answer of each row, or all of those that its response lists."""
        chats = self._chats(rows)
        if not all(map(is_answered, chats)):
            return None
        column = self._form(getattr(rows, "column_names", rows)).get("response")
        values = rows[column][:] if column else [None] * len(chats)
        return [texts_of(value) or [chat[-1]["content"]] for value, chat in zip(values, chats, strict=True)]

    def prompt_texts(self, rows: Any) -> list[str]:
        """The turns before the last answer of each row, to be shown beside it."""
        return ["\n".join(turn["content"] for turn in chat) for chat in self._chats(rows, to_answer=True)]

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each chat, with the target token of each position as `labels` where it has answers.

        `prompt_length` is the number of tokens before the last answer.
        """
        examples: list[Example] = []
        for row, text in enumerate(columns["messages"]):
            try:
                with naming_the_template():
                    example = self._example(json.loads(text))
            except DataError as error:
                raise DataError(error.problem, row=row) from error
            if example:
                examples.append({"example_id": columns["row_id"][row], **example})
        return examples

    def encode_records(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Examples of records to predict: what stands before the last answer, where they have one."""
        chats = [json.dumps(chat) for chat in self._chats(columns, to_answer=True)]
        return self.encode({"row_id": columns["row_id"], "messages": chats})

    def _example(self, chat: list[Message]) -> Example | None:
        """An example without its id; None for a chat that is too long, where such rows are left out."""
        ids, answers = self._tokens(chat)
        if len(ids) > self.max_length:
            if self.too_long == "drop" and is_answered(chat):
                return None
            problem = f"{len(ids)} tokens, but task.max_length={self.max_length} and an answer is never cut"
            raise DataError(f"{problem}; raise it, shorten the prompt, or set task.too_long=drop")
        example: Example = {"input_ids": ids, "full_length": len(ids), "prompt_length": len(ids)}
        if not is_answered(chat):
            return example
        start = max((i for i in range(1, len(ids)) if answers[i] and not answers[i - 1]), default=0)
        if not start:
            raise DataError("the chat template gives no tokens of an answer behind a prompt")
        targets = [token if is_one else IGNORED for token, is_one in zip(ids, answers, strict=True)]
        return example | {"labels": [*targets[1:], IGNORED], "prompt_length": start}

    def _tokens(self, chat: list[Message]) -> tuple[list[int], list[int]]:
        """The tokens of a chat, and a 1 for each that belongs to an answer."""
        render, answered = self.tokenizer.apply_chat_template, is_answered(chat)
        if answered and MARKS_ANSWERS.search(self.tokenizer.chat_template):
            marked = render(chat, return_dict=True, return_assistant_tokens_mask=True)
            return marked["input_ids"], marked["assistant_masks"]
        text = render(chat, tokenize=False, add_generation_prompt=not answered)
        options = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
        encoded = self.tokenizer(text, **options)
        spans = answer_spans(chat, text, self.tokenizer) if answered else []
        inside = [any(a < end and b > start for start, end in spans) for a, b in encoded["offset_mapping"]]
        return encoded["input_ids"], [*map(int, inside)]

    def example_notes(self, examples: Any, *, split: str, num_rows: int) -> list[str]:
        """Sentences on rows that were too long, and on a template whose answers do not end."""
        notes = []
        if dropped := num_rows - len(examples):
            what = f"of {num_rows:,} rows are longer than task.max_length={self.max_length}"
            notes.append(f"{split}: {dropped:,} {what} and left out (task.too_long=drop)")
        labels = examples.fetch([0])[0].get("labels", [self.tokenizer.eos_token_id])
        last = [label for label in labels if label != IGNORED][-1]
        if last != self.tokenizer.eos_token_id:
            ends = f"end with {self.tokenizer.decode([last])!r}, not with {self.tokenizer.eos_token!r}"
            notes.append(f"{split}: answers {ends}: generation.stop_strings has to end them")
        return notes

    def collate(self, examples: Sequence[Example]) -> Batch:
        """With `labels` [B, L] where there are answers, and `prompt_lengths` [B]."""
        lengths = torch.tensor([example["prompt_length"] for example in examples])
        return super().collate(examples) | {"prompt_lengths": lengths}

    def prompts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The tokens before the last answers, [B, L], and the mask that leaves out the rest."""
        mask = batch["attention_mask"]
        return batch["input_ids"], mask * (mask.cumsum(dim=1) <= batch["prompt_lengths"][:, None])


def chat_of(
    row: Mapping[str, Any], form: Form, *, roles: Mapping[str, str], system: str | None
) -> list[Message]:
    """The messages of one row, by its columns; `system` begins those that begin otherwise.

    Without a response the last one is to be answered. Raises DataError for no chat, or an empty message.
    """
    is_pair = "messages" not in form
    chat = _messages(row[form["prompt" if is_pair else "messages"]], form, roles)
    if is_pair:
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
    role_key, content_key = form.get("role", "role"), form.get("content", "content")
    if isinstance(value, str) and value.lstrip().startswith(("[{", "[ {")):
        with suppress(ValueError):  # a text that begins so
            read = json.loads(value)
            value = read if "messages" in form or {role_key, content_key} <= {*read[0]} else value
    if not isinstance(value, list | dict):
        return [{"role": role, "content": as_texts([value])[0]}]
    chat: list[Message] = []
    for message in value if isinstance(value, list) else [value]:
        if not isinstance(message, Mapping) or role_key not in message or content_key not in message:
            expected = f"messages with {role_key!r} and {content_key!r} (task.forms names them)"
            raise DataError(f"given {message!r:.60}, expected {expected}")
        name, (content,) = str(message[role_key]), as_texts([message[content_key]])
        chat.append({"role": roles.get(name, name), "content": content})
    return chat


@contextmanager
def naming_the_template() -> Iterator[None]:
    """Turn what a template raises while it renders a chat into a DataError."""
    try:
        yield
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise DataError(f"the chat template fails: {first_line(error)}") from error


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
        _, end, rest = after[len(before) :].rpartition(tokenizer.eos_token)
        spans.append((len(before), len(after) - len(rest) if end and not rest.strip() else len(after)))
    return spans

"""Texts of a generating run on a terminal: one prompt, token by token, or a conversation."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from typing import Any, TextIO

import torch

from runwright.errors import ConfigError, DataError
from runwright.inference.load import FinishedRun, record_columns
from runwright.inference.records import texts_of
from runwright.task.instruction_tuning import naming_the_template
from runwright.trainer.step import to_device
from runwright.types import Example


class Writer:
    """Writes a text while it is generated: as much as what follows can no longer change."""

    def __init__(self, task: Any, write: Callable[[str], object]) -> None:
        self.task = task
        self.write = write
        self.ids: list[int] = []
        self.written = ""

    def on_tokens(self, ids: Sequence[int]) -> None:
        """Write what the next tokens add to the text."""
        self.ids += ids
        text = self.task.text_of(self.ids).rstrip("\ufffd")  # half of a character
        stops = self.task.strategy.stop_strings
        starts = (stop[:size] for stop in stops for size in range(1, len(stop)))
        self.write_to(text[: len(text) - max((len(s) for s in starts if text.endswith(s)), default=0)])

    def write_to(self, text: str) -> bool:
        """Write what is new of the text so far; False where something else was written."""
        if goes_on := text.startswith(self.written):
            self.write(text[len(self.written) :])
            self.written = text
        return goes_on


def writes_one_text(run: FinishedRun) -> bool:
    """Return True if a run generates texts, one for each prompt."""
    strategy = run.config.get("generation") if run.task.generates else None
    return bool(strategy) and strategy.get("num_return_sequences", 1) == 1


def encoded(run: FinishedRun, record: Mapping[str, Any]) -> list[Example]:
    """The example of one record."""
    texts = run.cleaned(texts_of(record, run.columns, row=0))
    return run.task.encode_records(record_columns(run.task, [texts]))


@torch.inference_mode()
def stream_text(run: FinishedRun, examples: Sequence[Example], write: Callable[[str], object]) -> str:
    """The text for one example, of which `write` gets what cannot change any more as it is generated."""
    batch, writer = to_device(run.task.collate(examples), run.ranks.device), Writer(run.task, write)
    with run.ranks.autocast():
        ids = run.task.generate(run.model, batch, on_tokens=writer.on_tokens)
    text = run.task.text_of(ids.values[:-1].tolist())
    if not writer.write_to(text):
        write(f"\n{text}")
    return text


def print_text(run: FinishedRun, examples: Sequence[Example], stream: TextIO) -> str:
    """The text for one example, printed as it is generated."""
    text = stream_text(run, examples, partial(print, end="", file=stream, flush=True))
    print(file=stream, flush=True)
    return text


def chat(run: FinishedRun, lines: TextIO, stream: TextIO) -> int:
    """A conversation that keeps its history, one line a turn, until the input ends; the number of answers.

    It begins anew after what cannot be answered, such as more than the model has room for.
    """
    if not run.task.generates:
        raise ConfigError("--chat: the task of this run generates no texts")
    if not writes_one_text(run):
        raise ConfigError("--chat: it goes on with one answer; add --set num_return_sequences=1")
    if getattr(run.tokenizer, "chat_template", None) is None:
        hint = "train one with task=instruction_tuning, or give a prompt as an argument"
        raise ConfigError(f"--chat: the tokenizer of this run has no chat template; {hint}")
    if isinstance(lines, TextIOWrapper):
        lines.reconfigure(errors="replace")
    room = getattr(run.model.config, "max_position_embeddings", None) or run.task.max_length
    messages: list[dict[str, str]] = []
    answers = 0
    while True:
        if lines.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        if not (line := lines.readline()):
            return answers
        if not line.strip():
            continue
        messages.append({"role": "user", "content": line.strip()})
        try:
            talk = [*getattr(run.task, "opening", ()), *messages]
            with naming_the_template():
                prompt = run.tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)
            ids = prompt["input_ids"]
            if len(ids) + run.task.strategy.max_new_tokens > room:
                problem = f"the talk has {len(ids)} tokens, and the model room for {room} with the answer"
                raise DataError(f"{problem}; shorten it, or --set max_new_tokens=N")
            example = {"example_id": answers, "input_ids": ids, "prompt_length": len(ids)}
            text = print_text(run, [example], stream)
        except DataError as error:
            print(f"not answered: {error}; the talk begins anew", file=sys.stderr)
            messages.clear()
            continue
        messages.append({"role": "assistant", "content": text})
        answers += 1

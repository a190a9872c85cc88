"""The first batch of a training as the model gets it: tokens with masks, types and labels below them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from rich.cells import cell_len, set_cell_size

from runwright import build
from runwright.store import cache_root
from runwright.task.base import MODEL_INPUTS
from runwright.task.text import IGNORED
from runwright.trainer.ranks import ALONE
from runwright.types import Batch

WIDTH = 110  # characters of a line


def first_batch(config: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the batch of step 1: its shapes, then the longest and the shortest sequence of a microbatch.

    Reads and encodes the data as a training does, through the same cache.
    """
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    step = next(iter(build.build_batches(config, prepared, ranks=ALONE).iterate(0, 1)))
    batch, count = step.microbatches[0].batch, step.num_microbatches
    counted = "one microbatch" if count == 1 else f"{count} microbatches"
    yield (
        f"batch: step 1 has {step.num_examples} examples in {counted}, "
        f"{step.real_tokens:,} tokens, {step.padded_tokens:,} with padding"
    )
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in batch.items())
    yield f"batch: the microbatch of the longest: {shapes}"
    for row in sorted({0, len(batch["input_ids"]) - 1}):
        yield from _sequence(batch, row, prepared.task)


def _sequence(batch: Batch, row: int, task: Any) -> Iterator[str]:
    """One row of `input_ids` with every field that has a number for each token, then the other fields."""
    ids, name_tokens = batch["input_ids"], task.tokenizer.convert_ids_to_tokens
    example = row * len(batch["example_ids"]) // len(ids)  # which may have several texts
    yield f"example {int(batch['example_ids'][example])}"
    tokens = name_tokens(ids[row].tolist())
    lines, below = {"tokens": tokens}, [*MODEL_INPUTS[1:], *task.token_fields]
    for name in [name for name in below if name in batch]:
        values = batch[name][row].tolist()
        if name == "labels":  # of each token: the class, or the token that is to be predicted
            names = task.label_names or name_tokens([max(value, 0) for value in values])
            values = [
                value if value < 0 else names[value if task.label_names else position]
                for position, value in enumerate(values)
            ]
        lines[name] = values
    yield from _aligned(lines)
    for name in [name for name in batch if name not in ("input_ids", "example_ids", *below)]:
        values = batch[name][example].tolist()
        if name == "labels" and task.problem == "texts":
            yield from _aligned({name: [value if value < 0 else name_tokens(value) for value in values]})
            continue
        yield f"  {name}: {_label(values, tokens, task) if name == 'labels' else values}"


def _label(value: Any, tokens: Sequence[str], task: Any) -> str:
    """A class by its name, a set of classes, a number, or the span of an answer."""
    if task.problem == "answers":
        first, last = value
        return "not in this window" if first == IGNORED else f"{first} to {last}: {tokens[first : last + 1]}"
    if isinstance(value, list):
        return str([name for name, is_one in zip(task.label_names, value, strict=True) if is_one])
    return f"{value} ({task.label_names[value]})" if task.label_names and value >= 0 else str(value)


def _aligned(lines: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Values below each other, in as many blocks of lines as the width needs."""
    cells = {name: list(map(str, values)) for name, values in lines.items()}
    widths = [max(map(cell_len, column)) + 1 for column in zip(*cells.values(), strict=True)]
    margin = max(map(len, cells)) + 4
    ends = list(accumulate(widths))
    start = 0
    while start < len(widths):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, sum(end - before <= WIDTH - margin for end in ends))
        for name, values in cells.items():
            row = "".join(set_cell_size(values[i], widths[i]) for i in range(start, stop))
            yield f"  {name:<{margin - 2}}{row}".rstrip()
        start = stop

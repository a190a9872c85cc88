"""A model as `runwright show model` counts it, layer by layer, and the first batch as a training gives it."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import torch
from rich.cells import cell_len, set_cell_size

from runwright import build
from runwright.config.permissions import code_allowed
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError, listed
from runwright.model.parameters import max_positions, parameter_counts, parameter_depths
from runwright.model.pretrained import loading
from runwright.report.terminal import print_table, result_console, table_of
from runwright.runs.folder import LATEST, resolve_run
from runwright.store import cache_root
from runwright.task.base import MODEL_INPUTS
from runwright.task.text import IGNORED, MAX_WINDOWS
from runwright.tokenizer.pretrained import in_safetensors
from runwright.trainer.ranks import ALONE
from runwright.types import Batch


def model_of(config: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The model that a training of this configuration would begin with, and notes on its weights."""
    data = build.load_data(config)
    tokenizer = build.build_tokenizer(config, data)
    task = build.build_task(config, tokenizer)
    build.fit_task(task, data, config)
    prepared = build.Prepared(data=data, tokenizer=tokenizer, task=task, looks={}, examples={})
    messages, log = BufferingHandler(10_000), logging.getLogger("runwright.model")
    level = log.level
    log.addHandler(messages)
    log.setLevel(logging.INFO)
    try:
        model = build.build_model(config, prepared, device=torch.device("cpu"))
    finally:
        log.removeHandler(messages)
        log.setLevel(level)
    notes = [record.getMessage() for record in messages.buffer]
    return model, [note for note in notes if not note.endswith(parameter_counts(model))]


def saved_model(name: str) -> tuple[Any, list[str]]:
    """The model in a folder, on a hub, in a package, or the best one of a run, and notes on its weights.

    It has the class that its configuration names, and no weights: the notes say which of them its files lack
    or have beside it. Raises ConfigError where there is no configuration to read.
    """
    import transformers

    notes: list[str] = []
    try:
        name = str(resolve_run(name, needs_model=True) / "best")
    except ConfigError:
        if name.partition(":")[0] == LATEST:
            raise
    source = in_safetensors(resolve_source(name))
    with loading(name):
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=code_allowed())
        names = [text for text in config.architectures or () if hasattr(transformers, text)]
        model_class: Any = getattr(transformers, names[0]) if names else transformers.AutoModel
        if any(Path(source).glob("*.safetensors")):
            options: Any = {"config": config, "output_loading_info": True, "use_safetensors": True}
            model, loaded = model_class.from_pretrained(source, device_map="meta", **options)
            for text, key in (("lack", "missing_keys"), ("have besides", "unexpected_keys")):
                if loaded[key]:
                    notes.append(f"the files {text}: {listed(sorted(loaded[key]))}")
        else:
            with torch.device("meta"):
                model = getattr(model_class, "_from_config" if names else "from_config")(config)
            notes.append("there are no weights here; counted by config.json")
    return model, notes


def show(model: Any, notes: Sequence[str]) -> None:
    """Print counts of a model and of each of its parts; equal layers that follow each other are one line."""
    console, (depths, num_layers) = result_console(), parameter_depths(model)
    parts: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():  # tied weights once
        group = f"layer {depths[name]}" if 1 <= depths[name] <= num_layers else name.rpartition(".")[0]
        parts.setdefault(group, []).append(parameter)
    counts = {
        part: (sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))
        for part, parameters in parts.items()
    }
    total, trainable = map(sum, zip(*counts.values(), strict=True))
    positions = max_positions(model)
    limit = "any number of" if positions is None else f"{positions:,}"
    share = f"{parameter_counts(model)} ({trainable / max(total, 1):.1%})"
    console.print(f"{type(model).__name__}: {share}, {num_layers} layers, {limit} positions")
    headings, rows = ("part", "parameters", "trainable", "shapes"), []
    for _, alike in groupby(parts, key=lambda part: (re.sub(r"^layer \d+$", "layer", part), counts[part])):
        first, *others = alike
        name = f"{first} to {others[-1].removeprefix('layer ')}, each" if others else first
        shapes = [] if first.startswith("layer ") else [parameter.shape for parameter in parts[first]]
        written = ", ".join(" × ".join(map(str, shape)) for shape in shapes)
        rows.append([name, *(f"{count:,}" for count in counts[first]), written])
    print_table(table_of(headings, rows, right=headings[1:3]), console=console, above=1, below=bool(notes))
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)


WIDTH = 110  # characters of a line


def first_batch(config: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the batch of step 1: its shapes, the longest and the shortest sequence of a microbatch."""
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    step = next(iter(build.build_batches(config, prepared, ranks=ALONE).iterate(0, 1)))
    batch, count = step.microbatches[0].batch, len(step.sizes)
    counted = "one microbatch" if count == 1 else f"{count} microbatches"
    tokens = f"{step.real_tokens:,} tokens, {step.padded_tokens:,} with padding"
    yield f"batch: step 1 has {step.num_examples} examples in {counted}, {tokens}"
    shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in batch.items())
    yield f"batch: the microbatch of the longest: {shapes}"
    for row in sorted({0, len(batch["input_ids"]) - 1}):
        yield from _sequence(batch, row, prepared.task)


def _sequence(batch: Batch, row: int, task: Any) -> Iterator[str]:
    """One row of `input_ids` with every field that has a number for each token, then the other fields."""
    ids, name_tokens = batch["input_ids"], task.tokenizer.convert_ids_to_tokens
    example = row * len(batch["example_ids"]) // len(ids)  # which may have several texts
    number = int(batch["example_ids"][example])
    yield f"row {number // MAX_WINDOWS}" if task.cuts_windows else f"example {number}"
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
        if name == "labels" and task.problem in ("texts", "target_tokens"):
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

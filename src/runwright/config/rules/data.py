"""What the keys of data sets say together: parts of a combination, filters, patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from runwright.config.options import TARGET
from runwright.config.rules.table import at_most_one, reads, signature_of
from runwright.errors import Mistake, did_you_mean, listed, shown

COMBINATIONS = ("runwright.dataset.combine.concat", "runwright.dataset.combine.mix")


@reads("dataset")
def _combinations_have_parts(dataset: Any) -> Iterator[Mistake]:
    for key, node in _nodes(dataset, "dataset"):
        if node[TARGET] not in COMBINATIONS:
            continue
        parts = node["parts"]
        named = list(parts.items()) if isinstance(parts, dict) else list(enumerate(parts))
        if not named:
            yield Mistake(
                key=f"{key}.parts",
                given="no parts",
                expected="at least one data set",
                hint=f"+dataset@{key}.parts.<name>=<option>",
            )
        for name, part in named:
            if not (isinstance(part, dict) and TARGET in part):
                given = "a mapping without _target_" if isinstance(part, dict) else shown(part)
                yield Mistake(key=f"{key}.parts.{name}", given=given, expected="the node of a data set")
        if node[TARGET] == COMBINATIONS[1]:
            yield from _mixture(node, key, [str(name) for name, _ in named], by_name=isinstance(parts, dict))


def _mixture(node: dict[str, Any], key: str, names: list[str], *, by_name: bool) -> Iterator[Mistake]:
    weights, temperature = node["weights"], node["temperature"]
    yield from at_most_one(key, {"weights": weights, "temperature": temperature})
    if weights is None and temperature is None:
        expected = "weights, or a temperature (1: in proportion to the sizes)"
        yield Mistake(key=f"{key}.weights", given="null, with temperature null too", expected=expected)
    elif isinstance(weights, dict) and by_name:
        for name in [name for name in weights if name not in names]:
            yield Mistake(
                key=f"{key}.weights.{name}",
                given="a weight for no part",
                expected=f"one of {listed(names)}",
                hint=did_you_mean(name, names),
            )
        for name in [name for name in names if name not in weights]:
            yield Mistake(key=f"{key}.weights.{name}", given="nothing", expected="the weight of this part")
    elif weights is not None and (isinstance(weights, dict) or by_name or len(weights) != len(names)):
        expected = f"a weight for each of {listed(names)}" if by_name else f"a list of {len(names)} numbers"
        yield Mistake(key=f"{key}.weights", given=shown(weights), expected=expected)


@reads("dataset")
def _nothing_is_held_out_of_a_mixture(dataset: Any) -> Iterator[Mistake]:
    for key, node in _nodes(dataset, "dataset"):
        source, holdout = node.get("source"), node.get("holdout")
        mixes = isinstance(source, dict) and source.get(TARGET) == COMBINATIONS[1]
        for split, share in (holdout or {}).items() if mixes else ():
            if share:
                yield Mistake(
                    key=f"{key}.holdout.{split}",
                    given=f"{shown(share)} of a mixture, which may hold a row twice",
                    expected="0",
                    hint="hold out within the parts",
                )


@reads("dataset")
def _parts_hold_out_something(dataset: Any) -> Iterator[Mistake]:
    """As for the data set itself, see task_checks."""
    for key, node in _nodes(dataset, "dataset"):
        holdout = node.get("holdout") if key != "dataset" else None
        for split, share in (holdout or {}).items():
            if share > 1 and share != int(share):
                expected = "a share from 0 to below 1, or a whole number of rows"
                yield Mistake(key=f"{key}.holdout.{split}", given=shown(share), expected=expected)
        shares = sum(share for share in (holdout or {}).values() if 0 < share < 1)
        if shares >= 1:
            given = f"shares that sum to {shares:g}"
            yield Mistake(key=f"{key}.holdout", given=given, expected="less than 1: something to train on")


@reads("dataset")
def _patterns_can_be_read(dataset: Any) -> Iterator[Mistake]:
    for key, node in _nodes(dataset, "dataset"):
        if isinstance(node.get("pattern"), str):
            try:
                re.compile(node["pattern"])
            except re.error as error:
                expected = f"a regular expression ({error})"
                yield Mistake(key=f"{key}.pattern", given=shown(node["pattern"]), expected=expected)


@reads("dataset")
def _ranges_are_not_empty(dataset: Any) -> Iterator[Mistake]:
    for key, node in _nodes(dataset, "dataset"):
        low, high = node.get("min"), node.get("max")
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            yield Mistake(key=f"{key}.max", given=shown(high), expected=f"at least min, which is {low}")


@reads("dataset")
def _splits_have_plain_names(dataset: Any) -> Iterator[Mistake]:
    """Files are named after splits."""
    for key, node in _nodes(dataset, "dataset"):
        for option in ("files", "splits", "holdout", "subset"):
            for split in node[option] if isinstance(node.get(option), dict) else ():
                if not re.fullmatch(r"\w[\w-]{0,60}", str(split)):
                    expected = "the name of a split: letters, digits, _ and -"
                    yield Mistake(key=f"{key}.{option}", given=shown(split), expected=expected)


@reads("trainer.best_split")
def _the_best_is_not_chosen_on_what_is_trained_or_tested_on(split: Any) -> Iterator[Mistake]:
    if split is not None and (split == "train" or split.startswith("test")):
        yield Mistake(
            key="trainer.best_split",
            given=shown(split),
            expected="a validation split, or null",
            hint="figures of a split that chose the model flatter it",
        )


def _nodes(value: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node in a data set's configuration, itself too, with its key."""
    if isinstance(value, dict):
        if TARGET in value:
            yield key, value
        for name, inner in value.items():
            yield from _nodes(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _nodes(inner, f"{key}.{place}")


STREAM = "dataset.streaming=true"


@reads("dataset.streaming", "dataset.source")
def _the_source_can_be_streamed(streaming: Any, source: Any) -> Iterator[Mistake]:
    signature = signature_of(source)
    if not streaming or signature is None or not signature.target.startswith("runwright.dataset."):
        return
    name = signature.target.rpartition(".")[2]
    if "streaming" not in signature.options:
        yield Mistake(
            key="dataset.streaming",
            given=f"true with {name}",
            expected="false: csv, json, parquet, text and hub can be read as a stream",
        )
    elif source.get("streaming") is not True:
        yield Mistake(
            key="dataset.source.streaming",
            given=f"{shown(source.get('streaming'))} with {STREAM}",
            expected="true: set dataset.streaming alone",
        )
    elif source.get("field") is not None:
        yield Mistake(
            key="dataset.source.field",
            given=f"{shown(source['field'])} with {STREAM}",
            expected="null and JSON Lines: an object that holds the list can only be read as a whole",
        )


@reads("dataset.streaming", "dataset.source.streaming")
def _a_stream_is_asked_for_once(streaming: Any, of_source: Any) -> Iterator[Mistake]:
    if of_source and not streaming:
        yield Mistake(
            key="dataset.source.streaming",
            given="true with dataset.streaming=false",
            expected="dataset.streaming=true, which sets both",
        )


@reads("dataset.streaming", "dataset.source.splits.train")
def _a_streamed_split_is_whole(streaming: Any, train: Any) -> Iterator[Mistake]:
    if streaming and "[" in (train or ""):
        yield Mistake(
            key="dataset.source.splits.train",
            given=f"{shown(train)} with {STREAM}",
            expected="a whole split: a slice needs the length",
            hint="dataset.subset.train takes the first rows",
        )


@reads("dataset.streaming", "trainer.max_epochs")
def _a_streamed_training_has_steps(streaming: Any, epochs: Any) -> Iterator[Mistake]:
    if streaming and epochs is not None:
        yield Mistake(
            key="trainer.max_epochs",
            given=f"{shown(epochs)} with {STREAM}",
            expected="null and trainer.max_steps: nobody knows how many steps an epoch of a stream has",
            hint="trainer=steps trainer.max_steps=<number>",
        )


@reads("dataset.streaming", "trainer.evaluate_every_epochs", "trainer.save_every_epochs")
def _streamed_intervals_are_steps(streaming: Any, evaluate: Any, save: Any) -> Iterator[Mistake]:
    for name, value in {"evaluate_every": evaluate, "save_every": save}.items():
        if streaming and value is not None:
            yield Mistake(
                key=f"trainer.{name}_epochs",
                given=f"{shown(value)} with {STREAM}",
                expected=f"null; trainer.{name}_steps has the interval in steps",
                hint="trainer=steps sets both",
            )


@reads("dataset.streaming", "dataset.holdout", "dataset.source")
def _nothing_is_held_out_of_a_stream(streaming: Any, holdout: Any, source: Any) -> Iterator[Mistake]:
    given = {**(source.get("files") or {}), **(source.get("splits") or {})}
    for split, share in holdout.items():
        if streaming and share and given.get(split) is None:
            yield Mistake(
                key=f"dataset.holdout.{split}",
                given=f"{shown(share)} with {STREAM}",
                expected="0, or a split of its own: a stream is not read before it is trained on",
                hint=f"dataset.source.{'splits' if 'splits' in source else 'files'}.{split}=…",
            )


@reads("dataset.streaming", "dataset.cleaning")
def _a_stream_is_cleaned_row_by_row(streaming: Any, cleaning: Any) -> Iterator[Mistake]:
    for place, step in enumerate(cleaning if streaming else ()):
        signature = signature_of(step)
        if signature is not None and signature.literals.get("row_wise") is not True:
            yield Mistake(
                key=f"dataset.cleaning.{place}",
                given=f"{str(step[TARGET]).rpartition('.')[2]} with {STREAM}",
                expected="steps that look at one row at a time: classes with row_wise = True",
            )


@reads("dataset.streaming", "task")
def _a_stream_teaches_the_task_nothing(streaming: Any, task: Any) -> Iterator[Mistake]:
    if not streaming:
        return
    named = task.get("label_names") is not None or task.get("label_file") is not None
    if "label_names" in task and not named and task.get("problem") != "regression":
        yield Mistake(
            key="task.label_names",
            given=f"null with {STREAM}",
            expected="the class names, or task.label_file: a stream is not read before it is trained on",
        )
    if isinstance(task.get("class_weights"), str):
        yield Mistake(
            key="task.class_weights",
            given=f"{shown(task['class_weights'])} with {STREAM}",
            expected="null, or a weight for each class name: the classes of a stream are not counted",
        )
    if task.get("bias_from_labels"):
        yield Mistake(
            key="task.bias_from_labels",
            given=f"true with {STREAM}",
            expected="false: the classes of a stream are not counted",
        )

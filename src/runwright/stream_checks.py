"""What the keys say together where train is read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runwright.combining import reads, signature_of
from runwright.mistakes import Mistake, shown
from runwright.option_types import TARGET

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

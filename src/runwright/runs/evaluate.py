"""Evaluate the splits of a run, while it trains and with its best weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from runwright import build
from runwright.dataset.checks import naming_rows
from runwright.errors import ConfigError, DataError
from runwright.runs.record import Run
from runwright.trainer.evaluate import Evaluation, evaluate, predict
from runwright.trainer.options import EvaluationSplits, TrainerOptions
from runwright.types import Examples

CHECKED_AT_ONCE = 256  # examples; mostly the first ones tell


def evaluate_splits(
    run: Run, prepared: build.Prepared, model: torch.nn.Module, names: Sequence[str], *, best: str | None
) -> dict[str, Evaluation]:
    """Evaluations by split; the best split comes first, since an option tuned on it holds for the others."""
    evaluations = {
        split: evaluate_split(
            run,
            split,
            model=model,
            task=prepared.task,
            examples=prepared.examples[split],
            rows=prepared.data.splits[split],
            tunes=split == best,
        )
        for split in sorted(names, key=lambda split: split != best)
    }
    return {split: evaluations[split] for split in names}


def evaluate_split(
    run: Any, split: str, *, model: Any, task: Any, examples: Examples, rows: Any, tunes: bool = False
) -> Evaluation:
    """Predictions and metrics of one split; with `tunes` the task first tunes its option on them.

    `run` is a `Run`, or another record with `options`, `metrics`, `ranks`, `progress`, `stop` and `speed`.
    """
    with run.progress.counting(f"evaluate {split}", total=len(examples)) as on_progress:
        predictions = predict(
            model,
            task,
            examples,
            max_tokens=run.options.evaluate_tokens,
            ranks=run.ranks,
            on_progress=on_progress,
            stop=run.stop,
            speed=getattr(run, "speed", None),
        )
    return judge(run, split, predictions, task=task, rows=rows, tunes=tunes)


def judge(run: Any, split: str, predictions: Any, *, task: Any, rows: Any, tunes: bool = False) -> Evaluation:
    """Predictions of one split as the task assembles them, with their metrics."""
    if tunes and task.tuned_option:
        task.tune(predictions, rows)
    with naming_rows({split: rows}):
        assembled = task.assemble(predictions, rows)
    return evaluate(assembled, metrics=run.metrics, group_names=task.group_names)


def check_splits(options: TrainerOptions, task: Any, splits: EvaluationSplits) -> None:
    """Raise ConfigError where an option needs a validation split and there is none."""
    needing = {
        "trainer.early_stopping_patience": options.early_stopping_patience is not None,
        "trainer.evaluate_at_start": options.evaluate_at_start,
        f"{task.tuned_option}=tune": bool(task.tuned_option),
    }
    for name, is_set in needing.items():
        if is_set and splits.best is None:
            raise ConfigError(f"{name} needs a validation split; set dataset.holdout.validation")


def check_examples(prepared: build.Prepared, *, best: str | None) -> None:
    """Raise DataError where there is nothing to train on, or no label to choose the best step by."""
    task, train = prepared.task, prepared.examples.get("train")
    if train is None:
        return  # a stream, of which only the beginning is known
    starts = range(0, len(train), CHECKED_AT_ONCE)
    blocks = (range(start, min(start + CHECKED_AT_ONCE, len(train))) for start in starts)
    if not any(task.count(task.augment(train.fetch(block), seed=0, epoch=0)) for block in blocks):
        split, column = "train", None
        problem = "no word with a tag, no answer that is in its context, or no token to hide"
        problem = f"no example has anything to train on: {problem}"
    # Retrieval is judged without labels.
    elif best and task.problem != "retrieval" and not {*train.names} <= {*prepared.examples[best].names}:
        split, column = best, task.label_column
        problem = (
            "no labels, and the best step is chosen by trainer.best_metric on this split; choose another one "
            "with trainer.best_split, or give it labels"
        )
    else:
        return
    files = prepared.data.sources.get(split, [])
    raise DataError(problem, file=files[0] if len(files) == 1 else None, split=split, column=column)

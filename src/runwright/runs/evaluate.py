"""Evaluate the splits of a run, while it trains and with its best weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from runwright import build
from runwright.dataset.checks import naming_rows
from runwright.errors import ConfigError, DataError
from runwright.report.progress import Progress
from runwright.runs.record import Run
from runwright.trainer.environment import StopFlag
from runwright.trainer.evaluate import Evaluation, evaluate, predict
from runwright.trainer.options import EvaluationSplits, TrainerOptions
from runwright.trainer.ranks import Ranks
from runwright.types import Examples, Metric

CHECKED_AT_ONCE = 256  # examples; mostly the first ones tell


def evaluate_splits(
    run: Run, prepared: build.Prepared, model: torch.nn.Module, names: Sequence[str], *, best: str | None
) -> dict[str, Evaluation]:
    """Evaluations by split; the best split comes first, since an option tuned on it holds for the others."""
    evaluations = {
        split: evaluate_split(
            split,
            model=model,
            task=prepared.task,
            examples=prepared.examples[split],
            rows=prepared.data.splits[split],
            metrics=run.metrics,
            options=run.options,
            ranks=run.ranks,
            progress=run.progress,
            stop=run.stop,
            tunes=split == best,
        )
        for split in sorted(names, key=lambda split: split != best)
    }
    return {split: evaluations[split] for split in names}


def evaluate_split(
    split: str,
    *,
    model: torch.nn.Module,
    task: Any,
    examples: Examples,
    rows: Any,
    metrics: Mapping[str, Metric],
    options: TrainerOptions,
    ranks: Ranks,
    progress: Progress,
    stop: StopFlag | None = None,
    tunes: bool = False,
) -> Evaluation:
    """Predictions and metrics of one split; with `tunes` the task first tunes its option on them."""
    with progress.counting(f"evaluate {split}", total=len(examples)) as on_progress:
        predictions = predict(
            model,
            task,
            examples,
            max_tokens=options.evaluate_tokens,
            ranks=ranks,
            on_progress=on_progress,
            stop=stop,
        )
    if tunes and task.tuned_option:
        task.tune(predictions, rows)
    with naming_rows({split: rows}):
        assembled = task.assemble(predictions, rows)
    return evaluate(assembled, metrics=metrics, group_names=task.group_names)


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
    """Raise DataError where there is nothing to train on, or nothing to choose the best step by.

    Said before the first update: without it a run would find out after an epoch.
    """
    task, train = prepared.task, prepared.examples.get("train")
    if train is None:
        return  # a stream, of which only the beginning is known
    pieces = (
        train.fetch(range(start, min(start + CHECKED_AT_ONCE, len(train))))
        for start in range(0, len(train), CHECKED_AT_ONCE)
    )
    if not any(task.count(task.augment(examples, seed=0, epoch=0)) for examples in pieces):
        problem = "no word with a tag, no answer that is in its context, or no token to hide"
        raise _error(prepared, "train", f"no example has anything to train on: {problem}")
    ranked = task.problem == "retrieval"  # judged without labels
    if best and not ranked and not set(train.names) <= set(prepared.examples[best].names):
        problem = (
            "no labels, and the best step is chosen by trainer.best_metric on this split; choose another one "
            "with trainer.best_split, or give it labels"
        )
        raise _error(prepared, best, problem, column=task.label_column)


def _error(prepared: build.Prepared, split: str, problem: str, *, column: str | None = None) -> DataError:
    files = prepared.data.sources.get(split, [])
    return DataError(problem, file=files[0] if len(files) == 1 else None, split=split, column=column)

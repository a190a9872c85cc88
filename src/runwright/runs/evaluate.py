"""The splits of a run judged, while it trains and with its best weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from runwright import build
from runwright.dataset.checks import naming_rows
from runwright.errors import ConfigError, DataError
from runwright.report.progress import Progress
from runwright.runs.record import TASK_FILE, Run
from runwright.trainer.environment import StopFlag
from runwright.trainer.evaluate import Evaluation, evaluate, predict
from runwright.trainer.options import EvaluationSplits, TrainerOptions
from runwright.trainer.ranks import Ranks
from runwright.types import Examples, Metric

CHECKED_AT_ONCE = 256  # examples; mostly the first ones tell


def evaluate_each(
    run: Run, prepared: build.Prepared, model: torch.nn.Module, names: Sequence[str], *, best: str | None
) -> dict[str, Evaluation]:
    """Every split, the best one first: what is chosen on it holds for the others."""
    first = sorted(names, key=lambda split: split != best)
    found = {
        split: evaluate_split(
            split,
            model=model,
            task=prepared.task,
            examples=prepared.examples[split],
            rows=prepared.data.splits[split],
            metrics=build.build_metrics(run.config),
            options=run.options,
            ranks=run.ranks,
            progress=run.progress,
            stop=run.stop,
            tunes=split == best,
        )
        for split in first
    }
    return {split: found[split] for split in names}


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
    """Predictions and metrics of one split; with `tunes` the task first chooses its option by them."""
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


def check_tuning(task: Any, splits: EvaluationSplits) -> None:
    """Raise ConfigError where the task is to choose something on a validation split that is not there."""
    if splits.best is None and task.tuned_option:
        raise ConfigError(
            f"{task.tuned_option}=tune needs a validation split; set dataset.holdout.validation"
        )


def check_examples(prepared: build.Prepared, *, best: str | None) -> None:
    """Raise DataError where there is nothing to train on, or nothing to choose the best step by.

    Said before the first update: without it a run would find out after an epoch.
    """
    task, train = prepared.task, prepared.examples.get("train")
    if train is None:
        return  # a stream, of which only the beginning is known
    if not any(_count(task, train, start) for start in range(0, len(train), CHECKED_AT_ONCE)):
        raise DataError(
            "no example has anything to train on: no word with a tag, no answer that is in its context, or "
            "no token to hide",
            file=_file_of(prepared, "train"), split="train",
        )  # fmt: skip
    ranked = task.problem == "retrieval"  # judged without labels
    lacking = set(train.names) - set(prepared.examples[best].names) if best and not ranked else set()
    if best and lacking:
        raise DataError(
            "no labels, and the best step is chosen by trainer.best_metric on this split; choose another one "
            "with trainer.best_split, or give it labels",
            file=_file_of(prepared, best), split=best, column=task.label_column,
        )  # fmt: skip


def _count(task: Any, examples: Any, start: int) -> float:
    some = examples.fetch(range(start, min(start + CHECKED_AT_ONCE, len(examples))))
    return task.count(task.augment(some, seed=0, epoch=0))


def _file_of(prepared: build.Prepared, split: str) -> str | None:
    files = prepared.data.sources.get(split, [])
    return files[0] if len(files) == 1 else None


def keep_learned(run: Run, task: Any) -> None:
    """Write down what was chosen with the best weights."""
    if run.ranks.is_first and task.tuned_option:
        state = json.dumps(task.state_dict(), ensure_ascii=False, indent=1)
        (run.folder / TASK_FILE).write_text(state, encoding="utf-8")

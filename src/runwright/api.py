"""Runwright from Python: `run`, `evaluate` and `predict`, each with a typed result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.types import Interval

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a finished run came to."""

    run_id: str
    folder: Path
    global_step: int  # updates made
    training_loss: float  # mean over all steps
    metrics: dict[str, float]  # e.g. "test/pearson", of the best model
    intervals: dict[str, Interval]  # 95 % bootstrap intervals, for metrics of evaluation splits
    best_step: int | None
    ledger: str  # equal for runs that saw the same data in the same order
    paths: dict[str, Path]  # best, config, log, journal, predictions/<split>, tables/…, plots/…


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateResult:
    """What a run's best model makes of one split."""

    split: str
    predictions: np.ndarray  # [N] int64 classes, [N, C] bool or [N] float64, in the order of example ids
    label_ids: np.ndarray | None  # same shape; None where there are no labels
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    folder: Path | None  # where predictions and tables were written


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictResult:
    """Predictions in the order of the input."""

    predictions: list[dict[str, Any]]  # the record with `prediction`, `score`, on demand `scores`


def run(
    overrides: Sequence[str] = (), *, folder: Path | None = None, allow_packages: Sequence[str] = ()
) -> RunResult:
    """Compose, check and execute an experiment in this process.

    `folder` is where to look for the user's `conf/` (default: the current folder). Raises ConfigError with
    every mistake before anything is loaded.
    """
    from runwright.compose import compose_checked
    from runwright.execute import execute
    from runwright.permissions import grant
    from runwright.run_folder import create

    grant(packages=allow_packages)
    composed = compose_checked(list(overrides), folder=folder)
    return execute(create(composed.config, overrides=composed.overrides, command=["runwright.run"]))


def evaluate(
    run: str | Path, overrides: Sequence[str] = (), *, splits: Sequence[str] | None = None
) -> list[EvaluateResult]:
    """Evaluate a run's best model on its own splits, or on other data chosen by overrides.

    `run` is a run folder, id or `latest`. `splits` defaults to all but train.
    """
    from runwright.evaluating import evaluate_run
    from runwright.run_folder import resolve_run

    return evaluate_run(resolve_run(str(run)), overrides, splits=splits)


def predict(
    run: str | Path, records: Iterable[str | Mapping[str, Any]], *, all_scores: bool = False
) -> PredictResult:
    """Predict texts, or records with the columns that the run was trained on."""
    from runwright.inference import load_run, predict_records
    from runwright.records import texts_as_records
    from runwright.run_folder import resolve_run

    finished = load_run(resolve_run(str(run)))
    columns = finished.task.text_columns
    as_records = (
        next(texts_as_records([record], columns)) if isinstance(record, str) else dict(record)
        for record in records
    )
    return PredictResult(predictions=list(predict_records(finished, as_records, all_scores=all_scores)))

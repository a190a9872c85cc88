"""What running, evaluating and predicting give back to Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwright.types import Interval


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
    predictions: Any  # by row: [N] int64 classes, [N, C] bool, [N] float64, or the column of the task
    label_ids: Any  # of the same kind; None where there are no labels
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    folder: Path | None  # where predictions and tables were written
    warning: str = ""  # where the rows are not those of the run's own split, or some were in train


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictResult:
    """Predictions in the order of the input."""

    predictions: list[dict[str, Any]]  # the record with `prediction`, `score`, on demand `scores`

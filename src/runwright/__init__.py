"""Runwright: NLP experiments composed from configuration, whose numbers do not depend on how they ran."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runwright.version import __version__

if TYPE_CHECKING:
    from runwright.api import evaluate, keep_rows, pipeline, predict, run
    from runwright.types import EvaluateResult, PredictResult, RunResult

__all__ = [
    "EvaluateResult",
    "PredictResult",
    "RunResult",
    "__version__",
    "evaluate",
    "keep_rows",
    "pipeline",
    "predict",
    "run",
]


def __getattr__(name: str) -> Any:
    # The command line imports this package on every start: the API behind it loads torch, so it waits.
    if name in __all__:
        return getattr(import_module("runwright.api"), name)
    raise AttributeError(f"module 'runwright' has no attribute {name!r}")

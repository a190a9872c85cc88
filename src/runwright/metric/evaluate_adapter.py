"""Any local metric script of the `evaluate` package as a figure of ours.

Such a script is code: it runs only where the user has permitted code on the command line. Names on a hub
are refused, whatever is permitted: no metric code is fetched by name.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runwright.config.permissions import code_allowed
from runwright.errors import ConfigError, DataError
from runwright.metric.class_counts import expected_of
from runwright.types import Predictions


class EvaluateMetric:
    """One number of what the script's `compute` returns, over all examples at once.

    Classes are given to it as whole numbers, multi-label examples as lists of 0 and 1.
    """

    suits = ("single_label", "multi_label", "regression")

    def __init__(
        self,
        *,
        path: str,
        key: str,
        feed: Literal["predicted", "scores"],
        argument: str,
        options: dict[str, Any],
    ) -> None:
        script = _find_script(path)
        if not code_allowed():
            raise ConfigError(
                f"metric path {path!r} is code; give --trust-remote-code if you trust it (it was not run)"
            )
        self._module = _load_script(str(script))
        self._key, self._feed, self._argument, self._options = key, feed, argument, options
        self._given: list[np.ndarray] = []
        self._expected: list[np.ndarray] = []

    def update(self, predictions: Predictions) -> None:
        """Take in some examples."""
        given = predictions.predicted if self._feed == "predicted" else predictions.scores
        if given is None:
            raise DataError("this metric is fed scores, and these predictions have none")
        self._given.append(_plain(given))
        self._expected.append(_plain(expected_of(predictions)))

    def merge(self, other: EvaluateMetric) -> None:
        """Take in what another instance has seen."""
        self._given.extend(other._given)
        self._expected.extend(other._expected)

    def compute(self) -> float:
        """The figure so far; NaN for no example."""
        if not sum(map(len, self._given)):
            return float("nan")
        inputs = {
            self._argument: np.concatenate(self._given).tolist(),
            "references": np.concatenate(self._expected).tolist(),
        }
        result = self._module.compute(**inputs, **self._options)
        if self._key not in result:
            raise ConfigError(f"the metric has no figure {self._key!r}, only {', '.join(result)}")
        return float(result[self._key])


def _find_script(path: str) -> Path:
    """The script file, absolute: a .py file, or a folder with a script of the folder's name."""
    given = Path(path).expanduser().resolve()
    script = given / f"{given.name}.py" if given.is_dir() else given
    if script.suffix != ".py" or not script.is_file():
        raise ConfigError(
            f"metric path {path!r}: expected a local .py file, or a folder with a script of the same name "
            f"(looked for {script}); metrics are not fetched from a hub"
        )
    return script


@lru_cache(maxsize=16)
def _load_script(script: str) -> Any:
    import evaluate

    # What `evaluate` writes while it computes stays in memory; it still wants a folder.
    folder = tempfile.mkdtemp(prefix="runwright-evaluate-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return evaluate.load(script, cache_dir=folder, keep_in_memory=True)


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64) if values.dtype == bool else values

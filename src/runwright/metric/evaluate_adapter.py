"""Any local metric script of the `evaluate` package as a metric.

Such a script is code: it runs only where the user has permitted code on the command line. Names on a hub
are refused, whatever is permitted: no metric code is fetched by name.
"""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from runwright.config.permissions import code_allowed
from runwright.errors import ConfigError, DataError
from runwright.metric.means import labels_of
from runwright.types import Predictions


def script_metric(
    predictions: Predictions,
    *,
    path: str,
    key: str,
    feed: Literal["predicted", "scores"],
    argument: str,
    options: dict[str, Any],
) -> float:
    """One number of what the script's `compute` returns, over all examples at once; NaN for no example.

    Classes are given to it as whole numbers, multi-label examples as lists of 0 and 1.
    """
    script = _find_script(path)
    if not code_allowed():
        raise ConfigError(
            f"metric path {path!r} is code; give --trust-remote-code if you trust it (it was not run)"
        )
    fed = predictions.predicted if feed == "predicted" else predictions.scores
    if fed is None:
        raise DataError("this metric is fed scores, and these predictions have none")
    if not len(fed):
        return math.nan
    columns = {argument: fed, "references": labels_of(predictions)}
    inputs = {name: (column * 1).tolist() for name, column in columns.items()}  # true is 1
    result = _load_script(str(script)).compute(**inputs, **options)
    if key not in result:
        raise ConfigError(f"the metric has no value {key!r}, only {', '.join(result)}")
    return float(result[key])


def _find_script(path: str) -> Path:
    """The script file, absolute: a .py file, or a folder with a script of the folder's name."""
    location = Path(path).expanduser().resolve()
    script = location / f"{location.name}.py" if location.is_dir() else location
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

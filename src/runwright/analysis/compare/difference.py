"""One figure of two sides and what is known of their difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runwright.analysis.compare.pairs import SPLITS
from runwright.analysis.compare.sides import Side
from runwright.types import Interval

# Figures of which less is better; of any other one more is, unless the configuration says otherwise.
LESS_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "perplexity")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One figure of two sides, second minus first."""

    figure: str  # e.g. test/pearson
    first: float
    second: float
    interval: Interval  # of the difference
    less_is_better: bool
    method: str
    n: str  # rows, or runs on either side, in words
    p: float | None = None
    p_method: str = ""

    @property
    def better(self) -> int | None:
        """0 or 1 for the side that is better; None where the interval does not tell."""
        low, high = self.interval.low, self.interval.high
        if math.isnan(low) or low <= 0 <= high:
            return None
        return int((low > 0) != self.less_is_better)

    def as_json(self) -> dict[str, Any]:
        """Everything, for other programs."""
        return asdict(self) | {"better": self.better}


def chosen_by(side: Side) -> str:
    """The figure that models were chosen by, without its split."""
    return str(side.rows[0].settings.get("trainer.best_metric", "loss"))


def less_is_better(figure: str, side: Side) -> bool:
    """Whether less of it is better, e.g. of test/loss."""
    name = figure.partition("/")[2].partition("/")[0]
    if name == chosen_by(side):
        return side.rows[0].settings.get("trainer.best_mode") == "min"
    return any(word in name.replace("_", " ").split() for word in LESS_IS_BETTER)


def all_figures(sides: Sequence[Side]) -> list[str]:
    """The figures of evaluated splits that any run has, the whole split before its groups."""
    names = dict.fromkeys(name for side in sides for row in side.rows for name in row.metrics)
    kept = [name for name in names if name.startswith(tuple(f"{split}/" for split in SPLITS))]
    return sorted(kept, key=lambda name: (name.count("/"), SPLITS.index(name.partition("/")[0])))

"""Which splits are evaluated while training, and which of them chooses the best step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runwright.errors import ConfigError

USUAL = "validation"  # splits whose names begin so are evaluated while training


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSplits:
    """The splits with a curve; `best` is the one that the best step, patience and schedules go by."""

    names: tuple[str, ...]  # `best` among them; empty where nothing is evaluated while training
    best: str | None

    def final_name(self, figure: str) -> str:
        """What a figure `split/name` of the best weights is recorded as: a curve has that name already."""
        return f"best/{figure}" if figure.partition("/")[0] in self.names else figure


def choose_splits(splits: Iterable[str], *, best_split: str | None) -> EvaluationSplits:
    """The splits that begin with `validation`, and `best_split`; null: `validation`, else the first of them.

    Raises ConfigError where there is no split of that name.
    """
    known = [split for split in splits if split != "train"]
    names = [split for split in known if split.startswith(USUAL)]
    if best_split is None:
        best = USUAL if USUAL in names else next(iter(names), None)
        return EvaluationSplits(names=tuple(names), best=best)
    if best_split not in known:
        listed = ", ".join(known) or "none but train"
        raise ConfigError(f"trainer.best_split: given {best_split!r}, expected one of the splits: {listed}")
    return EvaluationSplits(
        names=tuple(split for split in known if split in {*names, best_split}), best=best_split
    )

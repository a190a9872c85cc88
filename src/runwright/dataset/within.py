"""A cleaning step for some of the splits only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runwright.errors import ConfigError
from runwright.types import Splits


@dataclass(frozen=True, kw_only=True)
class Within:
    """`step`, another cleaning step, is done to the splits named in `splits`; the others stay as they are."""

    splits: list[str]
    step: Any

    def __call__(self, splits: Splits) -> Splits:
        unknown = [split for split in self.splits if split not in splits]
        if unknown:
            raise ConfigError(f"Within.splits names {unknown[0]!r}; splits: {', '.join(splits)}")
        changed = self.step({split: splits[split] for split in self.splits})
        return {split: changed.get(split, rows) for split, rows in splits.items()}

"""What the root of a configuration may say; everything else in it belongs to a group."""

from __future__ import annotations

from dataclasses import dataclass

from runwright.types import NonNegativeInt, PositiveInt


@dataclass(frozen=True, kw_only=True, slots=True)
class RootOptions:
    """The root's own keys."""

    name: str
    seed: NonNegativeInt
    output_dir: str
    references: dict[str, dict[str, float]]  # figures by others, shown beside the run's own


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedOptions:
    """`seeds`: one seed for each source of randomness."""

    data: NonNegativeInt
    init: NonNegativeInt
    dropout: NonNegativeInt


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchOptions:
    """`launch`: how many processes share a run."""

    num_processes: PositiveInt

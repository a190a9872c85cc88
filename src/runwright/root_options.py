"""What the root of a configuration may say; everything else in it belongs to a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runwright.types import NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True, slots=True)
class RootOptions:
    """The root's own keys."""

    name: str
    seed: NonNegativeInt
    output_dir: str
    resume: Literal["auto"] | None
    references: dict[str, dict[str, float]]  # figures by others, shown beside the run's own


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedOptions:
    """`seeds`: one seed for each source of randomness."""

    data: NonNegativeInt
    init: NonNegativeInt
    dropout: NonNegativeInt


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchOptions:
    """`launch`: how many processes share a run, and what happens when one of them fails."""

    num_processes: PositiveInt
    strategy: Literal["replicated", "fsdp"]
    max_restarts: NonNegativeInt
    timeout_seconds: PositiveFloat
    grace_seconds: PositiveFloat

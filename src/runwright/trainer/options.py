"""What `conf/trainer/*.yaml` may say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runwright.types import NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerOptions:
    """How long, in which pieces, at which precision, and what is measured and kept when."""

    # how long: exactly one of max_epochs and max_steps; max_minutes may end either early
    max_epochs: PositiveFloat | None
    max_steps: PositiveInt | None
    max_minutes: PositiveFloat | None
    # one update: `batch_size` examples over all processes, cut by length into microbatches
    batch_size: PositiveInt
    microbatch_size: PositiveInt | None
    microbatch_tokens: PositiveInt | None
    max_grad_norm: PositiveFloat | None
    non_finite: Literal["stop", "skip", "warn"]
    precision: Literal["fp32", "bf16", "fp16"]
    gradient_checkpointing: bool
    # the machine
    device: Literal["auto", "cpu", "cuda"]
    num_threads: PositiveInt | None
    deterministic: bool
    # what is measured and kept, and when; of each pair of intervals at most one
    log_every_steps: PositiveInt
    evaluate_at_start: bool
    evaluate_every_steps: PositiveInt | None
    evaluate_every_epochs: PositiveFloat | None
    evaluate_tokens: PositiveInt
    save_every_steps: PositiveInt | None
    save_every_epochs: PositiveFloat | None
    keep_checkpoints: PositiveInt
    best_split: str | None
    best_metric: str
    best_mode: Literal["min", "max"]
    early_stopping_patience: PositiveInt | None
    early_stopping_min_delta: NonNegativeFloat

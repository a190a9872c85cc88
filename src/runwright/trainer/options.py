"""Options of `conf/trainer/*.yaml`, the plan in steps and the evaluated splits that follow from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from runwright.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerOptions:
    """Length, batches, precision and machine of a training; what is measured and saved when."""

    # how long: exactly one of them
    max_epochs: PositiveFloat | None
    max_steps: PositiveInt | None
    # one update: `batch_size` examples over all processes, cut by length into microbatches
    batch_size: PositiveInt
    microbatch_size: PositiveInt | None
    microbatch_tokens: PositiveInt | Literal["auto"] | None
    max_grad_norm: PositiveFloat | None
    non_finite: Literal["stop", "skip", "warn"]
    precision: Literal["fp32", "bf16", "fp16"]
    gradient_checkpointing: bool
    # the machine
    device: Literal["auto", "cpu", "cuda", "mps", "xpu"]
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
    keep_checkpoints: NonNegativeInt
    best_metric: str
    best_mode: Literal["min", "max"]
    early_stopping_patience: PositiveInt | None
    early_stopping_min_delta: NonNegativeFloat


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Length and intervals of a training in steps; an interval as long as it ends with it."""

    steps_per_epoch: int | None  # None: of a stream, unknown
    total_steps: int
    evaluate_every: int
    save_every: int

    def evaluates_at(self, step: int) -> bool:
        """Return True if the validation splits are evaluated after this many steps, as after the last one."""
        return step == self.total_steps or not step % self.evaluate_every


def make_plan(options: TrainerOptions, *, steps_per_epoch: int | None) -> Plan:
    """All intervals in steps; an interval in epochs is rounded to whole steps, at least one."""

    def steps(in_steps: int | None, in_epochs: float | None) -> int | None:
        if in_epochs is not None:
            assert steps_per_epoch is not None, "the schema refuses epochs of a stream"
            return max(1, round(in_epochs * steps_per_epoch))
        return in_steps

    total = steps(options.max_steps, options.max_epochs)
    assert total is not None, "the schema asks for max_steps or max_epochs"
    return Plan(
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        evaluate_every=steps(options.evaluate_every_steps, options.evaluate_every_epochs) or total,
        save_every=steps(options.save_every_steps, options.save_every_epochs) or total,
    )


VALIDATION = "validation"  # splits whose names begin so are evaluated while training


def choose_splits(splits: Iterable[str]) -> tuple[str, ...]:
    """The splits with a curve; the best step, patience and schedules go by the first of them."""
    names = [split for split in splits if split.startswith(VALIDATION)]
    return tuple(sorted(names, key=lambda split: split != VALIDATION))

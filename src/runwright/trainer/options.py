"""Options of `conf/trainer/*.yaml`, the plan in steps and the evaluated splits that follow from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from runwright.errors import ConfigError
from runwright.types import NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerOptions:
    """Length, batches, precision and machine of a training; what is measured and saved when."""

    # how long: exactly one of max_epochs and max_steps; max_minutes may end either early
    max_epochs: PositiveFloat | None
    max_steps: PositiveInt | None
    max_minutes: PositiveFloat | None
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
    keep_checkpoints: PositiveInt
    best_split: str | None
    best_metric: str
    best_mode: Literal["min", "max"]
    early_stopping_patience: PositiveInt | None
    early_stopping_min_delta: NonNegativeFloat


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Length and intervals of a training in steps; None: never before the end."""

    steps_per_epoch: int | None  # None: of a stream, unknown
    total_steps: int
    evaluate_every: int | None
    save_every: int | None

    def evaluates_at(self, step: int) -> bool:
        """Return True if the validation splits are evaluated after this many steps, as after the last one."""
        return step == self.total_steps or bool(self.evaluate_every and not step % self.evaluate_every)

    def saves_at(self, step: int) -> bool:
        """Return True if a checkpoint is due after this many steps, as after the last one."""
        return step == self.total_steps or bool(self.save_every and not step % self.save_every)


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
        evaluate_every=steps(options.evaluate_every_steps, options.evaluate_every_epochs),
        save_every=steps(options.save_every_steps, options.save_every_epochs),
    )


USUAL = "validation"  # splits whose names begin so are evaluated while training


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSplits:
    """The splits with a curve; `best` is the one that the best step, patience and schedules go by."""

    names: tuple[str, ...]  # `best` among them; empty where nothing is evaluated while training
    best: str | None

    def final_name(self, metric: str) -> str:
        """The name under which a metric `split/name` of the best weights is recorded beside the curves."""
        return f"best/{metric}" if metric.partition("/")[0] in self.names else metric


def choose_splits(splits: Iterable[str], *, best_split: str | None) -> EvaluationSplits:
    """The splits that begin with `validation`, and `best_split`; null: `validation`, else the first of them.

    Raises ConfigError where there is no split of that name.
    """
    others = [split for split in splits if split != "train"]
    if best_split is not None and best_split not in others:
        listed = ", ".join(others) or "none but train"
        raise ConfigError(f"trainer.best_split: given {best_split!r}, expected one of the splits: {listed}")
    names = [split for split in others if split.startswith(USUAL) or split == best_split]
    best = best_split or (USUAL if USUAL in names else next(iter(names), None))
    return EvaluationSplits(names=tuple(names), best=best)

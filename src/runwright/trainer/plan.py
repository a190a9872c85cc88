"""When things happen in a training: its length and its intervals, in steps."""

from __future__ import annotations

from dataclasses import dataclass

from runwright.trainer.options import TrainerOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """When things happen, in steps; None: never before the end."""

    steps_per_epoch: int | None  # None: of a stream, unknown
    total_steps: int
    evaluate_every: int | None
    save_every: int | None

    def evaluates_at(self, step: int) -> bool:
        """Whether the validation splits are evaluated after this many steps; the last step always is."""
        return _due(step, self.evaluate_every) or step == self.total_steps

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is due after this many steps; after the last one always."""
        return _due(step, self.save_every) or step == self.total_steps


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


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0

"""The order of events of a training: step, log, evaluate, keep the best, save, stop.

Everything that a later step depends on is in `TrainingState`, the model, the optimizer and the scheduler;
they are what a checkpoint holds. Order and randomness are functions of the step, so resuming is going on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from runwright.errors import ConfigError
from runwright.trainer.batches import LEDGER_START, StepBatch, extend_ledger
from runwright.trainer.checkpoint import CheckpointStore, Snapshot
from runwright.trainer.evaluation_splits import USUAL
from runwright.trainer.optimizer_state import read_optimizer, write_optimizer
from runwright.trainer.options import TrainerOptions
from runwright.trainer.plan import Plan
from runwright.trainer.step import Stepper, StepResult
from runwright.trainer.stop import TIME_LIMIT, EvaluationStopped, StopFlag

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """What changes while training; the only record that is changed in place, and only here."""

    step: int = 0  # updates made
    ledger: str = LEDGER_START  # of all batches so far
    loss_sum: float = 0.0  # of the losses of all steps
    num_examples: int = 0
    real_tokens: int = 0
    padded_tokens: int = 0
    evaluated_step: int = 0  # the last step that was evaluated
    best_step: int | None = None
    best_value: float | None = None
    evaluations_without_improvement: int = 0
    train_seconds: float = 0.0  # in steps alone; evaluation and saving are not in it
    evaluate_seconds: float = 0.0
    stream: Mapping[str, Any] | None = None  # position of streamed data after this step


class StepBatches(Protocol):
    """Which batch is when: `Batches`, or those of a stream."""

    def iterate(self, start: int, end: int) -> Iterator[StepBatch]:
        """The batches of steps start to end - 1."""
        ...


class Log(Protocol):
    """Where figures go; a tracker is one."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None: ...

    def log_ledger(self, ledger: str, *, step: int) -> None: ...

    def sync(self) -> int:
        """Put what was logged on the disk, so that no checkpoint is ahead of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Loop:
    """The parts of a training, and `run`, which goes from the state's step to the end."""

    batches: StepBatches
    stepper: Stepper
    scheduler: Any
    options: TrainerOptions
    plan: Plan
    checkpoints: CheckpointStore
    log: Log
    stop: StopFlag
    evaluate: Callable[[], Mapping[str, Mapping[str, float]]] | None  # figures by split, on every rank
    on_step: Callable[[TrainingState, StepResult], None]
    best_split: str = USUAL  # the one that the best step, patience and schedules go by

    def run(self, state: TrainingState) -> int:
        """Train to the end; returns the stop code: 0, TIME_LIMIT, or the number of a signal.

        A signal ends the training after a whole step, with a checkpoint.
        """
        try:
            return self._run(state)
        except EvaluationStopped as stopped:  # going on begins with this evaluation
            if state.step:  # before the first update there is nothing to save
                self._save(state)
            return stopped.code

    def _run(self, state: TrainingState) -> int:
        started = time.monotonic()
        if self.options.evaluate_at_start and not state.step:
            self._measure_start(state)
        if state.step and self.plan.evaluates_at(state.step) and state.evaluated_step != state.step:
            self._evaluate(state)  # a signal came between this step and its evaluation
        if state.step and (state.step >= self.plan.total_steps or self._is_over(state)):
            logger.info("nothing is left to train: step %d was the last one", state.step)
        for batch in self.batches.iterate(state.step, self.plan.total_steps):
            if self._is_over(state):
                break
            began = time.perf_counter()
            rates = [group["lr"] for group in self.stepper.optimizer.param_groups]
            result = self.stepper.step(batch, stop=self._stop_code(started))
            if not self._needs_metric():
                self.scheduler.step()
            self._account(state, batch, result, time.perf_counter() - began)
            self._log(state, result, max(rates))
            self.on_step(state, result)
            if result.stop > TIME_LIMIT:
                self._save(state)
                return result.stop
            improved = False
            if self.plan.evaluates_at(state.step) or result.stop:
                improved = self._evaluate(state)
            if improved or self.plan.saves_at(state.step) or result.stop or self._is_over(state):
                self._save(state)
            if result.stop:
                return result.stop
        return 0

    # --- the events -----------------------------------------------------------------------------------

    def _account(self, state: TrainingState, batch: StepBatch, result: StepResult, seconds: float) -> None:
        state.step = batch.step + 1
        state.ledger = extend_ledger(state.ledger, batch.ledger)
        state.stream = batch.position
        state.loss_sum += result.loss
        state.num_examples += batch.num_examples
        state.real_tokens += batch.real_tokens
        state.padded_tokens += batch.padded_tokens
        state.train_seconds += seconds

    def _log(self, state: TrainingState, result: StepResult, rate: float) -> None:
        if state.step % self.options.log_every_steps and state.step != self.plan.total_steps:
            return
        figures = {
            "train/loss": result.loss,
            "train/gradient_norm": result.gradient_norm,
            "train/learning_rate": rate,
        }
        if self.plan.steps_per_epoch is not None:
            figures["train/epoch"] = state.step / self.plan.steps_per_epoch
        self.log.log_metrics(figures, step=state.step)
        self.log.log_ledger(state.ledger, step=state.step)

    def _evaluate(self, state: TrainingState) -> bool:
        """Evaluate the validation splits; whether this is the best step so far."""
        found = self._measure(state)
        state.evaluated_step = state.step
        if found is None:
            return False
        value = self._figure_to_compare(found[self.best_split])
        if self._needs_metric():
            self.scheduler.step(value)
        if self._is_better(value, state.best_value):
            state.best_value, state.best_step = value, state.step
            state.evaluations_without_improvement = 0
            return True
        state.evaluations_without_improvement += 1
        return False

    def _measure_start(self, state: TrainingState) -> None:
        """Figures before the first update; no weights were trained, so they are never the best ones.

        Neither patience nor a schedule that follows a figure counts them, and no chance depends on them: the
        training is bit for bit the one without.
        """
        for split, figures in (self._measure(state) or {}).items():
            whole = (f"{name} {value:.5g}" for name, value in figures.items() if "/" not in name)
            logger.info("before the first update: %s: %s", split, ", ".join(whole))

    def _measure(self, state: TrainingState) -> Mapping[str, Mapping[str, float]] | None:
        """Figures of the validation splits by split, recorded for this step; None where there is no such."""
        if self.evaluate is None:
            return None
        began = time.perf_counter()
        found = self.evaluate()
        state.evaluate_seconds += time.perf_counter() - began
        named = {f"{split}/{name}": v for split, figures in found.items() for name, v in figures.items()}
        self.log.log_metrics(named, step=state.step)
        return found

    def _figure_to_compare(self, figures: Mapping[str, float]) -> float:
        name = self.options.best_metric
        if name not in figures:
            raise ConfigError(
                f"trainer.best_metric: given {name!r}, which the split {self.best_split!r} has no figure of: "
                f"it has no labels, perhaps; choose another split with trainer.best_split"
            )
        return figures[name]

    def _save(self, state: TrainingState) -> None:
        began = time.perf_counter()
        first = self.stepper.ranks.is_first
        if first:
            self.log.sync()
        shares = not self.stepper.strategy.is_whole  # then the first one needs the parts of all
        snapshot = take_snapshot(state, self.stepper, self.scheduler) if first or shares else None
        if first and snapshot:
            self.checkpoints.wait()  # the save before this one still protects the best step of its time
            self.checkpoints.protected_step = state.best_step
            self.checkpoints.save(snapshot)
        self.checkpoints.seconds += time.perf_counter() - began

    # --- decisions ------------------------------------------------------------------------------------

    def _is_better(self, value: float, best: float | None) -> bool:
        if math.isnan(value):
            return False  # never the best, whatever it is compared with
        if best is None:
            return True
        gain = value - best if self.options.best_mode == "max" else best - value
        return gain > self.options.early_stopping_min_delta

    def _is_over(self, state: TrainingState) -> bool:
        patience = self.options.early_stopping_patience
        return patience is not None and state.evaluations_without_improvement >= patience

    def _stop_code(self, started: float) -> int:
        limit = self.options.max_minutes
        late = limit is not None and time.monotonic() - started > 60 * limit
        return self.stop.code or (TIME_LIMIT if late else 0)

    def _needs_metric(self) -> bool:
        # transformers' GreedyLR follows a metric too, and is no LRScheduler at all.
        schedules = torch.optim.lr_scheduler
        by_step = isinstance(self.scheduler, schedules.LRScheduler)
        return not by_step or isinstance(self.scheduler, schedules.ReduceLROnPlateau)


def take_snapshot(state: TrainingState, stepper: Stepper, scheduler: Any) -> Snapshot:
    """A copy of everything that the rest of the training depends on; whole on the first rank."""
    tensors, rest = read_optimizer(stepper.optimizer, stepper.model, stepper.strategy.gather)
    return Snapshot(
        step=state.step,
        weights=stepper.strategy.weights(stepper.model),
        optimizer=tensors,
        state={
            "training": asdict(state),
            "optimizer": rest,
            "scheduler": scheduler.state_dict(),
            "scaler": stepper.scaler.state_dict() if stepper.scaler else None,
        },
    )


def restore_snapshot(snapshot: Snapshot, stepper: Stepper, scheduler: Any) -> TrainingState:
    """Put a snapshot back into model, optimizer and scheduler; the state to go on from."""
    strategy = stepper.strategy
    strategy.load(stepper.model, snapshot.weights)
    tensors = strategy.spread_state(stepper.model, snapshot.optimizer)
    write_optimizer(stepper.optimizer, stepper.model, tensors=tensors, rest=snapshot.state["optimizer"])
    scheduler.load_state_dict(snapshot.state["scheduler"])
    if isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
        # The rate of the next step by this schedule, which is another one where the training was made longer.
        rates = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        for group, (base, factor) in zip(stepper.optimizer.param_groups, rates, strict=True):
            group["lr"] = base * factor(scheduler.last_epoch)
    if stepper.scaler and snapshot.state["scaler"]:
        stepper.scaler.load_state_dict(snapshot.state["scaler"])
    return TrainingState(**snapshot.state["training"])

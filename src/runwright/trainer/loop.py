"""The order of events of a training: step, log, evaluate, keep the best, save, stop.

Everything that a later step depends on is in `TrainingState`, the model, the optimizer and the scheduler;
they are what a checkpoint holds. Order and randomness are functions of the step, so resuming is going on.
"""

import logging
import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from runwright.errors import ConfigError, listed
from runwright.trainer.batches import LEDGER_START, Batches, StreamBatches, extend_ledger
from runwright.trainer.checkpoint import CheckpointStore, Snapshot
from runwright.trainer.environment import EvaluationStopped, StopFlag
from runwright.trainer.options import Plan, TrainerOptions
from runwright.trainer.sharding import copy_weights, read_optimizer, spread_like, write_optimizer
from runwright.trainer.step import Stepper, StepResult
from runwright.types import Tracker

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """Progress of a training; the only record that is changed in place, and only here."""

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
    undefined_evaluations: int = 0  # of the metric that chooses the best step: NaN
    train_seconds: float = 0.0  # in steps alone; evaluation and saving are not in it
    evaluate_seconds: float = 0.0
    stream: Mapping[str, Any] | None = None  # position of streamed data after this step


@dataclass(frozen=True, kw_only=True)
class Loop:
    """The parts of a training, and `run`, which goes from the state's step to the end."""

    batches: Batches | StreamBatches
    stepper: Stepper
    scheduler: Any
    options: TrainerOptions
    plan: Plan
    checkpoints: CheckpointStore
    log: Tracker
    stop: StopFlag
    # Metrics by split, on every rank; the first one chooses the best step. None: no split does.
    evaluate: Callable[[], Mapping[str, Mapping[str, float]]] | None
    on_step: Callable[[TrainingState, StepResult], None]
    on_evaluation: Callable[[TrainingState, Mapping[str, Mapping[str, float]]], None] = lambda *_: None
    is_pruned: Callable[[], bool] = lambda: False  # by the pruner of a sweep, on every rank alike
    saves_last: bool = True  # a checkpoint of the last step, for a longer training to go on from

    def run(self, state: TrainingState) -> int:
        """Train to the end, or to that of a step with a signal, and save; returns the stop code, else 0."""
        try:
            return self._run(state)
        except EvaluationStopped as stopped:  # a resumed run begins with this evaluation
            if state.step:  # before the first update there is nothing to save
                self._save(state)
            return stopped.code

    def _run(self, state: TrainingState) -> int:
        if self.options.evaluate_at_start and not state.step:
            # Never the best, and of no effect: the training is bit for bit the one without.
            self.on_evaluation(state, self._measure(state))
        if state.step and self.plan.evaluates_at(state.step) and state.evaluated_step != state.step:
            self._evaluate(state)  # a signal came between this step and its evaluation
        if state.step and (state.step >= self.plan.total_steps or self._is_over(state)):
            logger.info("nothing is left to train: step %d was the last one", state.step)
        for batch in self.batches.iterate(state.step, self.plan.total_steps):
            if self._is_over(state):
                best, number = state.best_step, state.evaluations_without_improvement
                logger.info(
                    "stopped early after step %d of %d: %s was %s in %d evaluations; "
                    "a resumed run goes on with trainer.early_stopping_patience=N (more, or null)",
                    *(state.step, self.plan.total_steps, self.options.best_metric),
                    *("undefined (NaN)" if best is None else f"not better than at step {best}", number),
                )
                break
            began = time.perf_counter()
            rate = max(group["lr"] for group in self.stepper.optimizer.param_groups)
            result = self.stepper.step(batch, stop=self.stop.code)
            self.scheduler.step()
            state.step, state.stream = batch.step + 1, batch.position
            state.ledger = extend_ledger(state.ledger, batch.ledger)
            state.loss_sum += result.loss
            state.num_examples += batch.num_examples
            state.real_tokens += batch.real_tokens
            state.padded_tokens += batch.padded_tokens
            state.train_seconds += time.perf_counter() - began
            if state.step % self.options.log_every_steps == 0 or state.step == self.plan.total_steps:
                self._log(state, result, rate)
            self.on_step(state, result)
            if result.stop:
                self._save(state)
                return result.stop
            improved = self.plan.evaluates_at(state.step) and self._evaluate(state)
            is_last = state.step == self.plan.total_steps or self._is_over(state)
            if self.saves_last if is_last else improved or not state.step % self.plan.save_every:
                self._save(state)
            if self.is_pruned():
                break
        return 0

    def _is_over(self, state: TrainingState) -> bool:
        patience = self.options.early_stopping_patience
        return patience is not None and state.evaluations_without_improvement >= patience

    def why_ended(self, state: TrainingState, code: int) -> str:
        """Why the training ended at this step: its length, early stopping, a pruner or a signal."""
        if code:
            return signal.Signals(code - 128).name
        if state.step >= self.plan.total_steps:
            return "length"
        return "pruned" if self.is_pruned() else "early_stopping"

    def _log(self, state: TrainingState, result: StepResult, rate: float) -> None:
        metrics = {"train/loss": result.loss, "train/gradient_norm": result.gradient_norm}
        metrics["train/learning_rate"] = rate
        if self.plan.steps_per_epoch is not None:
            metrics["train/epoch"] = state.step / self.plan.steps_per_epoch
        self.log.log_metrics(metrics, step=state.step)
        self.log.log_ledger(state.ledger, step=state.step)

    def _evaluate(self, state: TrainingState) -> bool:
        """Evaluate the validation splits; returns True if this is the best step so far."""
        by_split = self._measure(state)
        state.evaluated_step = state.step
        if not by_split:
            return False
        name, (split, metrics) = self.options.best_metric, next(iter(by_split.items()))
        if name not in metrics:
            raise ConfigError(
                f"trainer.best_metric: given {name!r}, expected one of the split {split!r} (has it labels?): "
                f"{listed(metrics)}"
            )
        value, best = metrics[name], state.best_value
        if math.isnan(value):
            state.undefined_evaluations += 1
            if state.undefined_evaluations == 1:
                where = f"step {state.step}: {split}/{name}"
                logger.warning("%s is undefined (NaN): no such step is the best, none an improvement", where)
        gain = math.inf if best is None else value - best if self.options.best_mode == "max" else best - value
        if gain > self.options.early_stopping_min_delta and not math.isnan(value):
            state.best_value, state.best_step = value, state.step
            state.evaluations_without_improvement = 0
        else:
            state.evaluations_without_improvement += 1
        self.on_evaluation(state, by_split)
        return state.best_step == state.step

    def _measure(self, state: TrainingState) -> Mapping[str, Mapping[str, float]]:
        """Metrics of the validation splits by split, recorded for this step; empty where there is no such."""
        if self.evaluate is None:
            return {}
        began = time.perf_counter()
        by_split = self.evaluate()
        state.evaluate_seconds += time.perf_counter() - began
        named = {f"{split}/{name}": v for split, metrics in by_split.items() for name, v in metrics.items()}
        self.log.log_metrics(named, step=state.step)
        return by_split

    def _save(self, state: TrainingState) -> None:
        began = time.perf_counter()
        ranks = self.stepper.ranks
        if ranks.is_first:
            self.log.sync()  # no checkpoint is ahead of the journal
        if ranks.is_first or ranks.sharded:  # then the first one needs the parts of all
            snapshot = take_snapshot(state, self.stepper, self.scheduler)
            if ranks.is_first:
                self.checkpoints.wait()  # the save before this one still protects the best step of its time
                self.checkpoints.protected_step = state.best_step
                self.checkpoints.save(snapshot)
        self.checkpoints.seconds += time.perf_counter() - began


def take_snapshot(state: TrainingState, stepper: Stepper, scheduler: Any) -> Snapshot:
    """A copy of everything that the rest of the training depends on; whole on the first rank."""
    ranks = stepper.ranks
    tensors, rest = read_optimizer(stepper.optimizer, stepper.model, wanted=ranks.is_first)
    return Snapshot(
        step=state.step,
        weights=copy_weights(stepper.model, wanted=ranks.is_first),
        optimizer=tensors,
        state={
            "training": asdict(state),
            "optimizer": rest,
            "scheduler": scheduler.state_dict(),
            "scaler": ranks.scaler.state_dict() if ranks.scaler else None,
        },
    )


def restore_snapshot(snapshot: Snapshot, stepper: Stepper, scheduler: Any) -> TrainingState:
    """Put a snapshot back into model, optimizer and scheduler; returns the state to go on from."""
    model, scaler = stepper.model, stepper.ranks.scaler
    current = model.state_dict(keep_vars=True)
    model.load_state_dict({n: spread_like(t, current.get(n)) for n, t in snapshot.weights.items()})
    write_optimizer(stepper.optimizer, model, tensors=snapshot.optimizer, rest=snapshot.state["optimizer"])
    scheduler.load_state_dict(snapshot.state["scheduler"])
    if isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
        # The rate of the next step by this schedule, which is another one where the training was made longer.
        rates = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        groups = stepper.optimizer.param_groups
        before = groups[0]["lr"]
        for group, (base, factor) in zip(groups, rates, strict=True):
            group["lr"] = base * factor(scheduler.last_epoch)
        if before != groups[0]["lr"]:
            logger.info(
                "learning rate: %.4g by the plan until now → %.4g by the new one", before, groups[0]["lr"]
            )
    if scaler and snapshot.state["scaler"]:
        scaler.load_state_dict(snapshot.state["scaler"])
    state = TrainingState(**snapshot.state["training"])
    for name, new in asdict(TrainingState()).items():
        if new is not None and not isinstance(getattr(state, name), (int, type(new))):
            raise TypeError(f"{name} is {getattr(state, name)!r}")
    return state

"""The order of events: what is logged, evaluated, saved and kept, and going on where a run stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from runwright.errors import ConfigError
from runwright.trainer.batches import Batches, Cut
from runwright.trainer.checkpoint import CheckpointStore, list_checkpoints
from runwright.trainer.environment import EvaluationStopped, Interrupted, StopFlag, catch_signals
from runwright.trainer.loop import Loop, TrainingState, restore_snapshot
from runwright.trainer.options import Plan, TrainerOptions, make_plan

OPTIONS: dict[str, Any] = {
    "max_epochs": None, "max_steps": 12, "batch_size": 8, "microbatch_size": 3,
    "microbatch_tokens": None, "max_grad_norm": 1.0, "non_finite": "stop", "precision": "fp32",
    "gradient_checkpointing": False, "device": "cpu", "num_threads": 1, "deterministic": False,
    "log_every_steps": 1, "evaluate_at_start": False, "evaluate_every_steps": 5,
    "evaluate_every_epochs": None, "evaluate_tokens": 256,
    "save_every_steps": 4, "save_every_epochs": None, "keep_checkpoints": 9,
    "best_metric": "loss", "best_mode": "min",
    "early_stopping_patience": None, "early_stopping_min_delta": 0.0,
}  # fmt: skip


class Figures:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.records: list[tuple[int, dict[str, float]]] = []
        self.synced: list[int] = []  # the last step recorded then
        self.ledgers: dict[int, str] = {}

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.records.append((step, dict(metrics)))

    def log_ledger(self, ledger: str, *, step: int) -> None:
        self.ledgers[step] = ledger

    def sync(self) -> int:
        self.synced.append(self.records[-1][0] if self.records else 0)
        return len(self.records)

    def curve(self, name: str) -> dict[int, float]:
        return {step: metrics[name] for step, metrics in self.records if name in metrics}


class Run:
    """A loop over a tiny model in a folder; the same arguments make the same run."""

    def __init__(
        self, folder: Path, fixtures: Any, *, values: list[float] | None = None, **options: Any
    ) -> None:
        make_task, make_examples, make_model, make_stepper = fixtures
        self.options = TrainerOptions(**OPTIONS | options)
        task = make_task()
        model = make_model(task, dropout=0.2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        self.stepper = make_stepper(model, task, optimizer=optimizer, max_grad_norm=1.0)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        batches = Batches(make_examples(task, 30), task, batch_size=8, seed=0, cut=Cut(microbatch_size=3))
        self.log, self.stop = Figures(), StopFlag()
        self.checkpoints = CheckpointStore(folder, keep=self.options.keep_checkpoints, identity={})
        self.values = iter(values or [])
        self.state = TrainingState()
        self.loop = Loop(
            batches=batches,
            stepper=self.stepper,
            scheduler=self.scheduler,
            options=self.options,
            plan=make_plan(self.options, steps_per_epoch=batches.steps_per_epoch),
            checkpoints=self.checkpoints,
            log=self.log,
            stop=self.stop,
            evaluate=(lambda: {"validation": {"loss": next(self.values)}}) if values else None,
            on_step=self.on_step,
        )
        self.stop_at: tuple[int, int] | None = None

    def on_step(self, state: TrainingState, result: Any) -> None:
        if self.stop_at and state.step == self.stop_at[0]:
            self.stop.code = self.stop_at[1]

    def train(self) -> int:
        code = self.loop.run(self.state)
        self.checkpoints.wait()
        return code

    def resume(self) -> None:
        found = self.checkpoints.load_newest()
        assert found
        self.state = restore_snapshot(found[1], self.stepper, self.scheduler)

    def weights(self) -> dict[str, torch.Tensor]:
        return dict(self.stepper.model.state_dict())


@pytest.fixture
def fixtures(make_task: Any, make_examples: Any, make_model: Any, make_stepper: Any) -> Any:
    return make_task, make_examples, make_model, make_stepper


def test_a_stopped_and_resumed_run_ends_bit_identical(tmp_path: Path, fixtures: Any) -> None:
    whole = Run(tmp_path / "whole", fixtures)
    assert whole.train() == 0
    for stop_after in (1, 4, 7):
        folder = tmp_path / f"stopped-{stop_after}"
        first = Run(folder, fixtures)
        first.stop_at = (stop_after, signal.SIGTERM)
        assert first.train() == signal.SIGTERM
        second = Run(folder, fixtures)
        second.resume()
        assert second.state.step == stop_after + 1  # the flag travels with the counts of the next step
        assert second.train() == 0
        assert second.state.ledger == whole.state.ledger
        assert second.state.loss_sum.hex() == whole.state.loss_sum.hex()
        losses = first.log.curve("train/loss") | second.log.curve("train/loss")
        assert losses == whole.log.curve("train/loss")
        assert first.log.ledgers | second.log.ledgers == whole.log.ledgers
        assert all(torch.equal(whole.weights()[name], value) for name, value in second.weights().items())


def test_evaluates_and_saves_when_due_and_at_the_end(tmp_path: Path, fixtures: Any) -> None:
    run = Run(tmp_path, fixtures, values=[3.0, 4.0, 5.0])
    run.train()
    assert run.log.curve("validation/loss") == {5: 3.0, 10: 4.0, 12: 5.0}
    assert list(list_checkpoints(tmp_path)) == run.log.synced == [4, 5, 8, 12]  # 5: an improvement
    assert run.state.best_step == 5


def test_a_trial_leaves_no_checkpoint_of_its_last_step(tmp_path: Path, fixtures: Any) -> None:
    run = Run(tmp_path, fixtures, values=[1.0, 2.0, 3.0], best_mode="max", log_every_steps=5)
    run.loop = replace(run.loop, saves_last=False)
    run.train()
    assert list(list_checkpoints(tmp_path)) == [4, 5, 8, 10]
    assert run.state.best_step == 12
    assert list(run.log.curve("train/loss")) == [5, 10, 12]


def test_a_save_that_is_still_written_protects_the_best_step_of_its_time(
    tmp_path: Path, fixtures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected: list[tuple[int, int | None]] = []
    remove = CheckpointStore.remove_old

    def slow(store: CheckpointStore, step: int) -> None:
        time.sleep(0.05)
        protected.append((step, store.protected_step))
        remove(store, step)

    monkeypatch.setattr(CheckpointStore, "remove_old", slow)
    Run(tmp_path, fixtures, values=[3.0, 2.0, 4.0]).train()
    assert protected == [(4, None), (5, 5), (8, 5), (10, 10), (12, 10)]


def test_the_best_is_kept_and_nan_is_never_best(tmp_path: Path, fixtures: Any) -> None:
    run = Run(tmp_path, fixtures, values=[float("nan"), 2.0, 3.0], keep_checkpoints=1)
    run.train()
    assert (run.state.best_step, run.state.best_value) == (10, 2.0)
    assert list(list_checkpoints(tmp_path)) == [10, 12]


def test_an_undefined_metric_is_counted_and_said_once(
    tmp_path: Path, fixtures: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = Run(tmp_path, fixtures, values=[float("nan")] * 3, early_stopping_patience=2)
    run.train()
    assert (run.state.step, run.state.best_step, run.state.undefined_evaluations) == (10, None, 2)
    first, last = [record.getMessage() for record in caplog.records if "undefined" in record.getMessage()]
    assert first.startswith("step 5: validation/loss is undefined (NaN)")
    assert last.startswith("stopped early after step 10 of 12: loss was undefined (NaN) in 2 evaluations; ")


def test_early_stopping_counts_evaluations_without_improvement(tmp_path: Path, fixtures: Any) -> None:
    run = Run(
        tmp_path, fixtures, values=[2.0, 1.5, 2.0, 9.0], evaluate_every_steps=2, early_stopping_patience=2,
        early_stopping_min_delta=0.5,
    )  # fmt: skip
    assert run.train() == 0
    assert run.state.step == 6
    assert run.state.best_step == 2
    run = Run(
        tmp_path / "better", fixtures, values=[5.0, 6.0, 4.0, 6.0, 3.0, 6.0], evaluate_every_steps=2,
        early_stopping_patience=2,
    )  # fmt: skip
    assert run.train() == 0
    assert (run.state.step, run.state.best_step) == (12, 10)  # each improvement begins the count anew


def test_what_is_measured_at_the_start_is_neither_best_nor_a_part_of_the_training(
    tmp_path: Path, fixtures: Any
) -> None:
    values = [3.0, 4.0, 5.0]
    without = Run(tmp_path / "without", fixtures, values=values)
    run = Run(tmp_path / "with", fixtures, values=[1.0, *values], evaluate_at_start=True)
    without.train()
    run.train()
    assert run.log.curve("validation/loss") == {0: 1.0, 5: 3.0, 10: 4.0, 12: 5.0}
    assert (run.state.best_step, run.state.evaluations_without_improvement) == (5, 2)
    assert run.log.curve("train/loss") == without.log.curve("train/loss")
    assert run.state.ledger == without.state.ledger


def test_a_run_with_nothing_left_to_train_says_so(
    tmp_path: Path, fixtures: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    options = {"evaluate_every_steps": 2, "early_stopping_patience": 2}
    for folder, more, last in ((tmp_path / "all", {}, 12), (tmp_path / "early", options, 6)):
        first = Run(folder, fixtures, values=[2.0, 3.0, 4.0], **more)
        first.train()
        second = Run(folder, fixtures, values=[], **more)
        second.resume()
        assert "nothing is left" not in caplog.text
        assert (second.train(), second.state.step) == (0, last)
        assert f"nothing is left to train: step {last} was the last one" in caplog.messages
        assert second.log.curve("train/loss") == {}
        caplog.clear()


def test_a_resumed_run_says_where_the_learning_rate_jumps(
    tmp_path: Path, fixtures: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "runwright.trainer.loop")
    first = Run(tmp_path, fixtures)
    first.stop_at = (2, 143)
    first.train()
    same, longer = Run(tmp_path, fixtures), Run(tmp_path, fixtures)
    caplog.clear()
    same.resume()
    assert not [message for message in caplog.messages if "learning rate" in message]
    longer.scheduler.lr_lambdas = [lambda step: 1 / (2 + step)]
    longer.resume()
    assert "learning rate: 0.0025 by the plan until now → 0.002 by the new one" in caplog.messages


def test_a_resumed_run_does_not_measure_the_start_again(tmp_path: Path, fixtures: Any) -> None:
    first = Run(tmp_path, fixtures, values=[9.0], evaluate_at_start=True)
    first.stop_at = (1, signal.SIGTERM)
    first.train()
    second = Run(tmp_path, fixtures, values=[1.0, 2.0, 3.0], evaluate_at_start=True)
    second.resume()
    second.train()
    assert first.log.curve("validation/loss") == {0: 9.0}
    assert second.log.curve("validation/loss") == {5: 1.0, 10: 2.0, 12: 3.0}


def test_a_signal_during_the_measurement_of_the_start_leaves_no_checkpoint(
    tmp_path: Path, fixtures: Any
) -> None:
    run = Run(tmp_path, fixtures, values=[1.0], evaluate_at_start=True)

    def stopped() -> Any:
        raise EvaluationStopped(signal.SIGTERM)

    run.loop = replace(run.loop, evaluate=stopped)
    assert run.train() == signal.SIGTERM
    assert run.state.step == 0
    assert not list_checkpoints(tmp_path)


def test_a_signal_before_an_evaluation_does_not_lose_it(tmp_path: Path, fixtures: Any) -> None:
    first = Run(tmp_path, fixtures, values=[1.0])
    first.stop_at = (4, signal.SIGTERM)
    first.train()
    assert first.state.step == 5
    assert first.log.curve("validation/loss") == {}
    second = Run(tmp_path, fixtures, values=[1.0, 2.0, 3.0])
    second.resume()
    second.train()
    assert second.log.curve("validation/loss") == {5: 1.0, 10: 2.0, 12: 3.0}


def test_intervals_in_epochs_become_steps() -> None:
    options = TrainerOptions(
        **OPTIONS
        | {"max_steps": None, "max_epochs": 2.5, "evaluate_every_steps": None, "evaluate_every_epochs": 0.25}
    )
    assert make_plan(options, steps_per_epoch=10) == Plan(
        steps_per_epoch=10, total_steps=25, evaluate_every=2, save_every=4
    )


def test_signals_set_the_flag_and_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with catch_signals(StopFlag()) as flag:
        signal.raise_signal(signal.SIGTERM)
        assert flag.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    with catch_signals(StopFlag()):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_is_answered_before_the_step_has_ended(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with catch_signals(StopFlag()):
        signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err == "\nSIGINT: ends after this step and saves; a second Ctrl-C: at once\n"
    monkeypatch.setenv("RUNWRIGHT_WORKER", "0")
    with catch_signals(StopFlag()):
        signal.raise_signal(signal.SIGINT)
    assert not capfd.readouterr().err  # the launcher says it once


def test_before_training_begins_a_signal_ends_at_once() -> None:
    with catch_signals(StopFlag(at_once=True)) as flag:
        with pytest.raises(Interrupted, match="SIGHUP: ended before there was anything to save") as raised:
            signal.raise_signal(signal.SIGHUP)
        assert raised.value.code == 129
        flag.at_once = False
        signal.raise_signal(signal.SIGHUP)
    assert flag.code == 129


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals(StopFlag()) as flag:
            signal.raise_signal(signal.SIGHUP)
        assert flag.code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_split_without_the_figure_to_compare_is_named(tmp_path: Path, fixtures: Any) -> None:
    run = Run(tmp_path, fixtures, values=[1.0], best_metric="f1")
    with pytest.raises(ConfigError, match="given 'f1', expected one of the split 'validation'"):
        run.train()

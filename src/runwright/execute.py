"""The life of a run: from a folder with a resolved configuration to a best model, figures and a true status.

The same function begins a run and goes on with one: where the folder holds a checkpoint, training continues
from it. Only the first of several processes writes.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from runwright import build, outputs
from runwright.api import RunResult
from runwright.dataset.store import cache_root
from runwright.errors import ConfigError, RunwrightError
from runwright.processes import be_deterministic, set_threads, share_of_cores, start_ranks
from runwright.report.log import run_logging
from runwright.report.progress import Progress
from runwright.run_folder import CONFIG_FILE, boot_id, read_config, read_run, update_status
from runwright.targets import instantiate
from runwright.tokenizer.truncation import truncation_report
from runwright.tracker.console import Silent
from runwright.tracker.journal import read_curves
from runwright.tracker.provenance import collect, tags
from runwright.trainer.checkpoint import CheckpointStore, list_checkpoints, load
from runwright.trainer.evaluate import Evaluation, evaluate, predict
from runwright.trainer.loop import EVALUATION_PREFIX, Loop, TrainingState, make_plan, restore_snapshot
from runwright.trainer.options import TrainerOptions
from runwright.trainer.ranks import Ranks
from runwright.trainer.step import Stepper, StepResult
from runwright.trainer.stop import TIME_LIMIT, StopFlag, catch_signals
from runwright.types import Interval, RunInfo, Tracker

logger = logging.getLogger(__name__)

TASK_FILE = "task.json"


class StoppedBySignalError(RunwrightError):
    """A signal ended the run after a whole step; everything is saved."""

    def __init__(self, number: int, folder: Path, step: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"{name} after step {step}: saved. Go on with: runwright train --resume {folder}")
        self.exit_code = 128 + number  # what a shell reports for a process that a signal ended


@dataclass(kw_only=True)
class Run:
    """What the stages of one run share."""

    folder: Path
    config: Mapping[str, Any]
    options: TrainerOptions
    ranks: Ranks
    tracker: Tracker
    progress: Progress
    stop: StopFlag
    seconds: dict[str, float] = field(default_factory=dict)  # by stage


def execute(folder: Path) -> RunResult:
    """Run what `folder`/config.yaml says to its end; the folder then holds everything that came of it.

    Raises StoppedBySignalError where a signal ended it, and whatever went wrong otherwise, after writing it down.
    """
    config = read_config(folder / CONFIG_FILE)
    options = build.build_options(config)
    ranks = start_ranks(options.device, num_processes=config["launch"]["num_processes"])
    set_threads(options.num_threads or share_of_cores(ranks.num_ranks))
    if options.deterministic:
        be_deterministic()
    with run_logging(folder, first=ranks.is_first), catch_signals() as stop:
        tracker = (
            instantiate(config["tracker"], group="tracker", key="tracker") if ranks.is_first else Silent()
        )
        with Progress(enabled=ranks.is_first) as progress:
            run = Run(
                folder=folder,
                config=config,
                options=options,
                ranks=ranks,
                tracker=tracker,
                progress=progress,
                stop=stop,
            )
            return _guarded(run)


def _guarded(run: Run) -> RunResult:
    """The run with its status kept true whatever happens."""
    try:
        _start_tracking(run)
        result = _train_and_report(run)
    except BaseException as error:
        killed = isinstance(error, StoppedBySignalError | KeyboardInterrupt)
        _finish(run, "KILLED" if killed else "FAILED", error=error)
        raise
    _finish(run, "FINISHED")
    return result


def _train_and_report(run: Run) -> RunResult:
    started = time.monotonic()
    prepared = build.prepare(run.config, cache_folder=cache_root() / "examples")
    _describe_data(run, prepared)
    run.seconds["data"] = time.monotonic() - started
    state, stepper = _train(run, prepared)
    best_step = _restore_best(run, state, stepper.model)
    evaluations = _evaluate_splits(run, prepared, stepper.model)
    metrics = {
        f"{split}/{name}": value
        for split, evaluation in evaluations.items()
        for name, value in evaluation.figures.items()
    }
    result = RunResult(
        run_id=read_run(run.folder)["run_id"],
        folder=run.folder,
        global_step=state.step,
        training_loss=state.loss_sum / max(state.step, 1),
        metrics=metrics,
        intervals={},
        best_step=best_step,
        ledger=state.ledger,
        paths={},
    )
    if run.ranks.is_first:
        result = _write_outputs(run, prepared, stepper.model, evaluations, state, result, started)
    run.ranks.barrier()  # nobody leaves before what the others may read is there
    return result


def _write_outputs(
    run: Run,
    prepared: build.Prepared,
    model: torch.nn.Module,
    evaluations: dict[str, Evaluation],
    state: TrainingState,
    result: RunResult,
    started: float,
) -> RunResult:
    """Everything that a person looks at afterwards, and the same for the tracker."""
    paths = {"best": outputs.export_best(run.folder, model, prepared.tokenizer)}
    intervals: dict[str, Interval] = {}
    for split, evaluation in evaluations.items():
        rows = prepared.data.splits[split]
        paths |= outputs.write_predictions(
            run.folder, split, rows=rows, task=prepared.task, evaluation=evaluation
        )
        intervals |= outputs.intervals(
            evaluation,
            split=split,
            metrics=build.build_metrics(run.config),
            group_names=prepared.task.group_names,
            seed=run.config["seed"],
        )
    final = {
        name: value for name, value in result.metrics.items() if not name.startswith(EVALUATION_PREFIX + "/")
    }
    best = {f"best/{name}": value for name, value in result.metrics.items() if name not in final}
    run.tracker.log_metrics(final | best, step=state.step)
    paths |= outputs.write_plots(
        run.folder,
        prepared=prepared,
        evaluations=evaluations,
        curves=read_curves(run.folder / "journal.jsonl"),
        best_step=result.best_step,
    )
    run.seconds["all"] = time.monotonic() - started
    result = replace(result, intervals=intervals, paths=paths)
    for name, path in paths.items():
        run.tracker.log_artifact(path, folder="" if name == "best" else name.partition("/")[0])
    return result


# --- training ---------------------------------------------------------------------------------------------


def _train(run: Run, prepared: build.Prepared) -> tuple[TrainingState, Stepper]:
    """Train to the end; raises StoppedBySignalError after a signal."""
    train, validation = prepared.examples["train"], prepared.examples.get(EVALUATION_PREFIX)
    if validation is None and run.options.early_stopping_patience is not None:
        raise ConfigError(
            "trainer.early_stopping_patience needs a validation split; set dataset.holdout.validation"
        )
    model = build.build_model(run.config, prepared, device=run.ranks.device)
    stepper = build.build_stepper(run.config, model=model, task=prepared.task, ranks=run.ranks)
    batches = build.build_batches(run.config, train, prepared.task, ranks=run.ranks)
    plan = make_plan(run.options, steps_per_epoch=batches.order.steps_per_epoch)
    scheduler = build.build_scheduler(run.config, stepper.optimizer, total_steps=plan.total_steps)
    checkpoints = CheckpointStore(
        run.folder / "checkpoints", keep=run.options.keep_checkpoints, identity=_identity(run)
    )
    state = _resume(checkpoints, stepper, scheduler)
    loop = Loop(
        batches=batches,
        stepper=stepper,
        scheduler=scheduler,
        options=run.options,
        plan=plan,
        checkpoints=checkpoints,
        log=run.tracker,
        stop=run.stop,
        evaluate=partial(_validate, run, prepared, model) if validation is not None else None,
        on_step=partial(_show_step, run, plan.total_steps),
    )
    with run.progress.training(total=plan.total_steps, done=state.step):
        code = loop.run(state)
    checkpoints.wait()
    run.seconds |= {
        "train": state.train_seconds,
        "evaluate": state.evaluate_seconds,
        "save": checkpoints.seconds,
    }
    if code > TIME_LIMIT:
        raise StoppedBySignalError(code, run.folder, state.step)
    if code == TIME_LIMIT:
        logger.info("trainer.max_minutes reached after step %d of %d", state.step, plan.total_steps)
    return state, stepper


def _resume(checkpoints: CheckpointStore, stepper: Stepper, scheduler: Any) -> TrainingState:
    found = checkpoints.load_newest()
    if found is None:
        return TrainingState()
    info, snapshot = found
    state = restore_snapshot(snapshot, stepper, scheduler)
    checkpoints.protected_step = state.best_step
    logger.info("going on from step %d (%s)", state.step, info.folder)
    return state


def _validate(run: Run, prepared: build.Prepared, model: torch.nn.Module) -> Mapping[str, float]:
    return _evaluate_split(run, prepared, model, EVALUATION_PREFIX).figures


def _evaluate_split(run: Run, prepared: build.Prepared, model: torch.nn.Module, split: str) -> Evaluation:
    examples = prepared.examples[split]
    with run.progress.evaluating(split, total=len(examples)) as on_progress:
        predictions = predict(
            model,
            prepared.task,
            examples,
            max_tokens=run.options.evaluate_tokens,
            ranks=run.ranks,
            autocast=build.build_autocast(run.options, run.ranks.device),
            on_progress=on_progress,
        )
    return evaluate(
        predictions, metrics=build.build_metrics(run.config), group_names=prepared.task.group_names
    )


def _evaluate_splits(run: Run, prepared: build.Prepared, model: torch.nn.Module) -> dict[str, Evaluation]:
    """Every split but train, with the best weights."""
    began = time.monotonic()
    found = {
        split: _evaluate_split(run, prepared, model, split) for split in prepared.examples if split != "train"
    }
    run.seconds["evaluate"] += time.monotonic() - began
    return found


def _restore_best(run: Run, state: TrainingState, model: torch.nn.Module) -> int | None:
    """Put the weights of the best step into the model; the last ones stay where nothing was compared."""
    if state.best_step in (None, state.step):
        return state.best_step
    for info in list_checkpoints(run.folder / "checkpoints"):
        if info.step == state.best_step:
            model.load_state_dict(dict(load(info.folder).weights))
            return info.step
    logger.warning("the checkpoint of the best step %s is gone; the last weights are used", state.best_step)
    return state.step


def _identity(run: Run) -> dict[str, Any]:
    return {
        "config": build.config_hash(run.config),
        "num_processes": run.ranks.num_ranks,
        "num_threads": torch.get_num_threads(),
        "device": run.ranks.device.type,
        "torch": torch.__version__,
    }


# --- what is shown and recorded -----------------------------------------------------------------------------


def _start_tracking(run: Run) -> None:
    if not run.ranks.is_first:
        return
    record = read_run(run.folder)
    found = collect()
    (run.folder / "provenance.json").write_text(
        json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    run.tracker.start(
        RunInfo(
            run_id=record["run_id"],
            name=run.config["name"],
            folder=run.folder,
            config=run.config,
            overrides=tuple(record["overrides"]),
        )
    )
    update_status(
        run.folder,
        "RUNNING",
        host=socket.gethostname(),
        pid=os.getpid(),
        boot_id=boot_id(),
        device=str(run.ranks.device),
    )
    run.tracker.log_params({key: value for key, value in run.config.items() if key != "hydra"})
    run.tracker.log_tags(tags(found))
    for name in (CONFIG_FILE, "overrides.yaml", "provenance.json"):
        run.tracker.log_artifact(run.folder / name)


def _finish(run: Run, status: str, *, error: BaseException | None = None) -> None:
    if not run.ranks.is_first:
        return
    fields: dict[str, Any] = {"end_time": time.time()}
    if error is not None and status == "FAILED":
        fields["error"] = f"{type(error).__name__}: {error}"
        report = run.folder / "traceback.txt"
        report.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        run.tracker.log_artifact(report)
    update_status(run.folder, status, **fields)
    if (run.folder / "log.txt").is_file():
        run.tracker.log_artifact(run.folder / "log.txt")
    run.tracker.finish(status)


def _describe_data(run: Run, prepared: build.Prepared) -> None:
    if not run.ranks.is_first:
        return
    (run.folder / TASK_FILE).write_text(json.dumps(prepared.task.state_dict(), indent=1), encoding="utf-8")
    for row in prepared.data.table():
        logger.info("data: %s: %d rows", row["split"], row["rows"])
    lengths = prepared.examples["train"].column("full_length")
    logger.info("train: %s", truncation_report(lengths, prepared.task.max_length).describe())
    data = {"fingerprints": prepared.data.fingerprints, "notes": prepared.data.notes}
    (run.folder / "data.json").write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")
    run.tracker.log_tags({f"data.{split}": value for split, value in prepared.data.fingerprints.items()})


def _show_step(run: Run, total: int, state: TrainingState, result: StepResult) -> None:
    seconds = max(state.train_seconds, 1e-9)
    run.progress.step(
        state.step,
        total,
        {
            "loss": result.loss,
            "samples/s": state.num_examples / seconds,
            "tokens/s": state.real_tokens / seconds,
        },
    )

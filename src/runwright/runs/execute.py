"""Train a run from its folder to a best model, metrics and a final status: finished, failed or killed.

The same function begins a run and resumes one: where the folder holds a checkpoint, training continues from
it. Only the first of several ranks writes.
"""

import json
import logging
import shlex
import shutil
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from runwright import build
from runwright.config.redaction import Redactor, reveal
from runwright.config.targets import instantiate
from runwright.errors import CheckpointError, ConfigError, RunwrightError, first_line
from runwright.model.padding_free import is_padding_free
from runwright.model.parameters import count_but_embeddings
from runwright.report.log import run_logging
from runwright.report.progress import Progress
from runwright.report.summary import RunSummary, print_summary
from runwright.report.terminal import EvaluationTable
from runwright.runs import record
from runwright.runs.data_identity import has_begun
from runwright.runs.folder import CONFIG_FILE, read_config, read_run, read_saved
from runwright.runs.outputs import check_examples, check_splits, evaluate_splits, write_samples
from runwright.runs.record import Run
from runwright.runs.resume import check_identity, config_hash
from runwright.store import file_sha256
from runwright.sweep import trial
from runwright.tokenizer.pretrained import tokenizer_fingerprint
from runwright.tracker.console import JournalTracker
from runwright.trainer import environment
from runwright.trainer.batches import Batches, StreamBatches
from runwright.trainer.checkpoint import CheckpointStore, Snapshot, list_checkpoints, load, read_identity
from runwright.trainer.environment import EvaluationStopped, StopFlag, catch_signals
from runwright.trainer.evaluate import Evaluation
from runwright.trainer.loop import Loop, TrainingState, restore_snapshot
from runwright.trainer.options import VALIDATION, choose_splits, make_plan
from runwright.trainer.ranks import end_ranks, open_store
from runwright.trainer.sharding import gathered, release
from runwright.trainer.step import Stepper, StepResult
from runwright.types import RunResult, Speed
from runwright.version import __version__

logger = logging.getLogger(__name__)

# One run of several threads: torch's random numbers and number of threads, and logging, are the process's.
_ALONE = threading.RLock()


class StoppedBySignalError(RunwrightError):
    """A signal ended the run after a whole step; everything is saved."""

    def __init__(self, code: int, folder: Path, step: int) -> None:
        name = signal.Signals(code - 128).name
        again = f"runwright train --resume {shlex.quote(str(folder))}"
        super().__init__(f"{name} after step {step}: saved. Go on with: {again}")
        self.exit_code = code  # what a shell reports for a process that a signal ended


def execute(folder: Path) -> RunResult:
    """Run the configuration in a run's folder to its end; the folder then holds all results.

    Raises StoppedBySignalError where a signal ended it; any other error is recorded and raised.
    """
    # Only the first process tracks the run.
    config = reveal(read_saved(folder), but="tracker" if environment.rank() else "")
    options, first = build.build_options(config), not environment.rank()
    with (
        _ALONE,
        run_logging(folder, first=first, redact=Redactor().text, level=config["log"]["level"]),
        Progress(enabled=first, mode=config["log"]["progress"], stages_before=1) as progress,
    ):
        with progress.starting("starting the processes"):
            num_threads = options.num_threads or environment.share_of_cores(environment.local_world_size())
            ranks = build.join_ranks(config, num_threads=num_threads)
        tracker = JournalTracker(system_every_seconds=None)  # never started, it records nothing
        if first:
            tracker = instantiate(config["tracker"], group="tracker", key="tracker")
        with catch_signals(StopFlag(at_once=True)) as stop:
            run = Run(
                folder=folder,
                run_id=read_run(folder)["run_id"],
                config=config,
                options=options,
                metrics=build.build_metrics(config),
                ranks=ranks,
                tracker=tracker,
                progress=progress,
                stop=stop,
            )
            result = _guarded(run)
        end_ranks(ranks)
        return result


def _guarded(run: Run) -> RunResult:
    """The result, with the recorded status true whatever happens."""
    prepared = None
    if has_begun(run.folder):  # what refuses to resume is found before the run's record is touched
        prepared = record.prepare_data(run)
        run.checkpoint = _load_newest(run, prepared)
    try:
        if run.ranks.is_first:
            with run.progress.starting("opening the tracker, recording code and packages"):
                record.start_recording(run)
        result, summary = _train_and_report(run, prepared or record.prepare_data(run))
    except BaseException as error:
        killed = isinstance(error, StoppedBySignalError | KeyboardInterrupt)
        if run.ranks.is_first:
            record.finish_recording(run, "KILLED" if killed else "FAILED", error=error)
        raise
    if run.ranks.is_first:
        record.finish_recording(run, "PRUNED" if run.is_pruned else "FINISHED")
        if not run.options.keep_checkpoints:
            shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    if summary is not None:
        try:
            print_summary(summary)
        finally:  # also where nobody reads it: `… | head`
            record.push_best(run)
    return result


def _train_and_report(run: Run, prepared: build.Prepared) -> tuple[RunResult, RunSummary | None]:
    """The result, and on the first rank the summary to print."""
    run.metrics = build.build_metrics(run.config, task=prepared.task)
    judged = {split: rows for split, rows in prepared.data.splits.items() if split != "train"}
    run.notes = build.metric_notes(run.config, prepared.task, judged)
    if run.ranks.is_first:
        record.describe_data(run, prepared)
    state, model = _train(run, prepared)
    if run.is_pruned:
        run.tracker.log_tags({"pruned_at_step": str(state.step)})
        return _result(run, state, model, best_step=state.best_step, metrics={}), None
    best_step = state.best_step
    if best_step not in (None, state.step):  # the last weights stay where nothing was compared
        run.evaluations = {}
        if folder := list_checkpoints(run.folder / "checkpoints").get(best_step or 0):
            model.load_state_dict(dict(load(folder).weights))
        else:
            logger.warning("the checkpoint of the best step %s is gone; the last weights are used", best_step)
            best_step = state.step
    if state.undefined_evaluations:
        others = f"step {state.best_step}, the best of the others"
        run.notes.append(
            f"trainer.best_metric={run.options.best_metric} was undefined (NaN) at "
            f"{state.undefined_evaluations} evaluations, as where all labels of a split are the same, or "
            "predictions are NaN: best/ holds "
            + (f"the last step, {state.step}" if state.best_step is None else others)
        )
        logger.warning("%s", run.notes[-1])
    evaluations = _evaluate_best(run, prepared, model, step=state.step)
    metrics = {split: evaluation.metrics for split, evaluation in evaluations.items()}
    named = {f"{split}/{name}": value for split in metrics for name, value in metrics[split].items()}
    result = _result(run, state, model, best_step=best_step, metrics=named)
    if not run.ranks.is_first:
        return result, None  # nobody waits for the first one's files: they may take long
    result = record.write_results(run, prepared, model, evaluations, result)
    entry = read_run(run.folder)
    run.seconds["all"] = time.time() - entry["start_time"] - entry.get("idle_seconds", 0.0)
    return result, record.record_summary(run, state, result)


def _result(
    run: Run, state: TrainingState, model: Any, *, best_step: int | None, metrics: dict[str, float]
) -> RunResult:
    """The result of a training, before its files are written."""
    return RunResult(
        run_id=run.run_id,
        folder=run.folder,
        global_step=state.step,
        training_loss=state.loss_sum / max(state.step, 1),
        metrics=metrics,
        intervals={},
        best_step=best_step,
        ledger=state.ledger,
        paths={},
        speed=Speed(
            seconds=state.train_seconds,
            num_samples=state.num_examples,
            num_steps=state.step,
            num_tokens=state.real_tokens,
            flops_per_token=6.0 * count_but_embeddings(model),
        ),
    )


def _train(run: Run, prepared: build.Prepared) -> tuple[TrainingState, torch.nn.Module]:
    """Train to the end; the state then, and the whole model. Raises StoppedBySignalError after a signal."""
    options, task = run.options, prepared.task
    splits = choose_splits(prepared.examples)
    check_splits(options, splits)
    check_examples(prepared, splits)
    make_model = partial(build.build_model, run.config, prepared, device=run.ranks.device)
    with run.progress.starting(f"making the model and its optimizer on {run.ranks.device}"):
        stepper = build.build_stepper(run.config, model=make_model(), task=task, ranks=run.ranks)
    attention = "padding_free" if is_padding_free(stepper.model) else "padded"
    if run.ranks.is_first:
        record.record_models(run, attention=attention)
    batches = build.build_batches(run.config, prepared, ranks=run.ranks, padded=attention == "padded")
    if options.microbatch_tokens == "auto" and isinstance(batches, Batches):
        batches = record.settle_cut(run, stepper, batches)
    plan = make_plan(options, steps_per_epoch=batches.steps_per_epoch)
    scheduler = build.build_scheduler(run.config, stepper.optimizer, total_steps=plan.total_steps)
    checkpoints = CheckpointStore(
        run.folder / "checkpoints",
        keep=max(1, options.keep_checkpoints),
        identity=_identity(run, prepared) | {"attention": attention},
    )
    state = _restore(run, checkpoints, stepper, scheduler)
    if isinstance(batches, StreamBatches):
        batches.resume(state.stream)
    table = EvaluationTable(split=next(iter(splits), VALIDATION), metric=options.best_metric)

    loop = Loop(
        batches=batches,
        stepper=stepper,
        scheduler=scheduler,
        options=options,
        plan=plan,
        checkpoints=checkpoints,
        log=run.tracker,
        stop=run.stop,
        evaluate=partial(_validate, run, prepared, stepper, splits) if splits else None,
        on_step=partial(_show_step, run, plan.total_steps),
        on_evaluation=partial(_after_evaluation, run, table, plan),
        is_pruned=lambda: run.is_pruned,
        saves_last=not trial.in_trial(),
    )
    run.stop.at_once = False
    with run.progress.training(total=plan.total_steps, done=state.step, steps_per_epoch=plan.steps_per_epoch):
        code = loop.run(state)
    checkpoints.wait()
    run.ranks.barrier()  # the others read what the first one wrote
    run.seconds |= {"train": state.train_seconds, "evaluate": state.evaluate_seconds}
    run.seconds["save"] = checkpoints.seconds
    run.end = {"step": state.step, "steps": plan.total_steps, "reason": loop.why_ended(state, code)}
    if code:
        raise StoppedBySignalError(code, run.folder, state.step)
    return state, release(stepper.model, make_model)


def _after_evaluation(
    run: Run,
    table: EvaluationTable,
    plan: Any,
    state: TrainingState,
    by_split: Mapping[str, Mapping[str, float]],
) -> None:
    """Show an evaluation, and let a sweep's pruner judge it by its first split."""
    for line in table.lines(state.step, by_split, is_best=state.best_step == state.step):
        run.progress.keep(line)
    if state.step < plan.total_steps or run.ranks.sharded:  # of other weights, or of weights in parts
        run.evaluations = {}
    if run.ranks.is_first and run.samples:
        for file in write_samples(run.folder, state.step, run.samples):
            run.tracker.log_artifact(file)
    if trial.in_trial() and state.step:
        value = next(iter(by_split.values()))[run.options.best_metric]
        # Trials of other batch sizes are compared after as much data: evaluations are counted, not steps.
        number = -(-state.step // plan.evaluate_every)
        prune = run.ranks.is_first and trial.should_prune_after(number, value)
        run.is_pruned = any(run.ranks.per_rank(int(prune)))


def _load_newest(run: Run, prepared: build.Prepared) -> tuple[Path, Snapshot] | None:
    """The newest checkpoint; raises CheckpointError where the run must not be resumed from it."""
    store = CheckpointStore(run.folder / "checkpoints", keep=1, identity=_identity(run, prepared))
    newest = store.load_newest()
    if len(set(run.ranks.per_rank(newest[1].step if newest else 0))) > 1:
        raise CheckpointError(f"{store.folder}: not all processes read the same checkpoint there")
    if newest is not None:
        _require_steps_left(run, prepared, newest[1].step)
        for reason in check_identity(read_identity(newest[0]), store.identity):
            logger.warning("resuming, but not bit for bit: %s", reason)
    return newest


def _require_steps_left(run: Run, prepared: build.Prepared, step: int) -> None:
    """Raise ConfigError where the run was made shorter than it has been trained already."""
    train, options = prepared.examples.get("train"), run.options
    per_epoch = None if train is None else -(-len(train) // options.batch_size)
    if step > (total := make_plan(options, steps_per_epoch=per_epoch).total_steps):
        key = "trainer.max_steps" if options.max_epochs is None else "trainer.max_epochs"
        raise ConfigError(
            f"{key}: given {total} steps, but {step} are done already, expected at least as many"
        )


def _restore(run: Run, checkpoints: CheckpointStore, stepper: Stepper, scheduler: Any) -> TrainingState:
    """The state of the checkpoint that was loaded, or a new one; its copy of the weights is let go."""
    newest, run.checkpoint = run.checkpoint, None
    if newest is None:
        return TrainingState()
    folder, snapshot = newest
    now = checkpoints.identity["attention"]
    if (saved := read_identity(folder).get("attention", now)) != now:
        logger.warning("resuming, but not bit for bit: attention %s → %s rounds in another order", saved, now)
    try:
        state = restore_snapshot(snapshot, stepper, scheduler)
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: its content does not fit the run ({first_line(error)})") from error
    checkpoints.protected_step = state.best_step
    if run.ranks.is_first:
        checkpoints.remove_old(state.step)  # a kill may have come between a save and this
    logger.info("resuming from step %d (%s)", state.step, folder)
    return state


def _validate(
    run: Run, prepared: build.Prepared, stepper: Stepper, splits: Sequence[str]
) -> Mapping[str, Mapping[str, float]]:
    """Metrics by split; those of the first rank on all, since all must decide alike."""
    with gathered(stepper.model):
        evaluations = evaluate_splits(run, prepared, stepper.model, splits)
    run.evaluations = evaluations
    if (task := prepared.task).generates:
        run.samples = {split: task.samples(one.predictions) for split, one in evaluations.items()}
    metrics = {split: evaluation.metrics for split, evaluation in evaluations.items()}
    return json.loads(run.ranks.gather(json.dumps(metrics).encode())[0])


def _evaluate_best(
    run: Run, prepared: build.Prepared, model: torch.nn.Module, *, step: int
) -> dict[str, Evaluation]:
    """Evaluations of every split but train with the best weights; the last one stands if it is of them."""
    began = time.monotonic()
    # A search must not see the rows that the chosen model is judged on in the end.
    hidden = "test" if trial.in_trial() else "train"
    splits = [split for split in prepared.examples if split != "train" and not split.startswith(hidden)]
    try:
        others = [split for split in splits if split not in run.evaluations]
        more = evaluate_splits(run, prepared, model, others)
        evaluations = {split: (more | dict(run.evaluations))[split] for split in splits}
    except EvaluationStopped as stopped:
        raise StoppedBySignalError(stopped.code, run.folder, step) from None
    run.seconds["evaluate"] += time.monotonic() - began
    return evaluations


def _identity(run: Run, prepared: build.Prepared) -> dict[str, Any]:
    return {
        "config": config_hash(read_config(run.folder / CONFIG_FILE)),  # secrets are no part of it
        "tokenizer": tokenizer_fingerprint(prepared.tokenizer, with_version=False),
        "num_processes": run.ranks.num_ranks,
        "strategy": "fsdp" if run.ranks.sharded else "replicated",
        "num_threads": torch.get_num_threads(),
        "device": run.ranks.device.type,
        "torch": torch.__version__,
        "runwright": __version__,
    }


def _show_step(run: Run, total: int, state: TrainingState, result: StepResult) -> None:
    seconds = max(state.train_seconds, 1e-9)
    rates = {"samples/s": state.num_examples / seconds, "tokens/s": state.real_tokens / seconds}
    run.progress.step(state.step, total, {"loss": result.loss, **rates})


SHARED_FOLDER_SECONDS = 30.0  # for a network file system to show what another machine wrote


def share_folder(folder: Path | None) -> Path:
    """The run's folder, sent by rank 0 to the others, which check that they see the same one."""
    if folder is not None and environment.world_size() == 1:
        return folder
    store = open_store()
    if folder is not None:
        store.set("runwright/folder", json.dumps([str(folder), file_sha256(folder / CONFIG_FILE)]))
        return folder
    name, digest = json.loads(store.get("runwright/folder"))
    file = Path(name) / CONFIG_FILE
    until = time.monotonic() + SHARED_FOLDER_SECONDS
    while not (file.is_file() and file_sha256(file) == digest):
        if time.monotonic() > until:
            raise ConfigError(
                f"output_dir: given a folder in which {socket.gethostname()} does not see {file} as rank 0 "
                "wrote it, expected one that all machines share"
            )
        time.sleep(0.2)
    return file.parent

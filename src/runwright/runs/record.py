"""Record a run in its folder and its tracker: provenance, data, status, results.

Only the first of several ranks writes; the others call the same functions, which then do nothing.
"""

import logging
import shlex
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from runwright import build
from runwright.config.permissions import granted
from runwright.config.redaction import redact
from runwright.dataset.checks import describe
from runwright.dataset.load import LoadedData
from runwright.report.progress import Progress
from runwright.report.summary import RunSummary, peak_memory_bytes, write_summary
from runwright.runs import folder as folders
from runwright.runs import outputs
from runwright.runs.card import write_card
from runwright.runs.data_identity import DATA_FILE, check_data, record_data
from runwright.runs.page import write_report
from runwright.runs.states import TRACEBACK_FILE, mark_all
from runwright.store import cache_root, read_json, write_json
from runwright.sweep import trial
from runwright.tokenizer.trained import keep_trained
from runwright.tracker import hub
from runwright.tracker.journal import FILE_NAME as JOURNAL_FILE
from runwright.tracker.journal import read_curves
from runwright.tracker.provenance import code_folders, collect, hash_model, tags
from runwright.trainer.batches import Batches
from runwright.trainer.checkpoint import Snapshot, is_valid, list_checkpoints
from runwright.trainer.environment import StopFlag
from runwright.trainer.evaluate import Evaluation
from runwright.trainer.loop import TrainingState
from runwright.trainer.options import TrainerOptions, choose_splits
from runwright.trainer.probe import largest_fit
from runwright.trainer.ranks import Ranks
from runwright.trainer.step import Stepper
from runwright.types import Interval, Metric, RunInfo, RunResult, Tracker

logger = logging.getLogger(__name__)

TASK_FILE = "task.json"
LOG_FILE = "log.txt"
PROVENANCE_FILE = "provenance.json"
MODELS_FILE = "models.json"
MAX_PREDICTIONS_BYTES = 25 * 2**20  # for a page at the end: reading them takes about half a second
MAX_DEATHS_NAMED = 2  # of earlier runs that died; a reader of a log wants to know of its own


@dataclass(kw_only=True)
class Run:
    """State that the stages of one run share."""

    folder: Path
    run_id: str
    config: Mapping[str, Any]
    options: TrainerOptions
    metrics: Mapping[str, Metric]
    ranks: Ranks
    tracker: Tracker
    progress: Progress
    stop: StopFlag
    is_pruned: bool = False  # ended early by the pruner of a sweep
    is_read: bool = True  # not a trial of a sweep that is worse than another one
    checkpoint: tuple[Path, Snapshot] | None = None  # to resume from, until it is restored
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    data_changes: list[str] = field(default_factory=list)  # since it was last trained, allowed by the user
    end: dict[str, Any] = field(default_factory=dict)  # of the training: its step, of how many, and why there
    samples: Mapping[str, Any] = field(default_factory=dict)  # texts of the last evaluation, by split
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)  # of the last step of all, by split
    notes: list[str] = field(default_factory=list)  # on what the metrics mean, for summary and page


def start_recording(run: Run) -> None:
    """Open the tracker and record configuration and provenance; for the first rank."""
    deaths = mark_all(run.config["output_dir"])
    for death in deaths[-MAX_DEATHS_NAMED:]:
        logger.warning("%s: marked %s: %s", death.folder, death.status, death.reason)
    if len(deaths) > MAX_DEATHS_NAMED:
        logger.warning("%d earlier runs had died too: runwright runs", len(deaths) - MAX_DEATHS_NAMED)
    record = folders.read_run(run.folder)
    run.tracker.start(
        RunInfo(
            run_id=run.run_id,
            name=run.config["name"],
            folder=run.folder,
            config=run.config,
            overrides=tuple(record["overrides"]),
            start_time=record["start_time"],
            sweep=record.get("sweep"),
        )
    )
    # Of a resumed run the record has an earlier end, which is no longer so.
    earlier = dict.fromkeys(sorted({"end", "end_time", "error", "files", "reason"} & record.keys()))
    if record.get("end_time"):  # until now nobody worked at it
        idle = record.get("idle_seconds", 0.0) + max(0.0, time.time() - record["end_time"])
        earlier["idle_seconds"] = idle
    folders.update_status(
        run.folder, "RUNNING", **earlier, **folders.this_process(), device=str(run.ranks.device)
    )
    run.tracker.log_params({key: value for key, value in run.config.items() if key != "references"})
    for name in (folders.CONFIG_FILE, folders.OVERRIDES_FILE):
        run.tracker.log_artifact(run.folder / name)
    if run.config.get("hub", {}).get("repo") and not get_token():
        logger.warning("hub.repo: nobody is logged in to the hub: hf auth login, or the variable HF_TOKEN")
    record_origin(run.folder, run.config, num_processes=run.ranks.num_ranks, tracker=run.tracker)


def finish_recording(run: Run, status: str, *, error: BaseException | None = None) -> None:
    """Record the final status and close the tracker; a failure leaves traceback.txt. For the first rank."""
    fields: dict[str, Any] = {"end_time": time.time(), **({"end": run.end} if run.end else {})}
    fields["files"] = folders.checksums(run.folder)
    if error is not None and status == "FAILED":
        fields["error"] = redact(f"{type(error).__name__}: {error}")
        report = run.folder / TRACEBACK_FILE
        with suppress(OSError):  # the disk may be what failed
            report.write_text(redact("".join(traceback.format_exception(error))), encoding="utf-8")
            run.tracker.log_artifact(report)
    folders.update_status(run.folder, status, **fields)
    if (run.folder / LOG_FILE).is_file():
        run.tracker.log_artifact(run.folder / LOG_FILE)
    run.tracker.finish(status)


def prepare_data(run: Run) -> build.Prepared:
    """Rows, task and examples; raises CheckpointError where the run was trained on others."""
    started = time.monotonic()

    def check(data: LoadedData, task: Any) -> None:
        run.data_changes = check_data(run.folder, run.config, run.ranks, data, task)

    prepared = build.prepare(
        run.config,
        cache_folder=cache_root() / "examples",
        run_folder=run.folder,
        check=check,
        progress=run.progress,
    )
    run.seconds["data"] = time.monotonic() - started
    return prepared


def describe_data(run: Run, prepared: build.Prepared) -> None:
    """Record the rows and what the task learned from them; for the first rank."""
    write_json(run.folder / TASK_FILE, prepared.task.state_dict())
    keep_trained(run.config["tokenizer"], prepared.tokenizer, run.folder)
    for warning in prepared.data.warnings:
        logger.warning("data: %s", warning)
    for line in first_look(run.config, prepared):
        logger.info("data: %s", line)
    for note in run.notes:
        logger.info("metrics: %s", note)
    if changed := bool(run.data_changes):  # before the record of the data, which is not compared after it
        checkpoints = reversed(list_checkpoints(run.folder / "checkpoints").items())
        step = next((step for step, folder in checkpoints if is_valid(folder)), 0)
        change = redact({"step": step, "changes": run.data_changes})
        texts = "; ".join(change["changes"])
        logger.warning("from step %d on the data is not what it was: %s", step, texts)
        earlier = folders.read_run(run.folder).get("data_changes", [])
        folders.update_status(run.folder, "RUNNING", data_changes=[*earlier, change])
        run.tracker.log_tags({"data.changed": f"from step {step} on: {texts}"})
    file = record_data(run.folder, run.config, prepared.data, prepared.task, changed=changed)
    run.tracker.log_artifact(file)
    run.tracker.log_tags({f"data.{split}": value for split, value in prepared.data.fingerprints.items()})


def first_look(config: Mapping[str, Any], prepared: build.Prepared) -> Iterator[str]:
    """Lines of a first look at the rows, with the share of inputs that are truncated."""
    task, cut = prepared.task, {}
    for split, examples in prepared.examples.items():
        if not task.cuts_windows and len(examples):
            is_cut = examples.column("full_length") > task.max_length
            if "full_target_length" in examples.names:
                is_cut |= examples.column("full_target_length") > task.max_target_length
            cut[split] = float(is_cut.mean())
    source = config["dataset"].get("source") or {}
    return describe(prepared.data, task, prepared.looks, source=source, cut=cut)


def record_models(run: Run, *, attention: str) -> None:
    """Record the files that model and tokenizer were read from, which must be there, and how texts run."""
    run.tracker.log_tags({"attention": attention})
    nodes = {group: run.config.get(group) for group in ("model", "tokenizer")}
    models = {
        group: hash_model(node["name"], revision=node.get("revision"), cache=cache_root())
        for group, node in nodes.items()
        if isinstance(node, Mapping) and isinstance(node.get("name"), str)
    }
    write_json(run.folder / MODELS_FILE, redact(models))
    run.tracker.log_artifact(run.folder / MODELS_FILE)


def settle_cut(run: Run, stepper: Stepper, batches: Batches) -> Batches:
    """The batches cut into the largest microbatches that there is memory for; config.yaml holds them."""
    with run.progress.counting("trying how many tokens of a microbatch there is memory for"):
        tokens = largest_fit(stepper, batches)
    run.config = {**run.config, "trainer": {**run.config["trainer"], "microbatch_tokens": tokens}}
    if run.ranks.is_first:
        config = folders.read_config(run.folder / folders.CONFIG_FILE)
        config["trainer"]["microbatch_tokens"] = tokens
        folders.write_config(run.folder, config)
        text = "the longest examples fit into memory in microbatches of"
        logger.info("trainer.microbatch_tokens=auto: %s %d tokens; a resumed run keeps them", text, tokens)
    run.ranks.barrier()  # the configuration is part of the identity of checkpoints
    return replace(batches, cut=replace(batches.cut, microbatch_tokens=tokens))


def write_results(
    run: Run, prepared: build.Prepared, model: Any, evaluations: Mapping[str, Evaluation], result: RunResult
) -> RunResult:
    """Write best model, predictions and tables; the result with its intervals and all files.

    Of a trial of a sweep that is not the best so far the model alone: nobody reads the rest.
    """
    task, splits = prepared.task, prepared.data.splits
    paths = {"best": outputs.export_best(run.folder, model, prepared.tokenizer, task=task)}
    intervals: dict[str, Interval] = {}
    curves = choose_splits(prepared.examples)
    run.is_read = trial.is_best(result.metrics, f"{next(iter(curves), None)}/{run.options.best_metric}")
    for split, evaluation in evaluations.items() if run.is_read else ():
        paths |= outputs.write_split(run.folder, split, rows=splits[split], task=task, evaluation=evaluation)
        intervals |= outputs.intervals(
            evaluation,
            split=split,
            metrics=build.with_intervals(run.config, run.metrics),
            group_names=task.group_names,
            seed=run.config["seed"],
        )
    # Beside a curve, whose name they must not take.
    final = {
        f"best/{name}" if name.partition("/")[0] in curves else name: value
        for name, value in result.metrics.items()
    }
    best = result.global_step if result.best_step is None else result.best_step
    run.tracker.log_metrics(final, step=best)
    if not run.is_read:
        return replace(result, paths=paths)
    result = replace(result, intervals=intervals, paths=paths)
    with _harmless("no model card could be written"):
        write_card(run.folder, result, data=prepared.data, notes=run.notes)
    about = outputs.about_model(task, splits, step=best)
    run.tracker.log_model(paths["best"], about=about)
    for name, path in paths.items():
        if name != "best":
            run.tracker.log_artifact(path)
    return result


def record_summary(run: Run, state: TrainingState, result: RunResult) -> RunSummary:
    """The summary as a file and its rates as metrics; not printed yet."""
    curves = read_curves(run.folder / JOURNAL_FILE) if run.options.evaluate_at_start else {}
    at_start = {name: values[0] for name, (steps, values) in curves.items() if len(steps) and not steps[0]}
    summary = RunSummary(
        **{entry.name: getattr(result, entry.name) for entry in fields(result)},
        name=run.config["name"],
        before={name: float(at_start[name]) for name in result.metrics if name in at_start},
        references=run.config.get("references", {}),
        seconds=run.seconds,
        real_tokens=state.real_tokens,
        padded_tokens=state.padded_tokens,
        peak_memory_bytes=peak_memory_bytes(),
        device=str(run.ranks.device),
        data_warnings=read_json(run.folder / DATA_FILE).get("warnings", []),
        data_changes=folders.read_run(run.folder).get("data_changes", []),
        notes=run.notes,
        tracked_at=str(getattr(run.tracker, "location", "")),
    )
    measured = {f"speed/{name}": value for name, value in summary.rates.items()}
    measured |= {f"time/{stage}_seconds": seconds for stage, seconds in run.seconds.items()}
    measured["memory/peak_bytes"] = float(summary.peak_memory_bytes or 0)
    run.tracker.log_metrics(measured, step=state.step)
    run.tracker.log_tags({"ledger": result.ledger})
    run.tracker.log_artifact(write_summary(summary))
    size = sum(file.stat().st_size for file in run.folder.glob("predictions/*.jsonl"))
    if run.is_read and size > MAX_PREDICTIONS_BYTES:
        logger.info("no report.html, since there are many predictions: runwright report %s", run.folder)
    elif run.is_read:
        with _harmless("no report.html could be made"):
            run.tracker.log_artifact(write_report(run.folder, is_sweep=False))
    return summary


@contextmanager
def _harmless(failure: str) -> Iterator[None]:
    """Turn an error of the block, which writes for people alone, into a warning: the run goes on."""
    try:
        yield
    except Exception as error:
        logger.warning("%s: %s", failure, error, exc_info=not isinstance(error, OSError))


def push_best(run: Run) -> None:
    """Push the best model where `hub.repo` says; a failure is recorded, and is no failure of the run."""
    options = run.config.get("hub") or {}
    if not (repo := options.get("repo")):
        return
    run.stop.at_once = True  # all is recorded: Ctrl-C ends the upload
    again = f"runwright push {shlex.quote(str(run.folder))}"
    if {"sweep", "reproduces"} & folders.read_run(run.folder).keys():
        logger.info("not pushed to %s, as one of several runs: %s", repo, again)
        return
    pushed = {"repo": repo, "error": "it was interrupted"}
    folders.update_status(run.folder, "FINISHED", pushed=pushed)
    try:
        address = hub.push(hub.choose_files(run.folder / "best"), repo, private=options["private"])
        logger.info("pushed: %s", address)
        pushed = {"repo": repo, "commit": address}
    except Exception as error:  # noqa: BLE001 - the run has finished
        pushed["error"] = redact(str(error) or type(error).__name__)
        logger.warning("not pushed: %s; to try again: %s", pushed["error"], again)
    folders.update_status(run.folder, "FINISHED", pushed=pushed)


# --- origin -----------------------------------------------------------------------------------------------


def record_origin(folder: Path, config: Mapping[str, Any], *, num_processes: int, tracker: Tracker) -> None:
    """Record the provenance of a run that starts, and tell its tracker.

    That of its first start is never rewritten: a run that is resumed writes provenance-2.json.
    """
    code = code_folders(granted().packages, conf=Path.cwd() / "conf")
    record = collect(code=code, but=Path(config["output_dir"]).expanduser().resolve())
    record |= {"seeds": config["seeds"], "num_processes": num_processes}
    file, number = folder / PROVENANCE_FILE, 2
    while file.exists():
        file, number = folder / f"provenance-{number}.json", number + 1
    write_json(file, record)
    tracker.log_artifact(file)
    original = folders.read_run(folder).get("reproduces")
    tracker.log_tags(tags(record) | ({"runwright.reproduces": original} if original else {}))

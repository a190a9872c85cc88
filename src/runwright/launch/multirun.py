"""Many runs from one command line, through Hydra's own machinery, so that any launcher and sweeper works.

Each job checks its configuration, makes its run folder and runs it in a new process; a job that fails is
recorded and the others go on. At the end a table, the best first. After a signal the jobs that run save and
end, and no further one begins; processes of a launcher learn of it from a file that their environment names.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runwright.config.compose import Composed, all_mistakes, compose, compose_checked
from runwright.config.folders import ConfFolders, find_conf_folders
from runwright.config.hydra_settings import PARAMS, SWEEP_FOLDER
from runwright.config.loading import HYDRA, ROOT_NAME, config_loader, explain, register_plugins
from runwright.config.options import TARGET, walk
from runwright.config.overrides import parse_overrides, quoted
from runwright.config.permissions import granted, worker_environment
from runwright.config.redaction import conceal_overrides, redact
from runwright.config.sources import resolve_source
from runwright.dataset.readers.addresses import file_fingerprint, require_files
from runwright.errors import ConfigError, Mistake, RunwrightError, raise_if_any, report
from runwright.launch.start import start
from runwright.launch.worker import blocked
from runwright.runs.folder import CONFIG_FILE, claim_folder, create, read_run
from runwright.runs.page import OUTCOME_FILE, objectives_of, print_table, read_jobs, write_report
from runwright.store import digest, read_json, write_json
from runwright.sweep.options import RUN, SWEEPER
from runwright.sweep.space import Space, num_trials, read_space
from runwright.sweep.trial import FIRST_VARIABLE, RESUME_VARIABLE, VARIABLE, note, trial_text
from runwright.tracker.provenance import code_folders, hash_code
from runwright.trainer.environment import SIGNALS, STOP_VARIABLE, Interrupted, catch_signals

MAX_CHECKED = 64  # compositions before a sweep starts: 64 take about three seconds, with a launcher seven
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
# What a trial is made of, imported once by the server that trials are forked from.
PRELOADED = (
    *("runwright.runs.execute", "runwright.launch.multirun", "runwright.sweep.driver"),
    # Imported late, by the first model, optimizer and saved model: 2 s of each trial. Without peft none is.
    *("alembic.command", "sqlalchemy.dialects.sqlite", "mlflow.pyfunc", "rich.logging"),
    *("torch._dynamo", "transformers.trainer_utils", "transformers.optimization", "peft", "tabulate"),
)
NOT_COMPARED = ("output_dir", "tracker", "launch", "resume", "references", "trainer.log_every_steps")
STATUSES = {0: "finished", **{128 + number: "stopped" for number in SIGNALS}}  # others: failed
WHEN = "hydra.sweeper.when."
JOB_FLAG = "--resume"  # tells the jobs from other processes that a launcher has


class SweepStopped(BaseException):  # no `except Exception` of Hydra holds it up
    """A signal ended a multirun between two jobs."""


def run_many(overrides: list[str]) -> int:
    """Hand the command line to Hydra, which calls `run_job` for each job; returns the exit code."""
    folders = find_conf_folders()
    examples, _ = check_all(overrides, folders)
    composed = examples[0]
    output, is_study = Path(composed.config["output_dir"]), _sweeper_of(composed) == SWEEPER
    # Hydra writes its configuration down: it gets references in the place of secrets.
    arguments = conceal_overrides([*(_study_options(examples, overrides) if is_study else overrides)])
    folder = next((t.partition("=")[2] for t in overrides[::-1] if t.startswith(f"{SWEEP_FOLDER}=")), None)
    if folder is None:
        sweeps = output.expanduser() / "sweeps"  # a study is gone on with by its name
        study = _study_name(composed).replace("/", "-").lstrip(".")
        sweep = sweeps / study if is_study else claim_folder(sweeps)[0]
        arguments.append(f"{SWEEP_FOLDER}={quoted(str(sweep))}")
    else:
        sweep = output if "${" in folder else Path(folder.strip("'\""))
    first = [text for text in composed.overrides if not text.startswith(f"{HYDRA}.")]
    os.environ[FIRST_VARIABLE] = json.dumps(conceal_overrides(first))
    os.environ.update(worker_environment())  # jobs may run in processes of a launcher
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="runwright-sweep-") as signals:
        os.environ[STOP_VARIABLE] = str(Path(signals, "stop"))
        try:
            with catch_signals(_pass_on), suppress(SweepStopped):
                _call_hydra(folders, arguments)
            stopped_by = stop_number()
        finally:
            del os.environ[STOP_VARIABLE]
    if jobs := read_jobs(sweep, since=0.0 if is_study else started):
        with suppress(OSError, ValueError, RunwrightError):  # the jobs are what counts
            write_report(sweep, is_sweep=True)
    print_table(jobs, sweep)
    if stopped_by:
        return 128 + stopped_by
    return 0 if is_study or all(job.exit_code == 0 for job in jobs) else 1


def run_job(_: DictConfig) -> dict[str, Any]:
    """One job: what Hydra calls, here or in a launcher's process. Never raises for a job that fails.

    Its configuration is that of a single run with its overrides.
    """
    hydra = HydraConfig.get()
    is_alone = hydra.runtime.choices.get("hydra/launcher") == "basic"
    if stop_number():
        if is_alone:
            raise SweepStopped  # the launcher would compose all other jobs
        return {"job": hydra.job.num, "status": "not started"}
    job_folder = Path(hydra.runtime.output_dir)
    job_folder.mkdir(parents=True, exist_ok=True)
    # Read as texts: a reference in them would be resolved, and the secret written down.
    overrides = [str(text) for text in OmegaConf.to_container(hydra.overrides.task, resolve=False) or []]
    outcome: dict[str, Any] = {"job": hydra.job.num, "overrides": overrides, "folder": None}
    started, sweep = time.time(), Path(hydra.sweep.dir).resolve()
    try:
        composed = compose_checked(overrides)
        command = [*sys.orig_argv[:1], "-m", "runwright", "train", *overrides]
        require_files(composed.config["dataset"])
        identity = f"{sweep.name}-{digest(str(sweep))[:8]}"  # the same for a multirun that is started again
        folder = Path(os.environ.pop(RESUME_VARIABLE, "")).resolve()  # where a driver of this trial died
        if not (folder / CONFIG_FILE).is_file():
            options: dict[str, Any] = {"sweep": identity, "unresolved": composed.unresolved}
            folder = create(composed.config, overrides=overrides, command=command, **options)
        outcome["folder"] = str(folder)
        print(f"job {hydra.job.num}: {' '.join(overrides)} -> {folder}", flush=True)
        note(RUN, str(folder))
        code = _train(folder, output=None if is_alone else job_folder / "output.txt")
        pruned = read_run(folder)["status"] == "PRUNED"
        outcome |= {"exit_code": code, "status": "pruned" if pruned else STATUSES.get(code, "failed")}
    except RunwrightError as error:
        text = redact(report(error))
        outcome |= {"exit_code": error.exit_code, "status": "refused", "reason": text}
        print(f"job {hydra.job.num}: {' '.join(overrides)} refused\n{text}", file=sys.stderr)
    outcome["seconds"] = time.time() - started
    write_json(job_folder / OUTCOME_FILE, outcome)
    if trial_text() and outcome.get("status") in ("finished", "pruned"):
        outcome |= objectives_of(sweep, outcome)
    return outcome


def _train(folder: Path, *, output: Path | None) -> int:
    """Begin or resume a run; its exit code. A trial's own process is warm already, and does it itself."""
    if VARIABLE in os.environ:
        os.environ.pop(STOP_VARIABLE, None)  # the driver itself stops its trials
        try:
            return start(resume=str(folder))
        except RunwrightError as error:
            print(redact(report(error)), file=sys.stderr)
            return error.exit_code
        except Interrupted as error:
            return error.code
    if trial := trial_text():
        os.environ[VARIABLE] = trial  # the process has no Hydra that knows its number
    try:
        command = [sys.executable, "-P", "-m", "runwright", "train", JOB_FLAG, str(folder)]
        return _run_stoppable(command, output)
    finally:
        os.environ.pop(VARIABLE, None)


def _sweeper_of(composed: Composed) -> str:
    return str(composed.hydra.get("hydra.sweeper._target_", BASIC_SWEEPER))


def _study_name(composed: Composed) -> str:
    """The study's own name, else that of the file in conf/sweep/ and of the experiment."""
    name = composed.hydra.get("hydra.sweeper.study_name")
    usual = [str(composed.config["name"]), str(composed.choices.get("sweep") or "")]
    return str(name or "-".join(filter(None, usual)))


def _option(composed: Composed, name: str) -> list[Any]:
    """The items of an option of the sweeper that is a list: each is a leaf of Hydra's node."""
    leaves = ((f"{key}.", value) for key, value in composed.hydra.items())
    values = (value for key, value in leaves if key.startswith(f"hydra.sweeper.{name}."))
    return [value for value in values if value not in (None, [])]


def _study_options(examples: Sequence[Composed], overrides: Sequence[str]) -> list[str]:
    """The overrides between defaults for a study of our runs and what is added to its lists in any case."""
    composed = examples[0]
    files = sorted({file for job in examples for file in require_files(job.config["dataset"])})
    identity = {
        "code": digest(hash_code(code_folders(granted().packages, conf=None))),
        "data": digest([file_fingerprint(file) for file in files]),
    }
    unset = {"study_name": quoted(_study_name(composed))}
    if not _option(composed, "objectives") and _option(composed, "direction") in ([], ["minimize"]):
        unset["direction"] = f"{composed.config['trainer']['best_mode']}imize"
    more: dict[str, str] = {}
    preloaded = (*PRELOADED, *_modules(examples), "runwright.launch.warm")
    for name, ours in (("preload", preloaded), ("not_compared", NOT_COMPARED)):
        more[name] = f"[{','.join([*ours, *_option(composed, name)])}]"
    before, after = ([f"hydra.sweeper.{n}={value}" for n, value in some.items()] for some in (unset, more))
    after += [f"+hydra.sweeper.identity.{name}={quoted(value)}" for name, value in identity.items()]
    return [*before, *overrides, *after]


def _modules(examples: Sequence[Composed]) -> list[str]:
    """Modules of our targets in these configurations, and of transformers for their models."""
    names: set[str] = set()
    for config in (job.config for job in examples):
        targets = (str(value) for key, value in walk(config) if key.endswith(TARGET))
        names |= {name.rpartition(".")[0] for name in targets if name.startswith("runwright.")}
        with suppress(ConfigError, OSError):
            folder = Path(resolve_source(str(config["model"].get("name"))))
            kind = str(read_json(folder / "config.json").get("model_type")).replace("-", "_")
            names |= {f"transformers.models.{kind}.{what}_{kind}" for what in ("modeling", "tokenization")}
    return sorted(names)


def stop_number() -> int | None:
    """The signal that ended the multirun that this process belongs to; None while it runs."""
    file = os.environ.get(STOP_VARIABLE)
    try:
        return int(Path(file).read_text(encoding="ascii") or 0) or None if file else None
    except FileNotFoundError:
        return None


def _pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal passes
    file = Path(os.environ[STOP_VARIABLE])
    if not file.exists():
        file.write_text(str(number), encoding="ascii")
        name = signal.Signals(number).name
        # Not by print, whose buffer the signal may have interrupted.
        os.write(2, f"{name}: jobs end after this step and save; no further one starts\n".encode())
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if JOB_FLAG in process.cmdline():
                process.send_signal(number)


def _run_stoppable(command: Sequence[str], output: Path | None) -> int:
    """Run a job to its end; its exit code. A stop of the multirun reaches it."""
    with ExitStack() as files:
        stream = files.enter_context(output.open("wb")) if output else None
        with blocked():  # until the job can handle them; it lets them through
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdout=stream,
                stderr=subprocess.STDOUT if stream else None,
                process_group=0,  # Ctrl-C reaches the multirun alone, which passes it on
            )
        if number := stop_number():  # it came while the job was started
            process.send_signal(number)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # Ctrl-C in a launcher's process
                continue


def check_all(overrides: list[str], folders: ConfFolders) -> tuple[list[Composed], Space]:
    """Check every choice of every axis, each beside the first values of the others, before the first job.

    Of numbers both ends are checked. Returns the configurations, of the first values first, and the space.
    """
    typed, mistakes = parse_overrides(overrides, folders, multirun=True)
    wrong = {mistake.key for mistake in mistakes}
    axes = [str(sweep.input_line) for sweep in typed.sweeps]
    fixed = [text for text in overrides if text not in {*axes, *wrong}]
    base = compose(fixed, multirun=True)
    mistakes += [mistake for mistake in base.mistakes if mistake.key.startswith(f"{HYDRA}.")]
    if _sweeper_of(base) == BASIC_SWEEPER:
        endless = [str(sweep.input_line) for sweep in typed.sweeps if not sweep.is_discrete_sweep()]
        expected, hint = "values to go through: a,b or range(…)", "or hydra/sweeper=runwright"
        mistakes += [Mistake(text, "an interval", expected, hint) for text in endless]
    params = {key.removeprefix(PARAMS): v for key, v in base.hydra.items() if key.startswith(PARAMS)}
    conditions = {key.removeprefix(WHEN): str(v) for key, v in base.hydra.items() if key.startswith(WHEN)}
    space = read_space(
        [*(str(override.input_line) for override in (*typed.choices, *typed.values)), *axes],
        params,
        conditions=conditions,
        constraints=_option(base, "constraints"),
        loader=config_loader(folders),
    )
    trials = list(islice(space.examples(), MAX_CHECKED)) or [space.fixed]
    settings = [str(setting.input_line) for setting in typed.hydra]
    composed = [compose([*settings, *trial], multirun=True) for trial in trials]
    raise_if_any([*mistakes, *(mistake for job in composed for mistake in all_mistakes(job))])
    return composed, space


def trials_of(overrides: list[str]) -> tuple[dict[str, Any], int]:
    """The configuration of a sweep's first values, and the number of its trials."""
    (composed, *_), space = check_all(overrides, find_conf_folders())
    budget = composed.hydra.get("hydra.sweeper.n_trials")
    if budget is not None and int(budget) <= 0:
        raise ConfigError(f"hydra.sweeper.n_trials: given {budget}, expected more than 0")
    is_grid = composed.hydra.get("hydra.sweeper.sampler", "grid") == "grid"
    grid = space.grid() or [{}] if is_grid else []
    return composed.config, num_trials(grid, budget and int(budget))


def _call_hydra(folders: ConfFolders, overrides: list[str]) -> None:
    """Do what `hydra.main` does, with the loader of single runs."""
    register_plugins()
    hydra = Hydra(task_name="runwright", config_loader=config_loader(folders, full=True))
    GlobalHydra.instance().initialize(hydra)
    try:
        hydra.multirun(ROOT_NAME, run_job, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(explain(error, folders))) from error
    finally:
        GlobalHydra.instance().clear()

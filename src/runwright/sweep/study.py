"""A study of Optuna's in storage that several processes and machines share, and that survives their deaths.

By default a journal file in the sweep's folder. A kill may tear its last line, which would make the study
unreadable at the next append: the lock cuts it first. Trials of a driver that died are given to the next.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import optuna.storages.journal
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from runwright.errors import ConfigError
from runwright.sweep.space import Space

SAMPLERS = {
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
    "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler",
    "random": "RandomSampler",
    "brute_force": "BruteForceSampler",
    "grid": "RandomSampler",  # of a grid all trials are enqueued
}
PRUNERS = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "wilcoxon": "WilcoxonPruner",
    "threshold": "ThresholdPruner",
    "patient": "PatientPruner",
}
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
DRIVER, ALIVE, LOST, REFUSED, REASON = "driver", "alive", "lost", "refused", "reason"  # facts about a trial
SILENT_SECONDS = 600.0  # of a driver on another machine, after which its trials are taken up again
JOURNAL, JOURNAL_BEGIN = "study.journal", b'{"op_code"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a study is and how it judges; plain values for a trial's environment."""

    name: str
    storage: str  # path of a journal file, an address of SQLAlchemy's, or grpc://host:port
    sampler: str = "tpe"
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    pruner: str = "none"
    pruner_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None


class RepairingLock:
    """The lock of a journal file, which the kernel releases when its holder dies; cuts a torn last line."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.descriptor = -1

    def acquire(self) -> bool:
        self.descriptor = os.open(f"{self.file}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        content = self.file.read_bytes() if self._is_torn() else b""
        if content:
            os.truncate(self.file, content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        os.close(self.descriptor)

    def _is_torn(self) -> bool:
        with self.file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            return stream.read(1) not in (b"", b"\n")


def open_storage(storage: str) -> Any:
    """The storage behind an address: a journal file, a database, or a proxy of one."""
    scheme, separator, rest = storage.partition("://")
    if scheme == "grpc":
        host, _, port = rest.partition(":")
        return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
    if separator:
        return optuna.storages.RDBStorage(storage)
    file = Path(storage)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Repaired as a journal, a file of another kind would lose its end.
    begin = file.read_bytes()[: len(JOURNAL_BEGIN)] if file.is_file() else b""
    if begin != JOURNAL_BEGIN[: len(begin)] or file.exists() > file.is_file():
        raise ConfigError(f"storage: {storage} is no journal of Optuna's; a database is sqlite:///FILE")
    lock: Any = RepairingLock(file)
    backend = optuna.storages.journal.JournalFileBackend(str(file), lock_obj=lock)
    lock.acquire()  # a line that an earlier process left torn
    lock.release()
    return optuna.storages.JournalStorage(backend)


def open_study(address: Address, *, directions: Sequence[Any] | None = None) -> Study:
    """The study, which is made where it is not there and `directions` are given.

    Raises ConfigError for an unknown sampler or pruner, options that they do not take, unusable storage.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options: dict[str, Any] = {"sampler": _sampler(address), "pruner": _pruner(address)}
    try:
        options |= {"study_name": address.name, "storage": open_storage(address.storage)}
        if directions is None:
            return optuna.load_study(**options)
        return optuna.create_study(directions=[*directions], load_if_exists=True, **options)
    except ConfigError:
        raise
    except Exception as error:  # of a database's driver, or of a broken line
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(f"study {address.name!r} cannot be opened: {reason}") from error


def _sampler(address: Address) -> BaseSampler:
    options = dict(address.sampler_options)
    if address.sampler not in ("brute_force", "grid") or address.seed is None:
        options = {"seed": address.seed, **options}
    return _made(optuna.samplers, SAMPLERS, "sampler", address.sampler, options)


def _pruner(address: Address) -> BasePruner:
    options = dict(address.pruner_options) if address.pruner != "none" else {}
    if address.pruner == "patient":
        inner = options.pop("wrapped", "median")
        wrapped = _made(optuna.pruners, PRUNERS, "pruner_options.wrapped", inner, {}) if inner else None
        options = {"wrapped_pruner": wrapped, **options}
    return _made(optuna.pruners, PRUNERS, "pruner", address.pruner, options)


def _made(module: Any, names: Mapping[str, str], kind: str, name: str, options: Mapping[str, Any]) -> Any:
    if name not in names:
        raise ConfigError(f"{kind}: given {name!r}, expected one of {', '.join(sorted(names))}")
    try:
        return getattr(module, names[name])(**options)
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{kind}_options: {name} does not take them ({str(error).splitlines()[0]})"
        ) from error


# --- identity ---------------------------------------------------------------------------------------------


def settle_identity(study: Study, identity: Mapping[str, Any], *, allow_changes: bool) -> None:
    """Record what makes the trials of a study comparable; raises ConfigError where it differs from before."""
    before = study.user_attrs.get("identity")
    now = json.loads(json.dumps(identity))
    if before is not None and before != now and not allow_changes:
        lines = [
            f"  {key}: {json.dumps(before.get(key))} → {json.dumps(now.get(key))}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
        raise ConfigError(
            f"study {study.study_name!r} has {len(study.trials)} trials of other settings:\n"
            + "\n".join(lines)
            + "\ntake another name (hydra.sweeper.study_name=…), or allow them in one study: "
            "hydra.sweeper.allow_changes=true"
        )
    if before != now:
        study.set_user_attr("identity", now)


# --- trials -----------------------------------------------------------------------------------------------


def enqueue(study: Study, trials: Sequence[Mapping[str, Any]]) -> None:
    """Let these parameters be tried first, once for the whole life of the study."""
    for params in trials:
        study.enqueue_trial(dict(params), skip_if_exists=True)


def count_ended(study: Study) -> int:
    """Trials that count for the budget: ended, and neither lost with their driver nor refused."""
    return sum(
        trial.state in ENDED and not {LOST, REFUSED} & trial.user_attrs.keys() for trial in _trials(study)
    )


def count_running(study: Study) -> int:
    return sum(trial.state == TrialState.RUNNING for trial in _trials(study))


def ask(
    study: Study, space: Space, driver: Mapping[str, Any], *, address: Address
) -> tuple[Any, list[str]] | None:
    """A new trial with its overrides; None where constraints refuse a hundred of them in a row."""
    for _ in range(100):
        if address.seed is not None and address.sampler != "qmc":  # whose points are numbered in the study
            # Another seed for each trial: a sampler that is made anew would draw its first ones again.
            others = [t.number for t in _trials(study) if t.user_attrs.get(DRIVER, driver) != dict(driver)]
            text = f"{address.seed} {len(study.get_trials(deepcopy=False))} {driver if others else ''}"
            study.sampler = _sampler(replace(address, seed=zlib.crc32(text.encode())))
        trial = study.ask()
        try:
            overrides = space.draw(trial)
        except ValueError as error:  # of Optuna: not among the choices, or these were others before
            trial.set_user_attr(REFUSED, str(error))
            study.tell(trial, state=TrialState.FAIL)
            raise ConfigError(f"trial {trial.number} cannot be drawn: {error}") from error
        if overrides is not None:
            trial.set_user_attr(DRIVER, dict(driver))
            trial.set_user_attr("overrides", overrides)
            trial.set_user_attr(ALIVE, time.time())
            return trial, overrides
        trial.set_user_attr(REFUSED, "constraints")
        study.tell(trial, state=TrialState.FAIL)
    return None


def finished_like(study: Study, number: int, overrides: Sequence[str]) -> FrozenTrial | None:
    """An earlier trial with the same overrides that has finished."""
    for trial in _trials(study):
        if trial.state == TrialState.COMPLETE and trial.user_attrs.get("overrides") == list(overrides):
            return trial if trial.number != number else None
    return None


def tell(study: Study, number: int, values: Sequence[float] | None, *, pruned: bool, reason: str) -> str:
    """Record the end of a trial; the name of its state. Values that are no numbers make it a failure."""
    trial = _trial(study, number)
    if trial.state.is_finished():
        return trial.state.name
    usable = values is not None and len(values) == len(study.directions) and all(map(math.isfinite, values))
    state = TrialState.PRUNED if pruned else TrialState.COMPLETE if usable else TrialState.FAIL
    if state == TrialState.FAIL:
        note(
            study, trial, REASON, reason or f"it returned {values}, expected {len(study.directions)} numbers"
        )
    study.tell(number, values if state == TrialState.COMPLETE else None, state=state)
    return "FAILED" if state == TrialState.FAIL else state.name.replace("COMPLETE", "FINISHED")


def note(study: Study, trial: Any, name: str, value: Any) -> None:
    """Keep a fact about a trial."""
    study._storage.set_trial_user_attr(trial._trial_id, name, value)


def take_up_lost(study: Study, driver: Mapping[str, Any], *, is_alive: Any) -> list[int]:
    """Trials whose driver died begin again; their numbers. `is_alive(driver)`: None on another machine."""
    lost: list[int] = []
    for trial in _trials(study):
        owner = trial.user_attrs.get(DRIVER)
        if trial.state != TrialState.RUNNING or owner == dict(driver):
            continue
        alive = is_alive(owner) if owner else None
        if alive is None:  # elsewhere, or killed between being asked for and being noted down
            begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
            alive = time.time() - trial.user_attrs.get(ALIVE, begun) < (SILENT_SECONDS if owner else 30.0)
        if alive:
            continue
        note(study, trial, LOST, "its driver died")
        study.tell(trial.number, state=TrialState.FAIL)
        attributes = {"instead_of": trial.number}
        attributes |= {name: trial.user_attrs[name] for name in ("run",) if name in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs=attributes)
        lost.append(trial.number)
    return lost


def beat(study: Study, numbers: Sequence[int]) -> None:
    """Say to drivers elsewhere that these trials are alive."""
    for number in numbers:
        note(study, _trial(study, number), ALIVE, time.time())


def best_trials(study: Study) -> list[FrozenTrial]:
    """The best trial, or those of the Pareto front; empty where none has finished."""
    return study.best_trials if any(t.state == TrialState.COMPLETE for t in _trials(study)) else []


def _trials(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


def _trial(study: Study, number: int) -> FrozenTrial:
    return next(trial for trial in _trials(study) if trial.number == number)

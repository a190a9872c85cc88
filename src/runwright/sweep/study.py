"""A study of Optuna's in storage that several processes and machines share, and that survives their deaths.

By default a journal file in the sweep's folder. A kill may tear its last line, which would make the study
unreadable at the next append: the lock cuts it first. Trials of a driver that died are given to the next.
"""

import itertools
import json
import math
import socket
import time
import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import optuna.storages.journal
import psutil
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from runwright.errors import ConfigError, Mistake, did_you_mean
from runwright.sweep.options import MAX_REPEATED, RUN, SEED, SweeperConf
from runwright.sweep.space import Space

SAMPLERS = {
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
    "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler",
    "random": "RandomSampler",
    "grid": "RandomSampler",  # of a grid all trials are enqueued
}
NAMED = ("median", "percentile", "successive_halving", "hyperband", "wilcoxon", "threshold", "patient")
PRUNERS = {"none": "NopPruner", **{name: f"{name.title().replace('_', '')}Pruner" for name in NAMED}}
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
# Facts about a trial.
DRIVER, ALIVE, OVERRIDES, LOST, REFUSED = "driver", "alive", "overrides", "lost", "refused"
REPEATS = "repeats"  # number of the trial that this one is a further seed of, and that seed
REASON, SAME = "reason", "same"
PRUNED = "TrialPruned"  # how the reason of a pruned trial begins
SILENT_SECONDS = 600.0  # of a driver on another machine, after which its trials are taken up again
JOURNAL, JOURNAL_BEGIN = "study.journal", b'{"op_code"'


class RepairingLock(FileLock):
    """The lock of a journal file, which the kernel releases when its holder dies; cuts a torn last line."""

    def acquire(self, *args: Any, **more: Any) -> Any:
        """Take the lock, as Optuna's backends do."""
        proxy, file = super().acquire(*args, **more), Path(self.lock_file).with_suffix("")
        with file.open("rb+") as stream:
            stream.seek(max(0, file.stat().st_size - 1))
            if stream.read(1) not in (b"", b"\n"):
                stream.truncate(file.read_bytes().rfind(b"\n") + 1)
        return proxy


def open_storage(storage: str) -> Any:
    """The storage behind an address: a journal file, a database, or a proxy of one."""
    scheme, separator, rest = storage.partition("://")
    if scheme == "grpc":
        host, _, port = rest.partition(":")
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
    if separator:
        from sqlalchemy.exc import IntegrityError, ProgrammingError

        for _ in range(5):
            with suppress(IntegrityError, ProgrammingError):
                return optuna.storages.RDBStorage(storage)
            time.sleep(1)  # another driver is making the tables
        return optuna.storages.RDBStorage(storage)
    file = Path(storage)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Repaired as a journal, a file of another kind would lose its end.
    begin = b""
    if file.is_file():
        with file.open("rb") as stream:
            begin = stream.read(len(JOURNAL_BEGIN))
    if begin != JOURNAL_BEGIN[: len(begin)] or (file.exists() and not file.is_file()):
        raise ConfigError(f"storage: {storage} is no journal of Optuna's; a database is sqlite:///FILE")
    lock: Any = RepairingLock(f"{file}.lock")
    backend = optuna.storages.journal.JournalFileBackend(str(file), lock_obj=lock)
    with lock:  # a line that an earlier process left torn
        return optuna.storages.JournalStorage(backend)


def open_study(options: SweeperConf) -> Study:
    """The study of these options, which have its name and storage; it is made where it is not there.

    Raises ConfigError for an unknown sampler or pruner, options that they do not take, unusable storage.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert options.storage is not None
    pruner_options = dict(options.pruner_options) if options.pruner != "none" else {}
    if options.pruner == "patient":
        inner = pruner_options.pop("wrapped", "median")
        wrapped = _made(optuna.pruners, PRUNERS, "pruner_options.wrapped", inner, {}) if inner else None
        pruner_options = {"wrapped_pruner": wrapped, **pruner_options}
    settings: dict[str, Any] = {
        "study_name": options.study_name,
        "sampler": _sampler(options, options.seed),
        "pruner": _made(optuna.pruners, PRUNERS, "pruner", options.pruner, pruner_options),
    }
    both: Any = [options.direction] if isinstance(options.direction, str) else options.direction
    try:
        settings["storage"] = open_storage(options.storage)
        with suppress(KeyError):
            return optuna.load_study(**settings)
        return optuna.create_study(**settings, directions=both, load_if_exists=True)
    except ConfigError:
        raise
    except Exception as error:  # of a database's driver, or of a broken line
        details = getattr(error, "details", error.__str__)  # of gRPC
        reason = str(details()).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(f"study {options.study_name!r} cannot be opened: {reason}") from error


def _sampler(options: SweeperConf, seed: int | None) -> BaseSampler:
    seeds: dict[str, Any] = {"seed": seed}
    if options.sampler == "qmc":  # whose points are numbered in the study; choices are drawn at random
        choices = optuna.samplers.RandomSampler(seed=seed)
        seeds = {"seed": options.seed, "independent_sampler": choices, "warn_independent_sampling": False}
    return _made(optuna.samplers, SAMPLERS, "sampler", options.sampler, seeds | options.sampler_options)


def _made(module: Any, names: Mapping[str, str], kind: str, name: str, options: Mapping[str, Any]) -> Any:
    if name not in names:
        expected, hint = f"one of {', '.join(sorted(names))}", did_you_mean(name, names)
        raise ConfigError(str(Mistake(f"hydra.sweeper.{kind}", repr(name), expected, hint)))
    try:
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return getattr(module, names[name])(**options)
    except (TypeError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"hydra.sweeper.{kind}_options: {name} does not take them ({reason})") from error


# --- identity ---------------------------------------------------------------------------------------------


def settle_identity(study: Study, identity: Mapping[str, Any], *, allow_changes: bool) -> None:
    """Record what makes the trials of a study comparable; raises ConfigError where it differs from before."""
    before = study.user_attrs.get("identity")
    now = json.loads(json.dumps(identity))
    if before not in (None, now) and not allow_changes:
        pairs = {key: (before.get(key), now.get(key)) for key in sorted({*before, *now})}
        pairs = {key: values for key, values in pairs.items() if values[0] != values[1]}
        # Overrides of all trials: of two lists that which differs, and is no setting that is told anyway.
        old, new = (set(side or ()) for side in pairs.pop("fixed", ((), ())))
        odd = {text for text in old ^ new if text.lstrip("+").partition("=")[0] not in pairs}
        pairs |= {"fixed": (sorted(odd & old), sorted(odd & new))} if odd else {}
        lines = [f"  {key}: {' → '.join(map(json.dumps, values))}\n" for key, values in pairs.items()]
        raise ConfigError(
            f"study {study.study_name!r} has {len(study.trials)} trials of other settings:\n{''.join(lines)}"
            "take another name (hydra.sweeper.study_name=…), or allow them in one study: "
            "hydra.sweeper.allow_changes=true"
        )
    if before != now:
        study.set_user_attr("identity", now)


# --- trials -----------------------------------------------------------------------------------------------


def count(study: Study, *states: TrialState) -> int:
    """Trials in these states that count for the budget."""
    return sum(trial.state in states and is_counted(trial) for trial in _trials(study))


def is_counted(trial: FrozenTrial) -> bool:
    """Return True for a trial of the budget: not lost with its driver, refused, or a further seed."""
    return not {LOST, REFUSED, REPEATS} & trial.user_attrs.keys()


def ask(
    study: Study, space: Space, driver: Mapping[str, Any], *, options: SweeperConf
) -> tuple[Any, list[str]] | None:
    """A new trial with its overrides; None where constraints refuse a hundred of them in a row."""
    for _ in range(100):
        trial = study.ask()
        if options.seed is not None:
            # Another seed for each trial, whichever driver has it; a trial draws at its first parameter.
            study.sampler = _sampler(options, zlib.crc32(f"{options.seed} {trial.number} ".encode()))
        try:
            overrides = space.draw(trial)
        except ValueError as error:  # of Optuna: not among the choices, or these were others before
            trial.set_user_attr(REFUSED, str(error))
            study.tell(trial, state=TrialState.FAIL)
            raise ConfigError(f"trial {trial.number} cannot be drawn: {error}") from error
        if overrides is not None:
            facts = {DRIVER: dict(driver), OVERRIDES: overrides, ALIVE: time.time(), SAME: _sameness(study)}
            for name, value in facts.items():
                trial.set_user_attr(name, value)
            return trial, overrides
        trial.set_user_attr(REFUSED, "constraints")
        study.tell(trial, state=TrialState.FAIL)
    return None


def repeat(study: Study, driver: Mapping[str, Any], *, seeds: int, first: int) -> FrozenTrial | None:
    """A further seed of one of the best trials; None where none is left, or trials of the search run yet.

    Seeds are `first` and the following. Of several drivers that begin the same one at once, one does.
    """
    trials = _trials(study)
    if any(t.state == TrialState.RUNNING and REPEATS not in t.user_attrs for t in trials):
        return None
    best = sorted(_finished(study), key=lambda t: t.values[0], reverse=study.direction.name == "MAXIMIZE")
    for original, seed in itertools.product(best[:MAX_REPEATED], range(first + 1, first + seeds)):
        same = [t for t in trials if t.user_attrs.get(REPEATS) == [original.number, seed]]
        if any(not {LOST, REFUSED} & t.user_attrs.keys() for t in same):
            continue
        facts = {REPEATS: [original.number, seed], DRIVER: dict(driver), ALIVE: time.time()}
        for lost in same:
            facts |= {name: value for name, value in lost.user_attrs.items() if name == RUN}
        facts[OVERRIDES] = [t for t in original.user_attrs[OVERRIDES] if not t.startswith(f"{SEED}=")]
        facts[OVERRIDES] += [f"{SEED}={seed}"]
        ranges, storage = original.distributions, study._storage
        new = optuna.create_trial(
            state=TrialState.RUNNING, params=original.params, distributions=ranges, user_attrs=facts
        )
        number = storage.get_trial_number_from_id(storage.create_new_trial(study._study_id, new))
        rivals = [t for t in _trials(study) if t.user_attrs.get(REPEATS) == [original.number, seed]]
        if min(t.number for t in rivals if not {LOST, REFUSED} & t.user_attrs.keys()) == number:
            return trial_of(study, number)
        note(study, number, REFUSED, "another driver has begun it")
        study.tell(number, state=TrialState.FAIL)
    return None


def finished_like(study: Study, number: int, overrides: Sequence[str]) -> FrozenTrial | None:
    """An earlier trial with the same overrides, configuration, code and data that has finished."""
    same = {OVERRIDES: list(overrides), SAME: _sameness(study)}
    alike = (t for t in _finished(study) if all(t.user_attrs.get(name) == same[name] for name in same))
    return next((trial for trial in alike if trial.number != number), None)


def _sameness(study: Study) -> int:
    """A checksum of code, data and configuration, in which trials of equal overrides may still differ."""
    identity = study.user_attrs.get("identity", {}).items()
    return zlib.crc32(json.dumps([pair for pair in identity if not pair[0].startswith("axis ")]).encode())


def tell(study: Study, number: int, values: Sequence[float] | None, *, reason: str) -> FrozenTrial:
    """Record the end of a trial and return it; with a reason, or without finite values, it has failed."""
    if not trial_of(study, number).state.is_finished():
        wanted = len(study.directions)
        usable = values is not None and len(values) == wanted and all(map(math.isfinite, values))
        state = TrialState.COMPLETE if usable else TrialState.FAIL
        if reason.startswith(PRUNED):
            state = TrialState.PRUNED
        elif not usable:
            note(study, number, REASON, reason or f"it returned {values}, expected {wanted} numbers")
        study.tell(number, values if state == TrialState.COMPLETE else None, state=state)
    return trial_of(study, number)


def note(study: Study, number: int, name: str, value: Any) -> None:
    """Keep a fact about a trial."""
    study._storage.set_trial_user_attr(trial_of(study, number)._trial_id, name, value)


def take_up_lost(study: Study, driver: Mapping[str, Any]) -> list[int]:
    """Enqueue trials whose driver died once more; returns their numbers."""
    running = [trial for trial in _trials(study) if trial.state == TrialState.RUNNING]
    lost = [t for t in running if t.user_attrs.get(DRIVER) != dict(driver) and not _is_alive(t)]
    for trial in lost:
        note(study, trial.number, LOST, "its driver died")
        study.tell(trial.number, state=TrialState.FAIL)
        if REPEATS not in trial.user_attrs:  # `repeat` takes up these
            run = {RUN: trial.user_attrs[RUN]} if RUN in trial.user_attrs else {}
            study.enqueue_trial(trial.params, user_attrs={"instead_of": trial.number, **run})
    return [trial.number for trial in lost]


def _is_alive(trial: FrozenTrial) -> bool:
    """Return True if the driver of a trial that runs lives, as far as can be seen from this machine."""
    driver = trial.user_attrs.get(DRIVER)
    if driver and driver["host"] == socket.gethostname():
        try:
            return psutil.Process(driver["pid"]).create_time() == driver["started"]
        except psutil.Error:
            return False
    # Elsewhere, or killed between asking for the trial and noting itself down.
    begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - trial.user_attrs.get(ALIVE, begun) < (SILENT_SECONDS if driver else 30.0)


def best_trials(study: Study) -> list[FrozenTrial]:
    """The best trial, or those of the Pareto front; empty where none has finished."""
    finished = _finished(study)
    if len(study.directions) > 1 or not finished:
        return study.best_trials if finished else []
    return [(max if study.direction.name == "MAXIMIZE" else min)(finished, key=lambda t: t.values[0])]


def _finished(study: Study) -> list[FrozenTrial]:
    """Trials of the search that have values; a further seed of one is none of them."""
    return [t for t in _trials(study) if t.state == TrialState.COMPLETE and REPEATS not in t.user_attrs]


def _trials(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


def trial_of(study: Study, number: int) -> FrozenTrial:
    """The trial of this number as it is now."""
    return _trials(study)[number]

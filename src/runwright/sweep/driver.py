"""The work of one process on a study: it asks for trials, runs them, and tells how they ended.

With Hydra's basic launcher each trial is a process of a warm fork server; no trial waits for another. Any
other launcher gets the trials in batches. Several drivers on any machines may share one study.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby, takewhile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus, run_job, setup_globals
from omegaconf import DictConfig, open_dict

from runwright.sweep.space import Space
from runwright.sweep.trial import RESUME_VARIABLE, SLOTS_VARIABLE, STUDY_VARIABLE, VARIABLE

if TYPE_CHECKING:
    from runwright.sweep.processes import Outcome
    from runwright.sweep.study import Address

POLL_SECONDS, BEAT_SECONDS = 0.5, 60.0
STOP_FILE = "stop"  # in the sweep's folder: no further trial begins
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Driver:
    """One process that works on a study."""

    def __init__(self, sweeper: Any, *, space: Space, address: Address, folder: Path, budget: int) -> None:
        import psutil

        from runwright.sweep.processes import Pool

        options = sweeper.options
        self.sweeper, self.study, self.space, self.address = sweeper, sweeper.study, space, address
        self.folder, self.budget, self.options = folder, budget, options
        process = psutil.Process()
        self.identity = {
            "host": socket.gethostname(),
            "pid": process.pid,
            "started": process.create_time(),
        }
        count = len(options.devices) or options.n_jobs
        slots = [{"RUNWRIGHT_SLOT": str(i), SLOTS_VARIABLE: str(count)} for i in range(count)]
        for slot, device in zip(slots, options.devices, strict=False):
            slot["CUDA_VISIBLE_DEVICES"] = device
        self.pool = Pool(slots, preload=options.preload, minutes=options.trial_minutes)
        self.failures = 0  # one after the other
        self.stop = 0
        os.environ[STUDY_VARIABLE] = json.dumps(vars_of(address))

    def run(self) -> None:
        from runwright.sweep.study import beat, count_ended, take_up_lost

        is_local = self.sweeper.config.hydra.launcher._target_ == BASIC
        for number in take_up_lost(self.study, self.identity, is_alive=_is_alive):
            print(f"trial {number} was interrupted: a new one takes it up at its last checkpoint", flush=True)
        (self.folder / STOP_FILE).unlink(missing_ok=True)
        done = count_ended(self.study)
        print(f"study {self.address.name}: {done} of {self.budget} trials done, in {self.folder}", flush=True)
        beaten = time.monotonic()
        with self._catching_stops():
            while not self.stop and not (self.folder / STOP_FILE).exists():
                if time.monotonic() - beaten > BEAT_SECONDS:
                    beaten = time.monotonic()
                    beat(self.study, list(self.pool.jobs))
                    take_up_lost(self.study, self.identity, is_alive=_is_alive)
                if not (self._start_local() if is_local else self._launch_batch()) and not self.pool.jobs:
                    break
                for outcome in self.pool.ended(timeout=POLL_SECONDS):
                    self._tell(outcome)
                if self.failures >= self.options.max_failures:
                    print(f"{self.failures} failures in a row: the sweep ends here", flush=True)
                    break
            while self.pool.jobs:  # they save and end; they are taken up again by the next driver
                for outcome in self.pool.ended(timeout=POLL_SECONDS):
                    self._tell(outcome)

    # --- starting -----------------------------------------------------------------------------------------

    def _start_local(self) -> bool:
        """Fill the free slots; False where nothing runs and nothing more may begin."""
        while self.pool.has_room and (trial := self._next()):
            number, overrides, variables = trial
            hydra = (self.sweeper.hydra_context, self.sweeper.config, self.sweeper.task_function)
            task = partial(run_one, hydra, overrides, number, Singleton.get_state())
            output = self.folder / str(number) / "output.txt"
            self.pool.start(number, task, environment=variables, output=output)
        return bool(self.pool.jobs)

    def _launch_batch(self) -> bool:
        """Hand a batch of trials to the launcher and wait for all of it; False where nothing may begin."""
        from runwright.sweep.processes import Outcome

        batch = list(takewhile(bool, (self._next() for _ in range(self.options.n_jobs))))
        # A launcher numbers its jobs one after the other; other drivers may have taken numbers between.
        for _, run in groupby(enumerate(filter(None, batch)), key=lambda item: item[1][0] - item[0]):
            trials = [trial for _, trial in run]
            returns = self.sweeper.launcher.launch([t[1] for t in trials], initial_job_idx=trials[0][0])
            for (number, *_), returned in zip(trials, returns, strict=True):
                is_whole = returned.status == JobStatus.COMPLETED
                error = returned._return_value
                reason = "" if is_whole else f"{type(error).__name__}: {error}"
                value = returned.return_value if is_whole else None
                pruned = reason.startswith("TrialPruned")
                self._tell(Outcome(number=number, value=value, reason=reason, is_pruned=pruned))
        return bool(batch)

    def _next(self) -> tuple[int, list[str], dict[str, str]] | None:
        """A new trial: its number, overrides and environment; None where no further one may begin.

        One that is the same as a finished one takes over its values.
        """
        from runwright.sweep.study import ask, count_ended, count_running, finished_like, note

        while not self.stop and self.budget > count_ended(self.study) + count_running(self.study):
            asked = ask(self.study, self.space, self.identity, address=self.address)
            if asked is None:
                print("constraints refused a hundred trials in a row: the sweep ends here", flush=True)
                self.budget = 0
                return None
            trial, overrides = asked
            if same := finished_like(self.study, trial.number, overrides):
                note(self.study, trial, "same_as", same.number)
                self.study.tell(trial, same.values)
                print(f"trial {trial.number} is trial {same.number} again, and takes its values", flush=True)
                continue
            variables = {VARIABLE: json.dumps({**vars_of(self.address), "number": trial.number})}
            if earlier := trial.user_attrs.get("run"):
                variables[RESUME_VARIABLE] = earlier
            return trial.number, overrides, variables
        return None

    # --- ending -------------------------------------------------------------------------------------------

    def _tell(self, outcome: Outcome) -> None:
        from runwright.sweep.study import best_trials, tell

        if self.stop and not outcome.is_pruned and _values(outcome.value, self.options.objectives) is None:
            return  # stopped with us: RUNNING in the study, for the next driver
        values = _values(outcome.value, self.options.objectives)
        answer = outcome.value if isinstance(outcome.value, Mapping) else {}
        pruned = outcome.is_pruned or answer.get("status") == "pruned"
        reason = outcome.reason or str(answer.get("reason") or "").strip().partition("\n")[0]
        state = tell(self.study, outcome.number, values, pruned=pruned, reason=reason)
        self.failures = self.failures + 1 if state == "FAILED" else 0
        trial = next(t for t in self.study.get_trials(deepcopy=False) if t.number == outcome.number)
        shown = " ".join(t for t in trial.user_attrs.get("overrides", []) if t not in self.space.fixed)
        line = f"trial {outcome.number} {state}"
        if state == "FAILED":
            log = self.folder / str(outcome.number) / "output.txt"
            where = f" (log: {log})" if log.is_file() else ""
            print(f"{line}: {trial.user_attrs.get('reason')}{where}\n    {shown}", flush=True)
            return
        best = [t.number for t in best_trials(self.study)]
        numbers = ", ".join(f"{value:.6g}" for value in values or [])
        mark = "  best so far" if outcome.number in best else ""
        print(f"{line}: {numbers}{mark}  {outcome.seconds:.1f} s\n    {shown}", flush=True)

    @contextmanager
    def _catching_stops(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            if not self.stop:
                os.write(2, b"trials end after this step and save; the same command goes on\n")
            self.stop = number
            self.pool.send(number)
            outer = before[number]
            if callable(outer) and outer is not signal.default_int_handler:
                outer(number, frame)  # the command ends with the code of the signal

        before: dict[int, Any] = {number: signal.signal(number, stop) for number in STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_one(
    hydra: tuple[Any, Any, Callable[[DictConfig], Any]],
    overrides: Sequence[str],
    number: int,
    singletons: Any,
) -> Any:
    """One job as Hydra's launchers run it; returns or raises what the application does."""
    context, config, function = hydra
    setup_globals()
    Singleton.set_state(singletons)
    job = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id, job.hydra.job.num = f"{job.hydra.job.name}_{number}", number
    HydraConfig.instance().set_config(job)
    done = run_job(
        hydra_context=context,
        config=job,
        task_function=function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    return done.return_value


def vars_of(address: Address) -> dict[str, Any]:
    return {name: getattr(address, name) for name in address.__slots__}


def _values(value: Any, objectives: Any) -> list[float] | None:
    """The numbers that a task returned, or those of its mapping; None where there are none."""
    if isinstance(value, Mapping):
        names = [objectives] if isinstance(objectives, str) else objectives or ["value"]
        value = [value.get("metrics", value).get(name, value.get(name)) for name in names]
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    numbers = [float(one) for one in listed if isinstance(one, int | float) and not isinstance(one, bool)]
    return numbers if len(numbers) == len(listed) and numbers else None


def _is_alive(driver: Mapping[str, Any]) -> bool | None:
    """Whether the process lives; None where it is one of another machine."""
    import psutil

    if driver.get("host") != socket.gethostname():
        return None
    try:
        return psutil.Process(int(driver["pid"])).create_time() == driver.get("started")
    except psutil.Error:
        return False

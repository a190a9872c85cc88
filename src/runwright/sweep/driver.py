"""The work of one process on a study: it asks for trials, runs them, and tells how they ended.

With Hydra's basic launcher each trial is a process of a warm fork server; no trial waits for another. Any
other launcher gets the trials in batches. Several drivers on any machines may share one study.
"""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from statistics import fmean
from types import FrameType
from typing import Any, cast

import cloudpickle
import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from omegaconf import open_dict
from optuna.study import Study
from optuna.trial import TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runwright.errors import rounded
from runwright.store import repeating
from runwright.sweep import study as studies
from runwright.sweep.options import RUN, SEED, STOP_FILE
from runwright.sweep.processes import Pool, call
from runwright.sweep.space import Space, pairs
from runwright.sweep.study import ENDED
from runwright.sweep.trial import RESUME_VARIABLE, SLOTS_VARIABLE, STUDY_VARIABLE, VARIABLE

POLL_SECONDS, BEAT_SECONDS = 0.5, 60.0
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Driver:
    """One process that works on a study."""

    def __init__(self, sweeper: Any, *, space: Space, folder: Path, budget: int) -> None:
        options = sweeper.options
        self.sweeper, self.study, self.space = sweeper, sweeper.study, space
        self.folder, self.budget, self.options = folder, budget, options
        process = psutil.Process()
        self.identity = {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}
        count = len(options.devices) or options.n_jobs
        slots = [{"RUNWRIGHT_SLOT": str(i), SLOTS_VARIABLE: str(count)} for i in range(count)]
        for slot, device in zip(slots, options.devices, strict=False):
            slot["CUDA_VISIBLE_DEVICES"] = device
        self.pool = Pool(slots, preload=options.preload, minutes=options.trial_minutes)
        self.failures = 0  # one after the other
        self.stop = 0
        os.environ[STUDY_VARIABLE] = json.dumps(asdict(options))

    def run(self) -> None:
        is_local = self.sweeper.config.hydra.launcher._target_ == BASIC
        for number in studies.take_up_lost(self.study, self.identity):
            print(f"trial {number} was interrupted: a new one takes it up at its last checkpoint", flush=True)
        (self.folder / STOP_FILE).unlink(missing_ok=True)
        done, name = studies.count(self.study, *ENDED), self.study.study_name
        print(f"study {name}: {done} of {self.budget} trials done, in {self.folder}", flush=True)
        beaten, console = time.monotonic(), Console(highlight=False)
        live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        with self._catching_stops(), live or nullcontext():
            while not self.stop and not (self.folder / STOP_FILE).exists():
                if time.monotonic() - beaten > BEAT_SECONDS:
                    beaten = time.monotonic()
                    for number in self.pool.jobs:
                        studies.note(self.study, number, studies.ALIVE, time.time())
                    studies.take_up_lost(self.study, self.identity)
                if not (self._start_local() if is_local else self._launch_batch()) and not self.pool.jobs:
                    running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
                    if all(studies.DRIVER in trial.user_attrs for trial in running):
                        break
                    time.sleep(POLL_SECONDS)  # until one that was killed at once is seen to have died
                    studies.take_up_lost(self.study, self.identity)
                self._tell_ended()
                if live:
                    facts = {"budget": self.budget, "slots": len(self.pool.slots), "fixed": self.space.fixed}
                    live.update(board(self.study, self.pool.jobs, **facts), refresh=True)
                if self.failures >= self.options.max_failures:
                    print(f"{self.failures} failures in a row: the sweep ends here", flush=True)
                    break
            # They save and end, and are taken up again by the next driver; uploads come to their end.
            while self.pool.jobs or self.pool.leaving:
                self._tell_ended()

    # --- starting -----------------------------------------------------------------------------------------

    def _start_local(self) -> bool:
        """Fill the free slots; False where nothing runs and nothing more may begin."""
        while self.pool.free_slot() is not None and (trial := self._next()):
            number, overrides, variables = trial
            sweeper, state = self.sweeper, Singleton.get_state()
            hydra = (sweeper.hydra_context, sweeper.config, sweeper.task_function, state)
            task = partial(run_one, cloudpickle.dumps(hydra), overrides, number)
            output = self.folder / str(number) / "output.txt"
            self.pool.start(number, task, environment=variables, output=output)
        return bool(self.pool.jobs or self.pool.leaving)

    def _launch_batch(self) -> bool:
        """Hand a batch of trials to the launcher and wait for all of it; False where nothing may begin."""
        of_launcher = int(self.sweeper.config.hydra.launcher.get("n_jobs") or 0)  # joblib's; -1 by default
        count = max(self.options.n_jobs, of_launcher)
        batch = list(islice(iter(self._next, None), count))
        # A launcher numbers its jobs one after the other; other drivers may have taken numbers between.
        with self._beating([number for number, *_ in batch]):
            for _, run in groupby(enumerate(batch), key=lambda item: item[1][0] - item[0]):
                trials = [trial for _, trial in run]
                returns = self.sweeper.launcher.launch([t[1] for t in trials], initial_job_idx=trials[0][0])
                for (number, *_), returned in zip(trials, returns, strict=True):
                    # A property, which raises what the job did.
                    self._tell(number, call(partial(getattr, returned, "return_value")))
        return bool(batch)

    def _beating(self, numbers: Sequence[int]) -> AbstractContextManager[None]:
        """Note trials as alive, in a thread, while a launcher has this one; others would take them up."""

        def beat() -> None:
            for number in numbers:
                with suppress(Exception):  # of whatever storage, or it has ended
                    studies.note(self.study, number, studies.ALIVE, time.time())

        return repeating(beat, BEAT_SECONDS, name="sweep-beat")

    def _next(self) -> tuple[int, list[str], dict[str, str]] | None:
        """A new trial: its number, overrides and environment; None where no further one may begin.

        One that is the same as a finished one takes over its values.
        """
        study = self.study
        while not self.stop and self.budget > studies.count(study, *ENDED, TrialState.RUNNING):
            asked = studies.ask(study, self.space, self.identity, options=self.options)
            if asked is None:
                print("constraints refused a hundred trials in a row: the sweep ends here", flush=True)
                self.budget = 0
                return None
            trial, overrides = asked
            if same := studies.finished_like(study, trial.number, overrides):
                studies.note(study, trial.number, "same_as", same.number)
                study.tell(trial, same.values)
                print(f"trial {trial.number} is trial {same.number} again, and takes its values", flush=True)
                continue
            return self._described(trial.number, trial.user_attrs)
        return self._next_repeat()

    def _next_repeat(self) -> tuple[int, list[str], dict[str, str]] | None:
        """A further seed of one of the best trials, which is never pruned: their means must be comparable."""
        if self.stop or self.options.seeds < 2 or not self.budget:
            return None
        first = int(pairs(self.space.fixed).get(SEED) or self.sweeper.config[SEED])
        trial = studies.repeat(self.study, self.identity, seeds=self.options.seeds, first=first)
        if trial is None:
            return None
        self.options = replace(self.options, pruner="none", pruner_options={})
        os.environ[STUDY_VARIABLE] = json.dumps(asdict(self.options))
        return self._described(trial.number, trial.user_attrs)

    def _described(self, number: int, facts: Mapping[str, Any]) -> tuple[int, list[str], dict[str, str]]:
        variables = {VARIABLE: json.dumps({**asdict(self.options), "number": number})}
        if earlier := facts.get(RUN):
            variables[RESUME_VARIABLE] = earlier
        return number, facts[studies.OVERRIDES], variables

    # --- ending -------------------------------------------------------------------------------------------

    def _tell_ended(self) -> None:
        for outcome in self.pool.ended(timeout=POLL_SECONDS):
            self._tell(*outcome)

    def _tell(self, number: int, answer: Mapping[str, Any], seconds: float = 0.0) -> None:
        """Record the end of a trial and print it; one that was stopped with us stays for the next driver."""
        value = answer.get("value")
        facts = {**value, **answer} if isinstance(value, Mapping) else answer
        reason = str(facts.get("reason") or "").strip().partition("\n")[0]
        if facts.get("status") == "pruned":
            reason = studies.PRUNED
        values = _values(value, self.options.objectives)
        if values is None and isinstance(value, Mapping) and not reason:
            names = value.get("metrics") or [name for name in value if _values(value, name)]
            reason = f"objectives: given {self.options.objectives}, expected numbers among {', '.join(names)}"
            if (status := value.get("status", "finished")) != "finished":
                reason = f"the run {status}"
        if self.stop and values is None and not reason.startswith(studies.PRUNED):
            return
        trial = studies.tell(self.study, number, values, reason=reason)
        state = {"COMPLETE": "FINISHED", "FAIL": "FAILED"}.get(trial.state.name, trial.state.name)
        self.failures = self.failures + 1 if state == "FAILED" else 0
        shown = " ".join(t for t in trial.user_attrs[studies.OVERRIDES] if t not in self.space.fixed)
        if state == "FAILED":
            log = self.folder / str(number) / "output.txt"
            how = trial.user_attrs[studies.REASON] + (f" (log: {log})" if log.is_file() else "")
        else:
            is_best = trial.number in [best.number for best in studies.best_trials(self.study)]
            how = ", ".join(f"{value:.6g}" for value in values or [])
            how += f"{'  best so far' if is_best else ''}  {seconds:.1f} s"
        print(f"trial {trial.number} {state}: {how}\n    {rounded(shown)}", flush=True)

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


def run_one(hydra: bytes, overrides: Sequence[str], number: int) -> Any:
    """One job as Hydra's launchers run it; returns or raises what the application does.

    `hydra`: Hydra's context, configuration, application and singletons, pickled.
    """
    setup_globals()
    # Before anything that names a plugin's class: Hydra makes the classes anew where it looks for plugins.
    plugins = Plugins.instance()
    context, config, function, state = cloudpickle.loads(hydra)
    state["instances"][Plugins] = plugins
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id, job.hydra.job.num = f"{job.hydra.job.name}_{number}", number
    HydraConfig.instance().cfg = cast("Any", job)  # until `run_job` sets its own copy
    done = run_job(function, job, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=context)
    return done.return_value


def _values(value: Any, objectives: Any) -> list[float] | None:
    """The numbers that a task returned, or those of its mapping; None where there are none."""
    if isinstance(value, Mapping):
        names = [objectives] if isinstance(objectives, str) else objectives or ["value"]
        value = [value.get("metrics", value).get(name, value.get(name)) for name in names]
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    numbers = [float(one) for one in listed if isinstance(one, int | float) and not isinstance(one, bool)]
    return numbers if len(numbers) == len(listed) and numbers else None


# --- on a terminal ----------------------------------------------------------------------------------------


def board(study: Study, running: Iterable[int], *, budget: int, slots: int, fixed: Collection[str]) -> Group:
    """Trials of one driver with their last value, and of the study how many ended, the best, the time left.

    `fixed`: overrides of all trials, which are not shown.
    """
    trials = study.get_trials(deepcopy=False)
    ended = [t for t in trials if studies.is_counted(t) and t.state.is_finished()]
    states = Counter(t.state for t in ended)
    words = [f"{len(ended)} of {budget} trials ended"]
    if best := studies.best_trials(study):
        words.append(f"best {', '.join(f'{value:.6g}' for value in best[0].values)} (trial {best[0].number})")
    words += [f"{states[TrialState.PRUNED]} pruned", f"{states[TrialState.FAIL]} failed"]
    spans = [t.duration for t in ended if t.duration]
    if spans and len(ended) < budget:
        left = fmean(span.total_seconds() for span in spans) * (budget - len(ended)) / slots
        words.append(f"about {_span(timedelta(seconds=left))} left")
    table = Table("trial", "value", "time", "settings", box=None)
    for number in running:
        trial = trials[number]
        values: dict[int, Any] = trial.intermediate_values
        last = f"{values[max(values)]:.6g} at {max(values)}" if values else "-"
        texts = " ".join(text for text in trial.user_attrs[studies.OVERRIDES] if text not in fixed)
        begun = trial.datetime_start or datetime.now()
        table.add_row(str(number), last, _span(datetime.now() - begun), Text(rounded(texts)))
    return Group(", ".join(words), table)


def _span(span: timedelta) -> str:
    return str(timedelta(seconds=round(span.total_seconds())))

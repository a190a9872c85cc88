"""Environment variables and signals by which launchers talk to a process, and its share of the machine."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

from runwright.errors import ConfigError
from runwright.sweep.trial import SLOTS_VARIABLE

WORKER_VARIABLE = "RUNWRIGHT_WORKER"  # set in the processes that our own launcher starts
STOP_VARIABLE = "RUNWRIGHT_STOP_FILE"  # in the jobs of a multirun: is there once it was told to stop
STORE_VARIABLE = "RUNWRIGHT_STORE_FD"  # a listening socket for rank 0, so that nobody else gets the port

# Ctrl-C; kill, schedulers; SLURM's warning; the terminal or its connection was closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

JOINING = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # all that a process needs to join others
# Sizes by which MPI tells a process of others; accelerate takes them for a launch of several.
MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
VARIABLES = (*JOINING, "LOCAL_RANK", "LOCAL_WORLD_SIZE", *MPI)
SHARED = ("train", "predict", "evaluate")  # commands of which several processes do one work
MARKS = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")  # of torchrun and `accelerate launch`

Handler = TypeVar("Handler", bound=Callable[[int, FrameType | None], object])


def rank() -> int:
    """This process's number among all of the run, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Number of processes that the launcher announced."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size())))


def join_launch(command: str) -> bool:
    """Return True if torchrun, `accelerate launch` or srun started this process: it starts no others.

    What a launcher of one process left in the environment is removed, with a line about it. Raises
    ConfigError for variables that no launcher sets so, and where `command` is none of SHARED.
    """
    if WORKER_VARIABLE in os.environ:
        return False
    _adopt_srun()
    given = [name for name in VARIABLES if name in os.environ]
    # `accelerate launch` of one process sets nothing else of a launch.
    is_launched = any(name in MARKS or name.startswith("ACCELERATE_USE_") for name in os.environ)
    wrong = [name for name in given if name != "MASTER_ADDR" and not os.environ[name].isdecimal()]
    several = [name for name in ("WORLD_SIZE", *MPI) if name in given and os.environ[name] not in ("0", "1")]
    is_whole = "WORLD_SIZE" in several and not set(JOINING) - set(given)
    if wrong or ((several or rank()) and not (is_whole and rank() < world_size() and command in SHARED)):
        expected = f"{', '.join(JOINING)} together, as torchrun sets them, or none"
        if command not in SHARED:
            expected = f"a single process for {command}"
        raise ConfigError(f"environment: given {_assigned(given)}; expected {expected}; {advice()}")
    if several:
        return True
    if {*given} - {"MASTER_ADDR", "MASTER_PORT"} and not is_launched:
        print(f"environment: {_assigned(given)} ignored: this process is alone", file=sys.stderr)
    for name in given:
        del os.environ[name]
    return is_launched


def _adopt_srun() -> None:
    """Set what torchrun would have set, in a step of several tasks; says where this is a shell of a job."""
    step = {name: value for name, value in os.environ.items() if name.startswith("SLURM_")}
    asked = step.get("SLURM_NTASKS", "1")
    tasks = step.get("SLURM_STEP_NUM_TASKS", asked if "SLURM_STEP_ID" in step else "1")
    if "WORLD_SIZE" in os.environ or tasks == "1":
        if asked != "1":
            text = "ignored: srun did not start this process, which is alone"
            print(f"environment: SLURM_NTASKS={asked} {text}", file=sys.stderr)
        return
    # Such as `2(x3),1` tasks on `node[07-09,12]`.
    counts = re.findall(r"(\d+)(?:\(x(\d+)\))?", step.get("SLURM_STEP_TASKS_PER_NODE", tasks))
    local = [count for count, times in counts for _ in range(int(times or 1))]
    first = re.match(r"([^,\[]+)(?:\[(\d+))?", step.get("SLURM_STEP_NODELIST", ""))
    # Steps of a job have ports of their own, below those that Linux gives away.
    number = int(step.get("SLURM_JOB_ID", 0)) * 31 + int(step.get("SLURM_STEP_ID", 0))
    variables = {
        "RANK": step["SLURM_PROCID"],
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": step["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": local[int(step.get("SLURM_NODEID", 0))],
        "MASTER_ADDR": "".join(first.groups("")) if first and len(local) > 1 else "127.0.0.1",
        "MASTER_PORT": str(20_000 + number % 12_000),
    }
    os.environ.update({name: value for name, value in variables.items() if name not in os.environ})


def _assigned(names: Iterable[str]) -> str:
    return ", ".join(f"{name}={os.environ[name]}" for name in names)


def advice(arguments: str = "…") -> str:
    """The command that starts without what launchers left in the environment."""
    names = [name for name in (*VARIABLES, *MARKS) if name in os.environ]
    unset = f"env {' '.join(f'-u {name}' for name in names)} " if names else ""
    return f"without a launcher: {unset}runwright {arguments}"


def describe_launch() -> str:
    """The launch that this process is one of, and how to start without."""
    return f"{_assigned(JOINING)}; {advice()}"


def check_num_processes(wanted: int) -> None:
    """Raise ConfigError if another number of processes was started: some launchers silently start one."""
    started = world_size()
    if wanted not in (1, started):
        raise ConfigError(
            f"launch.num_processes: given {wanted}, but the launcher started {started}, expected as many: "
            f"torchrun --nproc_per_node {wanted} …; {advice(f'train launch.num_processes={wanted} …')}"
        )


def share_of_cores(num_processes: int) -> int:
    """An equal share of the cores that this process may use, at least one; of a trial's, among all trials."""
    num_processes *= int(os.environ.get(SLOTS_VARIABLE, "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_processes)


class EvaluationStopped(Exception):  # noqa: N818 - not an error
    """A signal ended an evaluation before its end, on all ranks together."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stopped by signal {code - 128}")
        self.code = code


class Interrupted(KeyboardInterrupt):  # no `except Exception` of a library holds it up
    """A signal came before the training began, or where there is none."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name}: ended before there was anything to save")
        self.code = 128 + number


class StopFlag:
    """Signal handler whose `code`, 128 + the signal's number, the loop reads once a step; 0: no signal came.

    While `at_once`, there is nothing to save: it raises Interrupted.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.code = 0
        self.at_once = at_once

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal passes
        """Note the signal; a second Ctrl-C no longer waits for the step."""
        if self.at_once:
            raise Interrupted(number)
        if self.code == 128 + signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not (self.code or rank() or WORKER_VARIABLE in os.environ):  # a launcher speaks for its workers
            name = signal.Signals(number).name
            with suppress(OSError):  # the terminal may be gone; print() is not safe in a handler
                os.write(2, f"\n{name}: ends after this step and saves; a second Ctrl-C: at once\n".encode())
        self.code = 128 + number


@contextmanager
def catch_signals(handler: Handler) -> Iterator[Handler]:
    """Let `handler` take SIGNALS while the context lasts; earlier handlers are put back.

    A launcher may have started the process with these signals blocked: from now on they are let through.
    What nohup ignores stays ignored. Outside the main thread the handler is never called.
    """
    before = {}
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    caught = SIGNALS[:-1] if ignored else SIGNALS
    with suppress(ValueError):  # not the main thread
        before = {number: signal.signal(number, handler) for number in caught}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield handler
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)

"""What launchers tell a process through its environment, and its share of the machine."""

from __future__ import annotations

import os

from runwright.errors import ConfigError

WORKER_VARIABLE = "RUNWRIGHT_WORKER"  # set in the processes that our own launcher starts
BEATS_VARIABLE = "RUNWRIGHT_BEATS_FD"  # a pipe for their signs of life
STOP_VARIABLE = "RUNWRIGHT_STOP_FILE"  # in the jobs of a multirun: is there once it was told to stop
STORE_VARIABLE = "RUNWRIGHT_STORE_FD"  # a listening socket for rank 0, so that nobody else gets the port


def rank() -> int:
    """This process among all of the run, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes a launcher says there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size())))


def started_from_outside() -> bool:
    """Whether torchrun, `accelerate launch` or the like started this process: it then starts no others."""
    if WORKER_VARIABLE in os.environ:
        return False
    return "WORLD_SIZE" in os.environ or any(
        name.startswith(("ACCELERATE_", "TORCHELASTIC_")) for name in os.environ
    )


def is_restart() -> bool:
    """Whether torchrun started this process again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def check_num_processes(wanted: int) -> None:
    """Raises ConfigError where another number of processes came up: some launchers silently start one."""
    came_up = world_size()
    if wanted not in (1, came_up):
        raise ConfigError(
            f"launch.num_processes: given {wanted}, but {came_up} came up, expected as many; start with "
            f"`runwright train launch.num_processes={wanted}` or `torchrun --nproc_per_node {wanted}`"
        )


def share_of_cores(num_processes: int) -> int:
    """An equal share of the cores that this process may use, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_processes)

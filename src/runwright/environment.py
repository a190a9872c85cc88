"""What launchers tell a process through its environment, and its share of the machine."""

from __future__ import annotations

import os

from runwright.errors import ConfigError

WORKER_VARIABLE = "RUNWRIGHT_WORKER"  # set in the processes that our own launcher starts
BEATS_VARIABLE = "RUNWRIGHT_BEATS_FD"  # a pipe for their signs of life
STOP_VARIABLE = "RUNWRIGHT_STOP_FILE"  # in the jobs of a multirun: is there once it was told to stop
STORE_VARIABLE = "RUNWRIGHT_STORE_FD"  # a listening socket for rank 0, so that nobody else gets the port

WHY_NOT_DEEPSPEED = (
    "DeepSpeed accumulates, clips and steps by itself, so the numbers could not be kept; "
    "launch.strategy=fsdp shards weights, gradients and optimizer state too"
)


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


def check_strategy(strategy: str) -> None:
    """Raises ConfigError where `accelerate launch` was told to spread the model in another way."""
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        raise ConfigError(
            f"launch.strategy: given {strategy!r}, but `accelerate launch` was told to use DeepSpeed, "
            f"expected a launch without it; {WHY_NOT_DEEPSPEED}"
        )
    if not _is_set("ACCELERATE_USE_FSDP"):
        return
    if strategy != "fsdp":
        raise ConfigError(
            f"launch.strategy: given {strategy!r}, but `accelerate launch` was told to use FSDP, expected "
            "that both say the same: launch.strategy=fsdp, or a launch without --use_fsdp"
        )
    version = os.environ.get("FSDP_VERSION", "2")
    if version != "2":
        raise ConfigError(
            f"launch.strategy: given 'fsdp', which is FSDP2, but `accelerate launch` was told to use version "
            f"{version}, expected --fsdp_version 2 or no FSDP options at all"
        )


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}


def share_of_cores(num_processes: int) -> int:
    """An equal share of the cores that this process may use, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_processes)


def installed_packages() -> dict[str, str]:
    """Version of each installed package; of several copies that of the first on the path: it is imported."""
    from importlib import metadata  # deferred: the command line's light path never needs it

    versions: dict[str, str] = {}
    for found in metadata.distributions():
        if found.name:
            versions.setdefault(found.name, found.version)
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))

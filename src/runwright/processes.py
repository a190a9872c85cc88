"""This process among the processes of a run, and its device and threads."""

from __future__ import annotations

import os

import torch

from runwright.errors import ConfigError
from runwright.trainer.ranks import Ranks


def start_ranks(device: str, *, num_processes: int = 1) -> Ranks:
    """Join the other processes that a launcher started, or be alone.

    `device` is auto, cpu or cuda. Raises ConfigError where another number of processes came up than the
    configuration asks for: some launchers silently start one.
    """
    from accelerate.state import AcceleratorState, PartialState

    came_up = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes not in (1, came_up):
        raise ConfigError(
            f"launch.num_processes={num_processes}, but {came_up} came up; start with `runwright train "
            f"launch.num_processes={num_processes}` or `torchrun --nproc_per_node {num_processes}`"
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("trainer.device=cuda, but torch finds no CUDA device here; use auto or cpu")
    if came_up == 1:
        AcceleratorState._reset_state(reset_partial_state=True)  # an earlier run in this process may differ
    state = PartialState(cpu=device == "cpu")
    assert state.num_processes == came_up, f"{state.num_processes} processes of {came_up}"
    return Ranks(rank=state.process_index, num_ranks=state.num_processes, device=torch.device(state.device or "cpu"))


def share_of_cores(num_processes: int) -> int:
    """An equal share of the cores that this process may use, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_processes)


def set_threads(count: int) -> None:
    """Threads of every operation from now on; recorded, since another count gives other last bits."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # for what is loaded later
    torch.set_num_threads(count)


def be_deterministic() -> None:
    """Let every operation on a GPU give the same bits each time; raises where one cannot."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False

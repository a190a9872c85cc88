"""This process among the processes of a run, and its device and threads."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from runwright.errors import ConfigError
from runwright.trainer import environment
from runwright.trainer.environment import STORE_VARIABLE
from runwright.trainer.ranks import Ranks

START_SECONDS = 300.0  # for all processes to come up: the imports of one may take long on a busy machine


def start_ranks(device: str, *, num_processes: int = 1, timeout_seconds: float = 600.0) -> Ranks:
    """Join the other processes that a launcher started, or be alone.

    `device` is auto, cpu or cuda. A rank that waits longer than `timeout_seconds` for the others fails.
    Raises ConfigError where another number of processes came up than the configuration asks for: some
    launchers silently start one.
    """
    from accelerate.state import AcceleratorState, PartialState

    came_up = environment.world_size()
    environment.check_num_processes(num_processes)
    _check_devices(device)
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    AcceleratorState._reset_state(reset_partial_state=True)  # an earlier run in this process may differ
    if came_up > 1:
        _join_group("gloo" if on_cpu else "nccl", came_up, timeout_seconds=timeout_seconds)
    state = PartialState(cpu=on_cpu)
    assert state.num_processes == came_up, f"{state.num_processes} processes of {came_up}"
    return Ranks(
        rank=state.process_index, num_ranks=state.num_processes, device=torch.device(state.device or "cpu")
    )


def end_ranks(ranks: Ranks) -> None:
    """Leave the others, if there are any, without waiting for them."""
    if ranks.num_ranks > 1 or dist.is_initialized():  # torchrun makes a group of one as well
        dist.destroy_process_group()
    open_store.cache_clear()


@cache
def open_store() -> Store:
    """The store through which the processes of a group find each other; the first rank keeps it."""
    timeout = timedelta(seconds=START_SECONDS)
    descriptor = os.environ.pop(STORE_VARIABLE, None)
    if descriptor is not None:  # our launcher holds the port open since before the first process started
        return dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage] - documented
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            environment.world_size(),
            is_master=True,
            timeout=timeout,
            wait_for_workers=False,
            master_listen_fd=int(descriptor),
        )
    store, _, _ = next(rendezvous("env://", timeout=timeout))
    return store


def _join_group(backend: str, num_processes: int, *, timeout_seconds: float) -> None:
    rank, store = environment.rank(), open_store()
    # All are here before the clock of the group, which may be short, begins to count.
    store.set(f"runwright/here/{rank}", "")
    everyone = [f"runwright/here/{other}" for other in range(num_processes)]
    store.wait(everyone, timedelta(seconds=START_SECONDS))
    dist.init_process_group(
        backend,
        store=PrefixStore("runwright/group", store),
        rank=rank,
        world_size=num_processes,
        timeout=timedelta(seconds=timeout_seconds),
    )


def _check_devices(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("trainer.device=cuda, but torch finds no CUDA device here; use auto or cpu")
    if device == "cpu" or not torch.cuda.is_available():
        return
    wanted, there = environment.local_world_size(), torch.cuda.device_count()
    if wanted > there:
        raise ConfigError(
            f"launch.num_processes: given {wanted} processes on this machine, expected at most one for each "
            f"of its {there} GPUs; trainer.device=cpu has no such limit"
        )


def set_threads(count: int) -> None:
    """Threads of every operation from now on; recorded, since another count gives other last bits."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # for what is loaded later
    torch.set_num_threads(count)


def be_deterministic() -> None:
    """Let every operation on a GPU give the same bits each time; raises where one cannot."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False

"""This process among those of a run: how it joins them, its device, and the few things they exchange."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from runwright.errors import ConfigError
from runwright.trainer import environment
from runwright.trainer.environment import STORE_VARIABLE, WORKER_VARIABLE

if TYPE_CHECKING:
    from accelerate import Accelerator

START_SECONDS = 300.0  # for all processes to come up: the imports of one may take long on a busy machine
LOCAL_START_SECONDS = 60.0
BACKENDS = {"cuda": "nccl", "xpu": "xccl"}  # others: gloo
FLAT_ELEMENTS = 1 << 23  # 32 MiB of float32 in one all-reduce: large enough to be fast, bounded extra memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """Rank, number of processes and device; one process needs no process group."""

    rank: int
    num_ranks: int
    device: torch.device
    sharded: bool = False  # every rank holds a part of the model, so all run the same number of forwards
    accelerator: Accelerator | None = None  # autocast, scaler and clipping; None: float32 throughout

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        return self.accelerator.scaler if self.accelerator else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of a forward and its loss at the run's precision."""
        by = self.accelerator
        return by.autocast() if by and by.native_amp else nullcontext()

    def clip(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> float:
        """Scale the whole gradient to a norm of at most `limit`; returns the norm before."""
        by = self.accelerator.clip_grad_norm_ if self.accelerator else torch.nn.utils.clip_grad_norm_
        norm: Any = by(parameters, limit)
        return (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).item()

    def sum_vector(self, values: Sequence[float] | torch.Tensor) -> torch.Tensor:
        """The sum over ranks, element by element, in float64 on the CPU.

        Elements that only one rank sets (the others give 0) come out unchanged to the last bit.
        """
        vector = torch.as_tensor(values, dtype=torch.float64)
        if self.num_ranks == 1:
            return vector.cpu()
        vector = vector.to(self.device, copy=True)
        dist.all_reduce(vector)
        return vector.cpu()

    def gather(self, data: bytes) -> list[bytes]:
        """The bytes of each rank, in the order of ranks, on every rank.

        Bytes rather than objects: nothing that another process sends is unpickled.
        """
        if self.num_ranks == 1:
            return [data]
        sizes = [int(size) for size in self.per_rank(len(data))]
        # One more than the longest: no tensor is empty, and a bytearray of that length can be written to.
        padded = bytearray(max(sizes) + 1)
        padded[: len(data)] = data
        mine = torch.frombuffer(padded, dtype=torch.uint8).to(self.device)
        everyones = torch.empty(self.num_ranks, len(padded), dtype=torch.uint8, device=self.device)
        dist.all_gather(list(everyones), mine)
        rows = everyones.cpu().numpy()
        return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]

    def per_rank(self, value: float) -> list[float]:
        """The value of each rank, the same list on all."""
        mine = [value if rank == self.rank else 0.0 for rank in range(self.num_ranks)]
        return self.sum_vector(mine).tolist()

    def barrier(self) -> None:
        if self.accelerator:
            self.accelerator.wait_for_everyone()


ALONE = Ranks(rank=0, num_ranks=1, device=torch.device("cpu"))


def start_ranks(
    device: str,
    *,
    precision: str = "fp32",
    strategy: str = "replicated",
    num_processes: int = 1,
    timeout_seconds: float = 600.0,
) -> Ranks:
    """Join the other processes that a launcher started, or be alone; autocast and scaler by `precision`.

    A rank that waits longer than `timeout_seconds` for the others fails. Raises ConfigError where device or
    number of processes is not what was asked for.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    environment.check_num_processes(num_processes)
    if device == "auto":
        told_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on")
        device = "cuda" if torch.cuda.is_available() and not told_cpu else "cpu"
    world_size, local_size = environment.world_size(), environment.local_world_size()
    if device == "cuda" and local_size > torch.cuda.device_count() > 0:
        raise ConfigError(
            f"launch.num_processes: given {local_size} processes on this machine, expected at most one for "
            f"each of its {torch.cuda.device_count()} GPUs; trainer.device=cpu has no such limit"
        )
    # A second Accelerator shares the state of an earlier run in this process, or refuses another precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    if world_size > 1:
        _join_group(BACKENDS.get(device, "gloo"), world_size, timeout=timedelta(seconds=timeout_seconds))
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no" if precision == "fp32" else precision)
    # Accelerate 1.15 changes each of these without a word: another device where it finds none of the kind,
    # one process of several without a GPU. (And float32 for fp16 on a CPU: build_stepper refuses that.)
    if accelerator.device.type != device:
        raise ConfigError(
            f"trainer.device: given {device!r}, but accelerate finds only {accelerator.device.type!r} here, "
            "expected a device of this machine; use auto or cpu"
        )
    assert accelerator.num_processes == world_size, f"{accelerator.num_processes} of {world_size} processes"
    assert accelerator.distributed_type in ("NO", f"MULTI_{'GPU' if device == 'cuda' else device.upper()}")
    return Ranks(
        rank=accelerator.process_index,
        num_ranks=world_size,
        # On several CPUs accelerate says cpu:0, which torch.load(map_location=…) does not know.
        device=torch.device("cpu") if device == "cpu" else accelerator.device,
        sharded=strategy == "fsdp" and world_size > 1,
        accelerator=accelerator,
    )


def end_ranks(ranks: Ranks) -> None:
    """Leave the others, if there are any, without waiting for them."""
    if ranks.num_ranks > 1 or dist.is_initialized():  # torchrun makes a group of one as well
        dist.destroy_process_group()
    open_store.cache_clear()


@cache
def open_store() -> Store:
    """The store through which processes find one another, held by the first rank; or ConfigError."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # the agent holds it
        return next(rendezvous("env://", timeout=timedelta(seconds=START_SECONDS)))[0]
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # Our launcher holds the port open since before the first process started.
    descriptor = os.environ.pop(STORE_VARIABLE, None)
    if environment.rank():  # torch's own wait for the first rank cannot be interrupted

        def answers() -> bool:
            with suppress(OSError), socket.create_connection((address, port), timeout=1):
                return True
            return False

        _wait(answers, "the first process")
    try:
        return dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage] - documented
            address,
            port,
            environment.world_size(),
            is_master=not environment.rank(),
            timeout=timedelta(seconds=START_SECONDS),
            wait_for_workers=False,
            master_listen_fd=None if descriptor is None else int(descriptor),
        )
    except dist.DistNetworkError as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"environment: {reason}; given {environment.describe_launch()}") from error


def _wait(is_there: Callable[[], bool], what: str) -> None:
    """Wait for other processes; a signal may end it. Raises ConfigError where they do not come."""
    # Without a launcher of this machine all are started at once; a cluster may start them minutes apart.
    has_launcher = not {"TORCHELASTIC_RUN_ID", WORKER_VARIABLE}.isdisjoint(os.environ)
    by_hand = not has_launcher and os.environ["MASTER_ADDR"] in ("127.0.0.1", "localhost", "::1")
    seconds = LOCAL_START_SECONDS if by_hand else START_SECONDS
    until = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > until:
            launch = environment.describe_launch()
            raise ConfigError(f"environment: after {seconds:g} s {what} had not come; given {launch}")
        time.sleep(0.02)


def _join_group(backend: str, world_size: int, *, timeout: timedelta) -> None:
    rank, store = environment.rank(), open_store()
    # All are here before the clock of the group, which may be short, begins to count.
    store.set(f"runwright/here/{rank}", "")
    everyone = [f"runwright/here/{other}" for other in range(world_size)]
    _wait(lambda: store.check(everyone), f"one of {world_size} processes")
    group = PrefixStore("runwright/group", store)
    dist.init_process_group(backend, store=group, rank=rank, world_size=world_size, timeout=timeout)


def set_threads(count: int, *, deterministic: bool = False) -> None:
    """Set the threads of every operation, which decide the last bits of sums, and bit-identical GPU kernels.

    With `deterministic`, operations that cannot give the same bits each time raise.
    """
    os.environ["OMP_NUM_THREADS"] = str(count)  # for what is loaded later
    torch.set_num_threads(count)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False


# --- what they exchange -----------------------------------------------------------------------------------


def sum_gradients(parameters: Sequence[torch.nn.Parameter], ranks: Ranks) -> None:
    """Sum each gradient over the ranks, in place, in a layout that depends on the parameters alone.

    Sparse gradients (of embeddings) become dense. A parameter without a gradient on some rank counts as zero
    there; one without any keeps None, so that the optimizer leaves it alone as it does in one process.
    """
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()
    if ranks.num_ranks == 1:
        return
    # Ours and not DDP, whose buckets are rebuilt after the first backward: on three or four processes a
    # resumed run then differed from the unbroken one in the last bits (torch 2.13, gloo).
    present = ranks.sum_vector([float(parameter.grad is not None) for parameter in parameters]).tolist()
    used = [parameter for parameter, count in zip(parameters, present, strict=True) if count]
    buckets: list[list[torch.nn.Parameter]] = []
    filled = 0
    for parameter in used:
        is_same = buckets and buckets[-1][0].dtype == parameter.dtype
        if not is_same or filled + parameter.numel() > FLAT_ELEMENTS:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += parameter.numel()
    for bucket in buckets:
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).detach().reshape(-1) for p in bucket]
        )
        dist.all_reduce(flat)
        for parameter, summed in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
            parameter.grad = summed.view_as(parameter).clone()


def gather_rows(parts: Mapping[int, torch.Tensor], sizes: Sequence[int], ranks: Ranks) -> torch.Tensor:
    """The rows of all microbatches in the order of their indices, [sum of sizes, …], on every rank.

    `parts` holds the rows of this rank's microbatches by index; every microbatch belongs to one rank.
    """
    if ranks.num_ranks == 1:
        return torch.cat([parts[index] for index in range(len(sizes))])
    mine = next(iter(parts.values()), None)  # a rank without a microbatch does not know what a row is
    kind = b"" if mine is None else json.dumps([list(mine.shape[1:]), str(mine.dtype)]).encode()
    shape, dtype = json.loads(next(filter(None, ranks.gather(kind))))
    dtype = getattr(torch, dtype.removeprefix("torch."))
    rows = torch.zeros(sum(sizes), *shape, dtype=dtype, device=ranks.device)
    for index, target in enumerate(rows.split(list(sizes))):
        if index in parts:
            target.copy_(parts[index])
    dist.all_reduce(rows)  # the others add zeros: no bit changes
    return rows

"""This process among the processes of a run: its device and precision, and the few things they exchange."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from accelerate import Accelerator

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
        """Return True on the process that writes."""
        return self.rank == 0

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The gradient scaler of fp16; None at other precisions."""
        return self.accelerator.scaler if self.accelerator else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of a forward and its loss at the run's precision."""
        return self.accelerator.autocast() if self.accelerator else nullcontext()

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
        return self.sum_vector(
            [value if rank == self.rank else 0.0 for rank in range(self.num_ranks)]
        ).tolist()

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.accelerator:
            self.accelerator.wait_for_everyone()


ALONE = Ranks(rank=0, num_ranks=1, device=torch.device("cpu"))


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
    for bucket in _buckets(used):
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


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    buckets: list[list[torch.nn.Parameter]] = []
    filled = 0
    for parameter in parameters:
        same = buckets and buckets[-1][0].dtype == parameter.dtype
        if not same or filled + parameter.numel() > FLAT_ELEMENTS:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += parameter.numel()
    return buckets

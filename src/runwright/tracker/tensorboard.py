"""The tracker that writes event files for TensorBoard (the extra `tensorboard`) into the run's folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from runwright.tracker.feed import FedTracker, Take

if TYPE_CHECKING:
    from runwright.types import RunInfo

FOLDER = "tensorboard"


@dataclass(kw_only=True, eq=False)
class TensorBoardTracker(FedTracker):
    """Writes curves with their recorded times, settings and tags as texts; a resumed run writes all anew."""

    library: ClassVar[str] = "tensorboard"

    @contextmanager
    def opened(self, run: RunInfo) -> Iterator[Take]:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / FOLDER
        shutil.rmtree(folder, ignore_errors=True)  # a step in two files would be drawn twice
        with SummaryWriter(str(folder)) as writer:

            def take(record: Mapping[str, Any]) -> None:
                seconds = record["t"] / 1000
                for name, value in record.get("m", {}).items():
                    writer.add_scalar(name, float(value), record["s"], walltime=seconds)
                for kind in ("params", "tags"):
                    if rows := record.get(kind):
                        table = "".join(f"\n| {name} | `{text}` |" for name, text in rows.items())
                        writer.add_text(kind, f"| name | value |\n|---|---|{table}", walltime=seconds)
                writer.flush()

            yield take

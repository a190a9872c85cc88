"""The tracker that shows runs in Weights & Biases (the extra `wandb`), online or for `wandb sync`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from runwright.tracker.feed import FedTracker, Take
from runwright.tracker.journal import SYSTEM

if TYPE_CHECKING:
    from runwright.types import RunInfo

STEP, SAMPLE = "step", f"{SYSTEM}sample"  # what curves are drawn over


@dataclass(kw_only=True, eq=False)
class WandbTracker(FedTracker):
    """Sends metrics over their own steps, settings and tags; a resumed run goes on under the same id."""

    project: str | None  # null: the run's `name`
    entity: str | None
    mode: Literal["offline", "online"]
    library: ClassVar[str] = "wandb"

    @contextmanager
    def opened(self, run: RunInfo) -> Iterator[Take]:
        import wandb

        if self.mode == "offline":  # all is written anew
            shutil.rmtree(run.folder / "wandb", ignore_errors=True)
        options: Any = {"project": self.project or run.name, "entity": self.entity, "mode": self.mode}
        settings = wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_git=True)
        shown = wandb.init(
            **options, id=run.run_id, name=run.folder.name, dir=run.folder, resume="allow", settings=settings
        )
        shown.define_metric("*", step_metric=STEP)
        shown.define_metric(f"{SYSTEM}*", step_metric=SAMPLE)
        sent, number, status = shown.step, 0, ""

        def take(record: Mapping[str, Any]) -> None:
            nonlocal number, status
            for kind in ("params", "tags"):
                if kind in record:
                    shown.config.update(record[kind], allow_val_change=True)
            if "m" in record:
                values = {name: float(value) for name, value in record["m"].items()}
                axis = SAMPLE if all(name.startswith(SYSTEM) for name in values) else STEP
                if number >= sent:  # W&B's own steps are the numbers of records: none is sent twice
                    row = {**values, axis: record["s"], "_timestamp": record["t"] / 1000}
                    shown.log(row, step=number)
                number += 1
            status = record.get("status", status)

        yield take
        shown.finish(exit_code=int(status != "FINISHED"))

"""What the parts measure with: model and batches of a configuration, our loop over them, two in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runwright.tracker.console import JournalTracker
    from runwright.types import Tracker


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every part measures with; a fresh model is made from the same seed each time."""

    config: Mapping[str, Any]
    prepared: Any
    steps: int

    def parts(self) -> tuple[Any, Any, Any]:
        """A fresh stepper, its scheduler, and the batches."""
        from runwright import build
        from runwright.model.padding_free import is_padding_free
        from runwright.trainer.ranks import start_ranks

        trainer = self.config["trainer"]
        ranks = start_ranks(trainer["device"], precision=trainer["precision"])
        model = build.build_model(self.config, self.prepared, device=ranks.device)
        task = self.prepared.task
        stepper = build.build_stepper(self.config, model=model, task=task, ranks=ranks)
        padded = not is_padding_free(model)
        batches = build.build_batches(self.config, self.prepared, ranks=ranks, padded=padded)
        scheduler = build.build_scheduler(self.config, stepper.optimizer, total_steps=self.steps)
        return stepper, scheduler, batches

    def loss_of(self, model: Any) -> float:
        """The mean loss of a model on the examples of the first step, without dropout."""
        import torch

        task, examples = self.prepared.task, self.prepared.examples["train"]
        places = range(min(len(examples), self.config["trainer"]["batch_size"]))
        batch = task.collate(task.augment(examples.fetch(places), seed=0, epoch=0))
        with torch.inference_mode():
            loss = task.loss(task.forward(model.eval(), batch), batch)
        return float(loss.total / loss.count)

    def rows(self, examples: Any, places: Sequence[int]) -> list[dict[str, Any]]:
        """Rows as transformers' collators take them, with the labels of the task's own batches."""
        rows = []
        for example in examples.fetch(places):
            row = {name: example[name] for name in ("input_ids", "token_type_ids") if name in example}
            if "labels" in example:
                row["labels"] = self.prepared.task.collate([example])["labels"][0].tolist()
            rows.append(row)
        return rows

    def with_attention(self, attention: str) -> Setting:
        """The same with another execution of the model; auto is without padding."""
        return replace(
            self, config={**self.config, "model": {**self.config["model"], "attention": attention}}
        )


def prepare(overrides: list[str], *, steps: int) -> Setting:
    """Compose, set the threads, encode the data."""
    from runwright import build
    from runwright.config.compose import compose_checked
    from runwright.store import cache_root
    from runwright.trainer.environment import share_of_cores
    from runwright.trainer.ranks import set_threads

    config = compose_checked(overrides).config
    set_threads(config["trainer"]["num_threads"] or share_of_cores(1))
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    return Setting(config=config, prepared=prepared, steps=steps)


def compare(
    ours: Callable[[], float], baseline: Callable[[], float], *, repeats: int
) -> dict[str, list[float]]:
    """Seconds of both, and their ratio."""
    seconds = interleave({"ours": ours, "baseline": baseline}, repeats=repeats)
    return seconds | {"ratio": [a / b for a, b in zip(seconds["ours"], seconds["baseline"], strict=True)]}


def interleave(contenders: Mapping[str, Callable[[], float]], *, repeats: int) -> dict[str, list[float]]:
    """Seconds of each, in turn so that a machine that slows down slows all; one warm-up each."""
    for run in contenders.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            seconds[name].append(run())
    return seconds


def run_loop(
    setting: Setting,
    *,
    save_every: int | None = None,
    tracker: Tracker | None = None,
    on_step: Callable[[int], None] | None = None,
) -> tuple[float, Any]:
    """Seconds and model of our loop over the setting's steps; without a tracker, with a journal alone."""
    from runwright import build
    from runwright.trainer.checkpoint import CheckpointStore
    from runwright.trainer.environment import StopFlag
    from runwright.trainer.loop import Loop, TrainingState
    from runwright.trainer.options import Plan

    stepper, scheduler, batches = setting.parts()
    with tempfile.TemporaryDirectory() as folder:
        ours = None if tracker else journal_only(Path(folder))
        # one step more than is run: the checkpoint and the evaluation of the end are not measured
        plan = Plan(
            steps_per_epoch=batches.steps_per_epoch,
            total_steps=setting.steps + 1,
            evaluate_every=setting.steps + 1,
            save_every=save_every or setting.steps + 1,
        )
        store = CheckpointStore(Path(folder) / "checkpoints", keep=1, identity={})
        log = tracker or ours
        assert log is not None
        loop = Loop(
            batches=batches,
            stepper=stepper,
            scheduler=scheduler,
            options=build.build_options(setting.config),
            plan=plan,
            checkpoints=store,
            log=log,
            stop=StopFlag(),
            evaluate=None,
            on_step=StopAfter(setting.steps, on_step),
        )
        began = time.perf_counter()
        with suppress(EnoughError):
            loop.run(TrainingState())
        store.wait()
        seconds = time.perf_counter() - began
        if ours:
            ours.finish("FINISHED")
    return seconds, stepper.model


def journal_only(folder: Path) -> JournalTracker:
    """A started tracker that writes the journal, logs no line and has no store."""
    from runwright.tracker.console import JournalTracker
    from runwright.types import RunInfo

    tracker = JournalTracker(system_every_seconds=None)
    tracker.start(RunInfo(run_id="0", name="benchmark", folder=folder, config={}, overrides=()))
    return tracker


def use_dense_gradients(model: Any) -> Any:
    """The model with embeddings as every other loop has them; Runwright makes theirs sparse on a CPU."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.sparse = False
    return model


class EnoughError(Exception):
    """The steps to measure are done."""


class StopAfter:
    """Calls `on_step`, if any, with the number of each step, and ends the loop from outside after so many."""

    def __init__(self, steps: int, on_step: Callable[[int], None] | None) -> None:
        self.steps = steps
        self.on_step = on_step

    def __call__(self, state: Any, result: Any) -> None:
        """Called after every step, before it would be saved."""
        del result
        if self.on_step:
            self.on_step(state.step)
        if state.step == self.steps:
            raise EnoughError

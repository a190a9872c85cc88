"""Speed as ratios: Runwright against a named baseline, interleaved in one run, medians of several repeats.

    python scripts/benchmark.py                      all parts
    python scripts/benchmark.py step trainer --repeats 5 --steps 60

step        our loop against a bare PyTorch loop on the same padded microbatches
trainer     our loop against transformers' Trainer on the same rows, model, optimizer and batch size
checkpoint  our loop with a checkpoint every 50 steps against the same without
resume      seconds until the first batch at step 1,000,000 and at step 10, ours and accelerate's
            skip_first_batches, on 4 million rows of one epoch in batches of 4
command     seconds of --help, --cfg job, validate and completion

Data, model and options are those of the given overrides (default: experiment=vader on 2,000 rows).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PARTS = ("step", "trainer", "checkpoint", "resume", "command")
DEFAULT_OVERRIDES = ["experiment=vader", "dataset.subset.train=2000"]
SAVE_EVERY = 50
COMMANDS = {
    "--help": ["--help"],
    "--cfg job": ["train", "experiment=vader", "--cfg", "job"],
    "validate": ["validate", "experiment=vader"],
    "completion": ["_complete", "runwright train optimizer="],
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every part measures with; a fresh model is made from the same seed each time."""

    config: Mapping[str, Any]
    prepared: Any
    steps: int

    def parts(self) -> tuple[Any, Any, Any]:
        """A fresh stepper, its scheduler, and the batches."""
        from runwright import build
        from runwright.processes import start_ranks

        ranks = start_ranks(self.config["trainer"]["device"])
        model = build.build_model(self.config, self.prepared, device=ranks.device)
        task = self.prepared.task
        stepper = build.build_stepper(self.config, model=model, task=task, ranks=ranks)
        batches = build.build_batches(self.config, self.prepared.examples["train"], task, ranks=ranks)
        scheduler = build.build_scheduler(self.config, stepper.optimizer, total_steps=self.steps)
        return stepper, scheduler, batches


def main() -> int:
    """Run the parts that were asked for and print one table; --json keeps the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="updates in one measurement")
    parser.add_argument("--override", action="append", default=[], help="may be repeated")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown part {sorted(unknown)[0]!r}; choose from {', '.join(PARTS)}")
    overrides = [*DEFAULT_OVERRIDES, *args.override]
    results: dict[str, Any] = {}
    for part in args.parts or PARTS:
        print(f"measuring {part} …", file=sys.stderr)
        if part == "command":
            results[part] = measure_commands(args.repeats)
        elif part == "resume":
            results[part] = measure_resume(args.repeats)
        else:
            pair = PAIRS[part](prepare(overrides, steps=args.steps))
            results[part] = compare(*pair, repeats=args.repeats)
        show(part, results[part])
    if args.json:
        args.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def prepare(overrides: list[str], *, steps: int) -> Setting:
    """Compose, set the threads, encode the data."""
    from runwright import build
    from runwright.compose import compose_checked
    from runwright.dataset.store import cache_root
    from runwright.environment import share_of_cores
    from runwright.processes import set_threads

    config = compose_checked(overrides).config
    set_threads(config["trainer"]["num_threads"] or share_of_cores(1))
    prepared = build.prepare(config, cache_folder=cache_root() / "examples")
    return Setting(config=config, prepared=prepared, steps=steps)


def compare(
    ours: Callable[[], float], baseline: Callable[[], float], *, repeats: int
) -> dict[str, list[float]]:
    """Seconds of both, in turn so that a machine that slows down slows both; one warm-up each."""
    ours()
    baseline()
    found: dict[str, list[float]] = {"ours": [], "baseline": []}
    for _ in range(repeats):
        found["ours"].append(ours())
        found["baseline"].append(baseline())
    found["ratio"] = [a / b for a, b in zip(found["ours"], found["baseline"], strict=True)]
    return found


# --- pairs: ours and its baseline, each a function that returns seconds -------------------------------------


def step_pair(setting: Setting) -> tuple[Callable[[], float], Callable[[], float]]:
    """Our whole loop against the shortest loop that computes the same from ready tensors."""
    _, _, batches = setting.parts()
    ready = [batches.at(step) for step in range(setting.steps)]

    def bare() -> float:
        stepper, scheduler, _ = setting.parts()
        model, task, optimizer = stepper.model, stepper.task, stepper.optimizer
        parameters = stepper.parameters
        model.train()
        import torch

        use_dense_gradients(model)
        began = time.perf_counter()
        for batch in ready:
            count = sum(microbatch.count for microbatch in batch.microbatches)
            for microbatch in batch.microbatches:
                loss = task.loss(task.forward(model, microbatch.batch), microbatch.batch)
                (loss.total / count).backward()
            torch.nn.utils.clip_grad_norm_(parameters, stepper.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    return lambda: run_loop(setting), bare


def checkpoint_pair(setting: Setting) -> tuple[Callable[[], float], Callable[[], float]]:
    """The loop with a checkpoint every 50 steps, and with one at the end only."""
    longer = replace(setting, steps=max(setting.steps, 2 * SAVE_EVERY + 1))
    return lambda: run_loop(longer, save_every=SAVE_EVERY), lambda: run_loop(longer)


def trainer_pair(setting: Setting) -> tuple[Callable[[], float], Callable[[], float]]:
    """Our loop against transformers' Trainer; both draw their own random batches of the same size."""

    def trainer() -> float:
        import transformers

        stepper, scheduler, _ = setting.parts()
        examples = setting.prepared.examples["train"]
        rows = [
            {"input_ids": e["input_ids"], "labels": e["labels"]} for e in examples.fetch(range(len(examples)))
        ]
        tokenizer = setting.prepared.tokenizer
        with tempfile.TemporaryDirectory() as folder:
            made = transformers.Trainer(
                model=use_dense_gradients(stepper.model),
                args=transformers.TrainingArguments(
                    output_dir=folder,
                    per_device_train_batch_size=setting.config["trainer"]["batch_size"],
                    max_steps=setting.steps,
                    max_grad_norm=setting.config["trainer"]["max_grad_norm"],
                    save_strategy="no",
                    report_to=[],
                    disable_tqdm=True,
                    use_cpu=stepper.ranks.device.type == "cpu",
                ),
                train_dataset=rows,  # type: ignore[arg-type] - any sized sequence of rows does
                data_collator=transformers.DataCollatorWithPadding(tokenizer),
                optimizers=(stepper.optimizer, scheduler),
            )
            began = time.perf_counter()
            made.train()
            return time.perf_counter() - began

    return lambda: run_loop(setting), trainer


def use_dense_gradients(model: Any) -> Any:
    """The model with embeddings as every other loop has them; Runwright makes theirs sparse on a CPU."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.sparse = False
    return model


PAIRS = {"step": step_pair, "trainer": trainer_pair, "checkpoint": checkpoint_pair}


def run_loop(setting: Setting, *, save_every: int | None = None) -> float:
    """Seconds of our loop over the setting's steps, journal and one last checkpoint included or not."""
    from runwright import build
    from runwright.tracker.console import ConsoleTracker
    from runwright.trainer.checkpoint import CheckpointStore
    from runwright.trainer.loop import Loop, Plan, TrainingState
    from runwright.trainer.stop import StopFlag
    from runwright.types import RunInfo

    stepper, scheduler, batches = setting.parts()
    with tempfile.TemporaryDirectory() as folder:
        tracker = ConsoleTracker(interval_seconds=1e9, system_every_seconds=None)
        tracker.start(RunInfo(run_id="0", name="benchmark", folder=Path(folder), config={}, overrides=()))
        # one step more than is run: the checkpoint and the evaluation of the end are not measured
        plan = Plan(
            steps_per_epoch=batches.order.steps_per_epoch,
            total_steps=setting.steps + 1,
            evaluate_every=None,
            save_every=save_every,
        )
        store = CheckpointStore(Path(folder) / "checkpoints", keep=1, identity={})
        stop = StopAfter(setting.steps)
        loop = Loop(
            batches=batches,
            stepper=stepper,
            scheduler=scheduler,
            options=build.build_options(setting.config),
            plan=plan,
            checkpoints=store,
            log=tracker,
            stop=StopFlag(),
            evaluate=None,
            on_step=stop,
        )
        began = time.perf_counter()
        with suppress(EnoughError):
            loop.run(TrainingState())
        store.wait()
        seconds = time.perf_counter() - began
        tracker.finish("FINISHED")
    return seconds


class EnoughError(Exception):
    """The steps to measure are done."""


class StopAfter:
    """Ends the loop from outside after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, state: Any, result: Any) -> None:
        """Called after every step, before it would be saved."""
        del result
        if state.step == self.steps:
            raise EnoughError


class SyntheticRows:
    """As many rows as one likes, made when they are asked for."""

    def __init__(self, count: int) -> None:
        import numpy as np

        self.example_ids = np.arange(count)
        self.lengths = np.full(count, 8)

    def __len__(self) -> int:
        return len(self.example_ids)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {"example_id": int(position), "input_ids": [1] * 8}

    def fetch(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        return [self[position] for position in positions]


class NoTask:
    """Collates nothing, counts examples."""

    def count(self, examples: Sequence[Any]) -> float:
        return float(len(examples))

    def collate(self, examples: Sequence[Any]) -> Any:
        return examples


def measure_resume(repeats: int) -> dict[str, list[float]]:
    """Seconds from nothing to the first batch; both shuffle all rows of the epoch."""
    import torch
    from accelerate import skip_first_batches

    from runwright.trainer.batches import Batches, BatchOrder, Cut

    batch_size, late = 4, 1_000_000
    rows: Any = SyntheticRows(batch_size * (late + 100))
    task: Any = NoTask()

    def ours(step: int) -> None:
        order = BatchOrder(len(rows), batch_size=batch_size, seed=0)
        Batches(rows, task, order=order, cut=Cut()).at(step)

    def skipping(step: int) -> None:
        loader = torch.utils.data.DataLoader(rows, batch_size=batch_size, shuffle=True, collate_fn=list)
        next(iter(skip_first_batches(loader, step)))

    found: dict[str, list[float]] = {}
    for _ in range(repeats + 1):
        for name, resume in (("ours", ours), ("skip_first_batches", skipping)):
            for step in (10, late):
                began = time.perf_counter()
                resume(step)
                found.setdefault(f"{name} at {step:,}", []).append(time.perf_counter() - began)
    found = {name: seconds[1:] for name, seconds in found.items()}
    for name in ("ours", "skip_first_batches"):
        pairs = zip(found[f"{name} at {late:,}"], found[f"{name} at 10"], strict=True)
        found[f"{name} ratio"] = [a / b for a, b in pairs]
    return found


def measure_commands(repeats: int) -> dict[str, list[float]]:
    """Wall seconds of commands that must answer at once."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "runwright", *arguments], check=True, capture_output=True)
            found[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in found.items()}


def show(part: str, figures: Mapping[str, list[float]]) -> None:
    """Medians with their range."""
    for name, values in figures.items():
        unit = "" if name.endswith("ratio") else " s"
        low, high = min(values), max(values)
        median = statistics.median(values)
        print(f"{part:11} {name:32} {median:8.3f}{unit:2} ({low:.3f} to {high:.3f}, {len(values)} repeats)")


if __name__ == "__main__":
    raise SystemExit(main())

"""Speed as ratios: Runwright and named baselines, in turn in one run, medians.

`runwright bench`, or `python scripts/benchmark.py` with the same words.

training    our loop, the limit (a bare loop without padding), a bare padded
            loop, transformers' Trainer as it is and grouping by length, and
            the loop of Accelerate's examples: on the same examples, batch
            size, optimizer and schedule; with --memory the peak of each
prediction  ours, the limit (forwards without padding) and Trainer.predict
checkpoint  our loop with a checkpoint every 50 steps against one without
tracking    our loop with 20 metrics of every step in a sqlite store and on a
            local MLflow server, against the loop without them, and against
            plain mlflow.log_metrics of the same
resume      seconds until the first batch at step 1,000,000 and at step 10,
            ours and accelerate's skip_first_batches, on 4 million rows
start       seconds from the command to the end of step 1, ours and a script
            with transformers' Trainer
trial       seconds of one more trial of a sweep and of a process of
            `runwright train`, but for their training steps
predict     seconds of `runwright predict` for one text, and of the same model
            loaded by hand
generate    new tokens a second for 500 prompts of mixed lengths, ours and
            model.generate on one at a time
command     seconds of --help, --cfg job, validate and completion
scale       seconds and peak memory of a cold start, a warm start, explore and
            an evaluation against the number of rows (--rows), with a tiny
            model; only where it is named
decoder     a language model (--override experiment=wikitext2_lm and its
            folder): documents apart without padding, padded, in full blocks;
            only where it is named

Data, model and options are those of the given overrides (experiment=vader on
2,000 rows). With --override model.dropout=0 the losses after training are
equal wherever the batches are. A part that cannot run here says why.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import plot, prediction, training
from benchmarks.checkpoint import checkpoint_pair
from benchmarks.command import measure_commands
from benchmarks.decoder import measure_decoder
from benchmarks.generate import measure_generate
from benchmarks.predict import measure_predict
from benchmarks.resume import measure_resume
from benchmarks.scale import measure_scale
from benchmarks.setting import Setting, compare, interleave, prepare
from benchmarks.start import measure_start
from benchmarks.tracking import measure_tracking
from benchmarks.trial import measure_trials
from runwright.cli.main import main
from runwright.errors import ConfigError, RunwrightError

PARTS = (
    "training",
    "prediction",
    "checkpoint",
    "tracking",
    "resume",
    "start",
    "trial",
    "predict",
    "generate",
    "command",
)
NAMED = ("scale", "decoder")  # only where they are asked for
QUICK = ("training", "prediction", "start", "predict", "command")
DEFAULT_OVERRIDES = ["experiment=vader", "dataset.subset.train=2000"]
QUICK_OVERRIDES = ["dataset.subset.test=1000"]  # of 3,000 rows: four predictions of all took five minutes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join((*PARTS, *NAMED)))
    parser.add_argument("--repeats", type=int, help="default: 3")
    parser.add_argument("--steps", type=int, help="updates in one measurement; default: 40, quick 10")
    parser.add_argument("--override", action="append", default=[], help="may be repeated")
    parser.add_argument("--memory", action="store_true", help="peak memory of each loop too")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000], help="of the part scale")
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)}, on fewer rows and steps")
    parser.add_argument("--json", type=Path, help="write all values there")
    parser.add_argument("--plot", type=Path, help="draw ratios, or the part scale, there (.svg, .png)")


def execute(args: argparse.Namespace) -> int:
    """Run the parts that were asked for and print one table; --json keeps all values."""
    args.parts = args.parts or (QUICK if args.quick else PARTS)
    args.steps, args.repeats = args.steps or (10 if args.quick else 40), args.repeats or 3
    require(args.parts, plot=args.plot)
    named = any(override.startswith("experiment=") for override in args.override)
    usual = [*DEFAULT_OVERRIDES, *(QUICK_OVERRIDES if args.quick else [])]
    overrides = [*([] if named else usual), *args.override]
    measure = {
        "training": lambda: measure_training(overrides, args.steps, args.repeats, memory=args.memory),
        "prediction": lambda: measure_prediction(prepare(overrides, steps=args.steps), args.repeats),
        "checkpoint": lambda: compare(
            *checkpoint_pair(prepare(overrides, steps=args.steps)), repeats=args.repeats
        ),
        "tracking": lambda: measure_tracking(prepare(overrides, steps=args.steps), repeats=args.repeats),
        "resume": lambda: measure_resume(args.repeats),
        "start": lambda: measure_start(args.repeats),
        "trial": lambda: measure_trials(args.repeats),
        "predict": lambda: measure_predict(args.repeats),
        "generate": lambda: measure_generate(args.repeats),
        "command": lambda: measure_commands(args.repeats),
        "scale": lambda: measure_scale(args.rows),
        "decoder": lambda: rates(measure_decoder(overrides, args.steps, args.repeats), num_tokens=1),
    }
    results: dict[str, Any] = {}
    for part in args.parts:
        print(f"measuring {part} …", file=sys.stderr)
        try:
            results[part] = measure[part]()
        except (RunwrightError, ImportError, OSError, subprocess.CalledProcessError) as error:
            print(f"{part:11} not measured: {reason(error)}")
        else:
            show(part, results[part])
    if args.json:
        args.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if args.plot:
        plot.draw(results, args.plot)
    return 0 if results else 1


def require(parts: Sequence[str], *, plot: Path | None) -> None:
    """Refuse what would fail after minutes."""
    choices = (*PARTS, *NAMED)
    for part in parts:
        if part not in choices:
            raise ConfigError(f"{part}: given as a part, expected one of {', '.join(choices)}")
    if plot and not find_spec("matplotlib"):
        raise ConfigError("--plot: matplotlib is not installed; pip install matplotlib, or leave --plot out")


def reason(error: Exception) -> str:
    """The last line of an error, or of what a process that failed wrote."""
    if isinstance(error, subprocess.CalledProcessError):
        output = error.stderr if isinstance(error.stderr, str) else (error.stderr or b"").decode()
        return f"{' '.join(error.cmd[1:4])} …: {output.strip().rpartition(chr(10))[2]}"
    return str(error)


def measure_training(
    overrides: list[str], steps: int, repeats: int, *, memory: bool
) -> dict[str, list[float]]:
    """Rates of all loops, ours as a ratio to each, and the loss of the trained model on the first batch."""
    setting = prepare(overrides, steps=steps)
    _, _, batches = setting.parts()
    steps_of_all = [batches.at(step) for step in range(steps)]
    losses: dict[str, list[float]] = {}

    def run(name: str) -> float:
        seconds, model = training.CONTENDERS[name](setting)
        losses.setdefault(f"{name}: loss after", []).append(setting.loss_of(model))
        return seconds

    seconds = interleave({name: partial(run, name) for name in training.CONTENDERS}, repeats=repeats)
    measured = rates(seconds, num_tokens=sum(batch.real_tokens for batch in steps_of_all)) | losses
    if memory:
        for name in training.CONTENDERS:
            measured[f"{name}: peak GiB"] = [peak_memory(overrides, steps, name)]
    return measured


def measure_prediction(setting: Setting, repeats: int) -> dict[str, list[float]]:
    """Rates of ours, the limit and the Trainer's."""
    runs = {name: partial(run, setting) for name, run in prediction.CONTENDERS.items()}
    return rates(interleave(runs, repeats=repeats), num_tokens=prediction.num_tokens(setting))


def rates(seconds: Mapping[str, list[float]], *, num_tokens: int) -> dict[str, list[float]]:
    """Real tokens per second of each, and how many times as fast ours is, repeat by repeat."""
    measured = {
        f"{name}: tokens/s": [num_tokens / each for each in values] for name, values in seconds.items()
    }
    for name, values in seconds.items():
        if name != "ours":
            measured[f"ours ÷ {name} ratio"] = [b / a for a, b in zip(seconds["ours"], values, strict=True)]
    return measured


def peak_memory(overrides: list[str], steps: int, name: str) -> float:
    """GiB of resident memory that one loop needs at most, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (overrides, steps, name))


def _peak(overrides: list[str], steps: int, name: str) -> float:
    from runwright.report.summary import peak_memory_bytes

    training.CONTENDERS[name](prepare(overrides, steps=steps))
    return (peak_memory_bytes() or 0) / 2**30


def show(part: str, measured: Mapping[str, list[float]]) -> None:
    """Medians with their range."""
    for name, values in measured.items():
        median = statistics.median(values)
        factor, unit, digits = form(name, median)
        middle, low, high = (f"{factor * value:.{digits}f}" for value in (median, min(values), max(values)))
        print(f"{part:11} {name:34} {middle:>9} {unit:2} ({low} to {high}, {len(values)} repeats)")


def form(name: str, value: float) -> tuple[float, str, int]:
    """Factor, unit and digits with which a value is shown."""
    endings = {"ratio": (1, "", 3), "share": (100, "%", 3), "stored": (1, "", 0), "tokens/s": (1, "", 0)}
    endings |= {"loss after": (1, "", 6), "peak GiB": (1, "", 2)}
    for ending, shown in endings.items():
        if name.endswith(ending):
            return shown
    return (1000, "ms", 3) if value < 0.05 else (1, "s", 3)


if __name__ == "__main__":
    raise SystemExit(main(["bench", *sys.argv[1:]]))

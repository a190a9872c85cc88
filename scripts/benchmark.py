"""Speed as ratios: Runwright against a named baseline, interleaved in one run, medians of several repeats.

    python scripts/benchmark.py                      all parts
    python scripts/benchmark.py step trainer --repeats 5 --steps 60

step        our loop against a bare PyTorch loop on the same padded microbatches
trainer     our loop against transformers' Trainer on the same rows, model, optimizer and batch size
checkpoint  our loop with a checkpoint every 50 steps against the same without
tracking    our loop with 20 figures of every step in a sqlite store and on a local MLflow server, against
            the same loop without them, and against plain mlflow.log_metrics of the same
resume      seconds until the first batch at step 1,000,000 and at step 10, ours and accelerate's
            skip_first_batches, on 4 million rows of one epoch in batches of 4
predict     seconds of `runwright predict` for one text, and of the same model loaded by hand
command     seconds of --help, --cfg job, validate and completion

Data, model and options are those of the given overrides (default: experiment=vader on 2,000 rows).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.checkpoint import checkpoint_pair
from benchmarks.command import measure_commands
from benchmarks.predict import measure_predict
from benchmarks.resume import measure_resume
from benchmarks.setting import compare, prepare
from benchmarks.step import step_pair
from benchmarks.tracking import measure_tracking
from benchmarks.trainer import trainer_pair

PAIRS = {"step": step_pair, "trainer": trainer_pair, "checkpoint": checkpoint_pair}
PARTS = (*PAIRS, "tracking", "resume", "predict", "command")
DEFAULT_OVERRIDES = ["experiment=vader", "dataset.subset.train=2000"]


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
        elif part == "predict":
            results[part] = measure_predict(args.repeats)
        elif part == "resume":
            results[part] = measure_resume(args.repeats)
        elif part == "tracking":
            results[part] = measure_tracking(prepare(overrides, steps=args.steps), repeats=args.repeats)
        else:
            pair = PAIRS[part](prepare(overrides, steps=args.steps))
            results[part] = compare(*pair, repeats=args.repeats)
        show(part, results[part])
    if args.json:
        args.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def show(part: str, figures: Mapping[str, list[float]]) -> None:
    """Medians with their range."""
    for name, values in figures.items():
        median = statistics.median(values)
        factor, unit, digits = form(name, median)
        middle, low, high = (f"{factor * value:.{digits}f}" for value in (median, min(values), max(values)))
        print(f"{part:11} {name:32} {middle:>9} {unit:2} ({low} to {high}, {len(values)} repeats)")


def form(name: str, value: float) -> tuple[float, str, int]:
    """How a figure is shown: what it is multiplied with, its unit, and digits."""
    for ending, shown in (("ratio", (1, "", 4)), ("share", (100, "%", 3)), ("stored", (1, "", 0))):
        if name.endswith(ending):
            return shown
    return (1000, "ms", 3) if value < 0.05 else (1, "s", 3)


if __name__ == "__main__":
    raise SystemExit(main())

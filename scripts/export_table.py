"""Exports of one short run for each task: metrics, agreement, size and speed beside PyTorch, as Markdown.

    python scripts/export_table.py DATA --steps 40

DATA is the folder of data sets whose places docs/serving.md names. Trains in --output (default: a temporary
folder), exports as ONNX and in int8, and prints a row for each. A refused export is a row too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import runwright
from runwright.errors import RunwrightError
from runwright.inference.export.export import export

SMALL = ["dataset.subset.validation=200", "dataset.subset.train=2000"]
# Task or model, experiment, folder of its data, more overrides.
RUNS = (
    ("sequence classification", "vader_classes", None, SMALL),
    ("sequence classification, LoRA", "vader_classes", None, [*SMALL, "model=lora", "optimizer.lr=1e-3"]),
    ("regression of pairs", "stsb", "stsb", SMALL),
    ("token classification", "wnut17", "wnut17", SMALL),
    ("question answering", "squad", ".", SMALL),
    ("masked language modelling", "wikitext2_mlm", "wikitext2_valid_test", SMALL),
    ("sentence embedding", "stsb_bi", "stsb", SMALL),
    ("translation (a small Marian)", "po_fr", "po_parallel", ["dataset.holdout.validation=100"]),
    ("causal language modelling (GPT-2)", "wikitext2_lm", "wikitext2_valid_test", SMALL),
    (
        "instruction tuning (SmolLM2-135M)",
        "smollm2_chat",
        ".",
        ["trainer.max_steps=50", "trainer.evaluate_every_steps=50", "dataset.subset.validation=40"],
    ),
)
SHORT = ["trainer.max_epochs=null", "trainer.evaluate_every_epochs=null", "trainer.evaluate_at_start=false"]
SHORT += ["trainer.num_threads=1", "tracker=console"]
HEAD = ("task", "metric", "PyTorch", "fp32", "int8", "same", "size, MB", "fp32", "int8", "speed fp32", "int8")


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=40, help="updates of each run (default: 40)")
    parser.add_argument("--only", default="", help="rows whose task holds this text")
    parser.add_argument("--output", type=Path, help="where the runs are kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = args.output or Path(temporary)
        print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
        for title, experiment, folder, more in RUNS:
            if args.only not in title:
                continue
            place = [f"dataset.source.folder={args.data / folder}"] if folder else []
            steps = [f"trainer.max_steps={args.steps}", f"trainer.evaluate_every_steps={args.steps}"]
            overrides = [f"experiment={experiment}", *place, *SHORT, *steps, *more, f"output_dir={home}"]
            try:
                cells = [title, *row(overrides)]
            except RunwrightError as error:
                cells = [title, str(error)]
            print(f"| {' | '.join(cells)} |", flush=True)


def row(overrides: list[str]) -> Iterator[str]:
    """The cells behind the title."""
    with contextlib.redirect_stdout(io.StringIO()):
        run = runwright.run(overrides).folder
    plain, int8 = about(run, "fp32"), about(run, "int8")
    if isinstance(plain, str):
        yield plain
        return
    names = {one["name"]: one for one in plain["compared"]}
    metric = next((name for name in names if "(" not in name and name != "loss"), "loss")
    yield metric
    yield f"{names[metric]['before']:.4f}"
    yield f"{names[metric]['after']:.4f}"
    if isinstance(int8, str):
        quantized, same, size, speed = int8, "", "", ""
    else:
        others = {one["name"]: one["after"] for one in int8["compared"]}
        quantized = f"{others[metric]:.4f}"
        same = f"{others.get('same predictions', float('nan')):.3f}"
        size, speed = f"{int8['bytes'][1] / 1e6:.1f}", ratio(int8["samples_per_second"])
    yield from (quantized, same, *(f"{one / 1e6:.1f}" for one in plain["bytes"]), size)
    yield from (ratio(plain["samples_per_second"]), speed)


def about(run: Path, precision: Literal["fp32", "int8"]) -> dict[str, Any] | str:
    """What the export says of itself, or why there is none."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            folder = export(run, precision=precision)
    except RunwrightError as error:
        return f"refused: {str(error).partition(';')[0].rpartition(': ')[2]}"
    return json.loads((folder / "export.json").read_text(encoding="utf-8"))


def ratio(rates: list[float]) -> str:
    return f"{rates[1] / rates[0]:.2f} ×"


if __name__ == "__main__":
    main()

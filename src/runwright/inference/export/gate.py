"""The gate of an export: the task's metrics, or outputs for given texts, beside those of the model itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runwright import build
from runwright.errors import ConfigError, DataError
from runwright.inference.export.graphs import sample
from runwright.inference.load import FinishedRun
from runwright.predictions import Ragged
from runwright.report.terminal import number_text, print_table, result_console, table_of
from runwright.runs.evaluate import evaluate_split
from runwright.store import cache_root, read_json
from runwright.task.base import model_inputs
from runwright.trainer.evaluate import Evaluation
from runwright.trainer.options import choose_splits
from runwright.types import Speed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    tolerance: float  # of a difference; relative to a value above 1
    agreement: float  # share of rows with the same prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One comparison; `passed` None: shown only."""

    name: str
    before: float | None
    after: float
    difference: float
    passed: bool | None


@torch.inference_mode()
def compare(run: FinishedRun, export: FinishedRun, folder: Path | None, limits: Limits) -> list[Row]:
    """Compare on the split that the run's best step was chosen by, else on given texts.

    `folder` is that of the run, whose recorded metrics are compared too; None: a model by name, without data.
    Adds to the speed of both.
    """
    try:
        loaded = build.load_data(run.config) if folder else None
    except (ConfigError, DataError) as error:
        logger.warning("the run's data cannot be read, so texts of ours are compared: %s", error)
        loaded = None
    split = loaded and choose_splits(loaded.splits, best_split=run.options.best_split).best
    if loaded is None or split is None:
        return [*_outputs(run, export, limits)]
    rows, task = loaded.splits[split], run.task
    key = {"rows": rows._fingerprint}
    cache = cache_root() / "examples"
    examples = build.encode_rows(run.config, rows, task, run.tokenizer, split=split, key=key, folder=cache)
    metrics = build.build_metrics(run.config, task=task)
    before, after = (
        evaluate_split(
            replace(one, metrics=metrics), split, model=one.model, task=one.task, examples=examples, rows=rows
        )
        for one in (run, export)
    )
    # One precision rounds as the other does not.
    usual = run.options.precision == "fp32"
    recorded = read_json(folder / "summary.json").get("metrics", {}) if folder else {}
    compared = [*_metrics(before, after, recorded, split=split, limits=limits, usual=usual)]
    return [*compared, *_labels(before, after, limits)]


def _metrics(
    before: Evaluation,
    after: Evaluation,
    recorded: Mapping[str, Any],
    *,
    split: str,
    limits: Limits,
    usual: bool,
) -> Iterator[Row]:
    for name, value in after.metrics.items():
        sides = {name: before.metrics[name]}
        if isinstance(recorded.get(f"{split}/{name}"), int | float):
            sides[f"{name} (recorded)"] = float(recorded[f"{split}/{name}"])
        for title, expected in sides.items():
            difference = value - expected
            within = abs(difference) <= limits.tolerance * max(1.0, abs(expected))
            passed = within or (np.isnan(value) and np.isnan(expected))
            yield Row(
                name=title,
                before=expected,
                after=value,
                difference=difference,
                passed=bool(passed) if usual or title == name else None,
            )


def _labels(before: Evaluation, after: Evaluation, limits: Limits) -> Iterator[Row]:
    """The share of rows for which both predict the same; numbers and vectors are never quite the same."""
    pair: list[Any] = [getattr(one.predictions, "predicted", None) for one in (before, after)]
    if any(one is None for one in pair):
        return
    values, others = (list(one.rows()) if isinstance(one, Ragged) else one for one in pair)
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return
    yield _agreement("same predictions", values, others, limits)


def _outputs(run: FinishedRun, export: FinishedRun, limits: Limits) -> Iterator[Row]:
    """The distance of each output over all texts, relative to its length; padding does not count."""
    model: Any = run.model
    batch, task = sample(run), run.task
    inputs = model_inputs(batch)
    mask = inputs["attention_mask"].bool()
    if task.generates and model.config.is_encoder_decoder:
        inputs |= {"decoder_input_ids": inputs["input_ids"]}
    before, after = model(**inputs), export.model(**inputs)
    for name, value in after.items():
        if not isinstance(value, Tensor) or name not in before:
            continue
        a, b = (one[name].float() for one in (before, after))
        if a.shape[:2] == mask.shape:
            a, b = a[mask], b[mask]
        difference = float((a - b).norm() / a.norm().clamp(min=1e-9))
        title, passed = f"{name} of {len(mask)} texts", difference <= limits.tolerance
        yield Row(
            name=title, before=float(a.norm()), after=float(b.norm()), difference=difference, passed=passed
        )

    if task.generates and task.strategy is not None:
        texts, others = (one.task.generate(one.model, batch).rows() for one in (run, export))
        yield _agreement("same texts", texts, others, limits)


def _agreement(name: str, values: Iterable[Any], others: Iterable[Any], limits: Limits) -> Row:
    """The share of equal pairs."""
    share = float(np.mean([np.array_equal(a, b) for a, b in zip(values, others, strict=True)]))
    return Row(name=name, before=None, after=share, difference=share - 1, passed=share >= limits.agreement)


def show(rows: list[Row], speeds: tuple[Speed, Speed], sizes: tuple[int, int]) -> None:
    """Print the comparison, with samples/s where rows were predicted, and sizes."""
    verdicts = {True: "", False: "beyond the tolerance", None: "another precision"}
    lines: list[tuple[str, ...]] = []
    for row in rows:
        before = "" if row.before is None else number_text(row.before)
        after, difference = number_text(row.after), f"{row.difference:.1e}"
        lines.append((row.name, before, after, difference, verdicts[row.passed]))
    if all(speed.seconds for speed in speeds):
        rates = [speed.num_samples / speed.seconds for speed in speeds]
        lines.append(("samples/s", *(f"{rate:,.1f}" for rate in rates), f"{rates[1] / rates[0]:.2f} ×", ""))
    lines.append(("size", *(f"{size / 1e6:,.1f} MB" for size in sizes), f"{sizes[1] / sizes[0]:.2f} ×", ""))
    headings = ("metric", "PyTorch", "export", "difference", " ")
    table = table_of(headings, lines, right=headings[1:4])
    print_table(table, console=result_console(), above=1, below=1)

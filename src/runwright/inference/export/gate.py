"""The gate of an export: metrics, or outputs for given texts, beside those of the model in PyTorch."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from runwright import build
from runwright.errors import ConfigError, DataError
from runwright.inference.export.graphs import Plain, sample
from runwright.inference.load import FinishedRun, examples_of
from runwright.predictions import Ragged
from runwright.report.terminal import number_text, print_table, result_console, table_of
from runwright.runs.data_identity import DATA_FILE
from runwright.runs.outputs import evaluate_split
from runwright.store import read_json
from runwright.task.base import model_inputs
from runwright.trainer.options import choose_splits
from runwright.types import Speed

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """One comparison; the difference is relative to a value above 1."""

    name: str
    before: float | None
    after: float
    difference: float
    passed: bool | None  # None: shown only


@torch.inference_mode()
def compare(
    run: FinishedRun, export: FinishedRun, folder: Path | None, *, limits: Mapping[str, float], exact: bool
) -> list[Row]:
    """Compare on the split that the run's best step was chosen by; without data or a run on given texts.

    All is judged if `exact`; else the metric that the best step was chosen by, and the share of equal classes
    and tags: losses move with the rounding, and one more token makes another text. Adds to both speeds.
    """
    data = split = None
    try:
        data = build.load_data(run.config) if folder else None
        split = data and next(iter(choose_splits(data.splits)), None)
    except (ConfigError, DataError) as error:
        logger.warning("the run's data cannot be read, so texts of ours are compared: %s", error)
    outputs = [*_compare_outputs(run, export, limits, exact=exact)]  # which warms both up
    if data is None or split is None or folder is None:
        return outputs
    rows, metrics = data.splits[split], build.build_metrics(run.config, task=run.task)
    examples = examples_of(run, rows, split)
    before, after = (
        evaluate_split(
            replace(one, metrics=metrics), split, model=one.model, task=one.task, examples=examples, rows=rows
        )
        for one in (run, export)
    )
    recorded, compared = read_json(folder / "summary.json").get("metrics", {}), list[Row]()
    if read_json(folder / DATA_FILE).get("fingerprints", {}).get(split) != data.fingerprints[split]:
        logger.warning("%s has other rows than in training: its recorded metrics are not compared", split)
        recorded = {}
    best = run.options.best_metric
    for name, value in after.metrics.items():
        if "/" in name and name != best:  # of a group, whose rows may be few
            continue
        judged = exact or name == best
        compared.append(_row(name, before.metrics[name], value, limits["metric"], judged=judged))
        if isinstance(number := recorded.get(f"{split}/{name}"), float):
            # 16 bits in training round as neither does here.
            judged = judged and run.options.precision == "fp32"
            compared.append(_row(f"{name} (recorded)", number, value, limits["metric"], judged=judged))
    values, others = (getattr(one.predictions, "predicted", None) for one in (before, after))
    if isinstance(values, Ragged) and isinstance(others, Ragged):
        values, others = values.values, others.values  # of as many words
    # Numbers and vectors are never quite the same.
    if values is not None and (kind := getattr(values, "dtype", np.dtype(object)).kind) != "f":
        row = _agreement("same predictions", values, others, limits["agreement"], judged=exact or kind != "O")
        compared.append(row)
    return compared


def _row(name: str, before: float, after: float, tolerance: float, *, judged: bool = True) -> Row:
    is_same = before == after or bool(np.isnan(before) and np.isnan(after))
    difference = 0.0 if is_same else (after - before) / max(1.0, abs(before))
    return Row(name, before, after, difference, abs(difference) <= tolerance if judged else None)


def _agreement(name: str, values: Any, others: Any, least: float, *, judged: bool) -> Row:
    """The share of equal pairs."""
    share = float(np.mean([np.array_equal(a, b) for a, b in zip(values, others, strict=True)]))
    return Row(name, None, share, share - 1, share >= least if judged else None)


def _compare_outputs(
    run: FinishedRun, export: FinishedRun, limits: Mapping[str, float], *, exact: bool
) -> Iterator[Row]:
    """The distance of each output without padding, relative to its norm; and whether texts are the same."""
    model: Any = run.model
    batch, task = sample(run), run.task
    inputs = model_inputs(batch)
    mask = inputs["attention_mask"].bool()
    if task.generates and model.config.is_encoder_decoder:
        inputs |= {"decoder_input_ids": inputs["input_ids"]}
    after = export.model(**inputs)
    names = [name for name, value in after.items() if isinstance(value, Tensor)]
    plain = Plain(model, task, names)
    before = model(**inputs) if task.generates else dict(zip(names, plain(**inputs), strict=True))
    for name in names:
        if name in before:
            pair = before[name].float(), after[name].float()
            a, b = (one[mask] if one.shape[:2] == mask.shape else one for one in pair)
            distance = float((a - b).norm() / a.norm().clamp(min=1e-9))
            title = f"{name}, norm over {len(mask)} texts"
            yield Row(title, float(a.norm()), float(b.norm()), distance, distance <= limits["outputs"])
    if task.generates and task.strategy is not None:
        texts, others = (one.task.generate(one.model, batch).rows() for one in (run, export))
        yield _agreement("same texts", texts, others, limits["agreement"], judged=exact)


def show(rows: Sequence[Row], speeds: Sequence[Speed], sizes: Sequence[int]) -> None:
    """Print the comparison, with samples/s where rows were predicted, and sizes in bytes."""
    verdicts = {True: "", False: "beyond the tolerance", None: "not judged"}
    lines: list[tuple[str, ...]] = []
    for name, value, after, difference, passed in rows:
        before = "" if value is None else number_text(value)
        lines.append((name, before, number_text(after), f"{difference:.1e}", verdicts[passed]))
    if all(speed.seconds for speed in speeds):
        rates = [speed.samples_per_second for speed in speeds]
        lines.append(("samples/s", *(f"{rate:,.1f}" for rate in rates), f"{rates[1] / rates[0]:.2f} ×", ""))
    lines.append(("size", *(f"{size / 1e6:,.1f} MB" for size in sizes), f"{sizes[1] / sizes[0]:.2f} ×", ""))
    headings = ("metric", "PyTorch", "export", "difference", " ")
    print_table(table_of(headings, lines, right=headings[1:4]), console=result_console(), above=1, below=1)

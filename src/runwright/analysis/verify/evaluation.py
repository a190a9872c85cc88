"""Evaluation: metrics do not depend on how it is cut into batches and on how many processes share it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from runwright import build
from runwright.analysis.verify.subject import Finding, Subject, judge, sample
from runwright.predictions import Ragged, columns_of
from runwright.trainer.evaluate import evaluate, predict
from runwright.trainer.ranks import Ranks

CHECK = "evaluation"
LIMIT = 1e-5  # between batches of other shapes, in float32; of metrics and of predictions
BATCHING = (
    "What is predicted for an example depends on the others in its batch: padding that is not masked, or "
    "statistics over the batch in eval mode. Until that is mended, keep trainer.evaluate_tokens as it is."
)
PROCESSES = (
    "One process and several predict other numbers for the same batches: does the model keep something of "
    "earlier batches, or draw random numbers in eval mode?"
)
TEXTS = (
    "Texts depend on the batch that they are generated in. In float32 on a CPU that happens only where two "
    "tokens are within rounding, or where the architecture does not leave out the padding before a prompt. "
    "Generate one text at a time there: trainer.evaluate_tokens=1."
)
ONCE = "An example was lost or counted twice: are the example ids that task.encode gives distinct?"


def check_evaluation(subject: Subject, *, num_rows: int) -> Iterator[Finding]:
    """One process against all, and other sizes of batches; findings on the first process."""
    ranks, task = subject.ranks, subject.prepared.task
    split = next((name for name in subject.prepared.examples if name != "train"), "train")
    if split not in subject.prepared.examples:
        if ranks.is_first:
            what, reason = "no split to evaluate", "train is a stream"
            yield Finding(CHECK, what, reason, allowed="", verdict="not checked")
        return
    examples = sample(subject.prepared.examples[split], num_rows)
    model = build.build_model(subject.config, subject.prepared, device=ranks.device)
    options = build.build_options(subject.config)
    tokens = options.evaluate_tokens

    def run(tokens: int, ranks: Ranks = subject.alone) -> Any:
        return predict(model, task, examples, max_tokens=max(1, tokens), ranks=ranks)

    if not ranks.is_first:
        run(tokens, ranks)
        return
    reference = run(tokens)
    once = np.array_equal(np.unique(reference.example_ids), np.sort(examples.example_ids))
    text, verdict, advice = ("each once", "holds", "") if once else ("not each once", "fails", ONCE)
    what = f"{len(examples)} examples of {split}"
    yield Finding(CHECK, what, text, allowed="each once", verdict=verdict, advice=advice)
    if ranks.num_ranks > 1:
        difference, where = _difference(subject, split, reference, run(tokens, ranks))
        what = f"{split} on {ranks.num_ranks} processes"
        yield judge(CHECK, what, difference, limit=0.0, where=where, advice=PROCESSES)
    float32 = replace(subject.alone, accelerator=None)  # without its autocast
    exact = run(tokens, float32)
    for other in (tokens // 4, 1):
        what = f"batches of {other} tokens instead of {tokens}" if other > 1 else "one example at a time"
        others = run(other, float32)
        difference, where = _difference(subject, split, exact, others)
        yield judge(CHECK, what, difference, limit=LIMIT, where=where, advice=BATCHING)
        if getattr(exact, "generated", None) is not None:
            pairs = zip(exact.generated.rows(), others.generated.rows(), strict=True)
            changed = sum(not np.array_equal(one, two) for one, two in pairs)
            text, verdict, advice = f"{changed} of {len(examples)}", "holds", ""
            if changed:
                verdict, advice = "fails", TEXTS
            yield Finding(CHECK, f"generated texts, {what}", text, "0", verdict, advice)
        if options.precision != "fp32":
            difference, where = _difference(subject, split, reference, run(other))
            text, what = f"{difference:.1e} ({where})", f"{what}, {options.precision}"
            yield Finding(CHECK, what, text, allowed="not promised", verdict="reported")


def _difference(subject: Subject, split: str, one: Any, other: Any) -> tuple[float, str]:
    """The largest difference of predictions and metrics, with its name.

    Relative to the value where that is above 1.
    """
    task, rows = subject.prepared.task, subject.prepared.data.splits[split]
    metrics, groups = build.build_metrics(subject.config, positive=task.positive), task.group_names

    def numbers(predictions: Any) -> dict[str, np.ndarray]:
        columns = {
            name: (column.values if isinstance(column, Ragged) else column).astype(np.float64)
            for name, column in columns_of(predictions).items()
            if name != "generated"  # compared as texts
        }
        whole = evaluate(task.assemble(predictions, rows), metrics=metrics, group_names=groups)
        return columns | {name: np.asarray(value) for name, value in whole.metrics.items()}

    values, others = numbers(one), numbers(other)
    return max(((_largest(values[name], others[name]), name) for name in values), key=lambda pair: pair[0])


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference; not a number in both is none, in one only an infinite one."""
    missing = np.isnan(one), np.isnan(other)
    if (missing[0] != missing[1]).any():
        return math.inf
    change = np.abs(one - other) / np.maximum(1.0, np.abs(one))
    return float(np.max(np.where(missing[0], 0.0, change), initial=0.0))

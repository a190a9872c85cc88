"""Whether figures depend on how an evaluation is cut into batches and on how many processes share it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from runwright import build
from runwright.analysis.verify.findings import Finding, judge
from runwright.analysis.verify.subject import Part, Subject, some_of
from runwright.predictions import Ragged, columns_of
from runwright.trainer.evaluate import evaluate, predict
from runwright.trainer.ranks import Ranks

CHECK = "evaluation"
LIMIT = 1e-5  # between batches of other shapes, in float32; figures and what they are computed from
BATCHING = (
    "What is predicted for an example depends on the others in its batch: padding that is not masked, or "
    "statistics over the batch in eval mode. Until that is mended, keep trainer.evaluate_tokens as it is."
)
PROCESSES = (
    "One process and several predict other numbers for the same batches: does the model keep something of "
    "earlier batches, or draw random numbers in eval mode?"
)
ONCE = "An example was lost or counted twice: are the example ids that task.encode gives distinct?"


def check_evaluation(subject: Subject, *, num_rows: int) -> Iterator[Finding]:
    """One process against all, and other sizes of batches; findings on the first process."""
    split = next((name for name in subject.prepared.examples if name != "train"), "train")
    if split not in subject.prepared.examples:  # train is a stream
        if subject.ranks.is_first:
            yield Finding(
                check=CHECK,
                what="no split to evaluate",
                found="train is a stream",
                allowed="",
                verdict="not checked",
            )
        return
    examples = some_of(subject.prepared.examples[split], num_rows)
    model = build.build_model(subject.config, subject.prepared, device=subject.ranks.device)
    options = build.build_options(subject.config)
    first = subject.ranks.is_first

    def run(tokens: int, ranks: Ranks) -> Any:
        return predict(model, subject.prepared.task, examples, max_tokens=max(1, tokens), ranks=ranks)

    tokens = options.evaluate_tokens
    reference = run(tokens, subject.alone) if first else None
    if reference is not None:
        yield _each_once(reference, examples, split)
    if subject.ranks.num_ranks > 1:
        shared = run(tokens, subject.ranks)
        if reference is not None:
            difference, where = _difference(subject, split, reference, shared)
            what = f"{split} on {subject.ranks.num_ranks} processes"
            yield judge(CHECK, what, difference, limit=0.0, where=where, advice=PROCESSES)
    if first:
        yield from _other_batches(subject, split, run, tokens, options.precision)


def _other_batches(
    subject: Subject, split: str, run: Callable[..., Any], tokens: int, precision: str
) -> Iterator[Finding]:
    """Batches of other sizes in float32; at the run's own lower precision they are reported."""
    float32 = replace(subject.alone, accelerator=None)
    reference = run(tokens, float32)
    for other in (tokens // 4, 1):
        what = f"batches of {other} tokens instead of {tokens}" if other > 1 else "one example at a time"
        difference, where = _difference(subject, split, reference, run(other, float32))
        yield judge(CHECK, what, difference, limit=LIMIT, where=where, advice=BATCHING)
        if precision != "fp32":
            pair = run(tokens, subject.alone), run(other, subject.alone)
            difference, where = _difference(subject, split, *pair)
            yield Finding(
                check=CHECK,
                what=f"{what}, {precision}",
                found=f"{difference:.1e} ({where})",
                allowed="not promised",
                verdict="reported",
            )


def _each_once(predictions: Any, examples: Part, split: str) -> Finding:
    same = np.array_equal(predictions.example_ids, np.sort(examples.example_ids))
    once = same and len(np.unique(predictions.example_ids)) == len(examples)
    return Finding(
        check=CHECK,
        what=f"{len(examples)} examples of {split}",
        found="each once" if once else "not each once",
        allowed="each once",
        verdict="holds" if once else "fails",
        advice="" if once else ONCE,
    )


def _difference(subject: Subject, split: str, one: Any, other: Any) -> tuple[float, str]:
    """The largest difference of figures and of what they are computed from, and of what it is.

    Relative to the value where that is above 1.
    """
    worst = (0.0, "")
    there = columns_of(other)
    for name, column in columns_of(one).items():
        worst = max(worst, (_largest(_numbers(column), _numbers(there[name])), name))
    metrics = build.build_metrics(subject.config)
    names = subject.prepared.task.group_names
    task, rows = subject.prepared.task, subject.prepared.data.splits[split]
    whole = [task.assemble(each, rows) for each in (one, other)]
    figures = [evaluate(each, metrics=metrics, group_names=names).metrics for each in whole]
    for name, value in figures[0].items():
        change = _largest(np.asarray(value), np.asarray(figures[1][name]))
        if change > worst[0]:
            worst = (change, name)
    return worst


def _numbers(column: Any) -> np.ndarray:
    return (column.values if isinstance(column, Ragged) else column).astype(np.float64)


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    """Of the differences; not a number in both is none, in one only an infinite one."""
    missing = np.isnan(one), np.isnan(other)
    if (missing[0] != missing[1]).any():
        return math.inf
    change = np.abs(one - other) / np.maximum(1.0, np.abs(one))
    return float(np.max(np.where(missing[0], 0.0, change), initial=0.0))

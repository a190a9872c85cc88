"""Exact evaluation: every example once, the same figures on any number of processes.

Batches are a pure function of the lengths; predictions are put in the order of example ids before anything
is computed from them, so neither the number of processes nor the order of batches reaches the figures.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from runwright.trainer.batches import Cut, cut_batch
from runwright.trainer.ranks import Ranks
from runwright.trainer.step import to_device
from runwright.trainer.stop import TIME_LIMIT, EvaluationStopped, StopFlag
from runwright.types import Examples, Metric, Predictions, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was predicted for one split, and the figures."""

    predictions: Predictions  # in the order of example ids
    figures: dict[str, float]  # loss and scalar metrics; `name/group` for each group
    tables: dict[str, np.ndarray]  # metrics that are arrays, such as a confusion matrix


@torch.inference_mode()
def predict(
    model: torch.nn.Module,
    task: Task,
    examples: Examples,
    *,
    max_tokens: int,
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[Any]],
    on_progress: Callable[[int, int], None] | None = None,
    stop: StopFlag | None = None,
) -> Predictions:
    """Predictions for every example, each exactly once, in the order of example ids, on every rank.

    `max_tokens` bounds the padded tokens of one forward. `on_progress` gets examples done and in all.
    Raises EvaluationStopped on every rank where a signal came to one of them.
    """
    was_training = model.training
    model.eval()
    batches = cut_batch(examples.lengths, Cut(microbatch_tokens=max_tokens))
    mine = batches[ranks.rank :: ranks.num_ranks]
    share = sum(len(places) for places in mine)
    parts: list[Predictions] = []
    done = 0
    for places in mine:
        if stop and stop.code > TIME_LIMIT:
            break
        batch = to_device(task.collate(examples.fetch(places)), ranks.device)
        with autocast():
            outputs = task.forward(model, batch)
        parts.append(task.predictions(outputs, batch))
        done += len(places)
        if on_progress:
            on_progress(done, share)
    model.train(was_training)
    code = int(ranks.maximum(stop.code if stop else 0))
    if code > TIME_LIMIT:
        raise EvaluationStopped(code)
    gathered = ranks.gather(pack(join_predictions(parts)) if parts else b"")
    everything = join_predictions([unpack(data) for data in gathered if data])
    assert len(everything.example_ids) == len(examples), (
        f"{len(everything.example_ids)} predictions for {len(examples)} examples"
    )
    return everything


def evaluate(
    predictions: Predictions,
    *,
    metrics: Mapping[str, Callable[[], Metric]],
    group_names: Sequence[str] = (),
) -> Evaluation:
    """Loss and metrics over all predictions, and over each group as `name/group`."""
    figures, tables = _figures(predictions, metrics)
    if predictions.groups is not None:
        for index, group in enumerate(group_names):
            chosen = predictions.groups == index
            if chosen.any():
                part, _ = _figures(select(predictions, chosen), metrics)
                figures |= {f"{name}/{group}": value for name, value in part.items()}
    return Evaluation(predictions=predictions, figures=figures, tables=tables)


def select(predictions: Predictions, chosen: np.ndarray) -> Predictions:
    """The chosen examples: a mask [N] bool, or positions."""
    arrays: dict[str, Any] = {
        field.name: None if (array := getattr(predictions, field.name)) is None else array[chosen]
        for field in fields(predictions)
    }
    return Predictions(**arrays)


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """All parts as one, in the order of example ids."""
    joined: dict[str, Any] = {
        field.name: None
        if getattr(parts[0], field.name) is None
        else np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Predictions)
    }
    whole = Predictions(**joined)
    return select(whole, np.argsort(whole.example_ids, kind="stable"))


def pack(predictions: Predictions) -> bytes:
    """Predictions as the bytes of an .npz archive."""
    arrays = {field.name: getattr(predictions, field.name) for field in fields(predictions)}
    buffer = io.BytesIO()
    np.savez(
        buffer, **{name: array for name, array in arrays.items() if array is not None}, allow_pickle=False
    )
    return buffer.getvalue()


def unpack(data: bytes) -> Predictions:
    """What `pack` was given."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return Predictions(**{field.name: archive.get(field.name) for field in fields(Predictions)})


def _figures(
    predictions: Predictions, metrics: Mapping[str, Callable[[], Metric]]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    figures: dict[str, float] = {}
    tables: dict[str, np.ndarray] = {}
    if predictions.losses is not None:
        figures["loss"] = math.fsum(predictions.losses.tolist()) / len(predictions.losses)
    if predictions.expected is None:
        return figures, tables
    for name, make in metrics.items():
        metric = make()
        metric.update(predictions)
        value = metric.compute()
        if isinstance(value, np.ndarray):
            tables[name] = value
        else:
            figures[name] = float(value)
    return figures, tables

"""Exact evaluation: every example once, the same metrics on any number of processes.

Batches are a pure function of the lengths; predictions are put in the order of example ids before anything
is computed from them, so neither the number of processes nor the order of batches reaches the metrics.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from runwright.predictions import join, pack, select, unpack
from runwright.trainer.batches import Cut, cut_batch
from runwright.trainer.environment import EvaluationStopped, StopFlag
from runwright.trainer.ranks import Ranks
from runwright.trainer.step import to_device
from runwright.types import Examples, Metric, Speed, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Predictions for one split and the metrics computed from them."""

    predictions: Any  # of the task's prediction_type, in the order of example ids
    metrics: dict[str, float]  # loss and scalar metrics; `name/group` for each group
    tables: dict[str, np.ndarray]  # metrics that are arrays, such as a confusion matrix


@torch.inference_mode()
def predict(
    model: torch.nn.Module,
    task: Task,
    examples: Examples,
    *,
    max_tokens: int,
    ranks: Ranks,
    on_progress: Callable[[int, int], None] | None = None,
    stop: StopFlag | None = None,
    speed: Speed | None = None,
    all_ids: np.ndarray | None = None,
) -> Any:
    """Predictions for every example, each exactly once, in the order of example ids, on every rank.

    `max_tokens` bounds the padded tokens of one forward. `on_progress` gets examples done and in all.
    `all_ids` are those of the evaluation that the examples are a part of.
    Raises EvaluationStopped on every rank where a signal came to one of them.
    """
    was_training, began = model.training, time.perf_counter()
    if was_training:  # walking through all modules takes a tenth of the time of one short text
        model.eval()
    task.start_evaluation(examples.example_ids if all_ids is None else all_ids)
    batches = cut_batch(task.evaluation_widths(examples.widths), Cut(microbatch_tokens=max_tokens))
    mine = batches[ranks.rank :: ranks.num_ranks]
    share = sum(len(positions) for positions in mine)
    parts: list[Any] = []
    done = 0
    for positions in mine:
        if stop and stop.code:
            break
        # one seed and epoch for all evaluations: what chance changes is always the same
        some = task.augment(examples.fetch(positions.tolist()), seed=0, epoch=0)
        batch = to_device(task.collate(some), ranks.device)
        with ranks.autocast():
            columns = task.evaluate_batch(model, batch)
        parts.append(join([columns]) if len(examples) > 1 else columns)  # copied: its tensors split the heap
        done += len(positions)
        if on_progress:
            on_progress(done, share)
    if was_training:
        model.train()
    if stop and (code := int(max(ranks.per_rank(stop.code)))):
        raise EvaluationStopped(code)
    if ranks.num_ranks > 1:
        gathered = ranks.gather(pack(join(parts)) if parts else b"")
        parts = [unpack(task.prediction_type, data) for data in gathered if data]
    everything = join(parts) if len(parts) > 1 else parts[0]
    count = len(everything.example_ids)
    assert count == len(examples), f"{count} predictions for {len(examples)} examples"
    if speed:
        speed.seconds += time.perf_counter() - began
        speed.num_samples += count
        speed.num_steps += len(batches)
        speed.num_tokens += int(examples.lengths.sum())
    return everything


def evaluate(
    predictions: Any, *, metrics: Mapping[str, Metric], group_names: Sequence[str] = ()
) -> Evaluation:
    """Loss and metrics over all predictions, and over each group as `name/group`."""
    values = _compute(predictions, metrics)
    tables = {name: value for name, value in values.items() if np.ndim(value)}
    for index, group in enumerate(group_names if predictions.groups is not None else ()):
        mask = predictions.groups == index
        if mask.any():
            of_group = _compute(select(predictions, mask), metrics)
            values |= {f"{name}/{group}": value for name, value in of_group.items()}
    numbers = {name: float(value) for name, value in values.items() if not np.ndim(value)}
    return Evaluation(predictions=predictions, metrics=numbers, tables=tables)


def _compute(predictions: Any, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Loss and metrics by name, numbers or tables."""
    values: dict[str, Any] = {}
    if predictions.losses is not None:
        counts = predictions.loss_counts
        count = len(predictions.losses) if counts is None else math.fsum(counts)
        values["loss"] = math.fsum(predictions.losses) / count if count else math.nan
    if predictions.more_losses is not None:
        values["loss"] += math.fsum(predictions.more_losses) / len(predictions.more_losses)
    if predictions.labelled:
        once = np.ones((1, len(predictions.example_ids)))
        values |= {name: metric(predictions, once)[0] for name, metric in metrics.items()}
    return values

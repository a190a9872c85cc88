"""Raw outputs of a model, kept as arrays beside what its task makes of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from runwright.errors import ConfigError
from runwright.inference.zero_shot import ZeroShot
from runwright.predictions import Ragged, join, pack
from runwright.store import written_whole
from runwright.task.text import MAX_WINDOWS
from runwright.types import Batch, PerExample

KEPT = ("single_label", "multi_label", "regression", "tags", "answers")  # problems with one output a class


@dataclass(frozen=True, kw_only=True, slots=True)
class RawScores(PerExample):
    """Outputs of N inputs: [N, C] float32, or of each of its tokens as `Ragged` rows [L, C]."""

    row_ids: np.ndarray  # [N] int64; several inputs are of one row where a long text is cut into windows
    logits: Any


def require_logits(task: Any) -> None:
    """Raise ConfigError for a task whose outputs are not kept: over a vocabulary, vectors, hypotheses."""
    if task.problem not in KEPT or isinstance(task, ZeroShot):
        expected = "expected a run of classes, numbers, tags or answers"
        raise ConfigError(f"--logits: {type(task).__name__} keeps no outputs, {expected}")


@contextmanager
def keeping_logits(task: Any, file: Path | None) -> Iterator[None]:
    """Write the outputs of all forward passes in the block to an npz file, in the order of example ids.

    The file has `example_ids`, `row_ids`, `label_names` and `logits`, or `logits.values` and `logits.lengths`
    of the tokens without padding; for answers the columns are those of start and end.
    """
    if file is None:
        yield
        return
    require_logits(task)
    forward, parts = task.forward, []

    def keep(model: Any, batch: Batch) -> Tensor:
        outputs = forward(model, batch)
        scores, ids = outputs.detach().float(), batch["example_ids"].cpu().numpy()
        if scores.ndim == 3:
            scores = scores.transpose(1, 2) if task.problem == "answers" else scores
            is_token = batch["attention_mask"].bool()
            logits = Ragged(scores[is_token].cpu().numpy(), is_token.sum(dim=1).cpu().numpy())
        else:
            logits = scores.cpu().numpy()
        rows = ids // MAX_WINDOWS if task.cuts_windows else ids
        parts.append(RawScores(example_ids=ids, row_ids=rows, logits=logits))
        return outputs

    task.forward = keep
    yield
    task.forward = forward
    if parts:
        names = ("start", "end") if task.problem == "answers" else task.label_names
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as unfinished:
            unfinished.write_bytes(pack(join(parts), label_names=np.array(names, dtype=np.str_)))

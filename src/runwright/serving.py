"""What a model must carry with it to predict apart from its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STANDALONE = "runwright.task.sequence_classification.SequenceClassification"
NUM_EXAMPLES = 2
MAX_EXAMPLE_TEXT = 1000


def about_model(
    config: Mapping[str, Any], task: Any, splits: Mapping[str, Any], *, step: int
) -> dict[str, Any]:
    """How to use the best model, and some inputs as an example; plain values for the journal.

    `standalone`: the texts, the tokenizer and one forward pass are all there is to it.
    """
    # Not those of train, which may be a stream.
    rows = next((rows for name, rows in splits.items() if name != "train"), [])
    example = [_example(rows[place], task.text_columns) for place in range(min(NUM_EXAMPLES, len(rows)))]
    return {
        "problem": str(task.problem),
        "standalone": config["task"]["_target_"] == STANDALONE,
        "text_columns": list(task.text_columns),
        "label_names": list(task.label_names),
        "max_length": task.max_length,
        "threshold": getattr(task, "threshold", None),
        "step": step,
        "example": example,
    }


def _example(row: Mapping[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: _short(row.get(name)) for name in columns}


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [str(word) for word in value[:MAX_EXAMPLE_TEXT]]
    return "" if value is None else str(value)[:MAX_EXAMPLE_TEXT]

"""Predictions are written in the order of their ids, whatever the order of the rows."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from runwright.runs.outputs import write_split
from runwright.trainer.evaluate import Evaluation
from runwright.types import Predictions


@pytest.mark.parametrize("ids", [[0, 1, 2, 5, 7], [7, 0, 5, 2, 1]])
def test_each_prediction_stands_beside_its_row(ids: list[int], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("runwright.runs.outputs.BATCH_ROWS", 2)
    rows = Dataset.from_dict({"text": [f"text {n}" for n in ids], "row_id": ids})
    predicted = np.array(sorted(ids)[:4])  # the last row has none
    columns: Any = {"expected": predicted, "scores": None, "losses": predicted / 4}
    predictions = Predictions(example_ids=predicted, predicted=predicted * 10, **columns)
    task: Any = SimpleNamespace(
        predicts_rows=True,
        problem="regression",
        columns_in=lambda names: ("text",),
        describe=lambda found, index, row, all_scores: {"predicted": int(found.predicted[index])},
        comparison=lambda found: None,
        tables=lambda found: {},
    )
    evaluation = Evaluation(predictions=predictions, metrics={}, tables={})
    files = write_split(tmp_path, "test", rows=rows, task=task, evaluation=evaluation)
    lines = files["predictions/test"].read_text().splitlines()
    assert list(map(json.loads, lines)) == [
        {"row_id": n, "text": f"text {n}", "predicted": n * 10, "loss": n / 4} for n in (0, 1, 2, 5)
    ]


@pytest.mark.parametrize(
    ("predicted", "expected", "told"),
    [
        ([1, 1, 1], [1, 0, 1], "test: every prediction is bad; train longer or change optimizer.lr"),
        ([1, 0, 1], [1, 1, 1], None),
        ([1, 1, 1], [1, 1, 1], None),
        ([1, 1, 0], [1, 1, -100], None),
        ([1, 1, 0], [1, 0, -100], "test: every prediction is bad; train longer or change optimizer.lr"),
        (
            [[False, False]] * 2,
            [[False, True], [True, False]],
            "test: every prediction is below task.threshold=0.5; train longer or change optimizer.lr",
        ),
        (
            [[True, True]] * 2,
            [[False, True], [True, False]],
            "test: every prediction is good, bad; train longer or change optimizer.lr",
        ),
        ([[False, True], [True, False]], [[False, True], [True, False]], None),
    ],
)
def test_a_model_that_answers_the_same_to_everything_is_told(
    predicted: list[Any], expected: list[Any], told: str | None, tmp_path: Path, caplog: Any
) -> None:
    compared = np.array(predicted), np.array(expected)
    task: Any = SimpleNamespace(
        predicts_rows=False,
        label_names=("good", "bad"),
        threshold=0.5,
        comparison=lambda found: compared,
        tables=lambda found: {},
    )
    evaluation = Evaluation(predictions=None, metrics={}, tables={})
    write_split(tmp_path, "test", rows=None, task=task, evaluation=evaluation)
    assert caplog.messages == ([told] if told else [])

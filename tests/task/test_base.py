"""A new kind of task is what differs from the base class: here the next token of a text."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import cross_entropy

from runwright import build
from runwright.errors import DataError
from runwright.task.base import Task
from runwright.task.text import IGNORED, as_texts, encode_texts
from runwright.types import Batch, Example, LossSum, Predictions


class NextToken(Task):
    problem = "next_token"
    auto_class = "AutoModelForCausalLM"
    token_fields: ClassVar = {"labels": IGNORED}

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        examples = encode_texts(self.tokenizer, {"text": columns["text"]}, max_length=self.max_length)
        for example, row_id in zip(examples, columns["row_id"], strict=True):
            example |= {"example_id": row_id, "labels": [*example["input_ids"][1:], IGNORED]}
        return examples

    def count(self, examples: Sequence[Example]) -> float:
        return float(sum(label != IGNORED for example in examples for label in example["labels"]))

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        kept = batch["labels"] != IGNORED
        total = cross_entropy(outputs[kept], batch["labels"][kept], reduction="sum")
        return LossSum(total=total, count=float(kept.sum()))

    def predictions(self, outputs: Tensor, batch: Batch) -> Predictions:
        return Predictions(
            example_ids=batch["example_ids"].numpy(),
            predicted=outputs[:, -1].argmax(dim=-1).numpy(),
            expected=None,
            scores=None,
            losses=None,
        )


def test_rows_become_a_padded_batch_and_a_loss(tokenizer: Any) -> None:
    task = NextToken(tokenizer, text_columns=("text",), max_length=8)
    rows = Dataset.from_dict({"row_id": [3, 4], "text": ["a b", "c"], "other": [1, 2]})
    task.fit({"train": rows})
    examples = task.encode(task.inputs_of(rows, split="train")[:])
    batch = task.collate(task.augment(examples, seed=0, epoch=0))
    assert batch["input_ids"].tolist() == [[2, 4, 5, 3], [2, 6, 3, 0]]
    assert batch["labels"].tolist() == [[4, 5, 3, IGNORED], [6, 3, IGNORED, IGNORED]]
    outputs = task.forward(lambda **_: SimpleNamespace(logits=torch.zeros(2, 4, 8).half()), batch)
    loss = task.loss(outputs, batch)
    assert outputs.dtype == torch.float32
    assert loss.count == task.count(examples) == 5
    assert loss.total.item() == pytest.approx(5 * np.log(8))


def test_a_task_without_labels_has_nothing_to_compare(tokenizer: Any) -> None:
    task = NextToken(tokenizer, text_columns=("text",), max_length=8)
    rows = Dataset.from_dict({"row_id": [3], "text": ["a"]})
    assert task.head.num_labels == 0
    assert task.label_counts(rows, split="train") is None
    predictions = task.predictions(torch.zeros(1, 2, 8), {"example_ids": torch.tensor([3])})
    assert task.assemble(predictions, rows) is predictions
    assert task.comparison(predictions) is None
    assert (task.state_dict(), task.tables(predictions), task.coupled_loss) == ({}, {}, None)


@pytest.mark.parametrize("side", ["right", "left"])
def test_long_pairs_are_cut_as_tokenizers_cuts_them(folders: Any, side: str) -> None:
    tokenizer = folders.wordpiece()
    tokenizer.truncation_side = side
    words = ["the", "film", "was", "not", "good", "soup", "Anna", "unbelievably"] * 5
    pairs = [(" ".join(words[:a]), " ".join(words[-b:])) for a, b in ((1, 40), (40, 1), (40, 39), (7, 7))]
    first, second = map(list, zip(*pairs, strict=True))
    for max_length in (12, 13, 40):
        expected = tokenizer(first, second, truncation=True, max_length=max_length)
        examples = encode_texts(tokenizer, {"first": first, "second": second}, max_length=max_length)
        for name in ("input_ids", "token_type_ids"):
            assert [example[name] for example in examples] == expected[name]


def test_a_missing_text_is_empty_and_bytes_are_no_text() -> None:
    assert as_texts(["a", None, float("nan"), 5, 2.5]) == ["a", "", "", "5", "2.5"]
    for value in (b"a", ["a"], {"a": 1}):
        with pytest.raises(DataError, match="where a text is expected") as caught:
            as_texts(["a", value])
        assert caught.value.row == 1


def test_examples_are_kept_for_these_rows_this_tokenizer_and_what_the_task_is_and_learned(
    tokenizer: Any, make_task: Any, tmp_path: Path
) -> None:
    rows = Dataset.from_dict({"row_id": [0, 1], "text": ["a b", "c"], "label": ["x", "y"]})
    usual, turned = make_task(), make_task(label_names=["y", "x"])
    for task in (usual, turned):
        task.fit({"train": rows})
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens(["e"])

    def note(task: Any = usual, words: Any = tokenizer, split: str = "train", **options: Any) -> str:
        config = {"task": {"max_length": 8, **options}, "dataset": {}}
        more: Any = {"key": {"data": "the rows"}, "split": split, "folder": tmp_path}
        return build.encode_rows(config, rows, task, words, **more).cache_note

    assert note() == "prepared now"
    assert note() == note(loss="another", pad_to=8) == "taken from the cache"
    assert note(turned) == note(words=larger) == note(split="test") == note(max_length=4) == "prepared now"

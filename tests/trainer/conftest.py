"""A tiny real model, task and data for the trainer's tests: BERT with two layers on made-up texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]


@dataclass
class ListExamples:
    """Examples in a list."""

    items: list[dict[str, Any]]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(item["input_ids"]) for item in self.items])

    @property
    def widths(self) -> np.ndarray:
        return self.lengths

    @property
    def example_ids(self) -> np.ndarray:
        return np.array([item["example_id"] for item in self.items])

    def __len__(self) -> int:
        return len(self.items)

    def fetch(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        return [self.items[position] for position in positions]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture
def make_task(tokenizer: Any) -> Callable[..., Any]:
    from runwright.task.sequence_classification import SequenceClassification

    def make(problem: str = "single_label", *, names: Sequence[str] = ("x", "y", "z"), **options: Any) -> Any:
        defaults = {
            "text_column": "text",
            "text_pair_column": None,
            "label_column": "label",
            "label_separator": ",",
            "label_names": None,
            "label_file": None,
            "group_column": None,
            "max_length": 32,
            "label_smoothing": 0.0,
            "class_weights": None,
            "threshold": 0.5,
            "bias_from_labels": False,
            "positive_label": None,
        }
        weights = options.pop("weights", None)
        task = SequenceClassification(tokenizer, problem=problem, **defaults | options)  # type: ignore[arg-type]
        labels = [] if problem == "regression" else list(names)
        task.load_state_dict({"label_names": labels, "group_names": [], "class_weights": weights})
        return task

    return make


@pytest.fixture
def make_examples() -> Callable[..., ListExamples]:
    def make(task: Any, count: int, *, seed: int = 0) -> ListExamples:
        chance = random.Random(seed)
        rows: dict[str, list[Any]] = {"row_id": list(range(100, 100 + count)), "labels": []}
        for column in task.text_columns:
            rows[column] = [" ".join(chance.choices(WORDS, k=chance.randint(1, 16))) for _ in range(count)]
        for _ in range(count):
            if task.problem == "regression":
                rows["labels"].append(chance.uniform(-4, 4))
            elif task.problem == "multi_label":
                rows["labels"].append(sorted(chance.sample(range(3), k=chance.randint(0, 3))))
            else:
                rows["labels"].append(chance.randrange(3))
        return ListExamples(task.encode(rows))

    return make


@pytest.fixture
def make_model() -> Callable[..., Any]:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    def make(task: Any, *, dropout: float = 0.0, double: bool = False, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(WORDS) + 2,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            num_labels=task.head.num_labels,
        )
        model = BertForSequenceClassification(config)
        return model.double() if double else model

    return make


@pytest.fixture
def make_stepper() -> Callable[..., Any]:
    import torch

    from runwright.trainer.ranks import Ranks
    from runwright.trainer.step import Stepper

    def make(model: Any, task: Any, **options: Any) -> Stepper:
        parameters = list(model.parameters())
        defaults: dict[str, Any] = {
            "optimizer": torch.optim.SGD(parameters, lr=0.0),
            "ranks": Ranks(rank=0, num_ranks=1, device=torch.device("cpu")),
            "dropout_seed": 0,
            "max_grad_norm": None,
            "non_finite": "stop",
        }
        return Stepper(model=model, task=task, parameters=parameters, **defaults | options)

    return make

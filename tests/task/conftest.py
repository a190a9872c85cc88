"""A word-level tokenizer and a task over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@pytest.fixture
def make_task(tokenizer: Any) -> Callable[..., Any]:
    from runwright.task.sequence_classification import SequenceClassification

    def make(problem: str = "single_label", **options: Any) -> Any:
        defaults = {
            "text_column": "text",
            "text_pair_column": None,
            "label_column": "label",
            "label_separator": ",",
            "label_names": None,
            "label_file": None,
            "group_column": None,
            "max_length": 8,
            "label_smoothing": 0.0,
            "class_weights": None,
            "threshold": 0.5,
            "bias_from_labels": False,
            "positive_label": None,
        }
        return SequenceClassification(tokenizer, problem=problem, **defaults | options)  # type: ignore[arg-type]

    return make

"""Longformer and LED: global attention, lengths beside the window, positions of both sides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.model.scratch import build
from runwright.types import Head

LONG: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "attention_window": [4, 4], "max_position_embeddings": 64,
}  # fmt: skip
LED: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "attention_window": [4, 4],
    "max_encoder_position_embeddings": 40, "max_decoder_position_embeddings": 12,
}  # fmt: skip


def make(tokenizer: PreTrainedTokenizerFast, architecture: str, config: dict[str, Any], **head: Any) -> Any:
    torch.manual_seed(0)
    given = {"num_labels": 0, "label_names": (), "problem_type": None, **head}
    options: dict[str, Any] = {"dtype": "float64", "dropout": 0.0, "attention": "auto"}
    return build(Head(**given), tokenizer, architecture=architecture, config=config, **options).eval()


def test_answers_attend_globally_to_the_question_whatever_the_number_of_separators(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = make(tokenizer, "longformer", LONG, auto_class="AutoModelForQuestionAnswering")
    questions, contexts = ["who came", "when did they all come"], ["they came " * 8, "at noon"]
    batch: Any = tokenizer(questions, contexts, padding=True, return_tensors="pt")
    batch.pop("token_type_ids")
    assert (batch["input_ids"] == tokenizer.sep_token_id).sum() == 4  # transformers wants three in each
    question = torch.zeros_like(batch["input_ids"])
    question[0, :3] = question[1, :6] = 1  # with [CLS]
    expected = model(**batch, global_attention_mask=question).start_logits
    assert torch.equal(model(**batch).start_logits, expected)
    alone: Any = tokenizer(questions[1:], contexts[1:], return_tensors="pt")
    alone.pop("token_type_ids")
    short = model(**alone).start_logits
    assert torch.allclose(short[0], expected[1, : short.shape[1]], atol=1e-10)


def test_summaries_attend_globally_to_the_first_token_in_training_and_generation(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = make(tokenizer, "led", LED, auto_class="AutoModelForSeq2SeqLM")
    batch: Any = tokenizer(["a film " * 10, "a plot"], padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    first = torch.zeros_like(inputs["input_ids"])
    first[:, 0] = 1
    labels = inputs["input_ids"][:, :5].contiguous()
    expected = model(**inputs, labels=labels, global_attention_mask=first).logits
    assert torch.equal(model(**inputs, labels=labels).logits, expected)
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
    texts = model.generate(**inputs, **options)
    assert torch.equal(texts, model.generate(**inputs, **options, global_attention_mask=first))
    without = model(**inputs, labels=labels, global_attention_mask=torch.zeros_like(first)).logits
    assert not torch.allclose(without, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("lengths", "refused"),
    [((40, 12), ""), ((41, 12), "max_length: given 41"), ((40, 13), "max_target_length: given 13, but LED")],
)
def test_source_and_target_have_positions_of_their_own(
    lengths: tuple[int, int], refused: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    lengths_of = dict(zip(("max_length", "max_target_length"), lengths, strict=True))
    head: dict[str, Any] = {"auto_class": "AutoModelForSeq2SeqLM", **lengths_of}
    if not refused:
        make(tokenizer, "led", LED, **head)
        return
    with pytest.raises(ConfigError, match=refused):
        make(tokenizer, "led", LED, **head)

"""Models from a configuration: vocabulary, labels, initial weights, and mistakes in the options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.model.parameters import (
    check_positions,
    check_types,
    max_positions,
    parameter_counts,
    parameter_depths,
)
from runwright.model.scratch import build, edited
from runwright.types import Head

ARCHITECTURES = ["bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert", "gpt2", "t5"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_fits_the_tokenizer_and_the_task(
    make_small: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, architecture: str
) -> None:
    model = make_small(architecture)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer) == 30522
    assert model.config.pad_token_id == tokenizer.pad_token_id
    special = {key: value for key, value in model.config.to_dict().items() if key.endswith("_token_id")}
    known = {tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id, None}
    assert set(special.values()) <= known
    assert model.config.id2label == {0: "bad", 1: "so-so", 2: "good"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_does_not_change_the_logits(
    make_small: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, architecture: str
) -> None:
    model = make_small(architecture, dtype="float64").eval()
    with torch.no_grad():
        alone = model(**tokenizer(["a word"], return_tensors="pt")).logits
        texts = ["a word", "many more words than one"]
        padded = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:1]
    assert torch.allclose(alone, padded, atol=1e-10)


def test_the_same_seed_gives_the_same_weights(make_small: Callable[..., Any]) -> None:
    def weights() -> list[torch.Tensor]:
        torch.manual_seed(5)
        return list(make_small("bert").parameters())

    assert all(torch.equal(one, other) for one, other in zip(weights(), weights(), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"hiden_size": 4}}, "did you mean 'hidden_size'"),
        ({"config": {"hidden_size": "wide"}}, "expected int"),
        ({"config": {"num_attention_heads": 5}}, "cannot build"),
        ({"attention": "flash_attention_2"}, "cannot build"),
    ],
)
def test_options_that_cannot_work_are_refused(
    make_small: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_small("bert", **changes)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("bertt", "did you mean 'bert'"),
        ("vit", "cannot build 'vit'"),
        ("encoder-decoder", "take model=encoder_decoder"),
    ],
)
def test_an_architecture_that_is_unknown_or_has_no_such_head_is_refused(
    make_small: Callable[..., Any],
    architecture: str,
    message: str,
    tokenizer: PreTrainedTokenizerFast,
    head: Head,
) -> None:
    options = {"config": {}, "dtype": "float32", "dropout": None, "attention": "sdpa"}
    with pytest.raises(ConfigError, match=message):
        build(head, tokenizer, architecture=architecture, **options)


def test_an_architecture_that_pads_with_a_token_of_its_own_is_refused(
    make_small: Callable[..., Any], tokenizer: PreTrainedTokenizerFast
) -> None:
    assert tokenizer.pad_token_id == 0
    with pytest.raises(ConfigError, match=r"pads with token 0, and MPNet\w+ takes token 1 for the padding"):
        make_small("mpnet", attention="eager")


def test_parameters_are_counted_by_hand(make_small: Callable[..., Any]) -> None:
    model = make_small("bert", config={"max_position_embeddings": 64})
    embeddings = (30522 + 64 + 2) * 16 + 2 * 16
    layer = 4 * (16 * 16 + 16) + 2 * (16 * 16 + 16) + 2 * 2 * 16
    top = (16 * 16 + 16) + (16 * 3 + 3)
    model.bert.embeddings.requires_grad_(False)
    total, trainable = embeddings + 2 * layer + top, 2 * layer + top
    assert parameter_counts(model) == f"{total:,} parameters, {trainable:,} of them trainable"


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("bert", 64), ("roberta", 63), ("gpt2", 64), ("modernbert", 64), ("deberta-v2", 64), ("t5", None)],
)
def test_the_room_for_tokens_is_known(
    make_small: Callable[..., Any], architecture: str, expected: int | None, head: Head
) -> None:
    # RoBERTa counts positions from the padding token's id plus one: 0 + 1 here.
    config = {} if architecture == "t5" else {"max_position_embeddings": 64}
    model = make_small(architecture, config=config)
    assert max_positions(model) == expected
    check_positions(model, replace(head, max_length=expected or 10_000))
    if expected:
        message = rf"task.max_length: given {expected + 1}, but \w+ has positions for {expected} tokens; set"
        with pytest.raises(ConfigError, match=message):
            check_positions(model, replace(head, max_length=expected + 1))


def test_token_types_that_a_model_lacks_are_refused(make_small: Callable[..., Any]) -> None:
    model = make_small("bert", config={"type_vocab_size": 1})
    check_types(model, 1)
    check_types(make_small("distilbert"), 2)  # it takes none at all
    with pytest.raises(ConfigError, match="2 types of tokens apart in pairs, and Bert"):
        check_types(model, 2)


def test_the_config_of_a_checkpoint_is_taken_but_for_what_is_edited(
    save_small: Callable[..., Path], tokenizer: PreTrainedTokenizerFast, head: Head
) -> None:
    options: dict[str, Any] = {"revision": None, "dtype": "float32", "dropout": 0.0, "attention": "auto"}
    for architecture in ("bert", "distilbert", "gpt2"):
        folder = save_small(architecture)
        config = {"num_hidden_layers": 3}
        model: Any = edited(head, tokenizer, name=str(folder), config=config, **options)
        assert model.config.num_hidden_layers == 3
        assert model.config.hidden_size == 16  # the checkpoint's; 768 by default
        assert model.config.id2label == {0: "bad", 1: "so-so", 2: "good"}
        assert parameter_depths(model)[1] == 3
    with pytest.raises(ConfigError, match=r"model.config.layers: 'gpt2' has no such option"):
        edited(head, tokenizer, name=str(folder), config={"layers": 3}, **options)

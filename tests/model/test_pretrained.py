"""Loading real and small checkpoints: new heads, logs, dropout, types, labels, vocabulary, refusals."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import FlexOlmoConfig, PreTrainedTokenizerFast

from runwright.config.options import as_declared
from runwright.config.signature import read_signature
from runwright.errors import ConfigError
from runwright.model.configuration import set_dropout
from runwright.model.pretrained import load
from runwright.types import Head

CONF = Path(__file__).resolve().parents[2] / "conf" / "model" / "pretrained.yaml"
ARCHITECTURES = ["bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert", "gpt2", "t5"]


def attention_of(architecture: str) -> str:
    return "eager" if architecture == "deberta-v2" else "sdpa"


def test_minilm_gets_a_new_head_and_one_line_of_log_says_so(
    load_one: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        model = load_one()
    assert type(model).__name__ == "BertForSequenceClassification"
    encoder = sum(p.numel() for p in model.bert.parameters())
    counts = f"{encoder + 3 * 384 + 3:,} parameters, {encoder + 3 * 384 + 3:,} of them trainable"
    assert caplog.messages == [
        "new: classifier.weight [3, 384], classifier.bias [3]", f"BertForSequenceClassification: {counts}"
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert model.config.id2label == {0: "bad", 1: "so-so", 2: "good"}
    assert model.config.label2id == {"bad": 0, "so-so": 1, "good": 2}
    assert model.config.problem_type == "single_label_classification"


def test_the_head_depends_on_the_seed_alone(load_one: Callable[..., Any]) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return load_one().classifier.weight

    first = weights(1)
    torch.rand(17)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_a_regression_head_has_one_output_and_no_names(load_one: Callable[..., Any]) -> None:
    head = Head(
        auto_class="AutoModelForSequenceClassification",
        num_labels=1,
        label_names=(),
        problem_type="regression",
    )
    config = load_one(head=head).config
    assert (config.num_labels, config.problem_type, len(config.id2label)) == (1, "regression", 1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_the_type_is_the_one_asked_for(load_one: Callable[..., Any], dtype: str) -> None:
    assert {p.dtype for p in load_one(dtype=dtype).parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_encoders_weights_are_taken_and_only_the_head_is_new(
    load_one: Callable[..., Any], save_small: Callable[..., Path], architecture: str
) -> None:
    folder = save_small(architecture)
    model = load_one(name=str(folder), attention=attention_of(architecture))
    stored = load_file(folder / "model.safetensors")
    taken = model.base_model.state_dict()
    assert all(torch.equal(taken[key], value) for key, value in stored.items())
    new = {name for name, _ in model.named_parameters()} - {
        f"{model.base_model_prefix}.{key}" for key in taken
    }
    assert new


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_option_sets_every_dropout_of_an_architecture(
    load_one: Callable[..., Any], save_small: Callable[..., Path], architecture: str
) -> None:
    name, attention = str(save_small(architecture)), attention_of(architecture)
    model = load_one(name=name, dropout=0.25, attention=attention)
    found = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert found == {0.25}


def test_training_with_no_dropout_gives_the_same_logits_twice(
    load_one: Callable[..., Any], save_small: Callable[..., Path]
) -> None:
    for architecture in ("bert", "modernbert", "deberta-v2"):
        name = str(save_small(architecture))
        model = load_one(name=name, dropout=0.0, attention=attention_of(architecture)).train()
        inputs = torch.tensor([[101, 2023, 102]])
        assert torch.equal(model(input_ids=inputs).logits, model(input_ids=inputs).logits)


def test_no_dropout_may_be_a_whole_number_for_every_architecture() -> None:
    config = FlexOlmoConfig(attention_dropout=0.1)
    signature = read_signature("runwright.model.scratch", "build")
    assert signature is not None
    set_dropout(config, as_declared(0, signature.options["dropout"].type))
    assert config.attention_dropout == 0


def test_a_checkpoint_with_a_head_for_these_labels_keeps_it(
    load_one: Callable[..., Any], tmp_path: Path, make_small: Callable[..., Any]
) -> None:
    saved = make_small("bert")
    saved.save_pretrained(tmp_path / "whole")
    model = load_one(name=str(tmp_path / "whole"))
    assert torch.equal(model.classifier.weight, saved.classifier.weight)


def test_a_kept_head_with_other_labels_is_warned_about(
    load_one: Callable[..., Any],
    tmp_path: Path,
    make_small: Callable[..., Any],
    head: Head,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_small("bert").save_pretrained(tmp_path / "whole")
    load_one(
        name=str(tmp_path / "whole"), head=dataclasses.replace(head, label_names=("good", "so-so", "bad"))
    )
    assert "trained for the labels bad, so-so, good, in this order" in caplog.text


def test_a_head_for_another_number_of_labels_is_made_new(
    load_one: Callable[..., Any], tmp_path: Path, make_small: Callable[..., Any], head: Head
) -> None:
    make_small("bert").save_pretrained(tmp_path / "whole")
    two = dataclasses.replace(head, num_labels=2, label_names=("no", "yes"))
    model = load_one(name=str(tmp_path / "whole"), head=two)
    assert model.classifier.weight.shape == (2, 16)
    assert model.classifier.weight.abs().max() > 0


def test_a_checkpoint_that_lacks_a_layer_is_refused(
    load_one: Callable[..., Any], save_small: Callable[..., Path], head: Head
) -> None:
    file = save_small("bert") / "model.safetensors"
    weights = load_file(file)
    save_file({key: value for key, value in weights.items() if "layer.1." not in key}, file, {"format": "pt"})
    encoder = dataclasses.replace(head, auto_class="AutoModel", num_labels=0, label_names=())
    for each in (head, encoder):
        with pytest.raises(ConfigError, match=r"lacks .* its config\.json does not belong"):
            load_one(name=str(file.parent), head=each)


def test_an_encoder_without_a_head_can_be_frozen_in_part(
    load_one: Callable[..., Any], save_small: Callable[..., Path], head: Head
) -> None:
    encoder = dataclasses.replace(head, auto_class="AutoModel", num_labels=0, label_names=())
    model = load_one(name=str(save_small("bert")), head=encoder, freeze=["embeddings", "layers:1"])
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {
        name for name, _ in model.named_parameters() if name.startswith(("encoder.layer.1.", "pooler"))
    }


def test_a_checkpoint_of_another_width_is_refused(
    load_one: Callable[..., Any], save_small: Callable[..., Path]
) -> None:
    file = save_small("bert") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": 8}))
    with pytest.raises(ConfigError, match="in another shape"):
        load_one(name=str(file.parent))


def test_a_missing_pooler_is_made_new(load_one: Callable[..., Any], save_small: Callable[..., Path]) -> None:
    file = save_small("bert") / "model.safetensors"
    weights = load_file(file)
    save_file({key: value for key, value in weights.items() if "pooler" not in key}, file, {"format": "pt"})
    model = load_one(name=str(file.parent), freeze=["encoder"])
    trainable = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"classifier", "bert.pooler.dense"}


def test_new_tokens_get_embeddings(
    load_one: Callable[..., Any],
    head: Head,
    tokenizer: PreTrainedTokenizerFast,
    caplog: pytest.LogCaptureFixture,
) -> None:
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens(["<one>", "<two>"])
    options = yaml.safe_load(CONF.read_text(encoding="utf-8"))
    options.pop("_target_")
    with caplog.at_level(logging.INFO):
        model = load(head, larger, **options)
    assert model.get_input_embeddings().weight.shape == (30524, 384)  # type: ignore[operator]
    assert "embeddings of tokens 30522 to 30523" in caplog.text


def test_a_pickled_checkpoint_is_not_opened(
    load_one: Callable[..., Any], save_small: Callable[..., Path], tmp_path: Path
) -> None:
    folder = save_small("bert").rename(tmp_path / "an old model")
    torch.save(load_file(file := folder / "model.safetensors"), folder / "pytorch_model.bin")
    file.unlink()
    again = re.escape(f"may run code; convert them once: runwright convert '{folder}'")
    with pytest.raises(ConfigError, match=again):
        load_one(name=str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "./nowhere"}, "does not exist"),
        ({"attention": "flash_attention_2"}, "cannot load"),
        ({"lora": {"rank": 8}}, "expected null or a node of runwright.model.lora.Lora"),
        ({"freeze": ["encodr"]}, "did you mean 'encoder'"),
        ({"freeze": ["layers:7"]}, "has 6 layers"),
    ],
)
def test_what_cannot_work_is_refused(
    load_one: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_one(**changes)


def test_a_tokenizer_that_pads_otherwise_is_refused(
    load_one: Callable[..., Any], save_small: Callable[..., Path]
) -> None:
    file = save_small("bert") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pad_token_id": 5}))
    with pytest.raises(ConfigError, match="pads with token 0, the model with 5"):
        load_one(name=str(file.parent))


def test_code_in_a_model_folder_does_not_run(load_one: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="cannot load"):
        load_one(name=str(tmp_path))
    assert not (tmp_path / "ran").exists()

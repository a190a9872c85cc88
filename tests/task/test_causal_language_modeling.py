"""Blocks of plain texts: each token a target once, the same losses whatever lies beside a text."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
import transformers
import yaml
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError, DataError
from runwright.generation.strategies import Greedy
from runwright.metric.means import bits_per_byte, perplexity
from runwright.model.padding_free import is_padding_free, use_padding_free
from runwright.predictions import join
from runwright.task.causal_language_modeling import CausalLanguageModeling
from runwright.task.text import IGNORED

CONF = Path(__file__).resolve().parents[2] / "conf" / "task" / "causal_language_modeling.yaml"
TEXTS = ["The cat sat.", "", "日本語 é\u07ff\u0800😀", "a", "To be, or not to be, that is the question"]
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
GREEDY: dict[str, Any] = {"no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "stop_strings": ()}
CONFIGS: dict[str, dict[str, Any]] = {
    "GPT2Config": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "LlamaConfig": {**SMALL, "num_key_value_heads": 1},
    "Qwen2Config": {**SMALL, "num_key_value_heads": 1},
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, with an end token, padded on the left as decoders' tokenizers are."""
    tokens = ["<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="</s>", pad_token="<pad>", padding_side="left"
    )


@pytest.fixture(scope="module")
def make(tokenizer: PreTrainedTokenizerFast) -> Callable[..., CausalLanguageModeling]:
    """The task with the shipped options, but for the changes."""
    options = yaml.safe_load(CONF.read_text("utf-8"))
    options = {name: value for name, value in options.items() if name not in ("_target_", "loss", "pad_to")}
    return lambda **changes: CausalLanguageModeling(
        changes.pop("tokenizer", tokenizer), **{**options, "max_length": 16, **changes}
    )


def encode(task: CausalLanguageModeling, texts: list[str], split: str = "train") -> list[dict[str, Any]]:
    rows = Dataset.from_dict({"text": texts, "row_id": list(range(len(texts)))})
    return task.encode(task.inputs_of(rows, split=split)[:])


def tiny(name: str, *, flat: bool = False) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, name)(vocab_size=258, max_position_embeddings=64, **CONFIGS[name])
    config.pad_token_id, config.eos_token_id, config.bos_token_id = 0, 1, 1
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float64).eval()
    if flat:
        use_padding_free(model)
        assert is_padding_free(model)
    return model


def targets(examples: list[dict[str, Any]]) -> list[int]:
    return [label for example in examples for label in example["labels"] if label != IGNORED]


@torch.inference_mode()
def evaluated(task: Any, model: Any, examples: list[dict[str, Any]], *, size: int) -> Any:
    batches = [examples[i : i + size] for i in range(0, len(examples), size)]
    return join([task.evaluate_batch(model, task.collate(batch)) for batch in batches])


@settings(deadline=None, max_examples=40)
@given(
    texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6),
    max_length=st.integers(min_value=1, max_value=20),
    stride=st.integers(min_value=1, max_value=20),
    join_rows=st.booleans(),
)
def test_each_token_and_the_end_of_each_text_are_a_target_once(
    make: Any, tokenizer: Any, texts: list[str], max_length: int, stride: int, join_rows: bool
) -> None:
    stride = min(stride, max_length)
    task = make(max_length=max_length, evaluation_stride=stride, join_rows=join_rows)
    examples = encode(task, texts, split="validation")
    wanted = [token for text in texts if text for token in (*tokenizer(text)["input_ids"], 1)]
    assert targets(examples) == wanted
    assert sum(example["num_bytes"] for example in examples) == sum(len(text.encode()) for text in texts)
    assert len({example["example_id"] for example in examples}) == len(examples)
    assert task.count(examples) == len(wanted)
    for example in examples:
        ids, labels = example["input_ids"], example["labels"]
        assert len(ids) == len(labels) <= max_length
        assert all(label in (IGNORED, after) for label, after in zip(labels, ids[1:], strict=False))


def test_a_stride_is_for_evaluation_alone_and_gives_context(make: Any) -> None:
    task = make(max_length=8, evaluation_stride=2)
    assert all(IGNORED not in example["labels"] for example in encode(task, TEXTS))
    first, *others = encode(task, ["abcdefghijklmnop"], split="test")
    assert IGNORED not in first["labels"]
    assert [label == IGNORED for label in others[0]["labels"]] == [True] * 6 + [False] * 2


def test_bytes_of_a_block_are_those_of_its_targets(make: Any) -> None:
    examples = encode(make(max_length=3), ["aé日b"])
    assert [example["num_bytes"] for example in examples] == [1 + 2, 3, 1]
    assert [len(targets([example])) for example in examples] == [3, 3, 2]


def test_a_long_text_is_cut_in_time_that_grows_with_its_length(make: Any) -> None:
    examples = encode(make(max_length=64), ["x" * 200_000])
    assert len(examples) == math.ceil(200_001 / 64)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("flat", [False, True])
def test_texts_beside_each_other_have_the_losses_and_gradients_of_each_alone(
    make: Any, name: str, flat: bool
) -> None:
    task, model, alone = make(join_rows=False), tiny(name, flat=flat), tiny(name)
    examples = encode(task, TEXTS)
    batch = task.collate(examples)
    loss = task.loss(task.forward(model, batch), batch)
    loss.total.backward()
    total, count = 0.0, 0.0
    for example in examples:
        ids = torch.tensor([example["input_ids"]])
        one = F.cross_entropy(alone(ids).logits[0], torch.tensor(example["labels"]), reduction="sum")
        one.backward()
        total, count = total + one.item(), count + len(example["labels"])
    assert loss.total.item() == pytest.approx(total, rel=1e-10)
    assert loss.count == count
    for parameter, expected in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-10, atol=1e-10)


def test_perplexity_and_bits_come_of_totals(make: Any) -> None:
    task, model = make(), tiny("LlamaConfig")
    for parameter in model.parameters():
        parameter.data.zero_()  # every token equally likely
    examples = encode(task, TEXTS)
    whole, once = evaluated(task, model, examples, size=2), np.ones((1, len(examples)))
    num_bytes = sum(len(text.encode()) for text in TEXTS)
    assert perplexity(whole, once)[0] == pytest.approx(258)
    tokens = num_bytes + sum(map(bool, TEXTS))  # each byte is one, and there is an end token
    assert bits_per_byte(whole, once)[0] == pytest.approx(tokens * math.log2(258) / num_bytes)


def test_some_blocks_are_continued_whatever_the_batches(make: Any) -> None:
    task, model = make(max_length=12), tiny("GPT2Config")
    task.strategy = Greedy(max_new_tokens=4, min_new_tokens=0, **GREEDY)
    examples = encode(task, TEXTS * 9)
    task.start_evaluation(np.array([example["example_id"] for example in examples]))
    tables = [task.samples(evaluated(task, model, examples, size=size)) for size in (1, 7)]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 10
    assert tables[0][0]["prompt"] == "</s>The c"
    assert tables[0][0]["expected"] == "at sat"


@torch.inference_mode()
def test_a_prompt_is_continued(make: Any) -> None:
    task, model = make(), tiny("LlamaConfig")
    task.strategy = Greedy(max_new_tokens=3, min_new_tokens=3, **GREEDY)
    columns = {"text": ["To be", "é"], "row_id": [0, 1]}
    predictions = task.evaluate_batch(model, task.collate(task.encode_records(columns)))
    texts = task.assemble_records(predictions, columns).predicted
    ids = torch.tensor([[1, *task.tokenizer("To be")["input_ids"]]])
    for _ in range(3):
        logits = model(ids).logits[:, -1]
        logits[:, 1] = -torch.inf  # no end before three tokens
        ids = torch.cat([ids, logits.argmax(dim=-1, keepdim=True)], dim=1)
    assert texts is not None
    assert texts[0] == task.text_of(ids[0, -3:].tolist())


def test_a_tokenizer_without_an_end_token_is_refused(make: Any) -> None:
    inner = Tokenizer(models.WordLevel({"a": 0, "[PAD]": 1}, unk_token="a"))
    plain = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]")
    with pytest.raises(ConfigError, match="no eos or sep token"):
        make(tokenizer=plain)


def test_a_text_of_too_many_blocks_is_refused(make: Any) -> None:
    with pytest.raises(DataError, match="65,536 pieces"):
        encode(make(max_length=1), ["x" * 70_000])

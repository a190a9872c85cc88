"""Checkpoints under tokenizers of other vocabularies: which vectors are taken, drawn, refused."""

from __future__ import annotations

import dataclasses
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.model.pretrained import load
from runwright.types import Head

Load = Callable[..., Any]

CONF = Path(__file__).resolve().parents[2] / "conf" / "model" / "pretrained.yaml"
WORDS = [f"w{number}" for number in range(40)]
TEXT = "w3 w17 w3 w39 w0"


def tokenizer_of(words: list[str], *, unk: str = "[UNK]", pad: int = 0) -> PreTrainedTokenizerFast:
    """The padding has number 0, as in all small checkpoints, or `pad`; the others follow as in `words`."""
    vocabulary = {word: number for number, word in enumerate([*words[:pad], "[PAD]", *words[pad:]])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=unk))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    frame = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=frame)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token=unk, cls_token="[CLS]", sep_token="[SEP]"
    )


def shuffled(words: list[str]) -> list[str]:
    return random.Random(0).sample(words, len(words))


OWN = ["[UNK]", "[CLS]", "[SEP]", *WORDS]
MASKED = Head(auto_class="AutoModelForMaskedLM", num_labels=0, label_names=(), problem_type=None)


@pytest.fixture
def load_with(head: Head) -> Load:
    """Loads with the shipped options, but for the changes."""

    def run(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> Any:
        options = yaml.safe_load(CONF.read_text(encoding="utf-8"))
        options.pop("_target_")
        return load(changes.pop("head", head), tokenizer, **options | changes).eval()

    return run


@pytest.fixture
def checkpoint(make_small: Callable[..., Any], head: Head, tmp_path: Path) -> Callable[..., tuple[Any, str]]:
    """A small model with its tokenizer, whose tokens are OWN, and the folder of both."""

    def make(architecture: str, *, pad: int = 0, **changes: Any) -> tuple[Any, str]:
        tokenizer = tokenizer_of(OWN, pad=pad)
        model = make_small(architecture, tokenizer=tokenizer, **{"head": head} | changes).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(tmp_path / "checkpoint")
        tokenizer.save_pretrained(tmp_path / "checkpoint")
        return model, str(tmp_path / "checkpoint")

    return make


def logits(model: Any, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokenizer(TEXT)["input_ids"]])).logits


@pytest.mark.parametrize(
    "architecture",
    ["bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert", "gpt2", "t5"],
)
def test_a_model_does_not_change_where_its_tokens_get_other_numbers(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load, architecture: str
) -> None:
    model, folder = checkpoint(architecture)
    other = tokenizer_of(shuffled(OWN))
    attention = "eager" if architecture == "deberta-v2" else "sdpa"
    found = load_with(other, name=folder, embeddings="by_token", attention=attention)
    assert tokenizer_of(OWN)(TEXT)["input_ids"] != other(TEXT)["input_ids"]
    torch.testing.assert_close(logits(found, other), logits(model, tokenizer_of(OWN)))


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
@pytest.mark.parametrize(("former", "pad"), [(1, 0), (0, 1), (1, 3)])
def test_the_padding_may_have_another_number(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load, architecture: str, former: int, pad: int
) -> None:
    model, folder = checkpoint(architecture, pad=former)
    other = tokenizer_of(OWN, pad=pad)
    found = load_with(other, name=folder, embeddings="by_token")
    torch.testing.assert_close(logits(found, other), logits(model, tokenizer_of(OWN, pad=former)))
    found.save_pretrained(Path(folder) / "again")
    batch = other(["w3 other w17", TEXT], padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    again = type(found).from_pretrained(Path(folder) / "again").eval()
    torch.testing.assert_close(again(**batch).logits, found(**batch).logits)
    found(**batch).logits.logsumexp(-1).sum().backward()
    moved = found.get_input_embeddings().weight.grad.norm(dim=1) > 0
    used = set(batch["input_ids"].flatten().tolist()) - {pad}
    assert set(moved.nonzero().flatten().tolist()) - {pad} == used


def test_positions_that_count_on_from_the_padding_keep_its_number(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    _, folder = checkpoint("roberta", pad=1)
    with pytest.raises(ConfigError, match=r"positions of Roberta\w+ count on from the number of the padding"):
        load_with(tokenizer_of(OWN, pad=0), name=folder, embeddings="by_token")


@pytest.mark.parametrize("embeddings", ["by_number", "by_token"])
def test_the_padding_may_be_a_new_token(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load, embeddings: str
) -> None:
    model, folder = checkpoint("llama")
    config = Path(folder) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"pad_token_id": None}))
    other = tokenizer_of(OWN)
    other.add_special_tokens({"pad_token": "<pad>"})
    found = load_with(other, name=folder, embeddings=embeddings)
    assert found.config.pad_token_id == len(OWN) + 1
    padded = other([TEXT, f"{TEXT} w1"], padding=True, return_tensors="pt")
    alone = logits(model, tokenizer_of(OWN))
    torch.testing.assert_close(found(**padded).logits[:1], alone)


def test_a_padding_beyond_the_tokens_of_a_model_that_pads_is_refused(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    _, folder = checkpoint("bert")
    with pytest.raises(ConfigError, match="pads with one of the 44 tokens of the model"):
        load_with(tokenizer_of([*OWN, "one"], pad=44), name=folder, embeddings="by_token")


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "modernbert"])
def test_scores_of_tokens_follow_with_their_biases(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load, architecture: str
) -> None:
    model, folder = checkpoint(architecture, head=MASKED)
    own, other = tokenizer_of(OWN), tokenizer_of([*shuffled(OWN), "one", "two"])
    found = load_with(other, head=MASKED, name=folder, embeddings="by_token")
    numbers = other.convert_tokens_to_ids(own.convert_ids_to_tokens(list(range(len(own)))))
    torch.testing.assert_close(logits(found, other)[..., numbers], logits(model, own))
    found.save_pretrained(Path(folder) / "again")  # tied weights are tied still
    again = type(found).from_pretrained(Path(folder) / "again").eval()
    torch.testing.assert_close(logits(again, other), logits(found, other))


def test_special_tokens_of_other_names_take_the_vector_of_their_role(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    model, folder = checkpoint("bert")
    renamed = tokenizer_of(["[CLS]", "<unknown>", "[SEP]", *WORDS], unk="<unknown>")
    found = load_with(renamed, name=folder, embeddings="by_token")
    vectors, former = found.get_input_embeddings().weight, model.get_input_embeddings().weight
    assert torch.equal(vectors[renamed.unk_token_id], former[1])


def test_the_others_are_drawn_by_the_seed_and_as_large_as_those_there_are(
    load_with: Load, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    chinese = tokenizer_of(["[UNK]", "[CLS]", "[SEP]", "the", *map(chr, range(0x4E00, 0x5600))])

    def vectors(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return load_with(chinese, embeddings="by_token").get_input_embeddings().weight

    with caplog.at_level(logging.INFO):
        first = vectors(1)
    known = len(tokenizer.get_vocab().keys() & chinese.get_vocab().keys())
    assert known > 50
    assert f"the checkpoint has vectors of {known} of the 2,053 tokens, the others are new" in caplog.messages
    assert torch.equal(first, vectors(1))
    other, former = vectors(2), load_with(tokenizer).get_input_embeddings().weight
    differs = (first != other).any(dim=1)
    assert int(differs.sum()) == len(chinese) - known
    assert torch.equal(first[4], former[tokenizer.convert_tokens_to_ids("the")])
    drawn = first[differs]
    assert torch.allclose(drawn.mean(0), former.mean(0), atol=0.012)
    assert torch.allclose(drawn.std(0), former.std(0), rtol=0.12)


def test_a_tokenizer_of_another_vocabulary_is_refused_by_number(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    _, folder = checkpoint("bert")
    with pytest.raises(ConfigError, match=r"43 of its 44 tokens have another number in .*by_token"):
        load_with(tokenizer_of([*OWN[1:], OWN[0]]), name=folder)
    some = [f"other{number}" if 10 <= number < 20 else word for number, word in enumerate(OWN)]
    load_with(tokenizer_of([*some, "more"]), name=folder)  # unused tokens with a new meaning, and one more
    (Path(folder) / "tokenizer.json").unlink()
    (Path(folder) / "tokenizer_config.json").unlink()
    load_with(tokenizer_of([*OWN[1:], OWN[0]]), name=folder)  # nothing says that this is wrong


def test_by_token_needs_the_tokenizer_of_the_checkpoint(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    _, folder = checkpoint("bert")
    (Path(folder) / "tokenizer.json").unlink()
    (Path(folder) / "tokenizer_config.json").unlink()
    with pytest.raises(ConfigError, match=r"model\.embeddings: by_token asks .* holds no tokenizer"):
        load_with(tokenizer_of(OWN), name=folder, embeddings="by_token")


def test_new_vectors_are_trained_whatever_is_frozen(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    _, folder = checkpoint("bert")
    options = {"name": folder, "embeddings": "by_token", "freeze": ["encoder"]}
    model = load_with(tokenizer_of([*OWN, "new"]), **options)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {
        "bert.embeddings.word_embeddings.weight", "classifier.weight", "classifier.bias",
    }  # fmt: skip


def test_new_vectors_are_trained_beside_adapters(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    from runwright.model.lora import Lora

    _, folder = checkpoint("bert")
    lora = Lora(rank=2, alpha=4.0, dropout=0.0, target_modules=None)
    model = load_with(tokenizer_of([*OWN, "new"]), name=folder, embeddings="by_token", lora=lora)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert any("word_embeddings.modules_to_save" in name for name in trained)


def test_the_numbers_of_special_tokens_go_into_the_configuration(
    checkpoint: Callable[..., tuple[Any, str]], load_with: Load
) -> None:
    writing = dataclasses.replace(MASKED, auto_class="AutoModelForCausalLM")
    _, folder = checkpoint("gpt2", head=writing)
    other = tokenizer_of(["one", *OWN])
    model = load_with(other, head=writing, name=folder, embeddings="by_token")
    for config in (model.config, model.generation_config):
        assert (config.bos_token_id, config.eos_token_id) == (other.cls_token_id, other.sep_token_id)
    assert model.config.vocab_size == len(other)

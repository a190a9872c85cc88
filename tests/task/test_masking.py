"""Next sentences: every token once, half of the pairs real by seed and id, both losses those of the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.metric.means import next_sentence_accuracy, perplexity
from runwright.model.scratch import build
from runwright.task.masked_language_modeling import MaskedLanguageModeling
from runwright.tokenizer.trained import stand_in
from runwright.trainer.evaluate import evaluate

WORDS = [f"w{index}" for index in range(40)]
FRAMES = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
SETTINGS = {"family": "bert", "extra_tokens": WORDS, "post_processor": FRAMES}
TOKENIZER: PreTrainedTokenizerFast = stand_in(SETTINGS)
TOKENIZER.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}

OPTIONS: dict[str, Any] = {
    "text_column": "text", "max_length": 16, "join_rows": True, "mask_probability": 0.2,
    "mask_share": 0.8, "random_share": 0.1, "whole_words": False, "next_sentence": True,
}  # fmt: skip


def make(**options: Any) -> MaskedLanguageModeling:
    return MaskedLanguageModeling(TOKENIZER, **OPTIONS | options)


def encode(task: MaskedLanguageModeling, texts: list[str]) -> list[dict[str, Any]]:
    return task.encode({"text": texts, "row_id": list(range(len(texts)))})


def sentences(*lengths: int) -> list[str]:
    return [" ".join(WORDS[(7 * row + i) % 40] for i in range(length)) for row, length in enumerate(lengths)]


def texts_of(ids: list[int]) -> list[str]:
    """The two texts between [CLS], [SEP] and [SEP]."""
    return [part.strip() for part in str(TOKENIZER.decode(ids)).replace("[CLS]", "").split("[SEP]")[:2]]


def test_every_token_is_in_one_pair_of_neighbours_of_one_document() -> None:
    texts = [*sentences(5, 3, 9, 2, 39), "", *sentences(3, 4, 1, 6)]
    for join_rows in (True, False):
        task = make(join_rows=join_rows)
        pairs = [texts_of(example["input_ids"]) for example in encode(task, texts)]
        assert all(all(pair) for pair in pairs)
        # the 4th row is left over where rows are taken two by two, and halved
        assert " ".join(text for pair in pairs for text in pair) == " ".join(filter(None, texts))
        assert max(len(example["input_ids"]) for example in encode(task, texts)) <= 16
    four = sentences(4, 3, 2, 5)
    pairs = [texts_of(example["input_ids"]) for example in encode(make(join_rows=False), four)]
    assert pairs == [four[:2], four[2:]]


def test_half_of_the_pairs_are_real_by_seed_epoch_and_id() -> None:
    task = make(join_rows=False, mask_probability=0.0)
    texts = [f"{WORDS[i % 40]} {WORDS[(i * i) % 40]} {WORDS[i // 40]}" for i in range(1200)]
    follows = dict(zip(texts[::2], texts[1::2], strict=True))
    examples = encode(task, texts)
    drawn = task.augment(examples, seed=1, epoch=0)
    real = 0
    for example, clean in zip(drawn, examples, strict=True):
        columns = zip(example["input_ids"], example["labels"], strict=True)
        unmasked = [token if label < 0 else label for token, label in columns]
        first, second = texts_of(unmasked)
        assert (follows[first] == second) == (example["next_label"] == 0)
        assert example["token_type_ids"] == [0] * 5 + [1] * 4
        assert first == texts_of(clean["input_ids"])[0]
        real += example["next_label"] == 0
    assert real / 600 == pytest.approx(0.5, abs=0.06)  # three standard deviations
    assert task.augment(examples[::-1], seed=1, epoch=0)[::-1] == drawn
    labels = [example["next_label"] for example in drawn]
    for other in ({"seed": 1, "epoch": 1}, {"seed": 2, "epoch": 0}):
        assert [example["next_label"] for example in task.augment(examples, **other)] != labels


@pytest.mark.parametrize("attention", ["eager", "auto"])
def test_both_losses_are_those_of_the_model(attention: Any) -> None:
    torch.manual_seed(0)
    task = make(max_length=24)
    options: dict[str, Any] = {"dtype": "float64", "dropout": 0.0, "attention": attention}
    model: Any = build(task.head, TOKENIZER, architecture="bert", config=SIZES, **options).eval()
    examples = task.augment(encode(task, sentences(5, 3, 9, 2, 7, 8, 3, 4, 12, 6)), seed=1, epoch=0)
    batch = task.collate(examples)
    assert set(batch["next_labels"].tolist()) == {0, 1}
    loss, counts = task.loss(task.forward(model, batch), batch), task.count(examples)
    names = ("input_ids", "attention_mask", "token_type_ids", "labels")
    inputs = {name: batch[name] for name in names} | {"next_sentence_label": batch["next_labels"]}
    means = loss.total / torch.tensor(counts, dtype=torch.float64)
    assert means.sum().item() == pytest.approx(model(**inputs).loss.item(), rel=1e-10)
    with torch.no_grad():
        results = task.predictions(task.forward(model, batch), batch)
    metrics = {"accuracy": next_sentence_accuracy, "perplexity": perplexity}
    values = evaluate(results, metrics=metrics).metrics
    assert values["loss"] == pytest.approx(means.sum().item(), rel=1e-10)
    assert results.more_losses.mean() == pytest.approx(means[1].item(), rel=1e-10)
    assert values["perplexity"] == pytest.approx(means[0].exp().item(), rel=1e-10)
    right = model(**inputs).seq_relationship_logits.argmax(dim=1) == batch["next_labels"]
    assert values["accuracy"] == pytest.approx(right.double().mean().item())


def test_a_tokenizer_that_puts_nothing_between_two_texts_is_refused() -> None:
    task = MaskedLanguageModeling(stand_in({"family": "bert"}), **OPTIONS)
    with pytest.raises(ConfigError, match="no token between two texts"):
        encode(task, sentences(3, 4))


def test_a_model_without_a_head_for_pairs_is_refused() -> None:
    options: dict[str, Any] = {"dtype": "float32", "dropout": 0.0, "attention": "auto", "config": SIZES}
    with pytest.raises(ConfigError, match="RobertaForMaskedLM has no head for next sentences"):
        build(make().head, TOKENIZER, architecture="roberta", **options)

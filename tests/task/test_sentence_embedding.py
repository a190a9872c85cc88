"""Vectors of texts: pooling, losses over whole batches and over examples, ranks, what is saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.errors import DataError
from runwright.predictions import join
from runwright.task import sentence_embedding as embeddings
from runwright.task.sentence_embedding import (
    Embedded,
    SentenceEmbedding,
    contrastive,
    cosine,
    cosine_embedding,
    cosine_regression,
    in_batch_negatives,
    pool,
    rank,
    triplet,
)
from runwright.trainer.batches import Batches, Cut
from runwright.trainer.ranks import Ranks
from runwright.trainer.step import Stepper

PAIRS = {
    "row_id": [0, 1, 2, 3, 4],
    "first": ["a b", "a", "d d d c", "b c", "c"],
    "second": ["b", "a b c d a b", "d", "c c b", "a"],
    "third": ["c", "d a", "b b", "a", "d d"],
    "score": [5.0, 0.0, 2.5, 4.0, 1.0],
}


@pytest.fixture
def make(tokenizer: Any) -> Callable[..., Any]:
    def task(**options: Any) -> Any:
        defaults: dict[str, Any] = {
            "problem": "similarity", "text_column": "first", "text_pair_column": "second",
            "negative_column": None, "label_column": "score", "label_min": 0.0, "label_max": 5.0,
            "pooling": "mean", "normalize": True, "objective": "cosine_regression", "scale": 20.0,
            "margin": 0.5, "max_length": 8,
        }  # fmt: skip
        return SentenceEmbedding(tokenizer, **defaults | options)

    return task


def retrieval(make: Callable[..., Any], **options: Any) -> Any:
    defaults = {"problem": "retrieval", "label_column": None, "objective": "in_batch_negatives"}
    return make(**defaults | options)


def encoded(task: Any) -> list[dict[str, Any]]:
    return task.encode(task.inputs_of(Dataset.from_dict(PAIRS), split="train")[:])


def encoder(*, double: bool = True) -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    size: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertModel(BertConfig(vocab_size=8, intermediate_size=32, pad_token_id=0, **size))
    return (model.double() if double else model).eval()


# --- pooling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mean", "cls", "max"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_has_no_part_in_the_vector(how: Any, side: str) -> None:
    states = -torch.rand(1, 3, 4) - 1  # negative: zeros of padding would be the largest
    padding = torch.full((1, 2, 4), 7.0)
    parts, ones, zeros = [states, padding], [torch.ones(1, 3)], torch.zeros(1, 2)
    mask = torch.cat([*ones, zeros], dim=1) if side == "right" else torch.cat([zeros, *ones], dim=1)
    padded = torch.cat(parts if side == "right" else parts[::-1], dim=1)
    expected = {"mean": states.mean(1), "cls": states[:, 0], "max": states.max(1).values}[how]
    torch.testing.assert_close(pool(padded, mask.long(), how=how), expected)


@pytest.mark.parametrize("how", ["mean", "cls", "max"])
def test_a_vector_depends_on_its_own_text_alone(make: Callable[..., Any], how: str) -> None:
    task, model = make(pooling=how, negative_column="third"), encoder()
    examples = encoded(task)
    with torch.no_grad():
        together = task.forward(model, task.collate(examples))
        alone = [task.forward(model, task.collate([example])) for example in examples]
    assert together.shape == (5, 3, 16)
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(5, 3, dtype=torch.float64))


def test_each_text_is_encoded_once_and_cut_on_its_own(make: Callable[..., Any]) -> None:
    task = make(max_length=5)
    examples = encoded(task)
    assert examples[1]["text_lengths"] == [3, 5]
    assert examples[1]["full_length"] == 8
    assert len(examples[1]["input_ids"]) == 8
    batch = task.collate(examples)
    assert batch["input_ids"].shape == (10, 5)
    assert batch["input_ids"][3].tolist() == [2, 4, 5, 6, 3]  # of the second row "a b c", cut
    assert batch["labels"].tolist() == [1.0, 0.0, 0.5, 0.8, 0.2]


# --- losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_texts", [2, 3])
def test_in_batch_negatives_by_hand(num_texts: int) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(4, num_texts, 6, dtype=torch.float64)
    total = 0.0
    for i in range(4):
        side = [3.0 * vectors[i, 0] @ vectors[j, k] for k in range(1, num_texts) for j in range(4)]
        total += math.log(sum(math.exp(each) for each in side)) - float(side[i])
    found = in_batch_negatives(vectors, scale=3.0).total
    assert float(found) == pytest.approx(total, rel=1e-12)


def test_losses_of_examples_by_hand() -> None:
    vectors = torch.tensor([[[1.0, 0], [0, 2], [3, 0]], [[1, 0], [1, 1], [-9, 0]]], dtype=torch.float64)
    assert cosine(vectors).tolist() == pytest.approx([0.0, 0.5**0.5])
    scores = torch.tensor([0.5, 1.0], dtype=torch.float64)
    assert cosine_regression(vectors, scores).tolist() == pytest.approx([0.25, (0.5**0.5 - 1) ** 2])
    assert triplet(vectors, margin=0.5).tolist() == pytest.approx([5**0.5 - 2 + 0.5, 0.0], abs=1e-5)


def test_losses_of_pairs_are_those_of_torch() -> None:
    torch.manual_seed(0)
    vectors, same = torch.randn(6, 2, 5, dtype=torch.float64), torch.tensor([1.0, 0, 1, 0, 0, 1])
    first, second = vectors.unbind(dim=1)
    options: dict[str, Any] = {"reduction": "none", "margin": 0.1}
    expected = torch.nn.functional.cosine_embedding_loss(first, second, 2 * same - 1, **options)
    torch.testing.assert_close(cosine_embedding(vectors, same, margin=0.1), expected)
    # torch's hinge loss of distances is that of equation 4 without the squares
    distances = torch.nn.functional.pairwise_distance(first, second)
    hinges = torch.nn.functional.hinge_embedding_loss(distances, 2 * same - 1, margin=3.0, reduction="none")
    torch.testing.assert_close(contrastive(vectors, same, margin=3.0), hinges.square() / 2)


class ListExamples:
    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items
        self.lengths = self.widths = np.array([len(item["input_ids"]) for item in items])
        self.example_ids = np.array([item["example_id"] for item in items])

    def __len__(self) -> int:
        return len(self.items)

    def fetch(self, positions: Any) -> list[dict[str, Any]]:
        return [self.items[position] for position in positions]


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "in_batch_negatives"},
        {"objective": "in_batch_negatives", "negative_column": "third"},
        {"objective": "in_batch_negatives", "normalize": False, "scale": 1.0, "pooling": "max"},
        {"objective": "triplet", "negative_column": "third"},
        {"objective": "cosine_regression", "pooling": "cls"},
        {"objective": "contrastive", "normalize": False, "margin": 2.0},
        {"objective": "cosine_embedding", "margin": 0.0},
    ],
)
def test_the_cut_changes_neither_loss_nor_gradient(make: Callable[..., Any], options: Any) -> None:
    task = make(**options)
    assert (task.coupled_loss is not None) == (options["objective"] == "in_batch_negatives")
    whole, batch = encoder(), task.collate(encoded(task))
    outputs = task.forward(whole, batch)
    loss = task.coupled_loss(outputs) if task.coupled_loss else task.loss(outputs, batch)
    assert loss.count == 5
    (loss.total / 5).backward()
    reference = {name: p.grad for name, p in whole.named_parameters() if p.grad is not None}
    norm = math.sqrt(sum(float(g.square().sum()) for g in reference.values()))
    for cut in (Cut(), Cut(microbatch_size=1), Cut(microbatch_size=3), Cut(microbatch_tokens=16)):
        caught, value = one_step(task, encoder(), cut)
        assert value == pytest.approx(loss.total.item() / 5, rel=1e-10)
        assert caught.keys() == reference.keys()
        for name, gradient in reference.items():
            assert float((caught[name] - gradient).norm()) <= 1e-10 * norm, name


def one_step(task: Any, model: Any, cut: Cut) -> tuple[dict[str, torch.Tensor], float]:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in model.encoder.layer:
        layer.attention.self.dropout_prob = 0.0
    caught: dict[str, torch.Tensor] = {}
    parameters = list(model.parameters())
    stepper = Stepper(
        model=model, task=task, optimizer=torch.optim.SGD(parameters, lr=0.1), parameters=parameters,
        ranks=Ranks(rank=0, num_ranks=1, device=torch.device("cpu")), dropout_seed=0, max_grad_norm=None,
        non_finite="stop",
    )  # fmt: skip

    def catch(*_: Any) -> None:
        caught.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    stepper.optimizer.register_step_pre_hook(catch)
    batches = Batches(ListExamples(encoded(task)), task, batch_size=5, seed=0, cut=cut)
    return caught, stepper.step(batches.at(0)).loss


# --- judging ------------------------------------------------------------------------------------------


def judged(task: Any, vectors: np.ndarray, rows: dict[str, Any]) -> Embedded:
    """What is said of vectors that stand for the texts."""
    batch = {"example_ids": torch.tensor(rows["row_id"])}
    return task.assemble(task.predictions(torch.tensor(vectors, dtype=torch.float32), batch), rows)


@settings(deadline=None, max_examples=40)
@given(st.integers(min_value=1, max_value=30), st.integers(min_value=0, max_value=99))
def test_ranks_and_losses_in_blocks_are_those_of_the_whole_table(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    queries, own = generator.integers(0, 8, count).tolist(), generator.integers(0, 12, count).tolist()
    vectors = generator.normal(size=(2, 12, 5)).astype(np.float32)
    asked, corpus = vectors[0][np.array(queries)], vectors[1][np.array(own)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "MIN_QUERIES", 4)
        patch.setattr(embeddings, "MAX_SIMILARITIES", 3)
        ranks, losses = rank(np.stack([asked, corpus], axis=1), queries, own, scale=2.0)
    for i in range(count):
        others = {own[j] for j in range(count)} - {own[j] for j in range(count) if queries[j] == queries[i]}
        similarity = {text: float(asked[i] @ vectors[1][text]) for text in {*others, own[i]}}
        assert ranks[i] == 1 + sum(similarity[text] > similarity[own[i]] for text in others)
        expected = math.log(sum(math.exp(2 * s) for s in similarity.values())) - 2 * similarity[own[i]]
        assert losses[i] == pytest.approx(expected, abs=1e-4)


def test_equal_vectors_win_nothing(make: Callable[..., Any]) -> None:
    rows = {"row_id": [7, 8, 9], "first": ["p", "q", "r"], "second": ["x", "y", "z"]}
    found = judged(retrieval(make), np.ones((3, 2, 4)) / 2, rows)
    assert found.ranks is not None
    assert found.ranks.tolist() == [3, 3, 3]
    assert found.vectors is None
    assert found.losses == pytest.approx([math.log(3)] * 3)


def test_a_text_that_belongs_to_several_is_no_rival(make: Callable[..., Any]) -> None:
    rows = {"row_id": [0, 1, 2], "first": ["p", "p", "q"], "second": ["x", "y", "x"]}
    x, y = [1.0, 0.0], [0.8, 0.6]
    found = judged(retrieval(make), np.array([[y, x], [y, y], [y, x]]), rows)
    assert found.ranks is not None
    assert found.ranks.tolist() == [1, 1, 2]  # only the last has a rival, y


def test_pairs_are_judged_by_their_cosine(make: Callable[..., Any]) -> None:
    task, model = make(), encoder(double=False)
    examples = encoded(task)
    with torch.no_grad():
        parts = [
            task.predictions(task.forward(model, b), b) for b in map(task.collate, ([e] for e in examples))
        ]
    found = task.assemble(join(parts), Dataset.from_dict(PAIRS))
    assert found.labelled
    assert found.expected.tolist() == [1.0, 0.0, 0.5, 0.8, 0.2]
    np.testing.assert_allclose(found.losses, (found.predicted - found.expected) ** 2, rtol=1e-6)
    batch = task.collate(examples)
    with torch.no_grad():
        found = make(objective="cosine_embedding", margin=0.2).predictions(task.forward(model, batch), batch)
    wanted = found.expected * (1 - found.predicted) + (1 - found.expected) * (found.predicted - 0.2).clip(0)
    np.testing.assert_allclose(found.losses, wanted, rtol=1e-6)
    described = task.describe(found, 0, row={}, all_scores=False)
    assert described == {"predicted": found.predicted[0], "expected": 1.0}


def test_a_single_text_is_told_its_vector_without_losing_a_bit(make: Callable[..., Any]) -> None:
    task, model = make(), encoder(double=False)
    columns = {"first": ["a b c"], "row_id": [0]}
    batch = task.collate(task.encode(columns))
    with torch.no_grad():
        outputs = task.forward(model, batch)
    found = task.assemble(task.predictions(outputs, batch), columns)
    assert not found.labelled
    vector = task.describe(found, 0, row={}, all_scores=False)["predicted"]
    assert np.array_equal(np.array(vector, dtype=np.float32), outputs[0, 0].numpy())


# --- what is saved, what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False), ("max", True)])
def test_sentence_transformers_gives_the_same_vectors(
    make: Callable[..., Any], tmp_path: Path, pooling: str, normalize: bool
) -> None:
    from transformers import AutoModel

    from runwright.runs.outputs import export_best

    reference = pytest.importorskip("sentence_transformers")
    task, model = make(pooling=pooling, normalize=normalize, max_length=6), encoder(double=False)
    best = export_best(tmp_path, model, task.tokenizer, task=task)
    plain = AutoModel.from_pretrained(best)
    texts = ["a b", "c", "d d a b c c c c c"]
    batch = task.collate(task.encode({"first": texts, "row_id": [0, 1, 2]}))
    with torch.no_grad():
        vectors = task.forward(plain.eval(), batch)[:, 0].numpy()
    found = reference.SentenceTransformer(str(best), device="cpu").encode(texts)
    np.testing.assert_allclose(found, vectors, atol=1e-6)


@pytest.mark.parametrize("value", ["much", None, 5.5, -1.0, math.nan])
def test_a_score_out_of_range_is_named(make: Callable[..., Any], value: Any) -> None:
    scores = ["1", "2", "3", "4", value] if isinstance(value, str) else [1.0, 2.0, 3.0, 4.0, value]
    rows = Dataset.from_dict({**PAIRS, "score": scores})
    with pytest.raises(DataError, match=r"'train', row 4, column 'score'.*label_min=0.0 to label_max=5.0"):
        make().fit({"train": rows})


def test_one_row_alone_has_no_negatives(make: Callable[..., Any]) -> None:
    rows = Dataset.from_dict({name: values[:1] for name, values in PAIRS.items()})
    with pytest.raises(DataError, match="in-batch negatives need others"):
        retrieval(make).fit({"train": rows})

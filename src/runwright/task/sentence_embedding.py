"""A vector for each text, near to those of texts that mean the same."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from datasets import Dataset
from scipy.special import logsumexp
from torch import Tensor

from runwright.dataset.checks import has_column
from runwright.errors import DataError
from runwright.task.base import Task, at_least_float32, model_inputs
from runwright.task.labels import as_number
from runwright.task.losses import one_by_one
from runwright.task.text import encode_texts, positions_of
from runwright.types import Batch, Example, LossSum, PerExample, PositiveFloat, PositiveInt, Splits

Pooling = Literal["mean", "cls", "max"]
Objective = Literal["in_batch_negatives", "triplet", "cosine_regression", "contrastive", "cosine_embedding"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded(PerExample):
    """Predictions for N examples of K texts each."""

    vectors: np.ndarray | None  # [N, K, D] float32; None once nothing needs them any more
    predicted: np.ndarray | None  # [N] float64, cosine of the first two texts
    expected: np.ndarray | None  # [N] float64, the score from 0 to 1
    ranks: np.ndarray | None = None  # [N] int64, of the second text among all second texts of the split

    @property
    def labelled(self) -> bool:
        """Return True if there is anything to compare with."""
        return self.expected is not None or self.ranks is not None


class SentenceEmbedding(Task):
    """Encodes each text of an example once, pools its tokens, and compares the vectors.

    The texts of B examples are one batch [B * K, L]; outputs are [B, K, D]. With in-batch negatives the loss
    is taken over all examples of an update, however they were cut (`coupled_loss`).
    """

    auto_class = "AutoModel"
    prediction_type = Embedded
    learned = ("pooling", "normalize", "max_length")  # with the model's folder all that makes vectors
    embeds_texts = True

    def __init__(
        self,
        tokenizer: Any,
        *,
        problem: Literal["similarity", "retrieval"],
        text_column: str,
        text_pair_column: str,
        negative_column: str | None,
        label_column: str | None,
        label_min: float,
        label_max: float,
        pooling: Pooling,
        normalize: bool,
        objective: Objective,
        scale: PositiveFloat,
        margin: float,
        max_length: PositiveInt,
    ) -> None:
        super().__init__(tokenizer, text_columns=(text_column,), max_length=max_length)
        self.problem = problem
        negatives = (negative_column,) if negative_column else ()
        self.columns = self.row_texts = (text_column, text_pair_column, *negatives)
        self.label_column = label_column
        self.label_range = (label_min, label_max)
        self.pooling: Pooling = pooling
        self.normalize = normalize
        self.objective = objective
        self.scale = scale
        self.margin = margin
        of_scores = {"contrastive": contrastive, "cosine_embedding": cosine_embedding}
        self._loss_of_scores = of_scores.get(objective, cosine_regression)  # of pairs, [N]
        if objective == "in_batch_negatives":  # the others are sums over examples: one forward is enough
            self.coupled_loss = partial(in_batch_negatives, scale=scale)

    def fit(self, splits: Splits) -> None:
        super().fit(splits)
        if self.coupled_loss and "train" in splits and len(splits["train"]) < 2:
            raise DataError("one row: in-batch negatives need others beside it", split="train")

    def model_files(self, model: Any) -> dict[str, str]:
        """Files with which sentence-transformers makes the same vectors."""
        kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
        if self.normalize:
            kinds.append(("2_Normalize", "Normalize"))
        names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
        files = {
            "modules.json": [
                {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for idx, (path, kind) in enumerate(kinds)
            ],
            "sentence_bert_config.json": {"max_seq_length": self.max_length, "do_lower_case": False},
            "1_Pooling/config.json": {
                "word_embedding_dimension": model.config.hidden_size,
                **{f"pooling_mode_{name}": how == self.pooling for how, name in names.items()},
            },
            **({"2_Normalize/config.json": {}} if self.normalize else {}),
        }
        return {path: json.dumps(content, indent=2) + "\n" for path, content in files.items()}

    def read_labels(self, rows: Dataset, *, split: str) -> list[float] | None:
        """Scores of a split, 0 for `label_min` and 1 for `label_max`; None where there are none."""
        column, (low, high) = self.label_column, self.label_range
        if column is None or not has_column(rows, column, split=split, option="task.label_column"):
            return None
        scores = []
        for row, value in enumerate(rows[column]):
            score = as_number(value)
            if not low <= score <= high:
                problem = f"given {value!r}, expected a number from task.label_min={low} to label_max={high}"
                raise DataError(problem, split=split, row=row, column=column)
            scores.append((score - low) / (high - low))
        return scores

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each row: the tokens of its texts one after the other, and `text_lengths` [K].

        `full_length` is that of its longest text. A record to predict has only the first text.
        """
        encode = partial(encode_texts, self.tokenizer, max_length=self.max_length)
        encoded = [encode({name: columns[name]}) for name in self.row_texts if name in columns]
        examples: list[Example] = []
        for row, texts in enumerate(zip(*encoded, strict=True)):
            lengths = [len(text["input_ids"]) for text in texts]
            example: Example = {
                "example_id": columns["row_id"][row],
                "full_length": max(text["full_length"] for text in texts),
                "input_ids": [token for text in texts for token in text["input_ids"]],
                "text_lengths": lengths,
                "padded_length": len(lengths) * max(lengths),  # a row of the batch for each text
            }
            if "labels" in columns:
                example["label"] = float(columns["labels"][row])
            examples.append(example)
        return examples

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`input_ids`, `attention_mask` [B * K, L], `example_ids` [B]; perhaps `labels` [B] float64."""
        texts: list[Example] = [
            {"input_ids": example["input_ids"][start:end], "example_id": example["example_id"]}
            for example in examples
            for start, end in pairwise(accumulate(example["text_lengths"], initial=0))
        ]
        batch = super().collate(texts)
        batch["example_ids"] = torch.tensor([example["example_id"] for example in examples])
        if "label" in examples[0]:
            batch["labels"] = torch.tensor([example["label"] for example in examples], dtype=torch.float64)
        return batch

    def states(self, model: Any, batch: Batch) -> Tensor:
        """Token states before they are pooled, [B * K, L, D]."""
        return at_least_float32(model(**model_inputs(batch)).last_hidden_state)

    def forward(self, model: Any, batch: Batch) -> Tensor:
        """Vectors [B, K, D], at least in float32."""
        vectors = pool(self.states(model, batch), batch["attention_mask"], how=self.pooling)
        if self.normalize:
            vectors = F.normalize(vectors, dim=-1)
        return vectors.unflatten(0, (len(batch["example_ids"]), -1))

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over examples of the losses that need no other example."""
        assert self.objective != "in_batch_negatives", "this loss has no part for a microbatch"
        if self.loss_option is not None:
            scores = batch.get("labels", outputs.new_zeros(len(outputs)))
            losses = one_by_one(self.loss_option, outputs, scores)
        elif self.objective == "triplet":
            losses = triplet(outputs, margin=self.margin)
        else:
            losses = self._loss_of_scores(outputs, batch["labels"], margin=self.margin)
        return LossSum(total=losses.sum(), count=float(len(losses)))

    def predictions(self, outputs: Tensor, batch: Batch) -> Embedded:
        """Vectors; of pairs the cosine, and the loss where it needs no other examples."""
        vectors, num_texts = outputs.double(), outputs.shape[1]
        expected = batch["labels"].cpu().numpy() if "labels" in batch else None
        losses = None
        if self.problem == "similarity" and expected is not None:
            losses = self._loss_of_scores(vectors, batch["labels"], margin=self.margin)
        elif self.objective == "triplet" and num_texts == 3:
            losses = triplet(vectors, margin=self.margin)
        return Embedded(
            example_ids=batch["example_ids"].cpu().numpy(),
            vectors=outputs.float().cpu().numpy(),
            predicted=cosine(vectors).cpu().numpy() if num_texts > 1 else None,
            expected=expected,
            losses=None if losses is None else losses.cpu().numpy(),
        )

    def assemble(self, predictions: Embedded, rows: Any) -> Embedded:
        """For retrieval the rank of each second text among those of all examples.

        Where it is not yet known also the loss: the cross-entropy among them. Vectors of pairs are let go.
        """
        vectors = predictions.vectors
        if vectors is None or vectors.shape[1] == 1:
            return predictions
        if self.problem == "similarity":
            return replace(predictions, vectors=None)
        order = positions_of(predictions.example_ids, rows)
        columns = (rows[name][:] for name in self.row_texts[:2])
        anchors, positives = ([column[row] for row in order] for column in columns)
        ranks, losses = rank(vectors, anchors, positives, scale=self.scale)
        losses = losses if predictions.losses is None else predictions.losses
        return replace(predictions, vectors=None, ranks=ranks, losses=losses)

    def describe(
        self, predictions: Embedded, index: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """The vector of a text; of a pair the cosine, or the rank with the cosine as its score."""
        if predictions.predicted is None:
            assert predictions.vectors is not None
            # As short as a float32 can be written without losing a bit.
            return {"predicted": [float(str(number)) for number in predictions.vectors[index, 0]]}
        similarity = float(predictions.predicted[index])
        if predictions.ranks is not None:
            return {"predicted": int(predictions.ranks[index]), "score": round(similarity, 6)}
        described: dict[str, Any] = {"predicted": similarity}
        if predictions.expected is not None:
            described["expected"] = float(predictions.expected[index])
        return described


# Similarities at a time, 32 MB in float32; of a large corpus more, as the product with few queries is slow.
MAX_SIMILARITIES, MIN_QUERIES = 1 << 23, 64
# Texts that make the same tokens have the same vector but for rounding, which must not decide who is first.
TOLERANCE = 1e-6


def pool(states: Tensor, attention_mask: Tensor, *, how: Pooling) -> Tensor:
    """[B, D] from [B, L, D]; padding, on whichever side, has no part in it.

    mean: over all tokens, special ones included; cls: the first token; max: the largest of each dimension.
    """
    mask = attention_mask.bool()
    if how == "cls":
        first = mask.int().argmax(dim=1)  # not 0 where padding is on the left
        return states[first.new_tensor(range(len(first))), first]
    if how == "max":
        return states.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)
    weights = mask[..., None].to(states)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def in_batch_negatives(vectors: Tensor, *, scale: float) -> LossSum:
    """Sum of cross-entropies in nats: which of all positives and negatives belongs to each anchor, [N, K, D].

    Multiple negatives ranking (Henderson et al. 2017, section 4.4), InfoNCE with a temperature of 1/scale.
    """
    candidates = torch.cat(vectors[:, 1:].unbind(dim=1))
    similarity = scale * vectors[:, 0] @ candidates.T  # [N, N], or [N, 2 N] with negatives
    right = torch.arange(len(vectors), device=vectors.device)
    return LossSum(total=F.cross_entropy(similarity, right, reduction="sum"), count=float(len(vectors)))


def triplet(vectors: Tensor, *, margin: float) -> Tensor:
    """By how much the negative is not farther (Euclidean) than the positive by `margin`, [N]."""
    anchors, positives, negatives = vectors[:, :3].unbind(dim=1)
    return F.triplet_margin_loss(anchors, positives, negatives, margin=margin, reduction="none")


def contrastive(vectors: Tensor, scores: Tensor, *, margin: float) -> Tensor:
    """Half the squared distance of pairs that belong together, and of what others lack of `margin`, [N].

    Hadsell et al. 2006, equation 4, with Euclidean distances; a score between 0 (others) and 1 weighs both.
    """
    distances = F.pairwise_distance(vectors[:, 0], vectors[:, 1])
    scores = scores.to(vectors)
    return (scores * distances.square() + (1 - scores) * (margin - distances).relu().square()) / 2


def cosine_embedding(vectors: Tensor, scores: Tensor, *, margin: float) -> Tensor:
    """1 - cosine of pairs that belong together, by how much that of others is above `margin`, [N].

    torch's cosine_embedding_loss of both targets; a score [N] between 0 (others) and 1 weighs them.
    """
    scores, one = scores.to(vectors), vectors.new_ones(len(vectors))
    loss = partial(F.cosine_embedding_loss, *vectors[:, :2].unbind(dim=1), margin=margin, reduction="none")
    return scores * loss(target=one) + (1 - scores) * loss(target=-one)


def cosine(vectors: Tensor) -> Tensor:
    """The cosine of the first two texts of each example, [N]."""
    return F.cosine_similarity(vectors[:, 0], vectors[:, 1], dim=-1)


def cosine_regression(vectors: Tensor, scores: Tensor, *, margin: float = 0.0) -> Tensor:  # noqa: ARG001
    """Squared differences between cosines and scores [N], which lie between 0 and 1."""
    return (cosine(vectors) - scores.to(vectors)).square()


def rank(
    vectors: np.ndarray, queries: Sequence[Hashable], texts: Sequence[Hashable], *, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks from 1, [N] int64, of the second texts of vectors [N, K, D] among all distinct ones, and losses.

    By inner product; other texts of equal queries take no part. As many stand before the right one as are not
    clearly less similar: equal vectors win nothing. A loss in nats is the cross-entropy of the right one.
    """
    numbers: dict[Hashable, int] = {}
    right = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
    corpus = vectors[np.unique(right, return_index=True)[1], 1]
    of_query: dict[Hashable, set[int]] = {}
    for query, number in zip(queries, right.tolist(), strict=True):
        of_query.setdefault(query, set()).add(number)
    ranks, losses = np.empty(len(right), dtype=np.int64), np.empty(len(right))
    size = max(MIN_QUERIES, MAX_SIMILARITIES // max(1, len(corpus)))
    for start in range(0, len(right), size):
        block = slice(start, start + size)
        anchors, goals = vectors[block, 0], corpus[right[block]]
        of_right = np.einsum("nd,nd->n", anchors.astype(np.float64), goals.astype(np.float64))
        limit = of_right - TOLERANCE * np.maximum(1.0, np.abs(of_right))
        similarity = anchors @ corpus.T
        for row, query in enumerate(queries[block]):
            similarity[row, [*of_query[query]]] = -np.inf
        ranks[block] = 1 + (~(similarity < limit[:, None])).sum(axis=1)
        others: Any = logsumexp(scale * similarity.astype(np.float64), axis=1)
        losses[block] = np.logaddexp(scale * of_right, others) - scale * of_right
    return ranks, losses

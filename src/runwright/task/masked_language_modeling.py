"""Masked language modelling: masked tokens from the text around them, for pretraining and adaptation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from torch import Tensor

from runwright.model.parameters import without_adapters
from runwright.predictions import Ragged
from runwright.task.base import Task, at_least_float32, model_inputs
from runwright.task.masking import Masking, cut_chunks, encode_pairs, generator, with_second
from runwright.task.text import IGNORED, MAX_WINDOWS, num_targets, special_tokens, sums_by_row
from runwright.types import Batch, Example, Fraction, Head, LossSum, PerExample, PositiveInt

NUM_GUESSES = 5  # shown for each mask of a text that has some


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenTokens(PerExample):
    """Predictions for the hidden tokens of N chunks; losses are sums over them in nats."""

    guesses: Ragged  # [N] rows of [M, 5] int64, for the masks that a text came with
    guess_scores: Ragged  # [N] rows of [M, 5] float32
    num_right: np.ndarray | None = None  # [N] int64, hidden tokens that were guessed
    next_right: np.ndarray | None = None  # [N] bool, pairs that were told from strange ones


class MaskedLanguageModeling(Task):
    """Cuts texts into chunks, hides some tokens anew in each epoch, and sums the losses over them.

    What is hidden is a function of (data seed, epoch, chunk); in evaluation always the same. A text that
    has masks of its own keeps them, and the most probable tokens are its prediction. A chunk may hold the
    ends of several rows: metrics count chunks, and there are no predictions of rows. With `next_sentence` a
    chunk is a pair of texts, half of which follow one another by (data seed, epoch, chunk) as well; a second
    loss, over pairs, is added to the mean over tokens.
    """

    problem = "hidden_tokens"
    auto_class = "AutoModelForMaskedLM"
    needs_token = ("mask",)
    prediction_type = HiddenTokens
    token_fields: ClassVar = {"labels": IGNORED}
    predicts_rows = False
    cuts_windows = True
    num_guesses = NUM_GUESSES  # for each mask of a text

    def __init__(
        self,
        tokenizer: Any,
        *,
        text_column: str,
        max_length: PositiveInt,
        join_rows: bool,
        mask_probability: Fraction,
        mask_share: Fraction,
        random_share: Fraction,
        whole_words: bool,
        next_sentence: bool,
    ) -> None:
        super().__init__(tokenizer, text_columns=(text_column,), max_length=max_length)
        self.join_rows = join_rows
        self.next_sentence = next_sentence
        if next_sentence:
            self.auto_class, self.num_losses = "AutoModelForPreTraining", 2
        special = set(tokenizer.all_special_ids)
        self.masking = Masking(
            probability=mask_probability,
            mask_share=mask_share,
            random_share=random_share,
            whole_words=whole_words,
            mask_token_id=tokenizer.mask_token_id,
            random_ids=np.array([i for i in range(len(tokenizer)) if i not in special]),
        )

    @property
    def head(self) -> Head:
        return replace(super().head, num_types=2) if self.next_sentence else super().head

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each chunk or pair, with special tokens around it; `words` is -1 for those."""
        if not self.next_sentence:
            return self._chunks(columns, join_rows=self.join_rows)
        options = {"max_length": self.max_length, "join_rows": self.join_rows}
        return encode_pairs(self.tokenizer, columns[self.text_columns[0]], columns["row_id"], **options)

    def encode_records(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """Chunks of records to predict, each of which begins a chunk of its own."""
        return self._chunks(columns, join_rows=False)

    def _chunks(self, columns: Mapping[str, Sequence[Any]], *, join_rows: bool) -> list[Example]:
        prefix, suffix = special_tokens(self.tokenizer)
        size = self.max_length - len(prefix) - len(suffix)
        texts, row_ids = columns[self.text_columns[0]], columns["row_id"]
        return [
            {
                "example_id": chunk.example_id,
                "full_length": len(chunk.ids) + len(prefix) + len(suffix),
                "input_ids": [*prefix, *chunk.ids, *suffix],
                "words": [*[-1] * len(prefix), *chunk.words, *[-1] * len(suffix)],
                "has_masks": int(self.masking.mask_token_id in chunk.ids),
            }
            for chunk in cut_chunks(self.tokenizer, texts, row_ids, size=size, join_rows=join_rows)
        ]

    def augment(self, examples: Sequence[Example], *, seed: int, epoch: int) -> list[Example]:
        """The examples with tokens hidden, and the hidden tokens as `labels`."""
        augmented: list[Example] = []
        for example in examples:
            if "other_input_ids" in example:
                example = with_second(example, seed=seed, epoch=epoch)
            ids, labels = example["input_ids"], [IGNORED] * len(example["input_ids"])
            if not example["has_masks"]:
                chance = generator(seed, epoch, example["example_id"])
                ids, labels = self.masking.apply(ids, example["words"], chance=chance)
            augmented.append({**example, "input_ids": ids, "labels": labels})
        return augmented

    def collate(self, examples: Sequence[Example]) -> Batch:
        """With `next_labels` [B] of pairs, 1 where the second text is a strange one."""
        batch = super().collate(examples)
        if "next_label" in examples[0]:
            batch["next_labels"] = torch.tensor([example["next_label"] for example in examples])
        return batch

    def count(self, examples: Sequence[Example]) -> float | tuple[float, ...]:
        hidden = num_targets(examples)
        return (hidden, float(len(examples))) if self.next_sentence else hidden

    def forward(self, model: Any, batch: Batch) -> Any:
        """Logits of the hidden and the masked tokens alone, [M, V]: most of the work is over all of V.

        With those of pairs, [B, 2], as a second tensor where the model has them.
        """
        hidden, masks = self._positions(batch)
        outputs = outputs_at(model, batch, hidden | masks)
        if not self.next_sentence:
            return at_least_float32(outputs.logits[0])
        pairs = at_least_float32(outputs.seq_relationship_logits)
        return at_least_float32(outputs.prediction_logits[0]), pairs

    def _positions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The tokens that were hidden, and the masks of texts that came with some; [B, L] bool."""
        hidden = batch["labels"] != IGNORED
        return hidden, (batch["input_ids"] == self.masking.mask_token_id) & ~hidden.any(dim=1, keepdim=True)

    def loss(self, outputs: Any, batch: Batch) -> LossSum:
        """Sum over hidden tokens in nats, with that over pairs in a second place."""
        outputs, pairs = outputs if self.next_sentence else (outputs, None)
        hidden, masks = self._positions(batch)
        total = self.sum_losses(outputs[hidden[hidden | masks]], batch["labels"][hidden], batch)
        if pairs is not None:
            total = torch.stack([total, F.cross_entropy(pairs, batch["next_labels"], reduction="sum")])
        return LossSum(total=total, count=float(hidden.sum()))

    def predictions(self, outputs: Any, batch: Batch) -> HiddenTokens:
        """Losses and right guesses of each chunk, and guesses for the masks that came with it."""
        outputs, pairs = outputs if self.next_sentence else (outputs, None)
        follows, of_pairs = batch.get("next_labels"), {}
        if pairs is not None and follows is not None:
            of_pairs["next_right"] = (pairs.argmax(dim=-1) == follows).cpu().numpy()
            more = F.cross_entropy(pairs, follows, reduction="none")
            of_pairs["more_losses"] = more.double().cpu().numpy()
        hidden, masks = self._positions(batch)
        rows = hidden.nonzero()[:, 0]
        logits, labels = outputs[hidden[hidden | masks]], batch["labels"][hidden]
        losses, counts = sums_by_row(F.cross_entropy(logits, labels, reduction="none"), hidden)
        best = outputs[masks[hidden | masks]].softmax(dim=-1)
        best = best.topk(min(self.num_guesses, best.shape[-1]), dim=-1)
        lengths = masks.sum(dim=1).cpu().numpy()
        right = torch.bincount(rows[logits.argmax(dim=-1) == labels], minlength=len(hidden))
        return HiddenTokens(
            example_ids=batch["example_ids"].cpu().numpy(),
            losses=losses,
            loss_counts=counts,
            num_right=right.cpu().numpy(),
            guesses=Ragged(best.indices.cpu().numpy(), lengths),
            guess_scores=Ragged(best.values.float().cpu().numpy(), lengths),
            **of_pairs,
        )

    def assemble_records(self, predictions: HiddenTokens | None, columns: Any) -> HiddenTokens:
        """The guesses for the masks of each record, over its chunks; none for a record without a mask."""
        row_ids = np.asarray(columns["row_id"], dtype=np.int64)
        lengths = np.zeros(len(row_ids), dtype=np.int64)
        guesses = scores = np.empty((0, self.num_guesses))
        if predictions is not None:
            # Chunks come in the order of their records, and so do their masks.
            records = np.searchsorted(row_ids, predictions.example_ids // MAX_WINDOWS)
            np.add.at(lengths, records, predictions.guesses.lengths)
            guesses, scores = predictions.guesses.values, predictions.guess_scores.values
        return HiddenTokens(
            example_ids=row_ids, guesses=Ragged(guesses, lengths), guess_scores=Ragged(scores, lengths)
        )

    def describe(
        self, predictions: HiddenTokens, index: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """For each mask of the text the most probable token; with all scores `num_guesses` of them.

        Of tokens that read alike, as those with and without a space before them, the likeliest is called by
        its text alone, the others also by their ids.
        """
        guesses = [self._names(ids) for ids in predictions.guesses.row(index).tolist()]
        rows = predictions.guess_scores.row(index).tolist()
        shares = [[round(share, 6) for share in scores] for scores in rows]
        described: dict[str, Any] = {"predicted": [names[0] for names in guesses]}
        described["score"] = [scores[0] for scores in shares]
        if all_scores:
            pairs = zip(guesses, shares, strict=True)
            described["scores"] = [dict(zip(names, scores, strict=True)) for names, scores in pairs]
        return described

    def _names(self, ids: Sequence[int]) -> list[str]:
        """Distinct names of tokens, of which the likeliest comes first."""
        texts = [self.tokenizer.decode([token]).strip() for token in ids]
        return [
            f"{text} (id {token})".strip() if text in texts[:rank] else text
            for rank, (text, token) in enumerate(zip(texts, ids, strict=True))
        ]


def outputs_at(model: Any, batch: Batch, mask: Tensor) -> Any:
    """Outputs with logits of some tokens, [1, M, V]: `mask` [B, L] bool; the head sees no others.

    For heads that look at each token alone, as those of language models do.
    """

    def pick(_body: Any, _args: Any, output: Any) -> Any:
        output["last_hidden_state"] = output["last_hidden_state"][mask][None]
        return output

    if next(model.parameters(), None) is None:  # an export, whose graph has no hooks
        outputs = model(**model_inputs(batch))
        for name in {"logits", "prediction_logits"} & {*outputs}:
            outputs[name] = outputs[name][mask][None]
        return outputs
    with without_adapters(model).base_model.register_forward_hook(pick):
        return model(**model_inputs(batch))

"""A tag for each word of a text: names, parts of speech, chunks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F  # noqa: N812 - the name everyone reads
from datasets import Dataset
from torch import Tensor

from runwright import types
from runwright.config import tag_schemes
from runwright.config.tag_schemes import OUTSIDE, Scheme, read_tag
from runwright.metric.classification import count_spans, spans_of
from runwright.predictions import Ragged
from runwright.report.tables import count_report
from runwright.task import text as windows
from runwright.task.base import Task
from runwright.task.labels import learn_class_weights
from runwright.task.losses import SingleLabel, loss_of_task
from runwright.task.tags import RowReader, learn_tags, read_tags
from runwright.task.text import IGNORED, RowNotes, notes_of, positions_of, shared_pieces, word_of_pieces
from runwright.types import Batch, Example, LossSum, OpenFraction, PositiveFloat, PositiveInt, Splits


@dataclass(frozen=True, kw_only=True, slots=True)
class PiecePredictions(types.PerExample):
    """Predictions for the pieces that count in each of N windows; losses are sums over tagged pieces."""

    words: Ragged  # [N] rows of [T] int32, the word in the row
    scores: Ragged  # [N] rows of [T, C] float32 probabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class TagResults(types.PerExample):
    """Tags and spans of N rows; spans are [S, 3]: first word, one past the last, index of the type."""

    predicted: Ragged  # [N] rows of [W] int64 tags
    scores: Ragged  # [N] rows of [W] float32, probability of the tag
    spans: Ragged  # [N] rows of [S, 3] int64
    expected: Ragged | None = None  # as `predicted`
    expected_spans: Ragged | None = None  # as `spans`


@dataclass(frozen=True, kw_only=True, slots=True)
class PieceTags(types.PerExample):
    """Tags of the pieces of N texts that are not outside."""

    pieces: list[list[dict[str, Any]]]


class TokenClassification(Task):
    """Encodes words in windows, sums losses over tagged pieces, and turns scores into tags and spans.

    A row without a column of words may have a text, which is split at spaces and punctuation; its tags may be
    spans of characters. Long rows are cut into overlapping windows; a piece is trained on and judged in one.
    """

    problem = "tags"
    auto_class = "AutoModelForTokenClassification"
    prediction_type = PiecePredictions
    token_fields: ClassVar = {"words": -1, "labels": IGNORED}
    learned = ("label_names", "class_weights")
    cuts_windows = True
    class_weights: tuple[float, ...] | None = None  # [C]
    by_piece = False  # records to predict get a tag for each piece

    def __init__(
        self,
        tokenizer: Any,
        *,
        words_column: str,
        text_column: str,
        tags_column: str,
        tag_names: list[str] | None,
        scheme: Scheme,
        train_on: Literal["first", "all"],
        max_length: PositiveInt,
        overlap: int,
        label_smoothing: OpenFraction,
        class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None,
    ) -> None:
        super().__init__(tokenizer, text_columns=(text_column,), max_length=max_length)
        self.words_column = words_column
        self.columns = (words_column,)
        self.tags_column = tags_column
        columns = {"words_column": words_column, "text_column": text_column, "tags_column": tags_column}
        self.reader = RowReader(**columns, scheme=scheme)
        self.tag_names = tuple(tag_names or ())
        self.scheme: Scheme = scheme
        self.train_on = train_on
        self.overlap = overlap
        self.label_smoothing = label_smoothing
        self.weights_option: Any = class_weights

    def columns_in(self, names: Collection[str]) -> tuple[str, ...]:
        """Words, or texts where there are no words."""
        (text_column,) = self.text_columns
        return (text_column,) if text_column in names and self.words_column not in names else self.columns

    def fit(self, splits: Splits) -> None:
        """Learn tags and weights; every tag is checked."""
        self.label_names = self.tag_names or learn_tags(self.reader, splits["train"])
        notes: dict[str, RowNotes] = {split: {} for split in splits}
        tags = {
            split: read_tags(self.reader, rows, self.label_names, split=split, notes=notes[split])
            for split, rows in splits.items()
        }
        options = {"names": self.label_names, "column": self.tags_column, "problem": self.problem}
        self.class_weights = learn_class_weights(self.weights_option, tags["train"], **options)
        self.use_learned()
        note = tag_schemes.scheme_note(self.label_names, self.scheme)
        self.notes = [*notes_of(notes, splits), *([note] if note else [])]

    def use_learned(self) -> None:
        """Make the objective and the span types of the tags."""
        self.objective = SingleLabel(
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
            loss_function=loss_of_task(self.loss_option),
        )
        self.types = tag_schemes.span_types(self.label_names, self.scheme)

    def read_labels(self, rows: Dataset, *, split: str) -> list[list[int]] | None:
        return read_tags(self.reader, rows, self.label_names, split=split)

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """One example for each window of each row.

        `words` holds for each position the word in the row, -1 where the window does not speak for the
        position. `labels` is -100 where there is no loss.
        """
        texts, words_by_row = self.reader.words(columns)
        encoded = self.tokenizer(texts, return_offsets_mapping=True, verbose=False)
        options = {"text": 0, "max_before": 0, "max_length": self.max_length, "overlap": self.overlap}
        examples: list[Example] = []
        for row, row_id in enumerate(columns["row_id"]):
            words = word_of_pieces(encoded["offset_mapping"][row], words_by_row[row])
            fields = {"input_ids": encoded["input_ids"][row], "words": words}
            if "labels" in columns:
                fields["labels"] = self._labels(words, columns["labels"][row])
            cut = windows.window_examples(row_id, fields, encoded.sequence_ids(row), **options)
            for tokens, own, example in cut:
                for name in [name for name in self.token_fields if name in fields]:
                    values = zip(tokens, example[name], strict=True)
                    fill = self.token_fields[name]
                    example[name] = [value if token in own else fill for token, value in values]
                examples.append(example)
        return examples

    def _labels(self, words: Sequence[int], tags: Sequence[int]) -> list[int]:
        """The tag of each piece's word; only on the first piece of a word, or on all."""
        labels, before = [], -1
        for word in words:
            skipped = word < 0 or (self.train_on == "first" and word == before)
            labels.append(IGNORED if skipped else tags[word])
            before = word
        return labels

    def count(self, examples: Sequence[Example]) -> float:
        """Number of pieces with a tag, or the sum of the weights of their tags."""
        return self.objective.count([label for example in examples for label in example["labels"]])

    def loss(self, outputs: Tensor, batch: Batch) -> LossSum:
        """Sum over pieces with a tag, in nats, from logits [B, L, C]."""
        return self.objective.loss(outputs.flatten(0, 1), batch["labels"].flatten())

    def predictions(self, outputs: Tensor, batch: Batch) -> PiecePredictions:
        """Probabilities of the pieces that count in each window."""
        speaks = batch["words"] >= 0
        lengths = speaks.sum(dim=1).cpu().numpy()
        losses = counts = None
        if "labels" in batch:
            tags = batch["labels"]
            by_piece = F.cross_entropy(outputs.transpose(1, 2), tags, ignore_index=IGNORED, reduction="none")
            losses = by_piece.double().sum(dim=1).cpu().numpy()
            counts = (tags != IGNORED).double().sum(dim=1).cpu().numpy()
        return PiecePredictions(
            example_ids=batch["example_ids"].cpu().numpy(),
            words=Ragged(batch["words"][speaks].int().cpu().numpy(), lengths),
            scores=Ragged(outputs[speaks].softmax(dim=-1).float().cpu().numpy(), lengths),
            losses=losses,
            loss_counts=counts,
        )

    def assemble(self, predictions: PiecePredictions, rows: Any) -> TagResults:
        """Tags and spans of each row from the pieces of its windows, which come in the order of their ids.

        A word without a piece is outside, or has part in that of the word before, see `shared_pieces`.
        """
        row_ids, firsts = windows.rows_of_windows(predictions.example_ids)
        order = positions_of(row_ids, rows)
        words_of_pieces, scores = predictions.words.joined(firsts), predictions.scores.joined(firsts)
        texts, words_by_row = self.reader.words(rows)
        ids = {name: number for number, name in enumerate(self.label_names)}
        meanings = [read_tag(name, self.scheme) for name in self.label_names]
        outside = meanings.index(None) if None in meanings else 0
        tags = [np.full(len(words_by_row[row]), outside, dtype=np.int64) for row in order]
        confidence = [np.zeros(len(words_by_row[row]), dtype=np.float32) for row in order]
        results = zip(order, words_of_pieces.rows(), scores.rows(), tags, confidence, strict=True)
        for row, row_words, row_scores, row_tags, row_confidence in results:
            words, starts = np.unique(row_words, return_index=True)
            of_words = row_scores[starts]  # a word has the tag of its first piece
            row_tags[words], row_confidence[words] = of_words.argmax(axis=1), of_words.max(axis=1)
            for run in shared_pieces(texts[row], words_by_row[row], set(words.tolist())):
                first = int(row_tags[run.start])
                tag = meanings[first]
                names = tag_schemes.tags_over(tag, len(run), self.scheme) if tag else [OUTSIDE] * len(run)
                row_tags[run] = [ids.get(name, first) for name in names]
                row_confidence[run] = row_confidence[run.start]
        has_tags = self.tags_column in getattr(rows, "column_names", ())  # records to predict have none
        labels = self.read_labels(rows, split="evaluation") if has_tags else None
        judged: dict[str, Any] = {}
        if labels is not None:
            expected = [labels[row] for row in order]
            judged = {
                "expected": Ragged.of(expected, dtype=np.int64),
                "expected_spans": self._spans(expected),
                "losses": windows.sums_of_windows(predictions.losses, firsts),
                "loss_counts": windows.sums_of_windows(predictions.loss_counts, firsts),
            }
        return TagResults(
            example_ids=row_ids,
            predicted=Ragged.of(tags, dtype=np.int64),
            scores=Ragged.of(confidence, dtype=np.float32),
            spans=self._spans([row.tolist() for row in tags]),
            **judged,
        )

    def assemble_records(self, predictions: PiecePredictions, columns: Mapping[str, Sequence[Any]]) -> Any:
        """The same; with `by_piece` the tag and probability of each piece on its own."""
        if not self.by_piece:
            return self.assemble(predictions, columns)
        row_ids, firsts = windows.rows_of_windows(predictions.example_ids)
        texts, words_by_row = self.reader.words(columns)
        encoded = self.tokenizer(texts, return_offsets_mapping=True, verbose=False)
        by_row: list[list[dict[str, Any]]] = []
        for row, scores in enumerate(predictions.scores.joined(firsts).rows()):
            offsets = encoded["offset_mapping"][row]
            tokens = self.tokenizer.convert_ids_to_tokens(encoded["input_ids"][row])
            words = word_of_pieces(offsets, words_by_row[row])
            pieces = []
            for index, shares in zip(np.flatnonzero(np.array(words) >= 0).tolist(), scores, strict=True):
                tag, (start, end) = self.label_names[int(shares.argmax())], offsets[index]
                piece = {"tag": tag, "score": float(shares.max()), "index": index, "word": tokens[index]}
                pieces += [{**piece, "start": start, "end": end}] if tag != OUTSIDE else []
            by_row.append(pieces)
        return PieceTags(example_ids=row_ids, pieces=by_row)

    def _spans(self, rows: Sequence[Sequence[int]]) -> Ragged:
        """[N] rows of spans [S, 3] int64 from the tags of each row."""
        return spans_of([[self.label_names[tag] for tag in row] for row in rows], self.types, self.scheme)

    def describe(
        self, predictions: Any, index: int, *, row: Mapping[str, Any], all_scores: bool
    ) -> dict[str, Any]:
        """The spans with type, text, characters and score, and the tags; with all scores those by word."""
        if isinstance(predictions, PieceTags):
            return {"predicted": predictions.pieces[index]}
        (text,), (words,) = self.reader.words({name: [value] for name, value in row.items()})

        def spans(column: Ragged, scores: np.ndarray | None = None) -> list[dict[str, Any]]:
            described = []
            for first, last, kind in column.row(index).tolist():
                start, end = words[first][0], words[last - 1][1]
                span = {"type": self.types[kind], "text": text[start:end], "start": start, "end": end}
                if scores is not None:
                    span["score"] = round(float(scores[first:last].mean()), 6)
                described.append(span)
            return described

        def tags(column: Ragged) -> list[str]:
            return [self.label_names[tag] for tag in column.row(index).tolist()]

        described: dict[str, Any] = {"predicted": spans(predictions.spans, predictions.scores.row(index))}
        if predictions.expected is not None and predictions.expected_spans is not None:
            described["expected"] = spans(predictions.expected_spans)
            described["expected_tags"] = tags(predictions.expected)
        described["predicted_tags"] = tags(predictions.predicted)
        if all_scores:
            shares = predictions.scores.row(index).tolist()
            described["scores"] = [
                {"word": text[start:end], "tag": tag, "score": round(share, 6)}
                for (start, end), tag, share in zip(words, described["predicted_tags"], shares, strict=True)
            ]
        return described

    def tables(self, predictions: TagResults) -> dict[str, list[dict[str, Any]]]:
        """`spans`: precision, recall and F1 of each type."""
        if predictions.expected_spans is None:
            return {}
        counts = count_spans(predictions).sum(axis=0)
        counts = np.pad(counts, ((0, 0), (0, len(self.types) - counts.shape[1])))
        return {"spans": count_report(self.types, *counts, kind="type")}

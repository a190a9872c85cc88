"""Words and tags of token classification: read from rows and checked, found in texts; tables of spans."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import regex
from datasets import Dataset

from runwright.config.tag_schemes import OUTSIDE, Scheme, misfits, read_tag, scheme_problem, tags_of_type
from runwright.dataset.checks import missing_column
from runwright.errors import DataError, did_you_mean, listed
from runwright.metric.classification import count_spans
from runwright.task.labels import WRITTEN, looks_written, read_written
from runwright.task.offsets import Unit, are_marks, read_marks, tags_of_marks
from runwright.task.text import Said, Span, as_texts, say

# Characters that belong to the one before them: vowel signs, accents, joiners.
_MARK = r"[\p{M}\u200c\u200d]"
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"  # no spaces between words
_LETTER = rf"(?:(?!{_UNSPACED})[\p{{L}}\p{{N}}_])"
_WORD = regex.compile(
    rf"{_UNSPACED}{_MARK}*|{_LETTER}+(?:{_MARK}+{_LETTER}*)*(?:[.,]\d+{_MARK}*)*"
    rf"|[^\p{{L}}\p{{N}}_\s\x1c-\x1f]{_MARK}*"
)


def split_words(text: str, *, at_spaces: bool = False) -> list[Span]:
    """Spans of the words of a text: runs of letters and digits, and each other character but spaces.

    Of scripts that put no space between words each letter is one. Numbers keep their points and
    commas, and every character the marks that combine with it. Or words are what spaces separate.
    """
    return [match.span() for match in (re.finditer(r"\S+", text) if at_spaces else _WORD.finditer(text))]


def shared_pieces(text: str, words: Sequence[Span], begun: Collection[int]) -> list[range]:
    """Runs of words of which only the first is `begun` by a piece, which holds the others as well.

    Such pieces are of scripts without spaces, whose words are letters.
    """
    runs: list[range] = []
    for word in range(1, len(words)) if len(begun) < len(words) else ():
        start = words[word][0]
        if word not in begun and words[word - 1][1] == start and regex.match(_UNSPACED, text[start]):
            first = runs.pop().start if runs and runs[-1].stop == word else word - 1
            runs.append(range(first, word + 1))
    return [run for run in runs if run.start in begun]


def join_words(words: Sequence[str]) -> tuple[str, list[Span]]:
    """The words with a space between them, and the span of each."""
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), spans


def word_of_pieces(pieces: Sequence[Span], words: Sequence[Span]) -> list[int]:
    """The word in which each piece of a tokenizer begins, -1 where it covers none.

    Both are in the order of the text. A piece may begin with the space before its word.
    """
    numbers, word = [], 0
    for start, end in pieces:
        while word < len(words) and words[word][1] <= start:
            word += 1
        covered = word < len(words) and words[word][0] < end and start < end
        numbers.append(word if covered else -1)
    return numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class RowReader:
    """Reads words and tags from rows, which are a Dataset, or for words lists by name."""

    words_column: str
    text_column: str
    tags_column: str
    scheme: Scheme
    offsets: Unit
    misplaced: Literal["refuse", "mend"]
    at_spaces: bool = False  # words of texts are what spaces separate; False: see `split_words`

    def input_column(self, names: Iterable[str]) -> str:
        """The column to read words from: of words, or where there is none of texts."""
        return self.words_column if self.words_column in names else self.text_column

    def words(
        self, rows: Any, *, split: str | None = None, said: Said | None = None
    ) -> tuple[list[str], list[list[Span]]]:
        """The text of each row and the spans of its words, which are a list or a text.

        A text in the column of words is split at spaces alone. Raises DataError for a word that is no text.
        """
        texts: list[str] = []
        spans: list[list[Span]] = []
        column = self.input_column(getattr(rows, "column_names", rows))
        are_words = column == self.words_column
        for row, value in enumerate(rows[column][:]):
            where: dict[str, Any] = {"split": split, "row": row, "column": column}
            read = read_written(value)
            is_list = isinstance(read, list | tuple)
            if is_list and (are_words or read is value or all(isinstance(word, str) for word in read or [0])):
                text, words = join_words(_cells(read, "word", where))
                say(said, f"{column}: {WRITTEN}", row, if_=read is not value)
            elif are_words and (looks_written(value) or not isinstance(value, str)):
                raise _no_list(value, "word", where)
            else:
                (text,) = as_texts([value])
                at_spaces = are_words or self.at_spaces
                words = split_words(text, at_spaces=at_spaces)
                say(said, AT_SPACES, row, if_=at_spaces)
            texts.append(text)
            spans.append(words)
        return texts, spans

    def tags(
        self, rows: Dataset, *, split: str, names: Sequence[str] | None = None, said: Said | None = None
    ) -> list[list[str]] | None:
        """The tags of each row; None without the column, or where only other splits have filled it.

        Whole numbers are positions in `names`, if the column does not have names of its own.
        """
        column, lists = self.tags_column, []
        values = rows[column][:] if column in rows.column_names else [None]
        if column not in rows.column_names or (split != "train" and all(tags is None for tags in values)):
            return None
        read = [read_written(tags) for tags in values]
        has_words = self.words_column in rows.column_names
        are_spans = any(map(are_marks, read)) or not (has_words or any(read))
        if are_spans and has_words:
            problem = f"spans of characters need a text: drop the column {self.words_column!r} (DropColumns)"
            raise DataError(problem, split=split, column=column)
        texts, words = self.words(rows, split=split) if are_spans else ([], [])
        names = feature_names(rows, column) or names
        for row, value in enumerate(read):
            where = {"split": split, "row": row, "column": column}
            if are_spans:
                options: Any = {"scheme": self.scheme, "unit": self.offsets, "misplaced": self.misplaced}
                tags, is_mended = tags_of_marks(texts[row], words[row], value, **options, where=where)
                say(said, MENDED, row, if_=is_mended)
                say(said, f"{column}: null is read as no span", row, if_=value is None)
            else:
                tags = value.split() if isinstance(value, str) and not looks_written(value) else value
                if not isinstance(tags, list | tuple):
                    raise _no_list(value, "tag", where)
                tags = _cells(tags, "tag", where, names)
                say(said, f"{column}: {WRITTEN}", row, if_=value is not values[row])
            lists.append(tags)
        return lists


AT_SPACES = "a text of words is split at spaces"
MENDED = "spans that cut a word take all of it, and of spans that overlap the longest counts"


def _no_list(value: Any, kind: str, where: Mapping[str, Any]) -> DataError:
    expected = "words" if kind == "word" else "tags, one for each word, or of spans [start, end, type]"
    hint = "; a list written as text that cannot be read for certain; write it as JSON" * looks_written(value)
    return DataError(f"expected a list of {expected}, given {value!r:.60}{hint}", **where)


def learn_tags(reader: RowReader, train: Dataset) -> tuple[str, ...]:
    """O and all tags of the types that occur, those of one type together; or as the data set names them.

    Raises DataError naming column and row, where there is one, for a tag that the scheme does not have.
    """
    column, scheme = reader.tags_column, reader.scheme
    rows = reader.tags(train, split="train")
    if rows is None:
        option = "task.tags_column"
        for name, value in train[0].items():
            with suppress(DataError):
                if are_marks(read := read_written(value)) and read_marks(read, {}):
                    option = f"task.tags_column={name}"
        raise missing_column(column, train, split="train", option=option)
    names = feature_names(train, column)
    first_rows: dict[str, int | None] = dict.fromkeys(names or ())
    for row, tags in enumerate([] if names else rows):
        for tag in tags:
            first_rows.setdefault(tag, row)
    if wrong := misfits(first_rows, scheme):
        problem = scheme_problem(wrong[0], first_rows, scheme)
        raise DataError(problem, split="train", row=first_rows[wrong[0]], column=column)
    if names:
        return tuple(names)
    read = [tag for each in first_rows if (tag := read_tag(each, scheme)) is not None]
    outside = next((each for each in first_rows if read_tag(each, scheme) is None), OUTSIDE)
    # All tags of a type, since another split may have the one that this one lacks.
    types = dict(sorted((tag.type, tag.form) for tag in read))
    return (outside, *(tag for kind, form in types.items() for tag in tags_of_type(kind, scheme, form=form)))


def read_tags(
    reader: RowReader, rows: Dataset, names: Sequence[str], *, split: str, said: Said | None = None
) -> list[list[int]] | None:
    """The ids of the tags of each row; None where a split other than train has none.

    Raises DataError naming split, row and column for an unknown tag, or another number of tags than words.
    """
    # Whole numbers are positions in the list of names, unless names are numbers themselves.
    are_numbers = any(name.isdecimal() for name in names)
    if (tags := reader.tags(rows, split=split, names=None if are_numbers else names, said=said)) is None:
        return None
    column, words = reader.input_column(rows.column_names), None
    if column in rows.column_names:
        words = reader.words(rows, split=split, said=said)[1]
    ids = {name: index for index, name in enumerate(names)}
    ids_by_row: list[list[int]] = []
    for number, row in enumerate(tags):
        where: dict[str, Any] = {"split": split, "row": number, "column": reader.tags_column}
        if words is not None and len(words[number]) != len(row):
            hint = "; texts in task.words_column are split at spaces alone" * (column != reader.words_column)
            raise DataError(f"{len(row)} tags for {len(words[number])} words{hint}", **where)
        try:
            ids_by_row.append([ids[tag] for tag in row])
        except KeyError as error:
            tag = error.args[0]
            hint = f"known: {listed(names)}; {did_you_mean(tag, names)}"
            raise DataError(f"unknown tag {tag!r}; {hint}".rstrip("; "), **where) from None
    return ids_by_row


def feature_names(rows: Dataset, column: str) -> Sequence[str] | None:
    """The names of tags that are numbers, where the data set has some."""
    return getattr(getattr(rows.features[column], "feature", None), "names", None)


def _cells(
    values: Sequence[Any], kind: str, where: Mapping[str, Any], names: Sequence[str] | None = None
) -> list[str]:
    """The words or tags of a row as text; `names` are those of tags that are numbers."""
    if {str}.issuperset(map(type, values)):  # mostly so: millions of words need no closer look then
        return list(values)
    texts: list[str] = []
    for number, value in enumerate(values, start=1):
        subject = f"word {number}" if kind == "word" else f"the tag of word {number}"
        if value is None or isinstance(value, list | tuple | Mapping | bytes):
            shown = "missing (null)" if value is None else f"{value!r:.60}"
            raise DataError(f"{subject} is {shown}, expected text", **where)
        if names is not None and isinstance(value, int):
            if not 0 <= value < len(names):
                raise DataError(f"{subject} is {value}, expected 0 to {len(names) - 1}", **where)
            value = names[value]
        texts.append(str(value))
    return texts


def span_tables(predictions: Any, types: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """`spans`: precision, recall and F1 of each type; `span_confusion`: expected against predicted types.

    `spans` and `expected_spans` are [N] rows of [S, 3]: first word, one past the last, index of the type.
    """
    counts = count_spans(predictions).sum(axis=0)
    counts = np.pad(counts, ((0, 0), (0, len(types) - counts.shape[1]))).T.tolist()
    pairs = Counter()
    for rows in zip(predictions.spans.rows(), predictions.expected_spans.rows(), strict=True):
        pairs.update(_pairs(*([tuple(span) for span in row.tolist()] for row in rows)))

    def ratio(numerator: int, denominator: int) -> float:
        return numerator / denominator if denominator else float("nan")

    table = [
        {
            "type": name,
            "precision": ratio(right, predicted),
            "recall": ratio(right, expected),
            "f1": ratio(2 * right, predicted + expected),
            "support": expected,
            "predicted": predicted,
        }
        for name, (right, predicted, expected) in zip(types, counts, strict=True)
    ]
    names = dict(enumerate(types)) | {None: "nothing"}
    confusion = [
        {"expected": names[one], "predicted": names[other], "boundaries": boundaries, "count": count}
        for (one, other, boundaries), count in pairs.most_common()
    ]
    return {"spans": table, "span_confusion": confusion}


def _pairs(
    predicted: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]
) -> list[tuple[int | None, int | None, str]]:
    """Types of each expected span and the most similar one over it, and of predicted spans over none."""
    pairs: list[tuple[int | None, int | None, str]] = []
    touched: set[tuple[int, ...]] = set()
    for wanted in expected:
        overlapping = [span for span in predicted if span[0] < wanted[1] and wanted[0] < span[1]]
        touched.update(overlapping)
        sizes = [min(span[1], wanted[1]) - max(span[0], wanted[0]) for span in overlapping]
        same = [span for span in overlapping if span[:2] == wanted[:2]]
        best = same[0] if same else overlapping[int(np.argmax(sizes))] if overlapping else (None,) * 3
        pairs.append((wanted[2], best[2], "same" if same else "other" if overlapping else ""))
    return pairs + [(None, span[2], "") for span in predicted if span not in touched]

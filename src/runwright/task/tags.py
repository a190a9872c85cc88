"""Words and tags of token classification: read from rows and checked, found in texts, turned into spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import regex
from datasets import Dataset

from runwright.config.tag_schemes import OUTSIDE, PREFIXES, Scheme, is_tag, other_schemes, tag_shapes, type_of
from runwright.errors import DataError, did_you_mean, listed
from runwright.metric.classification import count_spans
from runwright.task.labels import missing_column
from runwright.task.text import Span, as_texts

# Characters that belong to the one before them: vowel signs, accents, joiners.
_MARK = r"[\p{M}\u200c\u200d]"
_LETTER = r"[\p{L}\p{N}_]"
_WORD = regex.compile(
    rf"{_LETTER}+(?:{_MARK}+{_LETTER}*)*(?:[.,]\d+{_MARK}*)*|[^\p{{L}}\p{{N}}_\s\x1c-\x1f]{_MARK}*"
)


def split_words(text: str) -> list[Span]:
    """Spans of the words of a text: runs of letters and digits, and each other character but spaces.

    Numbers keep their points and commas, and every character the marks that combine with it.
    """
    return [match.span() for match in _WORD.finditer(text)]


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


def words_of_rows(rows: Any, column: str) -> tuple[list[str], list[list[Span]]]:
    """The text of each row and the spans of its words, from a column of texts or of lists of words.

    `rows` are a Dataset, or lists by name. Raises DataError for a word that is no text.
    """
    texts: list[str] = []
    spans: list[list[Span]] = []
    for row, value in enumerate(rows[column][:]):
        if isinstance(value, list | tuple):
            text, words = join_words(_cells(value, "word", {"row": row, "column": column}))
        else:
            (text,) = as_texts([value])
            words = split_words(text)
        texts.append(text)
        spans.append(words)
    return texts, spans


def learn_tags(train: Dataset, column: str, scheme: Scheme) -> tuple[str, ...]:
    """O and all tags of the types that occur, those of one type together; or as the data set names them.

    Raises DataError naming column and row, where there is one, for a tag that the scheme does not have.
    """
    rows = _tag_lists(train, column, split="train")
    if rows is None:
        raise missing_column(train, column, option="task.tags_column")
    names = _feature_names(train, column)
    first_rows: dict[str, int | None] = dict.fromkeys(names or ())
    if not names:
        for row, tags in enumerate(rows):
            for tag in tags:
                first_rows.setdefault(tag, row)
    for tag, row in first_rows.items():
        if not is_tag(tag, scheme):
            raise DataError(
                f"{tag!r} is no tag of task.scheme={scheme}, which has {tag_shapes(scheme)}; others are read "
                f"with {other_schemes(scheme)}",
                split="train",
                row=row,
                column=column,
            )
    if names:
        return tuple(names)
    if scheme == "plain":
        return (OUTSIDE, *sorted(first_rows.keys() - {OUTSIDE}))
    # All tags of a type, since another split may have the one that this one lacks.
    types = span_types(list(first_rows), scheme)
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in PREFIXES[scheme]))


def read_tags(
    rows: Dataset, column: str, names: Sequence[str], *, words_column: str, split: str
) -> list[list[int]] | None:
    """The ids of the tags of each row; None where a split other than train has none.

    Raises DataError naming split, row and column for an unknown tag, or another number of tags than words.
    """
    # Whole numbers are positions in the list of names, unless names are numbers themselves.
    tags = _tag_lists(
        rows, column, split=split, names=None if any(name.isdecimal() for name in names) else names
    )
    if tags is None:
        return None
    words = None
    if words_column in rows.column_names:
        words = _lists(rows, words_column, "word", split=split)
    ids = {name: index for index, name in enumerate(names)}
    ids_by_row: list[list[int]] = []
    for number, row in enumerate(tags):
        where: dict[str, Any] = {"split": split, "row": number, "column": column}
        if words is not None and len(words[number]) != len(row):
            raise DataError(f"{len(row)} tags for {len(words[number])} words", **where)
        try:
            ids_by_row.append([ids[tag] for tag in row])
        except KeyError as error:
            tag = error.args[0]
            hint = f"known: {listed(names)}; {did_you_mean(tag, names)}"
            raise DataError(f"unknown tag {tag!r}; {hint}".rstrip("; "), **where) from None
    return ids_by_row


def _tag_lists(
    rows: Dataset, column: str, *, split: str, names: Sequence[str] | None = None
) -> list[list[str]] | None:
    """The tags of each row as text; None without the column, or where only other splits have filled it."""
    if column not in rows.column_names:
        return None
    if split != "train" and all(tags is None for tags in rows[column]):
        return None
    return _lists(rows, column, "tag", split=split, names=_feature_names(rows, column) or names)


def _feature_names(rows: Dataset, column: str) -> Sequence[str] | None:
    return getattr(getattr(rows.features[column], "feature", None), "names", None)


def _lists(
    rows: Dataset, column: str, kind: str, *, split: str, names: Sequence[str] | None = None
) -> list[list[str]]:
    """A column of lists of words or of tags, which may be one text with spaces."""
    lists: list[list[str]] = []
    for row, values in enumerate(rows[column][:]):
        where: dict[str, Any] = {"split": split, "row": row, "column": column}
        if kind == "tag" and isinstance(values, str):
            values = values.split()
        if not isinstance(values, list | tuple):
            expected = "words" if kind == "word" else "tags, one for each word"
            raise DataError(f"expected a list of {expected}, given {values!r:.60}", **where)
        lists.append(_cells(values, kind, where, names))
    return lists


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
        if names is None or not isinstance(value, int):
            texts.append(str(value))
        elif 0 <= value < len(names):
            texts.append(names[value])
        else:
            raise DataError(f"{subject} is {value}, expected 0 to {len(names) - 1}", **where)
    return texts


class TagSpan(NamedTuple):
    """Words `start` to `end` - 1 are of this type."""

    start: int
    end: int
    type: str


def span_types(names: Sequence[str], scheme: Scheme) -> list[str]:
    """The types of spans that tags of these names can make, sorted."""
    return sorted({kind for name in names if (kind := type_of(name, scheme)) is not None})


def find_spans(tags: Sequence[str], *, scheme: Scheme, repair: bool) -> list[TagSpan]:
    """The spans of one sentence, by the rules of the CoNLL evaluation script.

    Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task". `repair`: a tag that
    continues nothing begins a span, and a span that is not ended ends where it ends, as in seqeval's default
    mode; otherwise such a span is none, as in its strict mode.
    """
    spans: list[TagSpan] = []
    is_open = False
    for position, tag in enumerate(tags):
        kind = type_of(tag, scheme)
        if kind is None:
            is_open = False
            continue
        prefix = "I" if scheme == "plain" else tag.partition("-")[0]  # plain: neighbours are one span
        if is_open and prefix in "IE" and spans[-1].type == kind:
            spans[-1] = spans[-1]._replace(end=position + 1)
        else:
            spans.append(TagSpan(position, position + 1, kind))
        is_open = prefix not in "ES"
    return spans if repair or scheme == "plain" else [span for span in spans if _is_legal(tags, span, scheme)]


def _is_legal(tags: Sequence[str], span: TagSpan, scheme: Scheme) -> bool:
    first, last = (tags[position].partition("-")[0] for position in (span.start, span.end - 1))
    if scheme == "bio":  # only BIOES says where a span ends
        return first == "B"
    return (first, last) == ("B", "E") or first == last == "S"


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
    confusion = [
        {
            "expected": "nothing" if one is None else types[one],
            "predicted": "nothing" if other is None else types[other],
            "boundaries": boundaries,
            "count": count,
        }
        for (one, other, boundaries), count in sorted(pairs.items(), key=lambda item: -item[1])
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
        if not overlapping:
            pairs.append((wanted[2], None, ""))
            continue
        overlaps = [
            (span[:2] == wanted[:2], min(span[1], wanted[1]) - max(span[0], wanted[0]))
            for span in overlapping
        ]
        best = overlapping[overlaps.index(max(overlaps))]
        pairs.append((wanted[2], best[2], "same" if best[:2] == wanted[:2] else "other"))
    return pairs + [(None, span[2], "") for span in predicted if span not in touched]

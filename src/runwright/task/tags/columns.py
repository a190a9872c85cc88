"""Words and tags as the rows have them: checked, and turned into numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from runwright.config.tag_schemes import OUTSIDE, PREFIXES, Scheme, is_tag, other_schemes, tag_shapes, type_of
from runwright.errors import DataError, did_you_mean, listed
from runwright.task.tags.spans import TagSpan
from runwright.task.words import Span, join_words, split_words


@dataclass(frozen=True, kw_only=True, slots=True)
class TagColumns:
    """The names of the columns."""

    words: str
    text: str  # where there are no words
    tags: str


def words_of_rows(
    columns: Mapping[str, Sequence[Any]], names: TagColumns
) -> tuple[list[str], list[list[Span]]]:
    """The text of each row, and where its words lie; raises DataError for a word that is no text."""
    column = names.words if names.words in columns else names.text
    found = [_words_of(value, row, column) for row, value in enumerate(columns[column])]
    return [text for text, _ in found], [spans for _, spans in found]


def _words_of(value: Any, row: int, column: str) -> tuple[str, list[Span]]:
    """Of a list of words, or of a text."""
    if isinstance(value, list | tuple):
        _check_words(value, {"row": row, "column": column})
        return join_words([str(word) for word in value])
    text = "" if value is None else str(value)
    return text, split_words(text)


def words_of_row(row: Mapping[str, Any], names: TagColumns) -> tuple[str, list[Span]]:
    """The same of one row."""
    column = names.words if names.words in row else names.text
    texts, spans = words_of_rows({column: [row[column]]}, names)
    return texts[0], spans[0]


def learn_tags(train: Dataset, names: TagColumns, scheme: Scheme) -> tuple[str, ...]:
    """O and all tags of the types that occur, those of one type together; or as the data set names them.

    Raises DataError naming column and row, where there is one, for a tag that the scheme does not have.
    """
    rows = _tag_lists(train, names, split="train")
    if rows is None:
        there = [name for name in train.column_names if name != "row_id"]
        hint = did_you_mean(names.tags, there) or "task.tags_column names it"
        raise DataError(
            f"no such column; there are {listed(there)}; {hint}", split="train", column=names.tags
        )
    feature = train.features[names.tags]
    known = getattr(getattr(feature, "feature", None), "names", None)
    if known:
        for tag in known:
            _check(tag, scheme, None, names)
        return tuple(known)
    found: dict[str, int] = {}
    for row, tags in enumerate(rows):
        for tag in tags:
            found.setdefault(tag, row)
    for tag, row in found.items():
        _check(tag, scheme, row, names)
    if scheme == "plain":
        return (OUTSIDE, *sorted(tag for tag in found if tag != OUTSIDE))
    # All tags of a type, since another split may have the one that this one lacks.
    types = span_types(list(found), scheme)
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in PREFIXES[scheme]))


def read_tags(
    rows: Dataset, names: TagColumns, tag_names: Sequence[str], *, split: str
) -> list[list[int]] | None:
    """The ids of the tags of each row; None where a split other than train has none.

    Raises DataError naming split, row and column for an unknown tag, or another number of tags than words.
    """
    # Whole numbers are places in the list of names, unless names are numbers themselves.
    numbered = None if any(name.isdecimal() for name in tag_names) else tag_names
    tags = _tag_lists(rows, names, split=split, numbered=numbered)
    if tags is None:
        return None
    ids = {name: index for index, name in enumerate(tag_names)}
    words = _word_lists(rows, names, split=split)
    found: list[list[int]] = []
    for place, row in enumerate(tags):
        where: dict[str, Any] = {"split": split, "row": place, "column": names.tags}
        if words is not None and len(words[place]) != len(row):
            raise DataError(f"{len(row)} tags for {len(words[place])} words", **where)
        try:
            found.append([ids[tag] for tag in row])
        except KeyError as error:
            tag = error.args[0]
            known = f"known: {listed(tag_names)}; {did_you_mean(tag, tag_names)}"
            raise DataError(f"unknown tag {tag!r}; {known}".rstrip("; "), **where) from None
    return found


def span_types(tag_names: Sequence[str], scheme: Scheme) -> list[str]:
    """The types of spans that these tags can make, sorted."""
    return sorted({kind for tag in tag_names if (kind := type_of(tag, scheme)) is not None})


def span_numbers(
    spans: Sequence[TagSpan], tag_names: Sequence[str], scheme: Scheme
) -> list[tuple[int, int, int]]:
    """Spans as numbers: first word, one past the last, index of the type."""
    types = {kind: index for index, kind in enumerate(span_types(tag_names, scheme))}
    return [(span.start, span.end, types[span.type]) for span in spans]


def _tag_lists(
    rows: Dataset, names: TagColumns, *, split: str, numbered: Sequence[str] | None = None
) -> list[list[str]] | None:
    if names.tags not in rows.column_names:
        return None
    values = rows[names.tags][:]
    if split != "train" and all(tags is None for tags in values):
        return None  # a column that only the other splits have filled
    feature = rows.features[names.tags]
    known = getattr(getattr(feature, "feature", None), "names", None) or numbered
    found: list[list[str]] = []
    for place, tags in enumerate(values):
        where: dict[str, Any] = {"split": split, "row": place, "column": names.tags}
        if isinstance(tags, str):
            tags = tags.split()
        if not isinstance(tags, list | tuple):
            raise DataError(f"expected a list of tags, one for each word, given {tags!r:.60}", **where)
        if not _all_text(tags):
            tags = [_tag_name(tag, number, known, where) for number, tag in enumerate(tags, start=1)]
        found.append(list(tags))
    return found


def _all_text(values: Sequence[Any]) -> bool:
    """Mostly so: millions of words need not be looked at one by one then."""
    return {str}.issuperset(map(type, values))


def _tag_name(tag: Any, number: int, known: Sequence[str] | None, where: dict[str, Any]) -> str:
    """The tag of a word as text; `known` are names for numbers."""
    if tag is None or isinstance(tag, list | tuple | Mapping | bytes):
        given = "missing (null)" if tag is None else f"{tag!r:.60}"
        raise DataError(f"the tag of word {number} is {given}, expected a name", **where)
    if known is None or not isinstance(tag, int):
        return str(tag)
    if not 0 <= tag < len(known):
        raise DataError(f"the tag of word {number} is {tag}, expected 0 to {len(known) - 1}", **where)
    return known[tag]


def _word_lists(rows: Dataset, names: TagColumns, *, split: str) -> list[list[Any]] | None:
    """The words of each row; raises DataError for what is no list of words."""
    if names.words not in rows.column_names:
        return None
    found = rows[names.words][:]
    for place, words in enumerate(found):
        where: dict[str, Any] = {"split": split, "row": place, "column": names.words}
        if not isinstance(words, list | tuple):
            raise DataError(f"expected a list of words, given {words!r:.60}", **where)
        _check_words(words, where)
    return found


def _check_words(words: Sequence[Any], where: dict[str, Any]) -> None:
    for number, word in enumerate(() if _all_text(words) else words, start=1):
        if word is None or isinstance(word, list | tuple | Mapping | bytes):
            given = "missing (null)" if word is None else f"{word!r:.60}"
            raise DataError(f"word {number} is {given}, expected text", **where)


def _check(tag: str, scheme: Scheme, row: int | None, names: TagColumns) -> None:
    if is_tag(tag, scheme):
        return
    raise DataError(
        f"{tag!r} is no tag of task.scheme={scheme}, which has {tag_shapes(scheme)}; others are read with "
        f"{other_schemes(scheme)}",
        split="train", row=row, column=names.tags,
    )  # fmt: skip

"""Words and tags as the rows have them: checked, and turned into numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from runwright.config.tag_schemes import OUTSIDE, PREFIXES, Scheme, is_tag, other_schemes, tag_shapes
from runwright.errors import DataError, did_you_mean, listed
from runwright.task.labels import missing_column
from runwright.task.tags.spans import span_types
from runwright.task.words import Span, join_words, split_words


@dataclass(frozen=True, kw_only=True, slots=True)
class TagColumns:
    """The names of the columns."""

    words: str
    text: str  # where there are no words
    tags: str


def words_of_rows(rows: Any, names: TagColumns) -> tuple[list[str], list[list[Span]]]:
    """The text of each row, and where its words lie; raises DataError for a word that is no text.

    `rows` gives columns by name: a Dataset, or lists.
    """
    column = names.words if names.words in getattr(rows, "column_names", rows) else names.text
    texts: list[str] = []
    spans: list[list[Span]] = []
    for place, value in enumerate(rows[column][:]):
        if isinstance(value, list | tuple):
            _check_words(value, {"row": place, "column": column})
            text, words = join_words([str(word) for word in value])
        else:
            text = "" if value is None else str(value)
            words = split_words(text)
        texts.append(text)
        spans.append(words)
    return texts, spans


def learn_tags(train: Dataset, names: TagColumns, scheme: Scheme) -> tuple[str, ...]:
    """O and all tags of the types that occur, those of one type together; or as the data set names them.

    Raises DataError naming column and row, where there is one, for a tag that the scheme does not have.
    """
    rows = _tag_lists(train, names, split="train")
    if rows is None:
        raise missing_column(train, names.tags, option="task.tags_column")
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
    words = rows[names.words][:] if names.words in rows.column_names else None
    for place, row in enumerate(words or ()):
        where: dict[str, Any] = {"split": split, "row": place, "column": names.words}
        if not isinstance(row, list | tuple):
            raise DataError(f"expected a list of words, given {row!r:.60}", **where)
        _check_words(row, where)
    found: list[list[int]] = []
    for place, row in enumerate(tags):
        where = {"split": split, "row": place, "column": names.tags}
        if words is not None and len(words[place]) != len(row):
            raise DataError(f"{len(row)} tags for {len(words[place])} words", **where)
        try:
            found.append([ids[tag] for tag in row])
        except KeyError as error:
            tag = error.args[0]
            known = f"known: {listed(tag_names)}; {did_you_mean(tag, tag_names)}"
            raise DataError(f"unknown tag {tag!r}; {known}".rstrip("; "), **where) from None
    return found


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

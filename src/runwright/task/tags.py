"""Words and tags of token classification: read from rows and checked.

Spans of characters beside a text, as annotation tools export them, are turned into tags of words.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from runwright.config import tag_schemes
from runwright.config.tag_schemes import OUTSIDE, Scheme, Tag, read_tag, tags_of_type, tags_over
from runwright.dataset.checks import has_column
from runwright.errors import DataError, did_you_mean, listed
from runwright.task.labels import MAX_WRONG, WRITTEN, looks_written, names_in, read_written
from runwright.task.text import RowNotes, Span, add_note, as_texts, join_words, split_words

# Names of start, end, type and text, in the order in which they are looked for.
_NAMES = (
    ("start", "start_offset", "begin", "startOffset"),
    ("end", "end_offset", "stop", "endOffset"),
    ("label", "labels", "type", "entity_group", "entity", "tag"),
    ("text",),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RowReader:
    """Reads words and tags from rows, which are a Dataset, or for words lists by name."""

    words_column: str
    text_column: str
    tags_column: str
    scheme: Scheme

    def input_column(self, names: Iterable[str]) -> str:
        """The column to read words from: of words, or where there is none of texts."""
        return self.words_column if self.words_column in names else self.text_column

    def words(
        self, rows: Any, *, split: str | None = None, notes: RowNotes | None = None
    ) -> tuple[list[str], list[list[Span]]]:
        """The text of each row and the spans of its words, which are a list or a text.

        A text in the column of words is split at spaces alone. Raises DataError for a word that is no text.
        """
        column = self.input_column(getattr(rows, "column_names", rows))
        are_words = column == self.words_column
        pairs: list[tuple[str, list[Span]]] = []
        for row, value in enumerate(rows[column][:]):
            where: dict[str, Any] = {"split": split, "row": row, "column": column}
            read = read_written(value) if are_words else value
            if isinstance(read, list | tuple):  # records to predict may have words in the column of texts
                pairs.append(join_words(_cells(read, "word", where)))
                add_note(notes, f"{column}: {WRITTEN}", row, when=read is not value)
            elif not are_words:
                (text,) = as_texts([value], **where)
                pairs.append((text, split_words(text)))
            elif isinstance(value, str) and not looks_written(value):
                pairs.append((value, [match.span() for match in re.finditer(r"\S+", value)]))
                add_note(notes, f"{column}: a text is split at spaces", row)
            else:
                raise _no_list(value, "word", where)
        return [text for text, _ in pairs], [words for _, words in pairs]

    def tags(
        self, rows: Dataset, *, split: str, names: Sequence[str] | None = None, notes: RowNotes | None = None
    ) -> list[list[str]] | None:
        """The tags of each row; None without the column, or where only other splits have filled it.

        Whole numbers are positions in `names`, if the column does not have names of its own.
        """
        column, lists = self.tags_column, []
        if not has_column(rows, column, split=split, option="task.tags_column"):
            return None
        values = rows[column][:]
        if split != "train" and all(tags is None for tags in values):
            return None
        read = [read_written(tags) for tags in values]
        has_words = self.words_column in rows.column_names
        are_spans = any(map(are_marks, read)) or not (has_words or any(read))
        if are_spans and has_words:
            problem = f"spans of characters need a text, not {self.words_column!r} (task.words_column)"
            raise DataError(problem, split=split, column=column)
        texts, words = self.words(rows, split=split) if are_spans else ([], [])
        names = names_in(rows.features[column]) or names
        for row, value in enumerate(read):
            where = {"split": split, "row": row, "column": column}
            if are_spans:
                tags = tags_of_marks(read_marks(value, where), texts[row], words[row], self.scheme, where)
                add_note(notes, f"{column}: null is read as no span", row, when=value is None)
            else:
                tags = value.split() if isinstance(value, str) and not looks_written(value) else value
                if not isinstance(tags, list | tuple):
                    raise _no_list(value, "tag", where)
                tags = _cells(tags, "tag", where, names)
                add_note(notes, f"{column}: {WRITTEN}", row, when=value is not values[row])
            lists.append(tags)
        return lists


def _no_list(value: Any, kind: str, where: Mapping[str, Any]) -> DataError:
    expected = "words" if kind == "word" else "tags, one for each word, or of spans [start, end, type]"
    problem = f"expected a list of {expected}, given {value!r:.60}"
    if looks_written(value):
        problem += "; a list written as text that cannot be read for certain; write it as JSON"
    return DataError(problem, **where)


def learn_tags(reader: RowReader, train: Dataset) -> tuple[str, ...]:
    """O and all tags of the types that occur, those of one type together; or as the data set names them.

    Raises DataError naming column and row, where there is one, for a tag that the scheme does not have.
    """
    column, scheme = reader.tags_column, reader.scheme
    rows = reader.tags(train, split="train") or []
    names = names_in(train.features[column])
    first_rows: dict[str, int | None] = dict.fromkeys(names)
    for row, tags in enumerate([] if names else rows):
        for tag in tags:
            first_rows.setdefault(tag, row)
    if wrong := tag_schemes.misfits(first_rows, scheme):
        problem = tag_schemes.scheme_problem(wrong[0], first_rows, scheme)
        raise DataError(problem, split="train", row=first_rows[wrong[0]], column=column)
    if names:
        return names
    meanings = {name: read_tag(name, scheme) for name in first_rows}
    outside = next((name for name, tag in meanings.items() if tag is None), OUTSIDE)
    # All tags of a type, since another split may have the one that this one lacks.
    types = dict(sorted((tag.type, tag.form) for tag in meanings.values() if tag is not None))
    return (outside, *(tag for kind, form in types.items() for tag in tags_of_type(kind, scheme, form=form)))


def read_tags(
    reader: RowReader, rows: Dataset, names: Sequence[str], *, split: str, notes: RowNotes | None = None
) -> list[list[int]] | None:
    """The ids of the tags of each row; None where a split other than train has none.

    Raises DataError naming split, row and column for an unknown tag, or another number of tags than words.
    """
    # Whole numbers are positions in the list of names, unless names are numbers themselves.
    are_numbers = any(name.isdecimal() for name in names)
    if (tags := reader.tags(rows, split=split, names=None if are_numbers else names, notes=notes)) is None:
        return None
    column, words = reader.input_column(rows.column_names), None
    if column in rows.column_names:
        words = reader.words(rows, split=split, notes=notes)[1]
    ids = {name: index for index, name in enumerate(names)}
    ids_by_row: list[list[int]] = []
    for number, row in enumerate(tags):
        where: dict[str, Any] = {"split": split, "row": number, "column": reader.tags_column}
        if words is not None and len(words[number]) != len(row):
            problem = f"{len(row)} tags for {len(words[number])} words"
            if column != reader.words_column:
                problem += "; texts in task.words_column are split at spaces alone"
            raise DataError(problem, **where)
        try:
            ids_by_row.append([ids[tag] for tag in row])
        except KeyError as error:
            tag = error.args[0]
            hint = f"known: {listed(names)}; {did_you_mean(tag, names)}".rstrip("; ")
            wrong = Counter(tag for others in tags for tag in others if tag not in ids).most_common(MAX_WRONG)
            counts = listed(f"{name!r} ({count})" for name, count in wrong)
            hint += f"; unknown tags, with counts: {counts}" if len(wrong) > 1 else ""
            raise DataError(f"unknown tag {tag!r}; {hint}", **where) from None
    return ids_by_row


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


# --- spans of characters ----------------------------------------------------------------------------------


def are_marks(values: Any) -> bool:
    """Return True for the spans of a row in any of the forms that `RowReader` takes."""
    return isinstance(values, Mapping) or (
        isinstance(values, list | tuple) and any(isinstance(item, list | tuple | Mapping) for item in values)
    )


def read_marks(values: Any, where: Mapping[str, Any]) -> list[tuple[int, int, str, str | None]]:
    """Start, end, type and text, where it is given, of each span."""
    if isinstance(values, Mapping):
        columns = {name: column for name, column in values.items() if isinstance(column, list)}
        if len({*map(len, columns.values())}) > 1 or not (columns or None in values.values()):
            raise DataError(f"expected lists of as many start, end and label, given {values!r:.80}", **where)
        values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    results = [item["result"] for item in values or () if isinstance(item, Mapping) and "result" in item]
    if len(results) > 1:
        raise DataError(f"{len(results)} annotations of one text; keep one of them", **where)
    marks = {}
    for item in results[0] or () if results else values or ():
        fields = item
        if isinstance(item, Mapping):
            if (inner := item.get("value") if results else item) is None:
                continue  # a relation between spans
            fields = [next((inner[n] for n in names if inner.get(n) is not None), None) for names in _NAMES]
        match fields:
            case [int(start), int(end), str(kind) | [str(kind)], *text] if kind:
                marks[start, end, kind, text[0] if text else None] = True
            case _:
                raise DataError(f"expected a span [start, end, type], given {item!r:.80}", **where)
    return list(marks)


def tags_of_marks(
    marks: Sequence[tuple[int, int, str, str | None]],
    text: str,
    words: Sequence[Span],
    scheme: Scheme,
    where: Mapping[str, Any],
) -> list[str]:
    """The tag of each word; raises DataError for a span that is not made of whole words of its own."""
    form = "{type}" if scheme == "plain" else "{letter}-{type}"
    tags = [OUTSIDE] * len(words)
    for start, end, kind, expected in marks:
        covered = [n for n, (begin, stop) in enumerate(words) if begin < end and start < stop]
        begin, stop = (words[covered[0]][0], words[covered[-1]][1]) if covered else (start, end)
        fault = ""
        if not 0 <= start < end <= len(text):
            fault = f"is not in the text of {len(text)} characters"
        elif expected is not None and expected.strip() != text[start:end].strip():
            fault = f"should be {expected!r:.60}"
        elif not covered:
            fault = "holds no word"
        elif any(tags[word] != OUTSIDE for word in covered):
            fault = "overlaps another one"
        elif begin < start or end < stop:
            fault = f"cuts a word of {text[begin:stop]!r:.60}"
        if fault:
            raise DataError(f"the span {start} to {end} ({kind}), {text[start:end]!r:.60}, {fault}", **where)
        tags[covered[0] : covered[-1] + 1] = tags_over(Tag("S", kind, form), len(covered), scheme)
    return tags

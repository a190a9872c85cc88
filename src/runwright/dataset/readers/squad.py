"""SQuAD's nested JSON (also that of CMRC and XQuAD) as rows: one for each question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from runwright.dataset.readers.addresses import files_of_splits
from runwright.dataset.readers.reading import Files, Position, Reader, counted, known_encoding, whole_text
from runwright.dataset.readers.streams import read_files
from runwright.dataset.readers.text_rows import json_list
from runwright.errors import DataError, did_you_mean
from runwright.types import Splits

ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))])
TEXTS = pa.schema([(name, pa.string()) for name in ("id", "title", "context", "question")])
_KINDS = {str: "text", list: "a list", int: "a whole number", bool: "true or false"}


def read_squad(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    exclude_titles: dict[str, list[str]],
    only_titles: dict[str, list[str] | None],
    encoding: str,
) -> Splits:
    """Rows with id, title, context, question and answers: {text: [...], answer_start: [...]}.

    A split without any answers has no such column. Of each split only the articles with some titles, or all
    but those. Raises DataError naming file, split, row (the number of the question) and column.
    """
    reader = SquadReader(
        encoding=known_encoding(encoding), only_titles=only_titles, exclude_titles=exclude_titles
    )
    return read_files(reader, files_of_splits(files, folder))


@dataclass(frozen=True, kw_only=True)
class SquadReader(Reader):
    """Questions of the articles with some titles, or of all but those, by split."""

    may_be_empty = True  # of a file with other titles only
    encoding: str
    only_titles: Mapping[str, Sequence[str] | None]
    exclude_titles: Mapping[str, Sequence[str]]

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        """With answers where the questions of a split have some; raises DataError where only a part has."""
        return {split: self._schema(split, addresses) for split, addresses in files.items()}

    def _schema(self, split: str, addresses: Sequence[str]) -> pa.Schema:
        titles: set[str] = set()
        first: dict[bool, Position] = {}  # question with answers, and without
        for address in addresses:
            at = Position(address=address, split=split)
            for *_, answers in counted(self._questions(at, titles), at):
                if (answers is not None) not in first:
                    first[answers is not None] = replace(at, row=at.row - 1)
        if len(first) == 2:
            raise first[False].error(
                "no answers, while other questions have some; one that cannot be answered has is_impossible: "
                "true, or an empty list",
                column="answers",
            )
        for option, by_split in (("only_titles", self.only_titles), ("exclude_titles", self.exclude_titles)):
            for name in by_split.get(split) or ():
                if name not in titles:
                    problem = f"no article has the title {name!r} of dataset.source.{option}.{split}; "
                    problem += did_you_mean(name, sorted(titles))
                    raise DataError(problem.rstrip("; "), split=split, column="title")
        if not first:
            raise DataError("no questions in these files", file=addresses[0], split=split)
        return TEXTS.append(pa.field("answers", ANSWERS)) if True in first else TEXTS

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[Any]]:
        for row in self._questions(at, set()):
            yield row[: len(names)]

    def columns_of(self, _: str, /) -> list[str]:
        return [*TEXTS.names, "answers"]

    def _questions(self, at: Position, titles: set[str]) -> Iterator[list[Any]]:
        """Id, title, context, question and answers (None: none are given); adds all titles to `titles`."""
        only = self.only_titles.get(at.split or "")
        exclude = self.exclude_titles.get(at.split or "") or ()
        for article in json_list(whole_text(at, self.encoding), at, field="data"):
            title = str(_value(article, "title", str, at, default=""))
            titles.add(title)
            if title in exclude or (only is not None and title not in only):
                continue
            for paragraph in _value(article, "paragraphs", list, at):
                context = _value(paragraph, "context", str, at)
                if not context.strip():
                    raise at.error("the context is empty", column="context")
                for asked in _value(paragraph, "qas", list, at):
                    number = str(_value(asked, "id", (str, int), at, default=at.row))
                    question = _value(asked, "question", str, at)
                    yield [number, title, context, question, _answers(asked, at)]


def _answers(asked: Mapping[str, Any], at: Position) -> dict[str, list[Any]] | None:
    impossible = _value(asked, "is_impossible", bool, at, default=False)
    if "answers" not in asked and not impossible:
        return None
    answers = _value(asked, "answers", list, at, default=[])
    if impossible and answers:
        raise at.error("is_impossible is true, but there are answers", column="answers")
    return {
        name: [_value(answer, name, kind, at, column="answers") for answer in answers]
        for name, kind in (("text", str), ("answer_start", int))
    }


def _value(
    mapping: Any, name: str, kind: Any, at: Position, *, column: str | None = None, default: Any = None
) -> Any:
    """A value of that kind; raises DataError where there is none."""
    column = column or name
    if not isinstance(mapping, dict):
        raise at.error(f"expected an object with {name!r}, found {mapping!r:.60}", column=column)
    value = default if mapping.get(name) is None else mapping[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        shown = "nothing" if value is None else f"{value!r:.60}"
        expected = _KINDS.get(kind, "a name")
        raise at.error(f"expected {expected} under {name!r}, given {shown}", column=column)
    return value

"""SQuAD's nested JSON (also that of CMRC and XQuAD) as rows: one for each question."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from runwright.dataset.readers.addresses import file_state
from runwright.dataset.readers.paths import check_is_text, files_of_splits
from runwright.dataset.readers.places import place_in
from runwright.dataset.readers.raw import RawSplit, kept_rows
from runwright.dataset.readers.reading import Position, known_encoding, whole_text
from runwright.errors import DataError, did_you_mean
from runwright.types import Splits

BATCH_ROWS = 2000
ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))])
TEXTS = pa.schema([(name, pa.string()) for name in ("id", "title", "context", "question")])


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
    encoding = known_encoding(encoding)
    paths = files_of_splits(files, folder)
    titles = {split: _Titles(only_titles.get(split), exclude_titles.get(split) or []) for split in paths}
    key = {
        "reader": "squad",
        "files": {split: [file_state(path) for path in paths[split]] for split in paths},
        "options": [encoding, {split: [each.only, each.exclude] for split, each in titles.items()}],
    }
    return kept_rows(key, lambda: _splits(paths, titles, encoding))


class _Titles:
    """Which articles are read, and which titles were there."""

    def __init__(self, only: list[str] | None, exclude: list[str]) -> None:
        self.only, self.exclude = only, exclude
        self.seen: set[str] = set()

    def admit(self, title: str) -> bool:
        self.seen.add(title)
        return title not in self.exclude and (self.only is None or title in self.only)

    def check(self, split: str) -> None:
        """A title that no file has would leave out nothing without a word."""
        for option, names in (("only_titles", self.only or []), ("exclude_titles", self.exclude)):
            for name in names:
                if name not in self.seen:
                    hint = did_you_mean(name, sorted(self.seen))
                    problem = f"no article has the title {name!r} of dataset.source.{option}.{split}"
                    raise DataError(
                        f"{problem}; {hint}" if hint else problem,
                        split=split, column="title",
                    )  # fmt: skip


def _splits(
    paths: Mapping[str, Sequence[str]], titles: Mapping[str, _Titles], encoding: str
) -> dict[str, RawSplit]:
    splits = {}
    for split, files in paths.items():
        rows: list[dict[str, Any]] = []
        origins: list[tuple[str, int]] = []
        for path in files:
            found = list(_questions(_articles(path, encoding, split), path, split, titles[split]))
            rows += found
            origins.append((path, len(found)))
        _check_answers(rows, origins, split)
        titles[split].check(split)
        if not rows:
            raise DataError("no questions in these files", file=files[0], split=split)
        schema = TEXTS if rows[0]["answers"] is None else TEXTS.append(pa.field("answers", ANSWERS))
        splits[split] = RawSplit(schema=schema, batches=_arrow(rows, schema), origins=origins)
    return splits


def _arrow(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        columns = [pa.array([row[field.name] for row in batch], field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _articles(path: str, encoding: str, split: str) -> list[Any]:
    check_is_text(path, split=split)
    text = whole_text(Position(address=path, split=split), encoding)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"broken JSON: {error}", file=path, split=split) from error
    articles = content.get("data") if isinstance(content, dict) else None
    if not isinstance(articles, list):
        raise DataError(
            "expected an object with a list of articles under 'data', as SQuAD has it; rows of questions are "
            "read with dataset=json",
            file=path, split=split,
        )  # fmt: skip
    return articles


def _questions(articles: Sequence[Any], path: str, split: str, titles: _Titles) -> Iterator[dict[str, Any]]:
    row = 0
    for article in articles:
        place = {"file": path, "split": split, "row": row}
        title = str(_part(article, "title", str, place, default=""))
        if not titles.admit(title):
            continue
        for paragraph in _part(article, "paragraphs", list, place):
            place["row"] = row
            context = _part(paragraph, "context", str, place)
            if not context.strip():
                raise DataError("the context is empty", **place, column="context")
            for asked in _part(paragraph, "qas", list, place):
                place["row"] = row
                yield {
                    "id": str(_part(asked, "id", (str, int), place, default=row)),
                    "title": title,
                    "context": context,
                    "question": _part(asked, "question", str, place),
                    "answers": _answers(asked, place),
                }
                row += 1


def _answers(asked: Mapping[str, Any], place: dict[str, Any]) -> dict[str, list[Any]] | None:
    impossible = _part(asked, "is_impossible", bool, place, default=False)
    if "answers" not in asked and not impossible:
        return None
    answers = _part(asked, "answers", list, place, default=[])
    if impossible and answers:
        raise DataError("is_impossible is true, but there are answers", **place, column="answers")
    found: dict[str, list[Any]] = {"text": [], "answer_start": []}
    for answer in answers:
        for name, kind in (("text", str), ("answer_start", int)):
            found[name].append(_part(answer, name, kind, place, column="answers"))
    return found


def _check_answers(rows: Sequence[Mapping[str, Any]], origins: Sequence[tuple[str, int]], split: str) -> None:
    """Either every question of a split has its answers or none has."""
    lacking = [position for position, row in enumerate(rows) if row["answers"] is None]
    if lacking and len(lacking) < len(rows):
        file, row = place_in(origins, lacking[0])
        raise DataError(
            "no answers, while other questions have some; one that cannot be answered has "
            "is_impossible: true, or an empty list",
            file=file, split=split, row=row, column="answers",
        )  # fmt: skip


def _part(
    whole: Any, name: str, kind: Any, place: dict[str, Any], *, column: str | None = None, default: Any = None
) -> Any:
    """A value of that kind; raises DataError where there is none."""
    if not isinstance(whole, dict):
        raise DataError(
            f"expected an object with {name!r}, found {whole!r:.60}", **place, column=column or name
        )
    value = whole.get(name)
    value = default if value is None else value
    wrong_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, kind) or wrong_bool:
        given = "nothing" if value is None else f"{value!r:.60}"
        what = {str: "text", list: "a list", int: "a whole number", bool: "true or false"}.get(kind, "a name")
        raise DataError(f"expected {what} under {name!r}, given {given}", **place, column=column or name)
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        problem = f"the text under {name!r} holds half of a surrogate pair, which is no character"
        raise DataError(problem, **place, column=column or name)
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise DataError(f"{value} under {name!r} is beyond 64 bits", **place, column=column or name)
    return value

"""Records to predict: given in Python, or read from files and standard input as the run's own data were."""

import inspect
import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from runwright.config.options import TARGET
from runwright.config.targets import instantiate, locate
from runwright.dataset.readers import reading
from runwright.dataset.readers.addresses import files_of_splits, open_bytes, path_of
from runwright.dataset.readers.annotated import SquadReader
from runwright.dataset.readers.files import ParquetReader, TextReader
from runwright.dataset.readers.reading import Position, Reader, counted, known_encoding
from runwright.dataset.readers.streams import reader_of
from runwright.dataset.readers.text_rows import DELIMITERS, QUOTES, CsvReader, JsonReader, character_of
from runwright.errors import ConfigError, DataError, listed

FORMATS = {f".{name}": name for name in ("csv", "tsv", "jsonl", "parquet")}
FORMATS |= {".ndjson": "jsonl", ".json": "jsonl", ".txt": "text"}
USUAL: dict[str, Reader] = {  # readers of files of which nothing but the format is known
    "csv": CsvReader(delimiter=",", quote='"'),
    "tsv": CsvReader(delimiter="\t", quote=None),
    "jsonl": JsonReader(encoding="utf-8-sig", field=None),
    "text": TextReader(encoding="utf-8-sig", unit="line", label_from=None),
    "parquet": ParquetReader(),
}
PLAIN = ("text", "a text in each file")  # of formats without columns
BEGINNING = 1 << 16  # bytes of a file, which tell its encoding
FEW_ROWS = 20  # which tell whether a file has columns
OBJECTS = re.compile(rb'(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*[{\]])')  # how JSON begins, and hardly any text

_OPTION = re.compile(r"dataset\.source\.(delimiter|quote|encoding)")
_Own = tuple[Any, set[str]]

Columns = Mapping[str, Sequence[str]]
"""For each text that a task wants, the columns of a record that may hold it: the first with a value."""


class Records:
    """Records of a file, pattern, folder or standard input, read anew each time that they are iterated.

    They are read as the run's own data were, whatever the file's ending; as its format usually is, where the
    ending names another one or the beginning does not fit; or as the arguments say. `note` tells which, where
    that may surprise. A line of plain text is the first text of `columns`; a tab separates a pair. Raises
    DataError naming file, row and column for a record without its texts.
    """

    def __init__(
        self,
        source: str | None,
        *,
        dataset: Mapping[str, Any],  # of the run's configuration
        columns: Columns,
        labels: Mapping[str, Sequence[str]] | None = None,  # those that the run knows, by their column
        format_name: str | None = None,
        delimiter: str | None = None,
        quote: str | None = None,  # "null": quotes are ordinary characters
        encoding: str | None = None,
    ) -> None:
        self._columns, self._labels = columns, labels or {}
        self._is_input = source in (None, "-")
        path = _spooled(self) if self._is_input else str(source)
        self.name = "standard input" if self._is_input else path
        with self._naming():
            self.files = files_of_splits({"": path}, None)[""]
            self._beginning = _beginning_of(self.files[0])
            own = list(_own_readers(dataset, path))
            if format_name is None and (delimiter is not None or quote is not None):
                format_name = "tsv" if path_of(path).suffix.lower() == ".tsv" else "csv"
            usual = next((reader.encoding for reader, _ in own if hasattr(reader, "encoding")), "utf-8-sig")
            texts = [self._beginning.decode(name, errors="replace") for name in ("utf-8-sig", usual)]
            is_sure = texts[0] != texts[1] and not {"\ufffd", "\0"} & {*texts[0][:-1]}  # that it is UTF-8
            dialect: dict[str, Any] = {}
            if delimiter is not None:
                dialect["delimiter"] = character_of(delimiter, "--delimiter", DELIMITERS)
            if quote is not None:
                dialect["quote"] = character_of(None if quote == "null" else quote, "--quote", QUOTES)
            encoding = known_encoding(encoding or ("utf-8-sig" if is_sure else usual))
            candidates = self._candidates(own, format_name)
            readers = [self._adapted(reader, encoding, dialect) for reader in candidates]
            self._reader = next(filter(self._fits, readers), readers[0])
        now, before = _described(self._reader), [_described(reader) for reader, _ in own]
        is_text = self._is_input and format_of(self._reader) in PLAIN
        surprises = format_name is None and own and not is_text and (self._is_input or now not in before)
        trained = f"read as {now}; the run was trained on {listed(before)} (--format)"
        self.note = f"{self.name}: {trained}" if surprises else ""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for address in self.files:
            at, file = Position(address=address), self.name if self._is_input else address
            with self._naming():
                records = counted(self._reader.records(at), at) if _beginning_of(address).strip() else ()
                if format_of(self._reader) in PLAIN:
                    texts = (record["text"] for record in records)
                    records = (_text_record(text, self._columns, row, file) for row, text in enumerate(texts))
                yield from _checked(records, self._columns, file)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of readers name the input and the flags."""
        try:
            yield
        except ConfigError as error:
            raise ConfigError(*(_OPTION.sub(r"--\1", text) for text in error.mistakes)) from error
        except DataError as error:
            where: Any = error.where | {"split": None} | ({"file": self.name} if self._is_input else {})
            raise DataError(_OPTION.sub(r"--\1", error.problem), **where) from error

    def _candidates(self, own: Sequence[_Own], format_name: str | None) -> list[Reader]:
        """The readers that may be meant, the likeliest first."""
        if format_name is not None:
            return [*(reader for reader, _ in own if format_of(reader) == format_name), USUAL[format_name]][
                :1
            ]
        ending = path_of(self.files[0]).suffix.lower()
        named = "text" if self._is_input else FORMATS.get(ending)
        alike = [
            reader
            for reader, endings in own  # the last case is that of a folder
            if (ending in endings or named is None)
            or ("" in endings and (named == "text" or not isinstance(reader, TextReader)))
        ]
        is_table = any(isinstance(reader, CsvReader) and len(self._fields(reader)) > 1 for reader in alike)
        # A header, objects or sentences of words show themselves.
        silent = [
            one for one, _ in own if isinstance(one, TextReader | ParquetReader) or not _has_header(one)
        ]
        others = [one for one, _ in own if one not in silent or format_of(one) == named]
        names = ["jsonl"] * self._is_input + [named or ""] * (named != "text" or not is_table)
        if candidates := [*alike, *others, *(USUAL[name] for name in names if name)]:
            return candidates
        choices = ", ".join(dict.fromkeys(FORMATS.values()))
        problem = f"the format cannot be told from {ending!r}; give --format with one of {choices}"
        raise DataError(problem, file=self.name)

    def _fields(self, reader: CsvReader) -> list[str]:
        """The fields of the first record."""
        with suppress(DataError):
            return next(reader.fields(Position(address=self.files[0])), [])
        return []

    def _adapted(self, reader: Any, encoding: str, dialect: Mapping[str, Any]) -> Reader:
        """The reader with this encoding and, for csv, these characters.

        Without a header in training, a file may have one all the same, or texts and nothing else.
        """
        reader = replace(reader, encoding=encoding) if hasattr(reader, "encoding") else reader
        reader = replace(reader, **dialect) if isinstance(reader, CsvReader) else reader
        if _has_header(reader):
            return reader
        fields = self._fields(reader)
        if self._hold_texts(fields):
            return replace(reader, header=True, column_names=None)
        if len(fields) == len(self._columns) < len(reader.column_names or (0, 0, 0)):
            return replace(reader, column_names=tuple(choices[-1] for choices in self._columns.values()))
        return reader

    def _hold_texts(self, names: Sequence[str]) -> bool:
        return all(any(name in names for name in choices) for choices in self._columns.values())

    def _fits(self, reader: Reader) -> bool:
        has_objects = OBJECTS.match(self._beginning) is not None
        if format_of(reader) in PLAIN:
            return not has_objects
        at = Position(address=self.files[0])
        try:
            if isinstance(reader, CsvReader) and reader.header:
                return self._hold_texts(reader.columns_of(at.address))
            few = list(islice(reader.records(at), FEW_ROWS))
        except DataError:
            return False
        if isinstance(reader, JsonReader | SquadReader | ParquetReader):
            return has_objects or isinstance(reader, ParquetReader)
        # A line of text could be a word with its tag, or a class with its text.
        values = [record[name] for name in self._labels for record in few if record.get(name) is not None]
        labels = chain(*(value if isinstance(value, list) else str(value).split(",") for value in values))
        return not values or not {*labels}.isdisjoint(*self._labels.values())


def format_of(reader: Reader) -> str:
    """The format that a reader reads, as --format has it where it has it."""
    if isinstance(reader, CsvReader):
        return "tsv" if reader.delimiter == "\t" else "csv"
    if isinstance(reader, JsonReader):
        return "jsonl" if reader.field is None else f"json with field {reader.field!r}"
    if isinstance(reader, TextReader):
        label_is_in_line = str(reader.label_from) == "line"
        return "a class, then a text" if label_is_in_line else PLAIN[reader.unit == "file"]
    return type(reader).__name__.removesuffix("Reader").lower()


def _described(reader: Reader) -> str:
    return f"csv with {reader.delimiter!r}" if isinstance(reader, CsvReader) else format_of(reader)


def _has_header(reader: Reader) -> bool:
    return not isinstance(reader, CsvReader) or reader.header


def _own_readers(value: Any, path: str) -> Iterator[_Own]:
    """The readers of the files in a run's configuration of its data, with the endings of those files."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return
    files = value.get("files")
    if isinstance(files, Mapping) and str(value.get(TARGET)).startswith("runwright.dataset.readers."):
        parameters = inspect.signature(locate(value[TARGET], group="dataset")).parameters
        # An option that is newer than the run is null.
        node = {**dict.fromkeys(parameters), **value, "files": {"": path}, "folder": None}
        lists = ([value] if isinstance(value, str) else value or [] for value in files.values())
        reader = reader_of(lambda: instantiate(node, group="dataset", key="dataset.source"))
        yield reader, {path_of(name).suffix.lower() for name in chain(*lists)}
        return
    for inner in value.values():
        yield from _own_readers(inner, path)


def _beginning_of(address: str) -> bytes:
    with open_bytes(address) as stream:
        return stream.read(BEGINNING)


def _spooled(owner: Records) -> str:
    """Standard input as a file that is removed with its owner."""
    number, path = tempfile.mkstemp(prefix="runwright-")
    weakref.finalize(owner, os.unlink, path)
    with os.fdopen(number, "wb") as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
    return path


def as_records(
    values: Iterable[str | Mapping[str, Any]], columns: Columns, *, file: str | None = None
) -> Iterator[dict[str, Any]]:
    """Records of texts, or of records themselves; a tab separates the texts of a pair.

    Raises DataError, which names the `file` they come from, for what is neither and as `read_records` does.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        problem = f"expected a list of texts or records, given {values!r:.60}; put it into brackets: [...]"
        raise DataError(problem)

    def as_record(row: int, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            return _text_record(value, columns, row, file)
        if not isinstance(value, Mapping):
            raise DataError(f"expected a text, or a record with named texts, given {value!r:.60}", row=row)
        return dict(value)

    yield from _checked((as_record(row, value) for row, value in enumerate(values)), columns, file)


def texts_of(
    record: Mapping[str, Any], columns: Columns, *, row: int, file: str | None = None
) -> dict[str, Any]:
    """A record's texts by the names that the task has for them; raises DataError where one is missing."""
    texts = {}
    for name, choices in columns.items():
        present = [column for column in choices if column in record]
        if not present:
            others = "".join(f", nor {other!r}" for other in choices[:-1])
            hint = "" if file is None else " (--text-column NAME says which one holds the text)"
            problem = f"no such column{others}; this record has {', '.join(map(str, record))}{hint}"
            raise DataError(problem, file=file, row=row, column=choices[-1])
        texts[name] = next((record[column] for column in present if record[column] is not None), None)
    return texts


def in_chunks(records: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(records)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _text_record(text: str, columns: Columns, row: int, address: str | None) -> dict[str, Any]:
    names = [choices[-1] for choices in columns.values()]
    texts = text.split("\t") if len(names) > 1 else [text]
    if len(texts) != len(names):
        expected = f"{len(names)} texts ({', '.join(names)}), with a tab between them"
        expected += f" or as {len(names)} arguments" if address == "arguments" else ""
        raise DataError(f"this run takes {expected}, given {text[:60]!r}", file=address, row=row)
    return dict(zip(names, texts, strict=True))


def _checked(
    records: Iterable[dict[str, Any]], columns: Columns, address: str | None
) -> Iterator[dict[str, Any]]:
    for row, record in enumerate(records):
        texts_of(record, columns, row=row, file=address)
        for column, value in record.items():
            if reading.holds_half_character(value):
                raise DataError(reading.HALF_CHARACTER, file=address, row=row, column=column)
        yield record

"""Records to predict: given in Python, or read from files and standard input as the run's own data were."""

import codecs
import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

from runwright.config.options import TARGET, is_node, walk
from runwright.config.targets import instantiate
from runwright.dataset.readers import reading
from runwright.dataset.readers.addresses import files_of_splits, open_bytes, path_of
from runwright.dataset.readers.files import ParquetReader, TextReader
from runwright.dataset.readers.reading import Position, Reader, counted, known_encoding
from runwright.dataset.readers.text_rows import DELIMITERS, CsvReader, JsonReader, character_of, other_dialect
from runwright.errors import ConfigError, DataError

FORMATS = {f".{name}": name for name in ("csv", "tsv", "jsonl", "parquet")}
FORMATS |= {".ndjson": "jsonl", ".json": "jsonl", ".txt": "text"}
DEFAULT_READERS: dict[str, Reader] = {  # readers of files of which nothing but the format is known
    "csv": CsvReader(delimiter=",", quote='"'),
    "tsv": CsvReader(delimiter="\t", quote=None),
    "jsonl": JsonReader(encoding="utf-8-sig", field=None),
    "text": TextReader(encoding="utf-8-sig", unit="line", label_from=None),
    "parquet": ParquetReader(),
}
BEGINNING = 1 << 16  # bytes of a file, which tell its encoding
OBJECTS = re.compile(rb'(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*[{\]])')  # how JSON begins, and hardly any text

_OPTION = re.compile(r"dataset\.source\.(delimiter|encoding)")

Columns = Mapping[str, Sequence[str]]
"""For each text that a task wants, the columns of a record that may hold it: the first with a value."""


class Records:
    """Records of a file, pattern, folder or standard input, read anew each time that they are iterated.

    A file is read as the run's own data were if these have its ending or format, or if its ending says none,
    else as its ending says; standard input as JSON or lines of text. A format that no ending shows is said on
    standard error. A line of plain text is the first text of `columns`; a tab separates a pair. Raises
    DataError naming file, row and column for a record without its texts.
    """

    def __init__(
        self,
        source: str | None,
        *,
        dataset: Mapping[str, Any],  # of the run's configuration
        columns: Columns,
        format_name: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
    ) -> None:
        self._columns = columns
        self._is_input = source in (None, "-")
        self._told: set[str] = set()  # files with rows without a text
        path = _spooled(self) if self._is_input else str(source)
        self.name = "standard input" if self._is_input else path
        with self._naming():
            self.files = files_of_splits({"": path}, None)[""]
            ending = path_of(self.files[0]).suffix.lower()
            beginning = _beginning_of(self.files[0])
            if delimiter is not None and format_name is None:
                format_name = "tsv" if ending == ".tsv" else "csv"
            elif self._is_input and format_name is None:
                ending = ".json" if OBJECTS.match(beginning) else ".txt"
            reader: Any = self._chosen(list(_own_readers(dataset, path)), format_name, ending)
            if delimiter is not None and isinstance(reader, CsvReader):
                reader = replace(reader, delimiter=character_of(delimiter, "--delimiter", DELIMITERS))
            if hasattr(reader, "encoding") and (encoding or _is_utf8(beginning)):
                reader = replace(reader, encoding=known_encoding(encoding or "utf-8-sig"))
        self._reader = reader
        is_evident = format_of(reader) in (format_name, None if self._is_input else FORMATS.get(ending))
        if format_name is None and isinstance(reader, TextReader) and OBJECTS.match(beginning):
            print(f"{self.name}: read as text, and looks like JSON (--format jsonl)", file=sys.stderr)
        elif not is_evident:
            print(f"{self.name}: read as {format_of(reader)} (--format)", file=sys.stderr)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for address in self.files:
            at, file = Position(address=address), self.name if self._is_input else address
            with self._naming():
                rows = counted(self._reader.records(at), at) if _beginning_of(address).strip() else ()
                values = (row["text"] for row in rows) if format_of(self._reader) == "text" else rows
                empty = 0
                for record, texts in _with_texts(values, self._columns, file):
                    empty += not any(str(text).strip() for text in texts.values() if text is not None)
                    yield record
            if empty and file not in self._told:
                self._told.add(file)
                print(f"{file}: no text in {empty:,} rows, predicted all the same", file=sys.stderr)

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

    def _chosen(self, own: list[tuple[Reader, set[str]]], format_name: str | None, ending: str) -> Reader:
        """The reader of the format that is asked for, of the run's own data, or that the ending names."""
        named = format_name or FORMATS.get(ending)
        is_file = format_name is None and not self._is_input
        alike = [reader for reader, endings in own if is_file and ending in endings]
        alike += [reader for reader, _ in own if named in (None, format_of(reader))]
        if named is not None:
            alike.append(DEFAULT_READERS[named])
        if not alike:
            choices = ", ".join(DEFAULT_READERS)
            problem = f"the format cannot be told from {ending!r}; give --format with one of {choices}"
            raise DataError(problem, file=self.name)
        return alike[0]


def format_of(reader: Reader) -> str:
    """The format that a reader reads, as --format has it where it has it."""
    if isinstance(reader, CsvReader):
        return "tsv" if reader.delimiter == "\t" else "csv"
    if isinstance(reader, JsonReader):
        return "jsonl" if reader.field is None else f"json with field {reader.field!r}"
    if isinstance(reader, TextReader):
        return "a class, then a text" if reader.label_from == "line" else "text"
    return type(reader).__name__.removesuffix("Reader").lower()


def _own_readers(value: Any, path: str) -> Iterator[tuple[Reader, set[str]]]:
    """The readers of the files in a run's configuration of its data, with the endings of those files."""
    for node in (inner for _, inner in walk(value) if is_node(inner)):
        files = node.get("files")
        if isinstance(files, Mapping) and node[TARGET].startswith("runwright.dataset.readers."):
            ours = {**node, "files": {"": path}, "folder": None}
            lists = ([names] if isinstance(names, str) else names or [] for names in files.values())
            reader = instantiate(ours, group="dataset", key="dataset.source")[""]
            yield reader, {path_of(name).suffix.lower() for name in chain(*lists)}


def _beginning_of(address: str) -> bytes:
    with open_bytes(address) as stream:
        return stream.read(BEGINNING)


def _is_utf8(beginning: bytes) -> bool:
    """Return True for UTF-8 that is not ASCII as well; its last character may be cut."""
    try:
        return not codecs.getincrementaldecoder("utf-8")().decode(beginning).isascii()
    except UnicodeDecodeError:
        return False


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

    Raises DataError, which names the `file`, for what is neither and for a record without its texts.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DataError(f"given {values!r:.60}, expected a list of texts or records: [{values!r:.60}]")
    yield from (record for record, _ in _with_texts(values, columns, file))


def _with_texts(values: Iterable[Any], columns: Columns, file: str | None) -> Iterator[tuple[Any, Any]]:
    """The same with the texts of each record by the names that the task has for them."""
    for row, value in enumerate(values):
        if not isinstance(value, str | Mapping):
            raise DataError(f"expected a text, or a record with named texts, given {value!r:.60}", row=row)
        record = _text_record(value, columns, row, file) if isinstance(value, str) else dict(value)
        texts = texts_of(record, columns, row=row, file=file)
        for column, inner in record.items():
            if reading.holds_half_character(inner):
                raise DataError(reading.HALF_CHARACTER, file=file, row=row, column=column)
        yield record, texts


def texts_of(
    record: Mapping[str, Any], columns: Columns, *, row: int, file: str | None = None
) -> dict[str, Any]:
    """A record's texts by the names that the task has for them; raises DataError where one is missing."""
    texts = {}
    for name, choices in columns.items():
        if not (present := [column for column in choices if column in record]):
            others = "".join(f", nor {other!r}" for other in choices[:-1])
            dialect = other_dialect([*record]) if len(record) == 1 else ""
            hint = f" ({dialect or '--text-column NAME says which one holds the text'})" if file else ""
            problem = f"no such column{others}; this record has {', '.join(map(str, record))}{hint}"
            raise DataError(problem, file=file, row=row, column=choices[-1])
        texts[name] = next((record[column] for column in present if record[column] is not None), None)
    return texts


def _text_record(text: str, columns: Columns, row: int, address: str | None) -> dict[str, Any]:
    names = [choices[-1] for choices in columns.values()]
    texts = text.split("\t") if len(names) > 1 else [text]
    if len(texts) != len(names):
        expected = f"{len(names)} texts ({', '.join(names)}), with a tab between them"
        raise DataError(f"this run takes {expected}, given {text[:60]!r}", file=address, row=row)
    return dict(zip(names, texts, strict=True))

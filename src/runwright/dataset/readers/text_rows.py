"""CSV and its relatives, and JSON, as typed columns; each fault named with its row and line."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as a_field
from itertools import chain, islice, pairwise
from types import NoneType
from typing import Any

import pyarrow as pa
import pyarrow.compute

from runwright.dataset.readers import reading
from runwright.dataset.readers.addresses import open_bytes
from runwright.dataset.readers.reading import Files, Position, Reader, batches_to_learn, lines_of
from runwright.errors import ConfigError, DataError

pc: Any = pyarrow.compute  # its functions are made at run time, unknown to type checkers
MAX_FIELD_CHARACTERS = 10_000_000  # a longer field means an unclosed quote, not a text
DELIMITERS = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}
QUOTES = {"single": "'", "double": '"', "backslash": "\\"}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # what int64 holds and str(int(x)) gives back: "007" is text
_DECIMAL = re.compile(
    r"-?(?=\.?\d)(0|[1-9]\d*)?\.\d*([eE][+-]?\d{1,2})?|-?(0|[1-9]\d*)[eE][+-]?\d{1,2}", re.ASCII
)
_TYPES = {"string": pa.large_string(), "int": pa.int64(), "float": pa.float64()}
_HIDDEN = 0xDC00  # plus the code of a character that is escaped, while lines are split: in no decoded text
_DECIMAL_COMMA = str.maketrans(",.", ".,")
_DIALECT = (
    'check delimiter, quote (null: an ordinary character) and dataset.source.escape (backslash: \\" is one)'
)
_NOTED_ROWS = 10_000  # looked at for notes on how they were read


def character_of(text: Any, option: str, names: Mapping[str, str]) -> Any:
    """The delimiter, quote or escape that is given by itself or by its name; a quote may be null."""
    character = names.get(text or "", text)
    if len(character or "-") != 1:
        one = "one character, null" if names is QUOTES else "one character"
        raise ConfigError(f"{option}: given {text!r}, expected {one} or one of {', '.join(names)}")
    return character


def other_dialect(names: Sequence[str]) -> str:
    """The option to set where the names in a header show that it is read in another format than its own."""
    counts = {names[0].count(DELIMITERS[name]): name for name in ("pipe", "comma", "semicolon", "tab")}
    if len(names) == 1 and max(counts):
        return f"the only column looks like several: set dataset.source.delimiter={counts[max(counts)]}"
    if all(len(name) > 1 and name[0] == name[-1] == "'" for name in names):
        return "the names are in single quotes: set dataset.source.quote=single"
    if names[0].startswith("{"):
        return "the first line looks like JSON: set dataset=json"
    return ""


@dataclass(frozen=True, kw_only=True)
class CsvReader(Reader):
    """Rows of delimited files, their cells as typed columns."""

    types_of = "dataset.source.column_types asks, or the first rows of a stream are"
    delimiter: str
    quote: str | None  # None: quotes are ordinary characters
    encoding: str = "utf-8-sig"  # as `known_encoding` gives it
    header: bool = True
    column_names: tuple[str, ...] | None = None
    escape: str | None = None  # makes a quote, a delimiter or itself an ordinary character
    lenient: bool = False  # pass over rows with too few fields, ignore fields too many
    column_types: Mapping[str, Any] = a_field(default_factory=dict)  # string, int or float, of some columns

    def fields(self, at: Position) -> Iterator[list[str]]:
        """The fields of each record, the header too; blank lines are passed over; sets `at.line`."""
        csv.field_size_limit(MAX_FIELD_CHARACTERS)  # of the process: others may have set another
        quoting: Any = {"quoting": csv.QUOTE_NONE} if self.quote is None else {"quotechar": self.quote}
        marks = (self.quote, self.escape, self.delimiter)
        hidden = {mark: chr(_HIDDEN + ord(mark)) for mark in marks if mark}
        shown = {ord(code): mark for mark, code in hidden.items()}
        lines = lines_of(at, self.encoding)
        if escape := self.escape and re.compile(re.escape(self.escape) + "(.)"):
            lines = (escape.sub(lambda match: hidden.get(match[1], match[0]), line) for line in lines)
        first, head = at.num_lines + 1, list[str]()
        try:
            for fields in csv.reader(lines, delimiter=self.delimiter, strict=True, **quoting):
                at.line, first = first, at.num_lines + 1
                if fields and escape:  # \N is null where exports of databases escape
                    fields = ["" if text == f"{self.escape}N" else text.translate(shown) for text in fields]
                if fields and (head or fields != ["sep=", ""]):  # that is Excel's own line above the header
                    head = head or fields
                    yield fields
        except csv.Error as error:
            hint = (head and other_dialect(head)) or _DIALECT
            raise at.error(f"{error}; {hint}", line=at.num_lines) from error

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[str]]:
        """The fields of each record; raises DataError at the first that has too few or too many."""

        def bare(names: Sequence[str]) -> list[str]:
            return [name.strip(" \t\ufeff") for name in names]  # a mark stands where files were joined

        header, head = self.header and not at.offset, bare(names)
        for fields in self.fields(at):
            if header:
                header, head = False, bare(fields)
            elif head[1:] and not self.lenient and head[0] == bare(fields[:1])[0] and head == bare(fields):
                problem = "the row repeats the header, as where files were joined: delete it, or list "
                raise at.error(f"{problem}the files: dataset.source.files.{at.split}=[a.csv,b.csv]")
            elif len(fields) >= len(names) and (self.lenient or not any(fields[len(names) :])):
                yield fields[: len(names)]
            elif not self.lenient:
                hint = other_dialect(names) or _DIALECT
                if len(fields) == len(names) + 1 and fields[0].strip("'\"").isdecimal():
                    hint = f"rows are numbered: set dataset.source.column_names=[row,{','.join(names)}]"
                if len(names) == 1 and hint is _DIALECT:
                    hint = "the first line names the columns: delete what stands above it"
                problem = f"the row has {len(fields)} fields, expected {len(names)} ({', '.join(names)}): "
                raise at.error(f"{problem}{' | '.join(fields)!r:.80}; {hint}")

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        """An empty number is null, an empty string stays a string."""
        if pa.types.is_large_string(kind):
            return pa.array(values, pa.large_string())
        strings = pa.array(values, pa.large_string())
        return pc.cast(pc.if_else(pc.equal(strings, ""), None, strings), kind)

    def schemas(self, files: Files, sampled: str | None, /) -> dict[str, pa.Schema]:
        """Int or float where every value in every split is, else string, unless `column_types` says it.

        Of the split `sampled` the first 10,000 rows count.
        """
        names: dict[str, tuple[str, ...]] = {}
        for split, addresses in files.items():
            for address in addresses:
                other = self.columns_of(address, split)
                if other != names.setdefault(split, other):
                    first = f"{list(names[split])} in {addresses[0].rpartition('/')[2]}"
                    raise DataError(f"columns {list(other)} differ from {first}", file=address, split=split)
        if unknown := [name for name in self.column_types if name not in {*chain(*names.values())}]:
            shown = list(next(iter(names.values())))
            raise ConfigError(f"dataset.source.column_types names {unknown[0]!r}; columns: {shown}")
        kinds: dict[str, str] = {}  # of columns with a value
        for at, batch in batches_to_learn(files, sampled, lambda at: self.rows(at, names[at.split or ""])):
            for name, values in zip(names[at.split or ""], zip(*batch, strict=True), strict=True):
                if any(values):
                    kinds[name] = _narrowest(values, kinds.get(name, "int"))
        types = {name: _TYPES[kind] for name, kind in (kinds | dict(self.column_types)).items()}
        return {
            split: pa.schema([(name, types.get(name, _TYPES["string"])) for name in columns])
            for split, columns in names.items()
        }

    def columns_of(self, address: str, split: str = "", /) -> tuple[str, ...]:
        """The names given, or those in the first line; raises DataError where they are not distinct."""
        at = Position(address=address, split=split)
        first = next(self.fields(at), [])
        if len(first) < 2 and not "".join(first).strip():
            raise DataError("the file is empty", file=address, split=split)
        named = self.column_names or [name.strip() if self.header else "" for name in first]
        names = tuple(name or f"column_{number}" for number, name in enumerate(named, start=1))
        for number, name in enumerate(names):
            if name in names[:number]:
                problem = "the header names this column twice; give dataset.source.column_names"
                raise DataError(problem, file=address, split=split, column=name)
        return names

    def notes(self, split: str, address: str, schema: pa.Schema, /) -> Iterator[str]:
        yield from super().notes(split, address, schema)
        at = Position(address=address, split=split)
        records = self.fields(at)
        first = next(records) if self.header else []
        unnamed = [f"column_{n}" for n, name in enumerate(first, start=1) if not name.strip()]
        if unnamed and self.column_names is None:
            yield f"columns without a name in the header are called {', '.join(unnamed)}"
        rows = list(islice(records, _NOTED_ROWS))
        for text in islice(_joined_by_quotes(rows, self.delimiter), 1):
            yield f"a quote seems to make one text of two rows ({text!r:.80}): see dataset.source.quote"
        for name, values in zip(schema.names, zip(*rows, strict=False), strict=False):
            texts = [text for text in values if text.strip()]
            if texts and all(text[1:] and text[0] == text[-1] in "'\"" for text in map(str.strip, texts)):
                yield f"values of {name!r} keep their quotes ({texts[0]!r:.40}): see dataset.source.quote"
            numbers = [text.translate(_DECIMAL_COMMA) for text in texts]
            if numbers != texts and _narrowest(numbers, "int") == "float":
                yield f"{name!r} is text ({texts[0]:.40}), not numbers: see ReplacePattern and CastColumns"


def _joined_by_quotes(rows: Sequence[Sequence[str]], mark: str) -> Iterator[str]:
    """Texts in which a line ends before a next one, or begins after one, beside a delimiter as rows do."""
    starts, ends = ({row[end] for row in rows if row[end]} for end in (0, -1))
    for text in (text for row in rows for text in row if "\n" in text):
        lines = [line.split(mark) for line in text.splitlines()]
        if any((a[1:] and a[-1] in ends) or (b[1:] and b[0] in starts) for a, b in pairwise(lines)):
            yield text


def _narrowest(values: Sequence[str], kind: str) -> str:
    """The narrowest of int, float and string that holds these and what `kind` held; "" fits all."""
    if kind == "int" and all(map(_WHOLE.fullmatch, filter(None, values))):
        return "int"
    numbers = (_WHOLE.fullmatch(value) or _DECIMAL.fullmatch(value) for value in values if value)
    return "float" if kind != "string" and all(numbers) else "string"


# --- JSON -------------------------------------------------------------------------------------------------

_PYTHON_TYPES: dict[Callable[[pa.DataType], bool], set[type]] = {
    pa.types.is_boolean: {bool, NoneType},
    pa.types.is_integer: {int, NoneType},
    pa.types.is_floating: {int, float, NoneType},
    pa.types.is_string: {str, NoneType},
    pa.types.is_list: {list, NoneType},
    pa.types.is_struct: {dict, NoneType},
}


@dataclass(frozen=True, kw_only=True)
class JsonReader(Reader):
    """Objects on lines of their own, in one list, or in a list in a `field` of one object."""

    encoding: str
    field: str | None

    def rows(self, at: Position, names: Sequence[str], /) -> Iterator[list[Any]]:
        """The values of each object; a key that it lacks is null."""
        for row in self._objects(at):
            yield [row.get(name) for name in names]

    def records(self, at: Position, /) -> Iterator[dict[str, Any]]:
        return self._objects(at)

    def _objects(self, at: Position) -> Iterator[dict[str, Any]]:
        is_resumed = at.offset > 0
        lines = lines_of(at, self.encoding)
        first = "" if is_resumed else next(filter(str.strip, lines), "")
        if is_resumed or (self.field is None and first.lstrip().startswith("{")):
            for line in filter(str.strip, chain([first], lines)):
                number = at.line
                try:
                    row = _JSON.decode(line)
                except (ValueError, RecursionError) as error:
                    hint, text = "", str(error)
                    if text.startswith("Extra data"):
                        hint = "; expected an object on each line, and nothing behind it"
                    elif line is first and getattr(error, "pos", 0) >= len(line.rstrip()):  # it goes on
                        hint = "; of one object that holds a list of rows, set dataset.source.field=NAME"
                    raise at.error(f"broken JSON: {text}{hint}", line=number) from error
                yield _object(row, at)
        else:
            text, at.line = "\n" * (at.num_lines - 1) + first + "".join(lines), None
            yield from json_list(text, at, field=self.field)

    def schemas(self, files: Files, sampled: str | None, /) -> dict[str, pa.Schema]:
        """All keys in any split with the types of their values; of `sampled` the first 10,000 rows count."""
        types: dict[str, pa.DataType] = {}
        for address in files[sampled] if sampled else ():
            with open_bytes(address, split=sampled) as stream:
                is_list = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
            if is_list:
                problem = f"{address} is one JSON value, which can only be read as a whole; write it as JSON "
                problem += "Lines (an object on each line), or set dataset.streaming=false"
                raise ConfigError(f"dataset.streaming: {problem}")
        for at, batch in batches_to_learn(files, sampled, self._objects):
            for name in dict.fromkeys(name for row in batch for name in row):
                if reading.holds_half_character(name):
                    problem, column = reading.HALF_CHARACTER, ascii(name)
                    raise DataError(problem, file=at.address, split=at.split, column=column)
                types[name] = _widened(types.get(name, pa.null()), [row.get(name) for row in batch])
        fields = [(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()]
        return dict.fromkeys(files, pa.schema(fields))

    def array(self, values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        # Arrow alone reads 2.5 as a whole number 2, true as 1.0 and "b" as ["b"].
        if pa.types.is_string(kind) and _are_spans(values):
            values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        python_types = next(types for is_kind, types in _PYTHON_TYPES.items() if is_kind(kind))
        if odd := {*map(type, values)} - python_types:
            raise pa.ArrowTypeError(f"{odd.pop().__name__} is not {kind}")
        return pa.array(values, kind)


def _widened(kind: pa.DataType, values: list[Any]) -> pa.DataType:
    """The narrowest type for these values and those of a type; where there is none, that type."""
    kinds = [{*map(type, span)} for value in values if value for span in value] if _are_spans(values) else []
    if kinds and (pa.types.is_string(kind) or any({str, int} <= of_span for of_span in kinds)):
        return pa.string()  # texts among numbers, for which Arrow has no type
    try:
        pair = [pa.schema([("", kind)]), pa.schema([("", pa.infer_type(values))])]
        return pa.unify_schemas(pair, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Storing the rows names the value that differs from the first.
        first = [value for value in values if value is not None][:1]
        # A list of numbers and texts, say, has no type at all.
        return kind if not pa.types.is_null(kind) or first == values else _widened(kind, first)


def _are_spans(values: Sequence[Any]) -> bool:
    """Return True for lists of lists, which are kept as JSON where one is like [0, 8, "PER"]."""
    lists = [value for value in values if value is not None]
    return bool(lists) and all(isinstance(v, list) and all(isinstance(i, list) for i in v) for v in lists)


def json_list(text: str, at: Position, *, field: str | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a list, or of the list under `field` of an object; raises DataError for another text."""
    file, split = at.address, at.split
    if not text.strip():
        raise DataError("the file is empty", file=file, split=split)
    try:
        content = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        problem = f"broken JSON: {error}; expected a list of objects, or an object on each line"
        raise DataError(problem, file=file, split=split, line=line) from error
    if field is not None:
        fields = content if isinstance(content, dict) else {}
        lists = [name for name, value in fields.items() if isinstance(value, list)]
        if field not in lists:
            raise DataError(f"no list in field {field!r}; lists are in: {lists}", file=file, split=split)
        content = fields[field]
    if not isinstance(content, list):
        raise DataError("expected a list of objects, or an object on each line", file=file, split=split)
    yield from (_object(row, at) for row in content)


def _object(row: Any, at: Position) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise at.error(f"expected an object, found {row!r:.60}")
    return row


def _constant(name: str) -> None:
    """NaN, as pandas and Python write a missing number, is null; raises ValueError for what is infinite."""
    if name != "NaN":
        raise ValueError(f"{name} is not JSON; write null for a missing number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(fields := dict(pairs)) < len(pairs):
        raise ValueError(f"a key twice in one object of {', '.join(fields)}")
    return fields


_JSON = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_distinct)

"""Files as raw rows: csv, json, parquet and text, compressed or not, local or at an address.

Each reader returns the rows of each split, memory-mapped from the cache; with `streaming`, train is a stream
of rows that are read when they are wanted (`streams.py`). Relative paths start at `folder`, where it is null
at the working directory. Everything is read once to learn the columns' types and once more to store it, in
batches, so files may be larger than memory.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features

from runwright import store
from runwright.dataset.fingerprint import content_fingerprint
from runwright.dataset.readers.addresses import PYTHON_ROWS, files_of_splits, is_remote, open_bytes, path_of
from runwright.dataset.readers.raw import MAX_CACHE_BYTES
from runwright.dataset.readers.reading import Files, Position, Reader, known_encoding, lines_of, whole_text
from runwright.dataset.readers.streams import Sources, read_files
from runwright.dataset.readers.text_rows import DELIMITERS, QUOTES, CsvReader, JsonReader, character_of
from runwright.errors import ConfigError, DataError, nearest

_FASTTEXT_LABEL = re.compile(r"(?<!\S)__label__(\S+)\s*")


def read_csv(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    delimiter: str,
    quote: str | None,
    escape: str | None,
    encoding: str,
    header: bool,
    column_names: list[str] | None,
    column_types: dict[str, Literal["string", "int", "float"]],
    streaming: bool,
) -> Sources:
    """Rows of delimited text files.

    A column is int or float where every value in every split is, otherwise string, unless `column_types`
    says which; an empty number is null. `column_names` replace a header's. Of a stream 10,000 values count.
    """
    reader = CsvReader(
        delimiter=character_of(delimiter, "dataset.source.delimiter", DELIMITERS),
        quote=character_of(quote, "dataset.source.quote", QUOTES),
        encoding=known_encoding(encoding),
        header=header,
        column_names=tuple(column_names) if column_names else None,
        # the same: doubled, as ever
        escape=None if escape == quote else character_of(escape, "dataset.source.escape", QUOTES),
        column_types=dict(column_types),
    )
    return read_files(reader, files_of_splits(files, folder), streaming=streaming)


def read_json(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    encoding: str,
    field: str | None,
    streaming: bool,
) -> Sources:
    """Rows of JSON files: an object on each line, or one list of objects, which may lie in a `field`.

    A column with a value that does not fit the others is left out, with a note. NaN is null.
    """
    reader = JsonReader(encoding=known_encoding(encoding), field=field)
    return read_files(reader, files_of_splits(files, folder), streaming=streaming)


def read_parquet(*, files: dict[str, str | list[str] | None], folder: str | None, streaming: bool) -> Sources:
    """The columns and rows of parquet files."""
    return read_files(ParquetReader(), files_of_splits(files, folder), streaming=streaming)


def read_text(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    encoding: str,
    unit: Literal["line", "file"],
    label_from: Literal["folder", "file", "line"] | None,
    streaming: bool,
) -> Sources:
    """Rows with a column `text`: each line, or each file as a whole.

    With `label_from` a column `label` holds the name of the file's folder, of the file without its ending, or
    the first word of the line, in fastText's form all words that begin with `__label__`, joined by commas.
    """
    reader = TextReader(encoding=known_encoding(encoding), unit=unit, label_from=label_from)
    return read_files(reader, files_of_splits(files, folder), streaming=streaming)


@dataclass(frozen=True, kw_only=True)
class TextReader(Reader):
    """Rows with a column `text` and, with `label_from`, a column `label`."""

    encoding: str
    unit: Literal["line", "file"]
    label_from: Literal["folder", "file", "line"] | None

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        names = ["text"] if self.label_from is None else ["text", "label"]
        if self.label_from == "line" and self.unit == "file":
            raise ConfigError("dataset.source.label_from: given 'line', which needs unit=line")
        for split, addresses in files.items() if self.label_from == "folder" else ():
            folders = {path_of(address).parent for address in addresses}
            for folder in [folder for folder in folders if any(folder in other.parents for other in folders)]:
                problem = "holds files beside folders of classes: its name would be a class; give the folders"
                raise DataError(problem, file=str(folder), split=split)
        return dict.fromkeys(files, pa.schema([(name, pa.large_string()) for name in names]))

    def rows(self, at: Position, _: Sequence[str], /) -> Iterator[list[str]]:
        """Lines without their ends, empty ones too, or the one text of the file."""
        label = []
        if self.label_from in ("folder", "file"):
            path = path_of(at.address if is_remote(at.address) else str(Path(at.address).absolute()))
            label = [path.parent.name if self.label_from == "folder" else path.stem]
        if self.label_from == "line":
            yield from _labelled(lines_of(at, self.encoding), at)
        elif self.unit == "line":
            for line in lines_of(at, self.encoding):
                yield [line.rstrip("\r\n"), *label]
        elif not at.row:
            yield [whole_text(at, self.encoding), *label]


def _labelled(lines: Iterator[str], at: Position) -> Iterator[list[str]]:
    """Text and label of each line that is not blank; raises DataError where only some have fastText's."""
    has_labels: set[bool] = set()
    for line in filter(str.strip, lines):
        labels = _FASTTEXT_LABEL.findall(line)
        has_labels.add(bool(labels))
        if len(has_labels) > 1:
            raise at.error("a word begins with __label__ here or in the lines before, not in both")
        if labels:
            yield [_FASTTEXT_LABEL.sub("", line).strip(), ",".join(labels)]
        else:
            label, *text = line.split(maxsplit=1)
            yield ["".join(text).strip(), label]


_BATCH_ROWS = 1000


class ParquetReader(Reader):
    """Rows of parquet files, which have no lines."""

    types_of = "values of this type cannot be kept"

    def rows(self, at: Position, _: Sequence[str], /) -> Iterator[tuple[Any, ...]]:
        skipped, group = at.row, 0
        with _open_parquet(at.address, at.split) as file:
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            while group < len(sizes) and skipped >= sizes[group]:
                skipped -= sizes[group]
                group += 1
            groups = list(range(group, len(sizes)))
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups) if groups else ():
                rest = batch.slice(min(skipped, batch.num_rows))
                skipped -= batch.num_rows - rest.num_rows
                yield from zip(*(column.to_pylist() for column in rest.columns), strict=True)

    def schemas(self, files: Files, _: str | None, /) -> dict[str, pa.Schema]:
        """The columns that all files of a split have; raises DataError where they differ."""
        result: dict[str, pa.Schema] = {}
        for split, addresses in files.items():
            for address in addresses:
                with _open_parquet(address, split) as file:
                    fields = [(field.name, _plain(field.type)) for field in file.schema_arrow]
                    schema = pa.schema(fields, metadata=_class_names(file.schema_arrow))
                if twice := [name for name in schema.names if schema.names.count(name) > 1]:
                    raise DataError("two columns have this name", file=address, split=split, column=twice[0])
                first = result.setdefault(split, schema)
                if not schema.equals(first, check_metadata=True):
                    problem = f"columns {_described(schema)}, or the names of their classes, differ from "
                    problem += f"{_described(first)} in {PurePosixPath(addresses[0]).name}"
                    raise DataError(problem, file=address, split=split)
        return result


@contextmanager
def _open_parquet(address: str, split: str | None) -> Iterator[pq.ParquetFile]:
    with open_bytes(address, split=split) as stream:
        if not stream.read(1):
            raise DataError("the file is empty", file=address, split=split)
        try:
            with pq.ParquetFile(stream) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"not a readable parquet file: {error}", file=address, split=split) from error


def _class_names(schema: pa.Schema) -> dict[str, str] | None:
    """The names of classes that the library datasets writes beside columns of ids, in its own form."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info") or {}
    features = (about.get("features") or {}).items()
    classes = {name: feature for name, feature in features if '"ClassLabel"' in json.dumps(feature)}
    return {"huggingface": json.dumps({"info": {"features": classes}})} if classes else None


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves where the file stores them as a dictionary; null: left out."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        Features.from_arrow_schema(pa.schema([("", kind)]))
    except ValueError:  # a map, for example
        return pa.null()
    return pa.large_string() if kind == pa.string_view() else kind


def _described(schema: pa.Schema) -> str:
    return "(" + ", ".join(f"{field.name}: {field.type}" for field in schema) + ")"


# --- rows of Python objects -------------------------------------------------------------------------------

EXPECTED = "a pandas DataFrame, a datasets.Dataset, or a dictionary of these by split"


def keep_rows(data: Any) -> dict[str, Path]:
    """The parquet file of each split; the same rows have the same files, whatever gave them.

    Rows that are no dictionary are train. The index of a DataFrame is left out. Raises ConfigError for data
    of another kind, DataError for a column whose values have no type in common.
    """
    by_split = data if isinstance(data, Mapping) else {"train": data}
    if odd := [split for split in by_split if not re.fullmatch(r"\w[\w-]*", str(split))]:
        raise ConfigError(f"data: given the split {odd[0]!r}, expected a name such as validation")
    for split in map(str, by_split):
        if (name := nearest(split, ("train", "validation", "test"))) and name not in split:
            expected = f"expected train, validation, test; did you mean {name!r}?"
            raise ConfigError(f"data: given the split {split!r}, {expected}")
    splits = {str(split): _as_rows(rows, split=str(split)) for split, rows in by_split.items()}

    def write(folder: Path) -> dict[str, Any]:
        for split, rows in splits.items():
            rows.to_parquet(str(folder / f"{split}.parquet"))
        return {"splits": list(splits)}

    key = {
        split: [content_fingerprint(rows), [getattr(kind, "names", None) for kind in rows.features.values()]]
        for split, rows in splits.items()
    }
    entry = store.cache_root() / PYTHON_ROWS / store.digest(key)
    with store.cached(entry, write, max_bytes=MAX_CACHE_BYTES):
        return {split: entry / f"{split}.parquet" for split in splits}


def _as_rows(rows: Any, *, split: str) -> Dataset:
    if type(rows).__module__.partition(".")[0] == "pandas" and hasattr(rows, "columns"):
        try:
            texts = {name: object for name, kind in rows.dtypes.items() if str(kind) == "category"}
            return Dataset.from_pandas(rows.astype(texts), preserve_index=False)
        except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as error:
            raise DataError(f"the DataFrame has values of no common type: {error}", split=split) from error
    if not isinstance(rows, Dataset):
        raise ConfigError(f"data: given {type(rows).__name__} for {split}, expected {EXPECTED}")
    return rows

"""A data set of the hub, or of a local folder in that layout, as a stream of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Features, IterableDataset, load_dataset

from runwright import store
from runwright.dataset.readers.reading import Position, Reader
from runwright.dataset.readers.streams import RowStream, files_fingerprint
from runwright.errors import ConfigError, DataError

SPLIT = "train"  # the only one that is streamed


def hub_stream(where: str, config: str | None, theirs: str, *, commit: str | None, origin: str) -> RowStream:
    """The rows of one split; classes become their names, a class of -1 null.

    Going on reads from the start up to the place: the library has no other way to a row.
    """
    if "[" in theirs:
        raise ConfigError(
            f"dataset.source.splits.train: given {theirs!r} with dataset.streaming=true; expected a whole "
            "split: a slice needs the length; dataset.subset.train takes the first rows"
        )
    rows = _open(where, config, theirs, commit, origin)
    features = rows.features or rows._resolve_features().features
    if features is None:
        raise DataError(f"split {theirs!r} has no rows", file=origin, split=SPLIT)
    folder = Path(where)
    found = sorted(str(path) for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return RowStream(
        files=[origin],
        schema=schema_with_names(features),
        reader=_HubReader(
            opened=lambda: _open(where, config, theirs, commit, origin), classes=class_names(features)
        ),
        how={"split": split_of_hub(config, theirs)},
        fingerprint=files_fingerprint(found) if found else store.digest([origin, config, theirs]),
    )


@dataclass(frozen=True, kw_only=True)
class _HubReader(Reader):
    opened: Callable[[], IterableDataset]
    classes: Mapping[str, list[str]]

    def rows(self, at: Position, names: Sequence[str]) -> Iterator[list[Any]]:
        for record in self.opened().skip(at.row):
            yield [named(record.get(name), self.classes.get(name)) for name in names]


def split_of_hub(config: str | None, theirs: str) -> str:
    """How the hub calls a split, for people."""
    return f"split {theirs}" if config is None else f"{config}, split {theirs}"


def first_line(error: Exception) -> str:
    """What an error of the library says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _open(where: str, config: str | None, theirs: str, commit: str | None, origin: str) -> IterableDataset:
    try:
        rows = load_dataset(where, config, split=theirs, revision=commit, streaming=True)
    except Exception as error:
        raise DataError(
            f"split {theirs!r} cannot be read as a stream: {first_line(error)}", file=origin, split=SPLIT
        ) from error
    assert isinstance(rows, IterableDataset)
    return rows


def class_names(features: Features) -> dict[str, list[str]]:
    """The names of the classes that columns hold, each value one of them or a list of them."""
    inner = {name: getattr(kind, "feature", kind) for name, kind in features.items()}
    return {name: kind.names for name, kind in inner.items() if isinstance(kind, ClassLabel)}


def named(value: Any, names: list[str] | None) -> Any:
    """The class by name, where the column holds classes; -1 and null: none."""
    if names is None:
        return value
    if isinstance(value, list):
        return [named(each, names) for each in value]
    return None if value is None or value < 0 else names[value]


def schema_with_names(features: Features) -> pa.Schema:
    """The columns as Arrow has them, with names in the place of classes."""
    classes = class_names(features)
    return pa.schema(
        [
            pa.field(field.name, _type_with_names(field.type) if field.name in classes else field.type)
            for field in features.arrow_schema
        ]
    )


def _type_with_names(kind: pa.DataType) -> pa.DataType:
    """The type of a column whose classes became their names."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return pa.list_(pa.string()) if is_list else pa.string()

"""Data sets of a hub, or of a local folder in the same layout, pinned to a commit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, load_dataset

from runwright import store
from runwright.dataset.readers.addresses import file_state
from runwright.dataset.readers.hub_stream import (
    class_names,
    first_line,
    hub_stream,
    named,
    schema_with_names,
    split_of_hub,
)
from runwright.dataset.readers.raw import BATCH_ROWS, RawSplit, kept_rows
from runwright.dataset.readers.streams import Sources
from runwright.errors import ConfigError, DataError

_COMMIT = re.compile(r"[0-9a-f]{40}")


def read_hub(
    *,
    name: str,
    config: str | None,
    splits: dict[str, str | None],
    revision: str | None,
    streaming: bool,
) -> Sources:
    """Rows of the data set `name`, a hub name or a local folder; `splits` holds (our name: its name).

    Its name may carry a slice, as in `train[:10%]`. `revision` is a branch, tag or commit; it is resolved
    to a commit, which the rows remember as their origin. Classes, also in lists, become their names; a class
    of -1, which hubs write for unlabelled rows, becomes null, and a column that has nothing else in a split
    is left out. No code of the data set is ever run. With `streaming`, train is a stream of rows.
    """
    wanted = {ours: theirs for ours, theirs in splits.items() if theirs is not None}
    if not wanted:
        raise ConfigError("dataset.source.splits: no split is chosen; set for example splits.train=train")
    folder = Path(name).expanduser()
    if folder.is_dir():
        state = [file_state(path) for path in sorted(folder.rglob("*")) if path.is_file()]
        where, origin, commit = str(folder.resolve()), str(folder), None
    elif name.startswith((".", "/", "~")):
        raise ConfigError(
            f"dataset.source.name: folder {name!r} does not exist (looked in {folder.resolve()})"
        )
    else:
        commit = revision if revision and _COMMIT.fullmatch(revision) else _resolve(name, revision)
        where, origin, state = name, f"{name}@{commit}", [[name, commit]]
    stream = None
    if streaming and "train" in wanted:
        stream = hub_stream(where, config, wanted.pop("train"), commit=commit, origin=origin)
    key = {"reader": "hub", "state": state, "options": [config, wanted]}
    others = kept_rows(key, lambda: _read(where, config, wanted, commit, origin)) if wanted else {}
    return dict(others) if stream is None else {"train": stream, **others}


def _resolve(name: str, revision: str | None) -> str:
    """The commit that a branch or tag points to now."""
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except Exception as error:
        raise DataError(
            f"the hub does not say what {revision or 'the newest revision'} is ({first_line(error)}); "
            f"without a network, set dataset.source.revision to a full commit that was loaded before, or set "
            f"dataset.source.name to a local folder",
            file=name,
        ) from error
    assert commit is not None  # only lists of data sets come without it
    return commit


def _read(
    where: str, config: str | None, wanted: dict[str, str], commit: str | None, origin: str
) -> dict[str, RawSplit]:
    result = {}
    for ours, theirs in wanted.items():
        try:
            rows = load_dataset(
                where, config, split=theirs, revision=commit, cache_dir=str(store.cache_root() / "hub")
            )
        except Exception as error:
            of_config = f" of {config!r}" if config else ""
            raise DataError(
                f"split {theirs!r}{of_config} cannot be loaded: {first_line(error)}",
                file=origin,
                split=ours,
            ) from error
        assert isinstance(rows, Dataset)
        if not len(rows):
            raise DataError(f"split {theirs!r} has no rows", file=origin, split=ours)
        result[ours] = _raw(rows, origin, split_of_hub(config, theirs))
    return result


def _raw(rows: Dataset, origin: str, where: str) -> RawSplit:
    classes = class_names(rows.features)
    unlabelled = {name for name in classes if all(map(_is_hidden, rows[name][:]))}
    schema = pa.schema([field for field in schema_with_names(rows.features) if field.name not in unlabelled])
    batches, origins = _batches(rows, schema, classes), [(origin, len(rows))]
    return RawSplit(schema=schema, batches=batches, origins=origins, how={"split": where})


def _is_hidden(value: Any) -> bool:
    """Whether a class, or each of a list of classes, is the -1 that stands for a hidden one."""
    return all(map(_is_hidden, value)) if isinstance(value, list) and value else value in (-1, None)


def _batches(rows: Dataset, schema: pa.Schema, classes: dict[str, list[str]]) -> Iterator[pa.RecordBatch]:
    tables: Any = rows.with_format("arrow").iter(batch_size=BATCH_ROWS)
    for table in tables:
        columns = []
        for field in schema:
            column = table.column(field.name)
            if field.name in classes:
                values = [named(value, classes[field.name]) for value in column.to_pylist()]
                column = pa.array(values, field.type)
            elif isinstance(column, pa.ChunkedArray):
                column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
            columns.append(column.cast(field.type))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)

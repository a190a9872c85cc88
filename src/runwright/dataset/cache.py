"""Encoded examples, prepared once for each state of data, tokenizer, task and code, and read by memory map.

A prepared set is one Arrow file and a manifest with the key it was made for, in a folder of its own. On a
miss the log says why: which parts of the key differ from the nearest set of the same rows, if there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from runwright import store
from runwright.dataset.examples import PreparedExamples, example_schema, record_batch
from runwright.errors import DataError
from runwright.store import why_missed
from runwright.types import Example

_log = logging.getLogger(__name__)
_FILE = "examples.arrow"
_FORMAT = 1  # raise when the file's layout changes: older sets are then made anew
SAME_ROWS = ("data", "rows", "split")  # parts of a key: sets that differ in these have nothing in common
BATCH_ROWS = 1000
MAX_CACHE_BYTES = 20 * 2**30

Encode = Callable[[dict[str, list[Any]]], list[Example]]


def prepare_examples(
    rows: Dataset,
    encode: Encode,
    *,
    key: Mapping[str, Any],
    folder: Path | None,
    on_progress: Callable[[int], None] | None = None,
    max_bytes: int = MAX_CACHE_BYTES,
) -> PreparedExamples:
    """The examples that `encode` makes of `rows`, from the cache where the same key was prepared before.

    `key` must hold, as JSON can, everything the examples depend on. `encode` gets 1,000 rows at a time as
    lists by column. `on_progress` is called with the number of rows encoded so far. One process encodes, the
    others that want the same wait for it. Sets unused for longest are removed beyond `max_bytes`. Without a
    folder the examples stay in memory.
    """
    if folder is None:
        batches = list(_encoded(rows, encode, on_progress))
        return PreparedExamples(batches, cache_note="prepared in memory, not kept")
    full_key = {**key, "format": _FORMAT}
    entry = folder.absolute() / store.digest(full_key)
    with store.locked(entry):
        kept = _read(entry)
        if kept is not None:
            store.touch(entry)
            return PreparedExamples(kept, cache_note="taken from the cache")
        reason = why_missed(entry, full_key, same=SAME_ROWS)
        note = f"prepared now: {reason}" if reason else "prepared now"
        _log.info("%s", note)
        store.write_entry(entry, lambda target: _write(target, _encoded(rows, encode, on_progress), full_key))
        store.evict(entry.parent, max_bytes=max_bytes, keep=entry)
        kept = _read(entry)
        if kept is None:
            raise DataError("the prepared data cannot be read back; is the disk failing?", file=str(entry))
        return PreparedExamples(kept, cache_note=note)


def _encoded(
    rows: Dataset, encode: Encode, on_progress: Callable[[int], None] | None
) -> Iterator[pa.RecordBatch]:
    schema: pa.Schema | None = None
    done = 0
    batches: Any = rows.with_format(None).iter(batch_size=BATCH_ROWS)
    for batch in batches:
        examples = encode(batch)
        done += len(next(iter(batch.values())))
        if examples:
            schema = schema or example_schema(examples)
            yield record_batch(examples, schema)
        if on_progress is not None:
            on_progress(done)
    if schema is None:
        raise DataError("no examples came of these rows")


def _write(target: Path, batches: Iterator[pa.RecordBatch], key: Mapping[str, Any]) -> dict[str, Any]:
    first = next(batches)
    num_examples = 0
    path = target / _FILE
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, first.schema) as writer:
        batch: pa.RecordBatch | None = first
        while batch is not None:
            writer.write_batch(batch)
            num_examples += batch.num_rows
            batch = next(batches, None)
    return {"key": key, "num_examples": num_examples, "num_bytes": path.stat().st_size}


def _read(entry: Path) -> list[pa.RecordBatch] | None:
    """The batches of a whole set, None where it is missing or damaged."""
    manifest = store.read_manifest(entry)
    if manifest is None:
        return None
    path = entry / _FILE
    try:
        whole = path.stat().st_size == manifest["num_bytes"]
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        _log.warning("prepared data in %s is damaged and made anew: %s", entry, error)
        return None
    return batches if whole and sum(len(batch) for batch in batches) == manifest["num_examples"] else None

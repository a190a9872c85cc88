"""Encoded examples as Arrow batches: prepared once for each state of their inputs, or streamed.

A prepared set is one Arrow file, read by memory map, and a manifest with the key it was made for, in a folder
of its own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright import store
from runwright.dataset.checks import Kind, naming_rows, require_columns
from runwright.dataset.readers.raw import report_rows
from runwright.dataset.readers.reading import in_chunks
from runwright.dataset.readers.streams import BLOCK_ROWS, Block, RowStream, StreamPosition
from runwright.errors import DataError
from runwright.types import Example

_FILE = "examples.arrow"
_SIDES = ("input_ids", "target_ids")
_FORMAT = 1  # raise when the file's layout changes: older sets are then made anew
BATCH_ROWS = 1000
MAX_CACHE_BYTES = 20 * 2**30

Encode = Callable[[dict[str, list[Any]]], list[Example]]
Inputs = Callable[[], Dataset]


class PreparedExamples:
    """Encoded examples of one split, with random access by position; see `types.Examples`."""

    def __init__(self, batches: Sequence[pa.RecordBatch], *, cache_note: str) -> None:
        self._batches = list(batches)
        self.cache_note = cache_note  # where they came from
        self.names = tuple(batches[0].schema.names)  # of the values of each example
        self._starts = np.cumsum([0, *(len(batch) for batch in batches)])
        self._columns = [[_reader(batch.column(name)) for name in self.names] for batch in batches]
        lists: Any = [[batch.column(name) for batch in batches] for name in _SIDES if name in self.names]
        sides = [np.concatenate([np.diff(one.offsets) for one in side], dtype=np.int64) for side in lists]
        self.lengths = np.sum(sides, axis=0)
        self.widths = np.stack(sides, axis=1) if len(sides) > 1 else self.lengths
        if "padded_length" in self.names:
            self.widths = self.column("padded_length")
        self.example_ids = self.column("example_id") if "example_id" in self.names else np.arange(len(self))

    def column(self, name: str) -> np.ndarray:
        """One number for each example, [N], in the order of positions."""
        return np.concatenate([batch.column(name).to_numpy(zero_copy_only=False) for batch in self._batches])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def pieces(self, num_batches: int) -> Iterator[PreparedExamples]:
        """The examples in their order, so many batches at a time."""
        for start in range(0, len(self._batches), num_batches):
            yield PreparedExamples(self._batches[start : start + num_batches], cache_note=self.cache_note)

    def fetch(self, positions: Sequence[int]) -> list[Example]:
        """The examples at these positions, in this order."""
        wanted = np.asarray(positions, dtype=np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"positions must lie in 0 to {len(self) - 1}")
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        inside = wanted - self._starts[numbers]
        return [
            {name: read(row) for name, read in zip(self.names, self._columns[number], strict=True)}
            for number, row in zip(numbers.tolist(), inside.tolist(), strict=True)
        ]


class ListedExamples(list[Example]):
    """Encoded examples in memory as they are, without Arrow's cost for a few; see `types.Examples`."""

    def __init__(self, examples: Sequence[Example]) -> None:
        super().__init__(examples)
        sides = [[len(example[name]) for example in self] for name in _SIDES if name in self[0]]
        self.lengths = np.sum(sides, axis=0)
        self.widths = np.stack(sides, axis=1) if len(sides) > 1 else self.lengths
        if "padded_length" in self[0]:
            self.widths = np.array([example["padded_length"] for example in self])
        self.example_ids = np.array([example["example_id"] for example in self])

    def fetch(self, positions: Sequence[int]) -> list[Example]:
        return [self[position] for position in positions]


def _reader(column: Any) -> Callable[[int], Any]:
    if pa.types.is_list(column.type) and not column.null_count:
        values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
        return lambda row: values[offsets[row] : offsets[row + 1]].tolist()
    if (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) and not column.null_count:
        numbers = column.to_numpy()
        return lambda row: numbers[row].item()
    return lambda row: column[row].as_py()


def record_batch(examples: Sequence[Example], schema: pa.Schema | None = None) -> pa.RecordBatch:
    """The examples as columns of a schema, else DataError; without one, integers in lists take 32 bits."""
    if schema is None:
        kinds = {name: pa.infer_type([example[name] for example in examples]) for name in examples[0]}
        for name, kind in kinds.items():
            if pa.types.is_list(kind):
                kinds[name] = pa.list_(pa.float32() if pa.types.is_floating(kind.value_type) else pa.int32())
        return record_batch(examples, pa.schema(kinds))
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([example[field.name] for example in examples], field.type))
        except (KeyError, TypeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            problem = f"encoded {field.name!r} is not {field.type} as in the first examples: {error}"
            raise DataError(problem) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


# --- prepared examples ------------------------------------------------------------------------------------


def prepare_examples(
    inputs: Inputs, encode: Encode, *, key: Mapping[str, Any], folder: Path | None, num_processes: int = 1
) -> PreparedExamples:
    """The examples that `encode` makes of `inputs`, from the cache where the same key was prepared before.

    `key` must hold, as JSON can, everything the examples depend on. `encode` gets 1,000 rows at a time as
    lists by column, in `num_processes` of its own. One process encodes, the others that want the same wait
    for it. Sets unused for longest are removed beyond MAX_CACHE_BYTES. Without a folder all stay in memory.
    """
    encoded = _encoded(inputs, encode, num_processes)
    if folder is None:
        return PreparedExamples(list(encoded), cache_note="prepared in memory, not kept")
    full_key = {**key, "format": _FORMAT}
    entry = folder.absolute() / store.digest(full_key)

    def write(target: Path) -> dict[str, Any]:
        first = next(encoded)
        with pa.ipc.new_file(target / _FILE, first.schema) as writer:
            for batch in chain([first], encoded):
                writer.write_batch(batch)
        return {"key": full_key}

    with store.cached(entry, write, max_bytes=MAX_CACHE_BYTES) as (_, is_new):
        reader = pa.ipc.open_file(pa.memory_map(str(entry / _FILE)))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        return PreparedExamples(batches, cache_note="prepared now" if is_new else "taken from the cache")


def _encoded(inputs: Inputs, encode: Encode, num_processes: int) -> Iterator[pa.RecordBatch]:
    schema: pa.Schema | None = None
    tables: Any = (rows := inputs()).with_format(None).iter(batch_size=BATCH_ROWS)
    starts = range(0, len(rows), BATCH_ROWS)
    num_processes = min(num_processes, len(starts))
    one = num_processes < 2 or "fork" not in multiprocessing.get_all_start_methods()
    of_tables = map(encode, tables) if one else _shared(tables, encode, num_processes)
    for start, examples in zip(starts, of_tables, strict=True):
        report_rows(min(BATCH_ROWS, len(rows) - start))
        if examples:
            batch = record_batch(examples, schema)
            schema = batch.schema
            yield batch
    if schema is None:
        raise DataError("no examples came of these rows: no tokens, or more in each than task.max_length")


_in_worker: list[Encode] = []


def _shared(tables: Iterator[Any], encode: Encode, num_processes: int) -> Iterator[list[Example]]:
    """The examples of each table in their order, encoded in processes that end with this one."""
    fork = multiprocessing.get_context("fork")  # `encode` is inherited: it need not be pickled
    try:
        with ProcessPoolExecutor(num_processes, fork, _start_worker, (encode, os.getpid())) as pool:
            for some in in_chunks(tables, 4 * num_processes):
                yield from pool.map(_encode_in_worker, some)
    except BrokenProcessPool as error:
        hint = "as for want of memory: lower dataset.num_processes"
        raise DataError(f"a process that encoded rows was killed, {hint}") from error


def _start_worker(encode: Encode, parent: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # after a fork its threads are gone
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
    _in_worker.append(encode)


def _encode_in_worker(columns: dict[str, list[Any]]) -> list[Example]:
    try:
        return _in_worker[0](columns)
    except DataError:
        raise
    except Exception as error:  # one that the other process could not read would look like a killed process
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


# --- streamed examples ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedStream:
    """The examples of a stream of rows, encoded when they are wanted, as a task does."""

    rows: RowStream
    kinds: Mapping[str, Kind]  # of the columns that must be there
    inputs_of: Callable[[Dataset], Dataset]
    encode: Encode

    @property
    def fingerprint(self) -> str:
        """Differs for other data, not for the same files in another folder."""
        return self.rows.fingerprint

    def open(self, position: Mapping[str, int] | None) -> Cursor:
        """Examples from a position on; None: from the start."""
        return Cursor(self, StreamPosition(**position or {}))


class Cursor:
    """Reading position of one reader of a stream."""

    def __init__(self, stream: EncodedStream, start: StreamPosition) -> None:
        self._stream = stream
        self.position = start._asdict()  # of the next row, for JSON
        self._size = 0
        self._blocks: Iterator[Block] = stream.rows.blocks(start, iter(lambda: self._size, 0))

    def read(self, num_rows: int, *, is_cancelled: Callable[[], bool]) -> tuple[int, PreparedExamples | None]:
        """The number of rows that were read, fewer only at the end, and their examples, if there are any.

        They are read and encoded in blocks of at most 1,000 rows; a cancelled reading ends after a block.
        Raises DataError naming file, row and column.
        """
        stream, batches, left = self._stream, [], num_rows
        while left and not is_cancelled():
            self._size = min(left, BLOCK_ROWS)
            if (block := next(self._blocks, None)) is None:
                break
            splits = {stream.rows.split: block.rows}
            with naming_rows(splits):
                if len(block.rows):
                    require_columns(splits, stream.kinds, whole=False)
                    inputs: Any = stream.inputs_of(block.rows).with_format(None)
                    examples = stream.encode(inputs[:])
                    batches += [record_batch(examples)] if examples else []
            left -= block.num_read
            self.position = block.end._asdict()
        prepared = PreparedExamples(batches, cache_note="from a stream") if batches else None
        return num_rows - left, prepared

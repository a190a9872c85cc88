"""Work shared by processes in parts, each written whole once: after a kill a new start goes on from them."""

import glob
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from runwright.dataset.examples import PreparedExamples
from runwright.dataset.readers.reading import in_chunks
from runwright.errors import ConfigError
from runwright.inference.load import CHUNK_RECORDS, FinishedRun, predict_records
from runwright.predictions import join, pack, unpack
from runwright.store import digest, remove_abandoned, written_whole
from runwright.trainer.evaluate import predict
from runwright.trainer.ranks import Ranks
from runwright.version import __version__

PIECE_BATCHES = 4  # of 1,000 rows, in one part of an evaluation
WEIGHTS = (".safetensors", ".onnx")

Item = TypeVar("Item")


@contextmanager
def parts_folder(target: Path, run: FinishedRun, *key: Any) -> Iterator[Path]:
    """The folder of the parts of `target`; another one where the model or the key, as JSON, is another.

    It stays where the block raises, and is removed by the first rank at the end.
    """
    files = (*Path(run.folder).glob("*"), *Path(run.folder).glob("best/*"))
    states = file_states(sorted(str(file) for file in files if file.suffix in WEIGHTS))
    hashed = digest([__version__, str(run.folder), states, *key])[:12]
    folder = target.with_name(f".{target.name}.parts-{hashed}")
    folder.mkdir(parents=True, exist_ok=True)
    if not run.ranks.is_first:
        yield folder
        return
    try:
        with FileLock(folder / "lock", timeout=0):
            yield folder
            shutil.rmtree(folder)
        for other in target.parent.glob(f".{glob.escape(target.name)}.parts-*"):  # of other keys, killed
            with suppress(Timeout, OSError), FileLock(other / "lock", timeout=0):
                shutil.rmtree(other)
        remove_abandoned(target)  # of a killed one, of which a process may have lived until now
    except Timeout as error:
        problem = "given while another command writes it, expected another output, or to wait for its end"
        raise ConfigError(f"{target}: {problem}") from error


def file_states(files: Iterable[str]) -> list[Any]:
    """Name, size and time of the local files, to see later whether one has changed."""
    states = [(name, Path(name).stat()) for name in files if Path(name).is_file()]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]


def shared(
    folder: Path, items: Iterable[Item], make: Callable[[int, Item], bytes], *, ranks: Ranks
) -> Iterator[Path]:
    """On the first rank the file of every item, in order; each rank makes its share of those not there yet.

    Nobody sends or waits but the first one: its launcher ends it where another rank fails.
    """
    # By an earlier start; the first rank may be done with them, and remove them, before a slower one is.
    count, made_before = 0, {*folder.iterdir()}
    for count, item in enumerate(items, start=1):
        file = folder / f"{count:08d}"
        if count % ranks.num_ranks == ranks.rank and file not in made_before:
            with written_whole(file) as unfinished:
                unfinished.write_bytes(make(count - 1, item))
    for number in range(1, count + 1) if ranks.is_first else ():
        while not (file := folder / f"{number:08d}").exists():
            time.sleep(0.05)
        yield file


def evaluate_in_parts(target: Path, run: FinishedRun, examples: PreparedExamples, *key: Any) -> Any:
    """Predictions of the examples by all ranks, on the first one; None on the others."""
    alone = replace(run.ranks, rank=0, num_ranks=1)
    options: Any = {"max_tokens": run.options.evaluate_tokens, "all_ids": examples.example_ids}

    def make(_: int, piece: PreparedExamples) -> bytes:
        return pack(predict(run.model, run.task, piece, ranks=alone, speed=run.speed, **options))

    with parts_folder(target, run, *key) as folder:
        files = shared(folder, examples.pieces(PIECE_BATCHES), make, ranks=run.ranks)
        parts = [unpack(run.task.prediction_type, file.read_bytes()) for file in files]
    return join(parts) if parts else None


def predict_in_parts(
    run: FinishedRun,
    records: Iterable[dict[str, Any]],
    folder: Path,
    *,
    all_scores: bool,
    on_progress: Callable[[int], None],
) -> Iterator[dict[str, Any]]:
    """`predict_records` by all ranks, on the first one; the others get nothing."""
    alone = replace(run, ranks=replace(run.ranks, rank=0, num_ranks=1))

    def make(number: int, chunk: list[dict[str, Any]]) -> bytes:
        first = number * CHUNK_RECORDS
        on_progress(first)
        rows = predict_records(alone, chunk, all_scores=all_scores, first=first)
        return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode()

    for file in shared(folder, in_chunks(records, CHUNK_RECORDS), make, ranks=run.ranks):
        with file.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)

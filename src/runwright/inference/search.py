"""An index over the texts of a file by the vectors of a run, and the texts nearest to a query.

The folder of an index holds `vectors.npy` [N, D] float32, `texts.arrow` (each text with its row in the file;
blank ones are left out) and `index.json` (file, run and model). It appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from runwright.errors import CheckpointError, ConfigError, DataError
from runwright.inference import load
from runwright.inference.load import FinishedRun
from runwright.inference.records import in_chunks, texts_of
from runwright.report.progress import Progress
from runwright.runs.folder import read_run
from runwright.store import digest, file_sha256, folder_whole, write_json

VECTORS, TEXTS, ABOUT = "vectors.npy", "texts.arrow", "index.json"
FORMAT = 4
MODEL_FILES = ("best/**/*", "task.json", "config.yaml")  # of a run's folder: its vectors depend on them
SCHEMA = pa.schema({"id": pa.int64(), "text": pa.string()})


class Index:
    """An index that was opened, with the run that made it."""

    def __init__(self, folder: Path, *, run: Path | None = None, device: str | None = None) -> None:
        """`run` is where the run's folder is now, if it was moved. Raises CheckpointError if it changed."""
        about = read_about(folder)
        run_folder = run or Path(about["run_folder"])
        self.run = _embedder(run_folder, device=device)
        if model_hash(run_folder) != about["model_hash"]:
            problem = f"made with another model than run {run_folder} has now; its vectors do not fit"
            command = f"runwright search index {run_folder} {about['file']} --output NEW_FOLDER"
            raise CheckpointError(f"{folder}: {problem}. Make it again: {command}")
        self._rows = Dataset.from_file(str(folder / TEXTS))
        self._vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        if not len(self._rows) == len(self._vectors) == about["texts"]:
            raise DataError("texts and vectors differ in number; make the index again", file=str(folder))

    def query(self, texts: Sequence[str], *, k: int) -> list[list[dict[str, Any]]]:
        """The `k` texts most similar to each query, best first: rank from 1, score, id, text.

        The score is the inner product of the vectors, the id the row in the file, from 0.
        """
        products = embed(self.run, texts) @ self._vectors.T
        indices = np.argsort(-products, kind="stable")[:, :k]
        scores, hits = np.take_along_axis(products, indices, axis=1), []
        for row_scores, row_indices in zip(scores.tolist(), indices.tolist(), strict=True):
            rows = self._rows[row_indices]
            best = enumerate(zip(row_scores, rows["id"], rows["text"], strict=True), start=1)
            hits.append([{"rank": n, "score": round(s, 6), "id": i, "text": t} for n, (s, i, t) in best])
        return hits


def make_index(
    run_folder: Path,
    file: str,
    output: Path,
    *,
    reading: Mapping[str, str | None],
    text_column: str | None,
    device: str | None,
) -> dict[str, Any]:
    """Encode the texts of a file block by block and write their index; returns its `index.json`."""
    if output.exists():
        raise ConfigError(f"--output: {output} exists already; name another folder")
    run = _embedder(run_folder, device=device)
    columns = load.choose_columns(run, [text_column] if text_column else None)
    (column,) = columns
    records = load.open_records(run, file, columns, reading)
    found = (texts_of(record, columns, row=row)[column] for row, record in enumerate(records))
    texts = ("" if text is None else str(text) for text in found)
    with folder_whole(output) as folder:
        vectors = _write_texts(run, texts, folder / TEXTS)
        if not len(vectors):
            raise DataError("there is no text in it", file=file)
        np.save(folder / VECTORS, vectors, allow_pickle=False)
        about = {
            "format": FORMAT,
            "file": file,
            "text_column": text_column or column,
            "texts": len(vectors),
            "dimension": vectors.shape[1],
            "normalized": run.task.normalize,
            "run_id": read_run(run_folder)["run_id"],
            "run_folder": str(run_folder.resolve()),
            "model_hash": model_hash(run_folder),
        }
        write_json(folder / ABOUT, about)
    return about


def _write_texts(run: FinishedRun, texts: Iterable[str], file: Path) -> np.ndarray:
    """Write all but blank texts with their rows; returns their vectors [N, D] float32."""
    vectors = [np.zeros((0, 0), dtype=np.float32)]
    num_read = 0
    with (
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_stream(sink, SCHEMA) as writer,
        Progress(enabled=True) as progress,
        progress.counting("index") as on_progress,
    ):
        for chunk in in_chunks(enumerate(texts), load.CHUNK_RECORDS):
            num_read += len(chunk)
            filled = [(row, text) for row, text in chunk if text.strip()]
            if filled:
                vectors.append(embed(run, [text for _, text in filled]))
                writer.write_batch(pa.record_batch(list(zip(*filled, strict=True)), schema=SCHEMA))
            on_progress(num_read)
    return np.concatenate(vectors[1:] or vectors)


def embed(run: FinishedRun, texts: Sequence[str]) -> np.ndarray:
    """Vectors [N, D] float32 of texts."""
    predictions = load.predict_chunk(run, [{run.task.text_columns[0]: text} for text in texts])
    return np.ascontiguousarray(predictions.vectors[:, 0])


def read_about(folder: Path) -> dict[str, Any]:
    """The description of an index, its `index.json`; raises DataError where a folder is none."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        hint = "expected a folder that `runwright search index RUN FILE --output FOLDER` made"
        raise DataError(f"no index: {hint}", file=str(folder)) from error
    if about.get("format") != FORMAT:
        raise DataError(f"an index of format {about.get('format')}, expected {FORMAT}", file=str(folder))
    return about


def model_hash(run_folder: Path) -> str:
    """A hash of all that the vectors of a run depend on: weights, tokenizer, pooling."""
    files = sorted(file for pattern in MODEL_FILES for file in run_folder.glob(pattern) if file.is_file())
    return digest({file.relative_to(run_folder).as_posix(): file_sha256(file) for file in files})


def _embedder(folder: Path, *, device: str | None) -> FinishedRun:
    run = load.load_run(folder, device=device)
    if not run.task.embeds_texts:
        raise ConfigError(f"run {folder}: its task is {type(run.task).__name__}, expected sentence_embedding")
    return run

"""An index over the texts of a file by the vectors of a run, and the texts nearest to a query.

The folder of an index holds `vectors.faiss`, `texts.jsonl`, `offsets.npy` (where each text begins) and
`index.json` (what made it). It appears whole or not at all. A blank text keeps its place and has no vector.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runwright.errors import CheckpointError, ConfigError, DataError
from runwright.inference.load import CHUNK_RECORDS, FinishedRun, load_run, predict_chunk
from runwright.inference.records import dialects_of, in_chunks, read_records
from runwright.report.progress import Progress
from runwright.runs.folder import read_run

VECTORS, TEXTS, OFFSETS, ABOUT = "vectors.faiss", "texts.jsonl", "offsets.npy", "index.json"
FORMAT = 1
MADE_BY = ("best", "task.json", "config.yaml")  # of a run's folder: what its vectors depend on
NEIGHBORS = 32  # of a node in an HNSW graph: the usual choice

Kind = Literal["flat", "hnsw"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A text that was found."""

    rank: int  # from 1
    score: float  # inner product with the query; of vectors of length one the cosine
    id: int  # place in the file, from 0
    text: str


class Index:
    """An index that was opened, with the run that made it."""

    def __init__(self, folder: Path, *, run: Path | None = None, device: str | None = None) -> None:
        """`run` is where the run's folder is now, if it was moved. Raises CheckpointError if it changed."""
        faiss = _faiss()
        self.folder = folder
        self.about = read_about(folder)
        found = run or Path(self.about["run_folder"])
        self.run = _embedder(found, device=device)
        if model_hash(found) != self.about["model_hash"]:
            raise CheckpointError(
                f"{folder}: made with another model than run {found} has now; its vectors do not fit. "
                f"Make it again: runwright search index {found} {self.about['file']} --output NEW_FOLDER"
            )
        self._vectors = faiss.read_index(str(folder / VECTORS))
        self._offsets = np.load(folder / OFFSETS, allow_pickle=False)
        if not len(self._offsets) >= self._vectors.ntotal == self.about["texts"]:
            raise DataError("its parts do not belong together; make it again", file=str(folder))

    def query(self, texts: Sequence[str], *, k: int) -> list[list[Hit]]:
        """The `k` texts most similar to each query, best first."""
        scores, places = self._vectors.search(embed(self.run, texts), min(k, self._vectors.ntotal))
        with (self.folder / TEXTS).open("rb") as stream:
            return [
                [
                    Hit(rank=rank, score=float(score), id=int(place), text=self._text(stream, int(place)))
                    for rank, (score, place) in enumerate(zip(*row, strict=True), start=1)
                    if place >= 0  # a graph may find fewer
                ]
                for row in zip(scores, places, strict=True)
            ]

    def _text(self, stream: Any, place: int) -> str:
        stream.seek(int(self._offsets[place]))
        return json.loads(stream.readline())


def make_index(
    run_folder: Path,
    file: str,
    output: Path,
    *,
    input_format: str | None,
    text_column: str | None,
    kind: Kind,
    device: str | None,
    delimiter: str | None = None,
    quote: str | None = None,
) -> dict[str, Any]:
    """Encode the texts of a file block by block; what `index.json` says of them.

    flat: exact, all vectors are compared; hnsw: a graph, faster for millions of texts, may miss some.
    """
    faiss = _faiss()
    if output.exists():
        raise ConfigError(f"--output: {output} exists already; name another folder")
    run = _embedder(run_folder, device=device)
    column = text_column or run.task.text_columns[0]
    dialects = dialects_of(run.config["dataset"], delimiter=delimiter, quote=quote)
    columns = {column: (column,)}
    records = read_records(file, columns=columns, format_name=input_format, dialects=dialects)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        vectors, offsets = _fill(faiss, run, ("" if r[column] is None else str(r[column]) for r in records),
                                 partial / TEXTS, kind)  # fmt: skip
        if vectors is None:
            raise DataError("there is no text in it", file=file)
        faiss.write_index(vectors, str(partial / VECTORS))
        np.save(partial / OFFSETS, np.array(offsets, dtype=np.int64), allow_pickle=False)
        about = {
            "format": FORMAT, "file": file, "text_column": column, "texts": vectors.ntotal, "kind": kind,
            "dimension": vectors.d, "normalized": run.task.normalize,
            "run_id": read_run(run_folder)["run_id"], "run_folder": str(run_folder.resolve()),
            "model_hash": model_hash(run_folder),
        }  # fmt: skip
        (partial / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return about


def _fill(
    faiss: Any, run: FinishedRun, texts: Iterable[str], file: Path, kind: Kind
) -> tuple[Any, list[int]]:
    """The index of all but blank texts, and where each text begins in `file`, where they are JSON lines."""
    vectors: Any = None
    offsets: list[int] = []
    records = ({"text": text} for text in texts)
    with (
        file.open("wb") as stream,
        Progress(enabled=True) as progress,
        progress.counting("index") as on_progress,
    ):
        for chunk in in_chunks(records, CHUNK_RECORDS):
            filled = [row for row, record in enumerate(chunk) if record["text"].strip()]
            if filled:
                found = embed(run, [chunk[row]["text"] for row in filled])
                if vectors is None:
                    vectors = faiss.IndexIDMap2(_new_index(faiss, found.shape[1], kind))
                vectors.add_with_ids(found, len(offsets) + np.array(filled, dtype=np.int64))
            for record in chunk:
                offsets.append(stream.tell())
                stream.write(json.dumps(record["text"], ensure_ascii=False).encode() + b"\n")
            on_progress(len(offsets))
    return vectors, offsets


def _new_index(faiss: Any, dimension: int, kind: Kind) -> Any:
    if kind == "flat":
        return faiss.IndexFlatIP(dimension)
    return faiss.IndexHNSWFlat(dimension, NEIGHBORS, faiss.METRIC_INNER_PRODUCT)


def embed(run: FinishedRun, texts: Sequence[str]) -> np.ndarray:
    """Vectors [N, D] float32 of texts."""
    found = predict_chunk(run, [{run.task.text_columns[0]: text} for text in texts])
    return np.ascontiguousarray(found.vectors[:, 0])


def read_about(folder: Path) -> dict[str, Any]:
    """What made an index; raises DataError where a folder is none."""
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
    digest = hashlib.sha256()
    for name in MADE_BY:
        part = run_folder / name
        for file in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if file.is_file():
                digest.update(f"{file.relative_to(run_folder)}\0".encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def as_json(query: str, hits: Sequence[Hit]) -> Mapping[str, Any]:
    """One query and what was found, for JSON."""
    found = [{"rank": h.rank, "score": round(h.score, 6), "id": h.id, "text": h.text} for h in hits]
    return {"query": query, "hits": found}


def _embedder(folder: Path, *, device: str | None) -> FinishedRun:
    run = load_run(folder, device=device)
    if not run.task.embeds_texts:
        raise ConfigError(f"run {folder}: its task is {type(run.task).__name__}, expected sentence_embedding")
    return run


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError("search needs faiss: pip install 'runwright[search]'") from error
    return faiss

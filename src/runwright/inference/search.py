"""An index over the texts of a file by the vectors of a run, the texts nearest to a query, and a map of all.

The folder of an index holds `vectors.npy` [N, D] float32, `texts.parquet` (each text with the number and the
JSON of its row in the file; blank ones are left out) and `index.json` (file and run). It appears whole or not
at all.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runwright.dataset.readers.reading import in_chunks
from runwright.errors import ConfigError, DataError
from runwright.inference import load
from runwright.inference.load import FinishedRun
from runwright.inference.records import Records, texts_of
from runwright.predictions import evenly_spaced
from runwright.report.page import charts, document
from runwright.report.progress import Progress
from runwright.report.terminal import shorten
from runwright.runs.folder import read_run, resolve_run
from runwright.store import folder_whole, write_json, write_text

VECTORS, TEXTS, ABOUT = "vectors.npy", "texts.parquet", "index.json"
MAX_COLOURS = 8


class Index:
    """An index that was opened; raises DataError where a folder is none."""

    def __init__(self, folder: Path) -> None:
        try:
            self.about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self.texts = pq.read_table(folder / TEXTS, memory_map=True)
            self.vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            hint = "expected a folder that `runwright search index RUN FILE --output FOLDER` made"
            raise DataError(f"no index: {hint}", file=str(folder)) from error

    def open_run(self, run: Path | None, *, device: str | None) -> FinishedRun:
        """The run that made it; `run` is where its folder is now, if it was moved out of outputs/."""
        folder = run or Path(self.about["run_folder"])
        folder = folder if folder.is_dir() else resolve_run(self.about["run_id"])
        if (run_id := read_run(folder)["run_id"]) != self.about["run_id"]:
            made = f"the index was made with run {self.about['run_id']}"
            raise ConfigError(f"--run: given run {run_id}, and {made}; expected that one, or a new index")
        return _embedder(folder, device=device)

    def query(self, vector: np.ndarray, *, k: int) -> list[dict[str, Any]]:
        """The `k` texts most similar to a vector [D], best first: rank from 1, score, id, text.

        The score is the inner product of the vectors, the id the row in the file, from 0.
        """
        products = self.vectors @ vector
        best = np.argsort(-products, kind="stable")[:k]
        hits = self.texts.select(["id", "text"]).take(pa.array(best)).to_pylist()
        scores = [round(score, 6) for score in products[best].tolist()]
        ranked = enumerate(zip(scores, hits, strict=True), start=1)
        return [{"rank": rank, "score": score, **hit} for rank, (score, hit) in ranked]


def make_index(
    run_folder: Path,
    file: str,
    output: Path,
    *,
    reading: Mapping[str, str | None],
    text_column: str | None,
    device: str | None,
) -> int:
    """Encode the texts of a file block by block and write their index; returns their number."""
    if output.exists():
        raise ConfigError(f"--output: {output} exists already; name another folder")
    run = replace(_embedder(run_folder, device=device), text_columns=text_column and [text_column])
    (column,) = run.columns
    records = Records(file, dataset=run.config["dataset"], columns=run.columns, **reading)
    vectors: list[np.ndarray] = []
    filled: list[dict[str, Any]] = []
    with Progress(enabled=True) as progress, progress.counting("index") as on_progress:
        for chunk in in_chunks(enumerate(records), load.CHUNK_RECORDS):
            texts = [(row, texts_of(record, run.columns, row=row)[column], record) for row, record in chunk]
            rows = [
                {"id": row, "text": str(text), "row": json.dumps(record, default=str)}
                for row, text, record in texts
                if text is not None and str(text).strip()
            ]
            if rows:
                vectors.append(embed(run, [row["text"] for row in rows]))
            filled += rows
            on_progress(chunk[-1][0] + 1)
    if not filled:
        raise DataError("there is no text in it", file=file)
    with folder_whole(output) as folder:
        np.save(folder / VECTORS, np.concatenate(vectors), allow_pickle=False)
        pq.write_table(pa.Table.from_pylist(filled), folder / TEXTS)
        run_id = read_run(run_folder)["run_id"]
        write_json(folder / ABOUT, {"file": file, "run_id": run_id, "run_folder": str(run_folder.resolve())})
    return len(filled)


def embed(run: FinishedRun, texts: Sequence[str]) -> np.ndarray:
    """Vectors [N, D] float32 of texts."""
    predictions = load.predict_chunk(run, [run.cleaned({run.task.text_columns[0]: text}) for text in texts])
    return predictions.vectors[:, 0]


def _embedder(folder: Path, *, device: str | None) -> FinishedRun:
    run = load.load_run(folder, device=device)
    if not run.task.embeds_texts:
        raise ConfigError(f"run {folder}: its task is {type(run.task).__name__}, expected sentence_embedding")
    return run


def write_map(index: Index, output: Path, *, colour: str | None) -> None:
    """A page with a point for each text on the axes of largest variance, coloured by a column."""
    about, total = index.about, len(index.texts)
    shown = evenly_spaced(total, charts.MAX_POINTS)
    points, shares = principal_components(np.asarray(index.vectors), count=2)
    data: dict[str, Any] = {
        "px": points[shown, 0].tolist(),
        "py": points[shown, 1].tolist(),
        "x": f"first component, {shares[0]:.1%} of the variance",
        "y": f"second component, {shares[1]:.1%}",
        "texts": [shorten(index.texts["text"][row].as_py(), charts.MAX_TEXT) for row in shown.tolist()],
    }
    if colour is not None:
        ids, rows = (index.texts[name].to_pylist() for name in ("id", "row"))
        records = zip(ids, map(json.loads, rows), strict=True)
        values = [str(texts_of(record, {colour: [colour]}, row=row)[colour]) for row, record in records]
        names = [name for name, _ in Counter(values).most_common()]
        if len(names) > MAX_COLOURS:
            names = [*names[: MAX_COLOURS - 1], "others"]
        groups = {name: number for number, name in enumerate(names)}
        data["groups"] = names
        data["group"] = [groups.get(values[row], len(names) - 1) for row in shown.tolist()]
    title = f"Map of {total:,} texts"
    drawn = f"{len(shown):,} of them drawn" if len(shown) < total else ""
    chart = document.Chart(kind="scatter", title=title, about=drawn, data=data)
    lines = [f"{about['file']}, vectors of run {about['run_id']}"]
    section = document.Section("map", "Principal components", [[chart]])
    write_text(output, document.render([section], title=title, heading=title, lines=lines))


def principal_components(vectors: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates [N, count] of vectors [N, D] on the axes of largest variance and the shares of these in it.

    The largest coefficient of an axis is positive, so that the same vectors always give the same picture.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    variances, axes = variances[::-1][:count] / max(variances.sum(), 1e-300), axes[:, ::-1][:, :count]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return centred @ (axes * signs), variances

"""A map of an index: a page with a point for each text, on the two axes on which vectors differ most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from runwright.inference.records import Records
from runwright.inference.search import TEXTS, VECTORS, read_about
from runwright.predictions import evenly_spaced
from runwright.report.page import charts, document
from runwright.report.terminal import shorten
from runwright.runs.folder import read_saved

MAX_COLOURS = 8


def write_map(
    folder: Path, output: Path, *, colour: str | None, run: Path | None, reading: Mapping[str, str | None]
) -> None:
    """Draw the texts of an index, each in the colour of its value in a column of the file it was made of."""
    about = read_about(folder)
    rows, vectors = Dataset.from_file(str(folder / TEXTS)), np.load(folder / VECTORS, allow_pickle=False)
    shown = evenly_spaced(len(vectors), charts.MAX_POINTS)
    points, shares = principal_components(vectors, count=2)
    data: dict[str, Any] = {
        "px": points[shown, 0].tolist(),
        "py": points[shown, 1].tolist(),
        "x": f"first component, {shares[0]:.1%} of the variance",
        "y": f"second component, {shares[1]:.1%}",
        "texts": [shorten(text, charts.MAX_TEXT) for text in rows.select(shown)["text"]],
    }
    if colour is not None:
        dataset = read_saved(run or Path(about["run_folder"]))["dataset"]
        options: dict[str, Any] = dict(reading)
        records = Records(about["file"], dataset=dataset, columns={colour: [colour]}, **options)
        values = [str(record[colour]) for record in records]
        names = [name for name, _ in Counter(values).most_common()]
        if len(names) > MAX_COLOURS:
            names = [*names[: MAX_COLOURS - 1], "others"]
        groups = {name: number for number, name in enumerate(names)}
        data["groups"] = names
        data["group"] = [groups.get(values[row], len(names) - 1) for row in rows.select(shown)["id"]]
    title = f"Map of {len(vectors):,} texts"
    lines = f"{len(shown):,} of them drawn" if len(shown) < len(vectors) else ""
    chart = document.Chart(kind="scatter", title=title, about=lines, data=data)
    page = document.Page(
        title=title,
        heading=title,
        lines=[f"{about['file']}, vectors of run {about['run_id']}"],
        sections=[document.Section("map", "Principal components", [[chart]])],
    )
    document.save(document.render(page), output)


def principal_components(vectors: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates [N, count] of vectors [N, D] on the axes of largest variance and the shares of these in it.

    The largest coefficient of an axis is positive, so that the same vectors always give the same picture.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    variances, axes = variances[::-1][:count] / max(variances.sum(), 1e-300), axes[:, ::-1][:, :count]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return centred @ (axes * signs), variances

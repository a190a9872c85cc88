"""Predictions from any input to any output, piece by piece."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from runwright.errors import ConfigError
from runwright.inference.hypotheses import Hypotheses
from runwright.inference.load import choose_columns, load_run, predict_records
from runwright.inference.records import dialects_of, read_records, texts_as_records
from runwright.report.progress import Progress
from runwright.report.tables import RecordWriter, csv_columns


class VectorWriter:
    """Collects the vectors of records; `close` writes them as one array [N, D] float32."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._vectors: list[np.ndarray] = []

    def write(self, record: Mapping[str, Any]) -> None:
        """One record; raises ConfigError where its prediction is no vector."""
        vector = record["prediction"]
        if not (isinstance(vector, list) and vector and all(isinstance(each, float) for each in vector)):
            raise ConfigError("--output: a .npy file takes vectors, which task=sentence_embedding predicts")
        self._vectors.append(np.array(vector, dtype="<f4"))

    def close(self) -> None:
        """Write the file."""
        vectors = np.stack(self._vectors) if self._vectors else np.zeros((0, 0), dtype="<f4")
        np.save(self._stream, vectors, allow_pickle=False)


def predict_to_stream(
    folder: Path,
    *,
    texts: Sequence[str],
    file: str | None,
    input_format: str | None,
    text_columns: Sequence[str] | None,
    output: Path | None,
    output_format: str,
    all_scores: bool,
    device: str | None,
    hypotheses: Hypotheses | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
) -> int:
    """Predict texts, a file or standard input with the run in `folder`; how many records were written."""
    run = load_run(folder, device=device, hypotheses=hypotheses)
    columns = choose_columns(run.task, text_columns)
    dialects = dialects_of(run.config["dataset"], delimiter=delimiter, quote=quote)
    read = partial(read_records, file, columns=columns, format_name=input_format, dialects=dialects)
    records = texts_as_records(texts, columns) if texts else read()
    header = ()
    if output_format == "csv" and file not in (None, "-"):  # read twice: any record may have one more
        header = csv_columns(read())
    count = 0
    with (
        _opened_writer(output, output_format, header) as writer,
        Progress(enabled=output is not None) as progress,
        progress.counting("predict") as on_progress,
    ):
        predicted = predict_records(
            run, records, all_scores=all_scores, columns=columns, on_progress=on_progress
        )
        for record in predicted:
            writer.write(record)
            count += 1
    return count


@contextmanager
def _opened_writer(
    output: Path | None, output_format: str, columns: Sequence[str]
) -> Iterator[RecordWriter | VectorWriter]:
    """To standard output, or a file that appears under its name only when it is whole."""
    if output is None:
        if output_format == "npy":
            raise ConfigError("--output: given nothing, expected a file for the vectors")
        yield RecordWriter(sys.stdout, format_name=output_format, columns=columns)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    try:
        if output_format == "npy":
            with partial.open("wb") as stream:
                vectors = VectorWriter(stream)
                yield vectors
                vectors.close()
        else:
            with partial.open("w", encoding="utf-8", newline="") as stream:
                yield RecordWriter(stream, format_name=output_format, columns=columns)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)

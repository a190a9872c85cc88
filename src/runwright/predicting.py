"""Predictions from any input to any output, piece by piece."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError
from runwright.hypotheses import Hypotheses
from runwright.inference import load_run, predict_records
from runwright.records import RecordWriter, csv_columns, read_records, texts_as_records
from runwright.report.progress import Progress
from runwright.vector_file import VectorWriter


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
) -> int:
    """Predict texts, a file or standard input with the run in `folder`; how many records were written."""
    run = load_run(folder, device=device, hypotheses=hypotheses)
    wanted = run.task.text_columns
    given = tuple(text_columns or wanted)
    if len(given) != len(wanted):
        raise ConfigError(f"--text-column: given {len(given)}, expected {len(wanted)}: {', '.join(wanted)}")
    records = (
        texts_as_records(texts, given)
        if texts
        else read_records(file, columns=given, format_name=input_format)
    )
    columns = ()
    if output_format == "csv" and file not in (None, "-"):  # read twice: any record may have one more
        columns = csv_columns(read_records(file, columns=given, format_name=input_format))
    renamed = ({**record, **_as_trained(record, given, wanted)} for record in records)
    count = 0
    with (
        _opened_writer(output, output_format, columns) as writer,
        Progress(enabled=output is not None) as progress,
        progress.counting("predict") as on_progress,
    ):
        for record in predict_records(run, renamed, all_scores=all_scores, on_progress=on_progress):
            extra = [name for name in wanted if name not in given]
            writer.write({name: value for name, value in record.items() if name not in extra})
            count += 1
    return count


def _as_trained(record: dict[str, Any], given: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    return {name: record[column] for column, name in zip(given, wanted, strict=True)}


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

"""Predictions from any input to any output, record by record."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from runwright.errors import ConfigError
from runwright.inference.load import choose_columns, load_run, open_records, predict_records, strategy_of
from runwright.inference.logits import keeping_logits
from runwright.inference.records import OBJECTS, as_records, texts_of
from runwright.inference.stream import chat, stream_text
from runwright.report.page.marks import predictions_page
from runwright.report.progress import Progress
from runwright.report.tables import RecordWriter, csv_columns
from runwright.store import written_whole
from runwright.types import Hypotheses


def predict_to_stream(
    folder: Path,
    *,
    texts: Sequence[str],
    file: str | None,
    reading: Mapping[str, str | None],
    text_columns: Sequence[str] | None,
    output: Path | None,
    output_format: str | None,
    all_scores: bool,
    device: str | None,
    hypotheses: Hypotheses | None = None,
    generation: Sequence[str] = (),
    logits: Path | None = None,
) -> int:
    """Predict texts, a file or standard input with the run in `folder`; returns the number of records.

    `generation` are overrides of how texts are generated, `logits` is a file for the raw outputs. One prompt
    is answered by its text alone, token by token, unless a format is asked for.
    """
    if output is None and output_format == "npy":
        raise ConfigError("--output: given nothing, expected a file for the vectors")
    strategy = strategy_of(folder, generation)
    run = load_run(folder, device=device, hypotheses=hypotheses, generation=strategy)
    columns = choose_columns(run, text_columns)
    if any(OBJECTS.match(text.encode("utf-8", "replace")) for text in texts):
        print("arguments: JSON is predicted as a text; records come by --file or input", file=sys.stderr)
    records: Iterable[dict[str, Any]] = as_records(texts, columns, file="arguments")
    if len(texts) == 1 and strategy and not output and not output_format and not _gives_several(strategy):
        for record in records:
            stream_text(run, texts_of(record, columns, row=0), sys.stdout)
        return 1
    output_format = output_format or "jsonl"
    if not texts:
        records = open_records(run, file, columns, reading)
        inputs = [0] if file in (None, "-") else list(filter(os.path.exists, records.files))
        if output and output.is_file() and any(os.path.samefile(each, output) for each in inputs):  # noqa: PTH121 - a descriptor is no Path
            raise ConfigError(f"--output: given {str(output)!r}, which is the input; expected another file")
    # Read twice: any record may have one column more.
    header = csv_columns(records) if output_format == "csv" and not texts else ()
    with (
        keeping_logits(run.task, logits),
        Progress(enabled=output is not None) as progress,
        progress.counting("predict") as on_progress,
    ):
        predicted = predict_records(
            run, records, all_scores=all_scores, columns=columns, on_progress=on_progress
        )
        if output and output_format == "npy":
            return _write_vectors(output, predicted)
        with _opened(output) as stream:
            if output_format == "html":
                rows = list(predicted)
                stream.write(predictions_page(rows, title=f"Predictions of {folder.name}"))
                return len(rows)
            writer, count = RecordWriter(stream, format_name=output_format, columns=header), 0
            for record in predicted:
                writer.write(record)
                count += 1
    return count


def converse(folder: Path, *, device: str | None, generation: Sequence[str]) -> None:
    """Answer the lines of standard input as one talk with the run in `folder`."""
    strategy = strategy_of(folder, generation)
    if strategy is None:
        raise ConfigError("--chat: the task of this run generates no texts")
    if _gives_several(strategy):
        raise ConfigError("--chat: it goes on with one answer; add --set num_return_sequences=1")
    chat(load_run(folder, device=device, generation=strategy), sys.stdin, sys.stdout)


def _gives_several(strategy: Mapping[str, Any]) -> bool:
    return strategy.get("num_return_sequences", 1) > 1


@contextmanager
def _opened(output: Path | None) -> Iterator[Any]:
    """Standard output, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout
        return
    with written_whole(output) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def _write_vectors(file: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write the predictions of records, which are vectors, as one array [N, D] float32; their number."""
    vectors = [record["predicted"] for record in records]
    if not all(isinstance(vector, list) and {*map(type, vector)} == {float} for vector in vectors):
        raise ConfigError("--output: a .npy file takes vectors, which task=sentence_embedding predicts")
    with written_whole(file) as unfinished, unfinished.open("wb") as stream:
        array = np.array(vectors, dtype="<f4").reshape(len(vectors), len(vectors[0]) if vectors else 0)
        writer: Any = SimpleNamespace(write=stream.write)  # a FIFO has no position, which np.save asks for
        np.save(writer, array, allow_pickle=False)
    return len(vectors)

"""Predictions from any input to any output, record by record."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError
from runwright.inference.load import FinishedRun, predict_records
from runwright.inference.logits import keeping_logits
from runwright.inference.parts import predict_in_parts
from runwright.inference.records import Records, as_records
from runwright.report.page.marks import predictions_page
from runwright.report.progress import Progress
from runwright.report.tables import RecordWriter, csv_columns
from runwright.store import written_whole
from runwright.task.masked_language_modeling import MaskedLanguageModeling


def open_input(
    run: FinishedRun,
    texts: Sequence[str],
    file: str | None,
    *,
    reading: Mapping[str, str | None],
    output: Path | None,
) -> Iterable[dict[str, Any]]:
    """Records of these texts, or of a file or standard input; ConfigError where the output is the input."""
    if texts:
        tell_of_masks(run, texts)
        names = [choices[-1] for choices in run.columns.values()]
        is_pair = len(texts) == len(names) > 1 and not any("\t" in text for text in texts)
        values = [dict(zip(names, texts, strict=True))] if is_pair else texts
        return [*as_records(values, run.columns, file="arguments")]
    records = Records(file, dataset=run.config["dataset"], columns=run.columns, **reading)
    if output and str(output) in map(os.path.realpath, records.files):
        raise ConfigError(f"--output: given {str(output)!r}, which is the input; expected another file")
    return records


def write_predictions(
    run: FinishedRun,
    records: Iterable[dict[str, Any]],
    output: Path | None,
    output_format: str,
    *,
    all_scores: bool,
    logits: Path | None,
    parts: Path | None = None,
) -> int:
    """Write records with their predictions to a file or standard output; returns their number.

    `logits` is a file for the raw outputs. With a folder for `parts` all ranks predict, and the first writes.
    """
    # Read twice: any record may have one column more.
    header = csv_columns(records) if output_format == "csv" and run.ranks.is_first else ()
    with (
        keeping_logits(run.task, logits),
        Progress(enabled=output is not None) as progress,
        progress.counting("predict") as on_progress,
        ExitStack() as stack,
    ):
        options: Any = {"all_scores": all_scores, "on_progress": on_progress}
        if parts:
            predicted = predict_in_parts(run, records, parts, **options)
        else:
            predicted = predict_records(run, records, **options)
        if not run.ranks.is_first:
            return len(list(predicted))
        stream: Any = sys.stdout
        if output:  # it appears under its name only when it is whole
            unfinished = stack.enter_context(written_whole(output))
            stream = stack.enter_context(unfinished.open("w", encoding="utf-8", newline=""))
        if output_format == "html":
            rows = list(predicted)
            stream.write(predictions_page(rows, title=f"Predictions of {Path(run.folder).name}"))
            return len(rows)
        mark, count = run.task.label_separator or ",", 0  # as in the data
        writer = RecordWriter(stream, format_name=output_format, columns=header, separator=mark)
        for count, record in enumerate(predicted, start=1):  # noqa: B007 - it is returned
            writer.write(record)
    return count


def tell_of_masks(run: FinishedRun, texts: Iterable[str]) -> None:
    """Say of each text with several masks to fill how they are filled."""
    for text in texts if isinstance(run.task, MaskedLanguageModeling) else ():
        if (count := text.count(run.tokenizer.mask_token)) > 1:
            print(f"{text[:60]!r} has {count} masks: each is filled alone", file=sys.stderr)

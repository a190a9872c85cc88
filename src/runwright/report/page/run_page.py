"""The page of one run: its metrics, how it got there, where it is wrong, and what it ran on."""

import math
import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from runwright.report.page import charts, document
from runwright.report.page.document import Cell, Chart, Section, Table, Text, value_text
from runwright.report.page.marks import short_cell, text_cell, texts_of
from runwright.report.page.records import RunRecord, as_number, numbers_of
from runwright.report.terminal import duration, number_text

MAX_DIFF = 60_000  # characters
MAX_WORST = 50  # of each split


def run_page(record: RunRecord) -> str:
    """The HTML of a run's page, in one file."""
    summary, best_step = record.summary, record.summary.get("best_step")
    # The page of a run is made in its last moments, when the summary has its status already.
    is_running = record.run.get("status") in ("RUNNING", "CREATED")
    status = str((summary if is_running and summary else record.run).get("status", "?"))
    curves = [
        charts.loss_chart(record.curves, best_step=best_step),
        *charts.metric_charts(record.curves, best_step=best_step),
        *charts.training_charts(record.curves),
    ]
    predictions = [_prediction_chart(record, split, rows) for split, rows in record.predictions.items()]
    sections = [
        Section("metrics", "Metrics", list(_metrics(record))),
        Section("curves", "Curves", [curves]),
        Section("predictions", "Predictions", [predictions, *_classes(record)]),
        Section("samples", "Generated texts", list(_samples(record))),
        Section("examples", "Worst examples", [_worst_examples(record)]),
        Section("data", "Data", list(_data(record))),
        Section("origin", "What ran", list(_origin(record))),
    ]
    return document.render(
        sections,
        title=f"{record.name} - Runwright",
        heading=record.name,
        status=status,
        lines=[", ".join(_facts(record))],
        error=value_text(record.run.get("error")),
    )


def _facts(record: RunRecord) -> Iterator[str]:
    summary = record.summary
    if "global_step" in summary:
        yield f"{summary['global_step']:,} steps"
    if summary.get("best_step") is not None:
        yield f"best at step {summary['best_step']:,}"
    if "all" in summary.get("seconds", {}):
        yield f"{duration(summary['seconds']['all'])} in all"
    if "samples_per_second" in (rates := summary.get("rates", {})):
        yield f"{rates['samples_per_second']:,.1f} samples/s in training"
    if record.run.get("start_time"):
        yield f"started {time.strftime('%Y-%m-%d %H:%M', time.localtime(record.run['start_time']))}"
    yield from (value_text(record.run.get(key)) for key in ("device", "host") if record.run.get(key))


def _metrics(record: RunRecord) -> Iterator[Table | Text]:
    """Metrics of the best model on each split beside published ones, then those of groups of rows."""
    references, intervals = record.summary.get("references", {}), record.summary.get("intervals", {})

    def cell(key: str) -> Cell:
        interval = intervals.get(key)
        about = f"[{number_text(interval['low'])}, {number_text(interval['high'])}]" if interval else ""
        return document.cell_of(record.metrics.get(key))._replace(about=about)

    titles = {1: "Metrics of the best model, with 95 % intervals", 2: "Metrics by group"}
    for depth, title in titles.items():
        keys = [key for key in record.metrics if key.count("/") == depth]
        splits = list(dict.fromkeys(key.partition("/")[0] for key in keys))
        names = dict.fromkeys(key.partition("/")[2] for key in keys)
        published = [name for name, values in references.items() if any(key in values for key in keys)]
        rows = [
            [name, *(cell(f"{split}/{name}") for split in splits)]
            + [references[other].get(f"{split}/{name}") for other in published for split in splits]
            for name in sorted(names, key=lambda name: (name.partition("/")[0] != record.best_metric, name))
        ]
        others = (f"{other}, {split}" for other in published for split in splits)
        yield Table(title=title, columns=["metric", *splits, *others], rows=rows)
    if notes := record.summary.get("notes"):
        yield Text(items=notes)


def _prediction_chart(record: RunRecord, split: str, rows: list[dict[str, Any]]) -> Chart | None:
    """A scatter of numbers, a confusion matrix of classes; None for anything else."""
    rows = [row for row in rows if "expected" in row and "predicted" in row]
    pairs = [(row["predicted"], row["expected"]) for row in rows]
    positions = {str(name): index for index, name in enumerate(record.task.get("label_names") or [])}
    if not pairs:
        return None
    if all(type(value) in (int, float) for pair in pairs for value in pair):
        predicted, expected = np.array(pairs, dtype=float).T
        groups = [str(row.get(record.group_column)) for row in rows] if record.group_column else None
        texts = ["\n".join(texts_of(row, [record.group_column])) for row in rows]
        return charts.scatter_chart(split, predicted, expected, texts=texts, groups=groups)
    if all(isinstance(value, str) and value in positions for pair in pairs for value in pair):
        predicted, expected = np.array([[positions[value] for value in pair] for pair in pairs]).T
        return charts.matrix_chart(split, predicted, expected, list(positions))
    return None


def _classes(record: RunRecord) -> Iterator[Table]:
    for split in reversed(record.predictions):
        if rows := record.tables.get(f"classes_{split}", []):
            title = f"Classes, {split}"
            # A class is a name even where it looks like a number.
            cells = [[name, *map(_csv_cell, values)] for name, *values in (row.values() for row in rows)]
            yield Table(title=title, columns=list(rows[0]), rows=cells, summary=title)


def _samples(record: RunRecord) -> Iterator[Table]:
    for name, rows in record.tables.items():
        if name.startswith("samples_") and rows:
            cells = [[Cell(text, kind="text") for text in row.values()] for row in rows]
            yield Table(title=f"Texts of {name[8:]}", columns=list(rows[0]), rows=cells)


def _csv_cell(text: str) -> float | str:
    return int(text) if text.isdecimal() else text if (value := as_number(text)) is None else value


def _worst_examples(record: RunRecord) -> Table:
    """The examples of each split with the highest loss, to read and to filter."""
    groups = [record.group_column] if record.group_column else []
    rows: list[list[object]] = []
    for split, examples in reversed(record.predictions.items()):
        losses = [(loss, row) for row in examples if (loss := as_number(row.get("loss"))) is not None]
        losses.sort(key=lambda pair: -math.inf if math.isnan(pair[0]) else pair[0], reverse=True)
        for loss, row in losses[:MAX_WORST]:
            text, score = text_cell(row, groups), row.get("score")
            expected, predicted = (short_cell(row.get(name)) for name in ("expected", "predicted"))
            if isinstance(score, float):
                predicted = predicted._replace(about=f"({score:.0%})")
            about = [split, *(str(row.get(group)) for group in groups), value_text(row.get("row_id"))]
            rows.append([loss, expected, predicted, text, *about])
    return Table(
        title=f"The {MAX_WORST} examples of each split with the highest loss",
        columns=["loss", "expected", "predicted", "text", "split", *groups, "row"],
        rows=rows,
        filters=["split", *groups],
    )


def _data(record: RunRecord) -> Iterator[Table | Text]:
    prints = record.data.get("fingerprints", {})
    rows = [[split, Cell(value_text(text), kind="mono")] for split, text in prints.items()]
    yield Table(title="Fingerprints of the content", columns=["split", "fingerprint"], rows=rows)
    changes = record.run.get("data_changes", [])
    rows = [[str(change["step"]), "; ".join(change["changes"])] for change in changes]
    yield Table(title="The data changed while the run went on", columns=["at step", "change"], rows=rows)
    if warnings := record.data.get("warnings", []):
        yield Text(items=warnings, summary="Warnings on the data", is_open=True)
    if notes := record.data.get("notes", []):
        yield Text(items=notes, summary=f"{len(notes)} {'notes' if len(notes) > 1 else 'note'} on the data")


def _origin(record: RunRecord) -> Iterator[Table | Text]:
    run, provenance = record.run, record.provenance
    git, packages = provenance.get("git") or {}, provenance.get("packages") or {}
    allowed = {key: value for key, value in (run.get("permissions") or {}).items() if value}
    seconds = numbers_of(record.summary.get("seconds"))
    facts = {
        "run": run.get("run_id"),
        "command": shlex.join(map(str, run.get("command") or [])),
        "overrides": " ".join(map(str, run.get("overrides") or [])),
        "git commit": git.get("commit"),
        "changed since": None if not git else "yes, see the difference" if git.get("dirty") else "no",
        "not compared": git.get("not_compared"),
        "hardware": ", ".join(_hardware(provenance.get("hardware") or {})),
        "python": (provenance.get("python") or {}).get("version"),
        "time": ", ".join(f"{stage} {duration(spent)}" for stage, spent in seconds.items()),
        "batch ledger": record.summary.get("ledger"),
        "tracked at": record.summary.get("tracked_at"),
        "permissions": ", ".join(f"{key}: {value_text(value)}" for key, value in allowed.items()),
    }
    rows = [[name, Cell(value_text(value), kind="mono")] for name, value in facts.items() if value]
    yield Table(title="Provenance", columns=["fact", "value"], rows=rows)
    diff = str(git.get("diff") or "")
    if len(diff) > MAX_DIFF:
        diff = f"{diff[:MAX_DIFF]}\n… {len(diff) - MAX_DIFF:,} characters more"
    lines = "\n".join(f"{name}=={version}" for name, version in packages.items())
    folded = {
        "Configuration": (record.folder / "config.yaml").read_text(encoding="utf-8"),
        "Difference to the commit": diff,
        f"{len(packages)} packages": lines,
    }
    yield from (Text(text=text, is_code=True, summary=title) for title, text in folded.items() if text)


def _hardware(hardware: Mapping[str, Any]) -> Iterator[str]:
    if hardware.get("cpu"):
        yield f"{hardware['cpu']}, {hardware.get('num_usable_cores', hardware.get('num_cores', '?'))} cores"
    if hardware.get("memory_bytes"):
        yield f"{hardware['memory_bytes'] / 2**30:.0f} GiB"
    yield from map(value_text, hardware.get("gpus") or [])

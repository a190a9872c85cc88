"""The page of one run: its metrics, how it got there, where it is wrong, and what it ran on."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from runwright.report.page import charts
from runwright.report.page.document import (
    Card,
    Cell,
    Chart,
    Image,
    Page,
    Section,
    Table,
    Text,
    cell_of,
    number_text,
    render,
    value_text,
)
from runwright.report.page.records import RunRecord, as_number, figures_of
from runwright.report.progress import clock

MAX_CARDS = 8
MAX_IMAGES = 8
MAX_IMAGE_BYTES = 300_000
MAX_DIFF = 60_000  # characters
MAX_WORST = 50  # of each split
MAX_TEXT = 1500
NOT_TEXT = frozenset({"row_id", "expected", "predicted", "score", "scores", "loss"})


def run_page(record: RunRecord) -> str:
    """The whole file."""
    drawn, predictions = _predictions(record)
    best = record.summary.get("best_step")
    curves = [
        charts.loss_chart(record.curves, best_step=best),
        *charts.metric_charts(record.curves, best_step=best),
        *charts.training_charts(record.curves),
    ]
    sections = [
        Section("metrics", "Metrics", _metrics(record)),
        Section("curves", "Curves", [curves]),
        Section("predictions", "Predictions", predictions),
        Section("examples", "Worst examples", [_worst_examples(record)]),
        Section("data", "Data", list(_data(record))),
        Section("images", "More plots", [_images(record, drawn)]),
        Section("origin", "What ran", list(_origin(record))),
        Section("next", "Next", _commands(record)),
    ]
    return render(
        Page(
            title=f"{record.name} - Runwright",
            heading=record.name,
            status=_status(record),
            lines=[", ".join(_facts(record))],
            error=value_text(record.run.get("error")),
            cards=list(_cards(record)),
            sections=sections,
        )
    )


def _facts(record: RunRecord) -> Iterator[str]:
    summary = record.summary
    if "global_step" in summary:
        yield f"{summary['global_step']:,} steps"
    if summary.get("best_step") is not None:
        yield f"best at step {summary['best_step']:,}"
    if summary.get("seconds", {}).get("all"):
        yield f"{clock(summary['seconds']['all'])} in all"
    if record.run.get("start_time"):
        yield f"started {time.strftime('%Y-%m-%d %H:%M', time.localtime(record.run['start_time']))}"
    yield from (value_text(record.run.get(key)) for key in ("device", "host") if record.run.get(key))


def _status(record: RunRecord) -> str:
    # The page of a run is made in its last moments, when the summary says already what it came to.
    running = record.run.get("status") in ("RUNNING", "CREATED")
    return str(record.summary.get("status") if running and record.summary else record.run.get("status", "?"))


def _cards(record: RunRecord) -> Iterator[Card]:
    """The metric that matters on each split, then other metrics of the last split, then rates."""
    whole = [key for key in record.metrics if key.count("/") == 1]
    splits = list(dict.fromkeys(key.partition("/")[0] for key in whole))
    main = [f"{split}/{record.best_metric}" for split in reversed(splits)]
    others = [key for key in whole if splits and key.startswith(f"{splits[-1]}/")]
    others.sort(key=lambda key: key.endswith("/loss"))  # it says least to a person
    keys = [key for key in dict.fromkeys([*main, *others]) if key in record.metrics]
    for key in keys[: MAX_CARDS - 2]:
        interval = record.summary.get("intervals", {}).get(key)
        about = f"{number_text(interval['low'])} to {number_text(interval['high'])}" if interval else ""
        split, _, metric = key.partition("/")
        yield Card(f"{metric}, {split}", number_text(record.metrics[key]), about, key in main[:1])
    rates = record.summary.get("rates", {})
    if "samples_per_second" in rates:
        tokens, padding = rates.get("real_tokens_per_second", 0), rates.get("padding_share", 0)
        about = f"{tokens:,.0f} tokens/s, {padding:.1%} padding"
        yield Card("samples/s in training", f"{rates['samples_per_second']:,.1f}", about)
    if record.summary.get("peak_memory_bytes"):
        yield Card("memory at most", f"{record.summary['peak_memory_bytes'] / 2**30:.2f} GiB")


def _metrics(record: RunRecord) -> list[Table | Sequence[Chart]]:
    metrics, references = record.metrics, record.summary.get("references", {})
    intervals = record.summary.get("intervals", {})
    whole = [key for key in metrics if key.count("/") == 1]
    if not whole:
        return []
    splits = list(dict.fromkeys(key.partition("/")[0] for key in whole))
    published = [name for name, values in references.items() if any(key in values for key in whole)]

    def cell(key: str) -> Cell:
        interval = intervals.get(key)
        about = f"[{number_text(interval['low'])}, {number_text(interval['high'])}]" if interval else ""
        return cell_of(metrics.get(key))._replace(about=about)

    rows = [
        [name, *(cell(f"{split}/{name}") for split in splits)]
        + [references[other].get(f"{split}/{name}") for other in published for split in splits]
        for name in dict.fromkeys(key.partition("/")[2] for key in whole)
    ]
    columns = ["metric", *splits, *(f"{other}, {split}" for other in published for split in splits)]
    title = "Metrics of the best model, with 95 % intervals"
    # The groups of one split: the last one is the one to report.
    groups = (charts.group_charts(metrics, intervals, references, split=split) for split in reversed(splits))
    return [Table(title=title, columns=columns, rows=rows), next(filter(None, groups), [])]


def _predictions(record: RunRecord) -> tuple[set[str], list[Table | Sequence[Chart]]]:
    """The stems of the images that need not be shown again, and the charts and tables of classes."""
    of_splits = {split: _prediction_chart(record, split, each) for split, each in record.predictions.items()}
    shown = {split: chart for split, chart in of_splits.items() if chart is not None}
    tables = []
    for split in reversed(record.predictions):
        rows = record.class_tables.get(split, [])
        if rows:
            columns, title = list(rows[0]), f"Classes, {split}"
            # A class is a name even where it looks like a number.
            cells = [
                [row.get(columns[0], ""), *(_csv_cell(row.get(name, "")) for name in columns[1:])]
                for row in rows
            ]
            tables.append(Table(title=title, columns=columns, rows=cells, summary=title if tables else ""))
    drawn = {f"{kind}_{split}" for split in shown for kind in ("regression", "confusion")}
    return drawn, [list(shown.values()), *tables]


def _csv_cell(text: str) -> float | str:
    value = as_number(text)
    if value is None:
        return text
    return int(value) if value.is_integer() and "." not in text else value


def _prediction_chart(record: RunRecord, split: str, records: list[dict[str, Any]]) -> Chart | None:
    records = [each for each in records if "expected" in each and "predicted" in each]
    values = [(each["predicted"], each["expected"]) for each in records]
    if not values:
        return None
    if all(_is_number(value) for pair in values for value in pair):
        predicted, expected = np.array(values, dtype=float).T
        groups = [str(each.get(record.group_column)) for each in records] if record.group_column else None
        texts = [_text_of(record, each) for each in records]
        return charts.scatter_chart(split, predicted, expected, texts=texts, groups=groups)
    names = [str(name) for name in record.task.get("label_names") or []]
    known = set(names)
    if all(isinstance(value, str) and value in known for pair in values for value in pair):
        predicted, expected = zip(*values, strict=True)
        return charts.matrix_chart(split, predicted, expected, names)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _worst_examples(record: RunRecord) -> Table:
    """The examples of each split with the highest loss, to read and to filter."""
    groups = [record.group_column] if record.group_column else []
    rows: list[list[object]] = []
    for split, records in reversed(record.predictions.items()):
        known = [each for each in records if as_number(each.get("loss")) is not None]
        for each in sorted(known, key=_loss, reverse=True)[:MAX_WORST]:
            text, score = _text_of(record, each), each.get("score")
            if len(text) > MAX_TEXT:
                text = f"{text[:MAX_TEXT]} … ({len(text):,} characters)"
            loss, expected, predicted = (_short(each.get(name)) for name in ("loss", "expected", "predicted"))
            if isinstance(score, float):
                predicted = predicted._replace(about=f"({score:.0%})")
            about = [split, *(str(each.get(group)) for group in groups), value_text(each.get("row_id"))]
            rows.append([loss, expected, predicted, Cell(text, kind="text"), *about])
    return Table(
        title=f"The {MAX_WORST} examples of each split with the highest loss",
        columns=["loss", "expected", "predicted", "text", "split", *groups, "row"],
        rows=rows,
        filters=["split", *groups],
    )


def _loss(example: dict[str, Any]) -> float:
    value = as_number(example.get("loss"))
    return -math.inf if value is None or math.isnan(value) else value


def _short(value: object) -> Cell:
    cell = cell_of(value)
    return cell._replace(text=f"{cell.text[:300]}…") if len(cell.text) > 300 else cell


def _text_of(record: RunRecord, example: dict[str, Any]) -> str:
    """The texts of an example, one after the other."""
    names = [name for name in example if name not in NOT_TEXT and name != record.group_column]
    texts = (example[name] for name in names)
    return "\n".join(value_text(text) for text in texts if isinstance(text, str | list) and text)


def _data(record: RunRecord) -> Iterator[Table | Text | list[Chart | None]]:
    yield [charts.lengths_chart(record.numbers), charts.classes_chart(record.numbers)]
    prints = record.data.get("fingerprints", {})
    if prints:
        rows = [[split, Cell(value_text(text), kind="mono")] for split, text in prints.items()]
        yield Table(title="Fingerprints of the content", columns=["split", "fingerprint"], rows=rows)
    changes = record.run.get("data_changes", [])
    if changes:
        rows = [[str(change["step"]), "; ".join(change["changes"])] for change in changes]
        columns = ["at step", "what"]
        yield Table(title="The data changed while the run went on", columns=columns, rows=rows)
    notes = record.data.get("notes", [])
    if notes:
        yield Text(items=notes, summary=f"{len(notes)} note{'s' * (len(notes) > 1)} on the data")


def _images(record: RunRecord, drawn: set[str]) -> list[Image]:
    """Plots of the run that no chart shows."""
    known = {"loss", "learning_rate", "metrics", *drawn, *(("lengths", "classes") if record.numbers else ())}
    files = [file for file in sorted((record.folder / "plots").glob("*.png")) if file.stem not in known]
    shown = [file for file in files if file.stat().st_size <= MAX_IMAGE_BYTES][:MAX_IMAGES]
    return [Image(title=file.stem.replace("_", " "), file=file) for file in shown]


def _origin(record: RunRecord) -> Iterator[Table | Text]:
    provenance = record.provenance
    git, hardware = provenance.get("git") or {}, provenance.get("hardware") or {}
    command = record.run.get("command") or []
    permissions = record.run.get("permissions") or {}
    seconds = figures_of(record.summary.get("seconds"))
    facts = {
        "run": record.run.get("run_id"),
        "command": shlex.join(map(str, command)) if isinstance(command, list) else command,
        "overrides": " ".join(map(str, record.run.get("overrides") or [])),
        "git commit": git.get("commit"),
        "changed since": None if not git else "yes, see the difference" if git.get("dirty") else "no",
        "not compared": git.get("not_compared"),
        "hardware": ", ".join(_hardware(hardware)),
        "python": (provenance.get("python") or {}).get("version"),
        "time": ", ".join(f"{stage} {clock(spent)}" for stage, spent in seconds.items()),
        "batch ledger": record.summary.get("ledger"),
        "tracked at": record.summary.get("tracked_at"),
        "permissions": ", ".join(f"{name}: {value_text(each)}" for name, each in permissions.items() if each),
    }
    rows = [[name, Cell(value_text(value), kind="mono")] for name, value in facts.items() if value]
    yield Table(title="Provenance", columns=["what", "value"], rows=rows)
    yield Text(text=record.config_text, is_code=True, summary="Configuration")
    if git.get("diff"):
        diff = str(git["diff"])
        cut = "" if len(diff) <= MAX_DIFF else f"\n… {len(diff) - MAX_DIFF:,} characters more"
        yield Text(text=diff[:MAX_DIFF] + cut, is_code=True, summary="Difference to the commit")
    packages = provenance.get("packages") or {}
    if packages:
        lines = "\n".join(f"{name}=={version}" for name, version in packages.items())
        yield Text(text=lines, is_code=True, summary=f"{len(packages)} packages")


def _hardware(hardware: dict[str, Any]) -> Iterator[str]:
    if hardware.get("cpu"):
        yield f"{hardware['cpu']}, {hardware.get('num_usable_cores', hardware.get('num_cores', '?'))} cores"
    if hardware.get("memory_bytes"):
        yield f"{hardware['memory_bytes'] / 2**30:.0f} GiB"
    yield from map(value_text, hardware.get("gpus") or [])


def _commands(record: RunRecord) -> list[Text]:
    run = shlex.quote(record.folder.name.rpartition("-")[2])
    if _status(record) != "FINISHED":
        return [Text(text=f"runwright train --resume {run}", is_code=True)]
    lines = (
        f"runwright evaluate {run}           # metrics again, or on other data",
        f"runwright predict {run} 'a text'   # predictions for a text or a file",
        f"runwright report {run} --open      # this page",
    )
    return [Text(text="Where the folder with outputs/ is:"), Text(text="\n".join(lines), is_code=True)]

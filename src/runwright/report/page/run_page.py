"""The page of one run: what it came to, how it got there, where it is wrong, and what it ran on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from runwright.report.page.charts import (
    classes_chart,
    group_charts,
    lengths_chart,
    loss_chart,
    matrix_chart,
    metric_charts,
    scatter_chart,
    training_charts,
)
from runwright.report.page.document import Chart, Page, image
from runwright.report.page.examples import text_of, worst_examples
from runwright.report.page.markup import Cell, Markup, figure_text, folded, join, table, tag, value_text
from runwright.report.page.records import RunRecord, figures_of
from runwright.report.progress import clock

MAX_CARDS = 8
MAX_IMAGES = 8
MAX_IMAGE_BYTES = 300_000
MAX_DIFF = 60_000  # characters


def run_page(record: RunRecord) -> str:
    """The whole file."""
    page = Page(title=f"{record.name} - Runwright", head=_head(record))
    page.section("figures", "Figures", *_figures(page, record))
    page.section("curves", "Curves", *_curves(page, record))
    drawn, predictions = _predictions(page, record)
    page.section("predictions", "Predictions", *predictions)
    page.section("examples", "Worst examples", worst_examples(record))
    page.section("data", "Data", *_data(page, record))
    page.section("images", "More plots", _images(record, drawn))
    page.section("origin", "What ran", *_origin(record))
    page.section("next", "Go on", _commands(record))
    return page.render()


def _head(record: RunRecord) -> Markup:
    summary, status = record.summary, _status(record)
    facts = [f"{summary['global_step']:,} steps"] if "global_step" in summary else []
    if summary.get("best_step") is not None:
        facts.append(f"best at step {summary['best_step']:,}")
    if summary.get("seconds", {}).get("all"):
        facts.append(f"{clock(summary['seconds']['all'])} in all")
    if record.run.get("start_time"):
        started = time.localtime(record.run["start_time"])
        facts.append(f"started {time.strftime('%Y-%m-%d %H:%M', started)}")
    where = [value_text(record.run.get(key)) for key in ("device", "host") if record.run.get(key)]
    title = tag("h1", record.name, " ", tag("span", status, class_=f"status {status}"))
    lines = tag("p", ", ".join([*facts, *where]), class_="soft")
    error = tag("pre", record.run["error"]) if record.run.get("error") else Markup()
    return join([title, lines, error, tag("div", *_cards(record), class_="cards")])


def _status(record: RunRecord) -> str:
    # The page of a run is made in its last moments, when the summary says already what it came to.
    running = record.run.get("status") in ("RUNNING", "CREATED")
    return str(record.summary.get("status") if running and record.summary else record.run.get("status", "?"))


def _cards(record: RunRecord) -> Iterator[Markup]:
    """The metric that matters on each split, then other metrics of the last split, then rates."""
    whole = [key for key in record.metrics if key.count("/") == 1]
    splits = list(dict.fromkeys(key.partition("/")[0] for key in whole))
    main = [f"{split}/{record.best_metric}" for split in reversed(splits)]
    others = [key for key in whole if splits and key.startswith(f"{splits[-1]}/")]
    others.sort(key=lambda key: key.endswith("/loss"))  # it says least to a person
    keys = [key for key in dict.fromkeys([*main, *others]) if key in record.metrics]
    for key in keys[: MAX_CARDS - 2]:
        interval = record.summary.get("intervals", {}).get(key)
        about = f"{figure_text(interval['low'])} to {figure_text(interval['high'])}" if interval else ""
        split, _, metric = key.partition("/")
        yield _card(figure_text(record.metrics[key]), f"{metric}, {split}", about, is_main=key in main[:1])
    rates = record.summary.get("rates", {})
    if "samples_per_second" in rates:
        tokens, padding = rates.get("real_tokens_per_second", 0), rates.get("padding_share", 0)
        about = f"{tokens:,.0f} tokens/s, {padding:.1%} padding"
        yield _card(f"{rates['samples_per_second']:,.1f}", "samples/s in training", about)
    if record.summary.get("peak_memory_bytes"):
        yield _card(f"{record.summary['peak_memory_bytes'] / 2**30:.2f} GiB", "memory at most", "")


def _card(figure: str, name: str, about: str, *, is_main: bool = False) -> Markup:
    lines = [tag("span", name), tag("b", figure), tag("span", about) if about else Markup()]
    return tag("div", *lines, class_="card best" if is_main else "card")


def _figures(page: Page, record: RunRecord) -> Iterator[Markup]:
    metrics, references = record.metrics, record.summary.get("references", {})
    intervals = record.summary.get("intervals", {})
    whole = [key for key in metrics if key.count("/") == 1]
    splits = list(dict.fromkeys(key.partition("/")[0] for key in whole))
    if whole:
        known = [name for name, values in references.items() if any(key in values for key in whole)]
        names = list(dict.fromkeys(key.partition("/")[2] for key in whole))
        rows = [
            [name, *(_figure_cell(metrics, intervals, f"{split}/{name}") for split in splits)]
            + [references[other].get(f"{split}/{name}") for other in known for split in splits]
            for name in names
        ]
        published = [f"{other}, {split}" for other in known for split in splits]
        columns = ["metric", *splits, *published]
        yield table("Metrics of the best model, with 95 % intervals", columns, rows, numbers=columns[1:])
    for split in reversed(splits):  # the groups of one split: the last one is the one to report
        charts = group_charts(metrics, intervals, references, split=split)
        if charts:
            yield page.charts(*charts)
            return


def _figure_cell(metrics: dict[str, float], intervals: dict[str, Any], key: str) -> Cell:
    if key not in metrics:
        return Cell("")
    text, interval = [tag("b", figure_text(metrics[key]))], intervals.get(key)
    if interval:
        low, high = figure_text(interval["low"]), figure_text(interval["high"])
        text.append(tag("span", f" [{low}, {high}]", class_="soft"))
    return Cell(join(text), metrics[key], "number")


def _curves(page: Page, record: RunRecord) -> Iterator[Markup]:
    best = record.summary.get("best_step")
    yield page.charts(
        loss_chart(record.curves, best_step=best),
        *metric_charts(record.curves, best_step=best),
        *training_charts(record.curves),
    )


def _predictions(page: Page, record: RunRecord) -> tuple[set[str], list[Markup]]:
    """The stems of the images that need not be shown again, and what is shown."""
    charts: list[Chart] = []
    drawn: set[str] = set()
    for split, records in record.predictions.items():
        labelled = [each for each in records if "expected" in each and "predicted" in each]
        chart = _prediction_chart(record, split, labelled)
        if chart is not None:
            charts.append(chart)
            drawn |= {f"regression_{split}", f"confusion_{split}"}
    content = [page.charts(*charts)]
    for split in reversed(record.predictions):
        rows = record.class_tables.get(split, [])
        if rows:
            columns = list(rows[0])
            cells = [
                [_csv_cell(row.get(name, ""), index) for index, name in enumerate(columns)] for row in rows
            ]
            title = f"Classes, {split}"
            shown = table(title, columns, cells, numbers=columns[1:])
            content.append(shown if len(content) == 1 else folded(title, shown))
    return drawn, content


def _csv_cell(text: str, index: int) -> Cell:
    """A cell of a table that was read as text: a class is a name even where it looks like a number."""
    if index == 0:
        return Cell(text)
    value = figures_of({"": text}).get("")
    whole = value is not None and value.is_integer() and "." not in text
    return Cell(text if value is None else figure_text(int(value) if whole else value), value, "number")


def _prediction_chart(record: RunRecord, split: str, records: list[dict[str, Any]]) -> Chart | None:
    values = [(each["predicted"], each["expected"]) for each in records]
    if not values:
        return None
    if all(_is_number(value) for pair in values for value in pair):
        predicted, expected = np.array(values, dtype=float).T
        column = record.config.get("task", {}).get("group_column")
        groups = [str(each.get(column)) for each in records] if column else None
        texts = [text_of(record, each) for each in records]
        return scatter_chart(split, predicted, expected, texts=texts, groups=groups)
    names = [str(name) for name in record.task.get("label_names") or []]
    known = set(names)
    if all(isinstance(value, str) and value in known for pair in values for value in pair):
        predicted, expected = zip(*values, strict=True)
        return matrix_chart(split, predicted, expected, names)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _data(page: Page, record: RunRecord) -> Iterator[Markup]:
    yield page.charts(lengths_chart(record.numbers), classes_chart(record.numbers))
    prints = record.data.get("fingerprints", {})
    if prints:
        rows = [[split, Cell(text, kind="mono")] for split, text in prints.items()]
        yield table("Fingerprints of the content", ["split", "fingerprint"], rows)
    changes = record.run.get("data_changes", [])
    if changes:
        rows = [[change["step"], "; ".join(change["changes"])] for change in changes]
        yield table("The data changed while the run went on", ["at step", "what"], rows)
    notes = record.data.get("notes", [])
    if notes:
        yield folded(
            f"{len(notes)} note{'s' * (len(notes) > 1)} on the data",
            tag("ul", *(tag("li", note) for note in notes)),
        )


def _images(record: RunRecord, drawn: set[str]) -> Markup:
    """Plots of the run that no chart shows."""
    known = {"loss", "learning_rate", "metrics", *drawn, *(("lengths", "classes") if record.numbers else ())}
    files = [file for file in sorted((record.folder / "plots").glob("*.png")) if file.stem not in known]
    shown = [file for file in files if file.stat().st_size <= MAX_IMAGE_BYTES][:MAX_IMAGES]
    return (
        tag("div", *(image(file, title=file.stem.replace("_", " ")) for file in shown), class_="pair")
        if shown
        else Markup()
    )


def _origin(record: RunRecord) -> Iterator[Markup]:
    found = record.provenance
    git, hardware = found.get("git") or {}, found.get("hardware") or {}
    command = record.run.get("command") or []
    seconds = figures_of(record.summary.get("seconds"))
    facts = {
        "run": record.run.get("run_id"),
        "command": shlex.join(map(str, command)) if isinstance(command, list) else command,
        "overrides": " ".join(map(str, record.run.get("overrides") or [])),
        "git commit": git.get("commit"),
        "changed since": None if not git else "yes, see the difference" if git.get("dirty") else "no",
        "not compared": git.get("not_compared") or None,
        "hardware": ", ".join(_hardware(hardware)),
        "python": (found.get("python") or {}).get("version"),
        "time": ", ".join(f"{stage} {clock(spent)}" for stage, spent in seconds.items()),
        "batch ledger": record.summary.get("ledger"),
        "tracked at": record.summary.get("tracked_at"),
        "permissions": _permissions(record.run.get("permissions") or {}),
    }
    rows = [[name, Cell(value_text(value), kind="mono")] for name, value in facts.items() if value]
    yield table("Provenance", ["what", "value"], rows)
    yield folded("Configuration", tag("pre", record.config_text))
    if git.get("diff"):
        diff = str(git["diff"])
        cut = "" if len(diff) <= MAX_DIFF else f"\n… {len(diff) - MAX_DIFF:,} characters more"
        yield folded("Difference to the commit", tag("pre", diff[:MAX_DIFF] + cut))
    packages = found.get("packages") or {}
    if packages:
        lines = "\n".join(f"{name}=={version}" for name, version in packages.items())
        yield folded(f"{len(packages)} packages", tag("pre", lines))


def _hardware(hardware: dict[str, Any]) -> Iterator[str]:
    if hardware.get("cpu"):
        yield f"{hardware['cpu']}, {hardware.get('num_usable_cores', hardware.get('num_cores', '?'))} cores"
    if hardware.get("memory_bytes"):
        yield f"{hardware['memory_bytes'] / 2**30:.0f} GiB"
    yield from map(value_text, hardware.get("gpus") or [])


def _permissions(permissions: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value_text(value)}" for name, value in permissions.items() if value)


def _commands(record: RunRecord) -> Markup:
    run = shlex.quote(record.folder.name.rpartition("-")[2])
    if _status(record) != "FINISHED":
        return tag("pre", f"runwright train --resume {run}")
    lines = (
        f"runwright evaluate {run}           # figures again, or on other data",
        f"runwright predict {run} 'a text'   # what it says of a text or a file",
        f"runwright report {run} --open      # this page",
    )
    return join([tag("p", "Where the folder with outputs/ is:", class_="soft"), tag("pre", "\n".join(lines))])

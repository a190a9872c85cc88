"""Pages of runs and sweeps in a real headless browser: every chart drawn, nothing of a run taken as HTML."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runwright.report.page.charts import classes_chart, lengths_chart
from runwright.report.page.document import Section, render
from runwright.runs.page import write_report

MakeFolder = Callable[..., Path]
TITLES = "Array.from(document.querySelectorAll('figure figcaption b')).map((b) => b.textContent)"
DRAWN = """Array.from(document.querySelectorAll('.chart')).every((place) => place.dataset.drawn === 'yes'
  && place.querySelector('svg[role=img][aria-label]')
  && place.querySelector('svg path.line[d], svg circle, svg rect.cell, svg rect.bar'))"""
SHOWN_ROWS = "Array.from(document.querySelectorAll('.worst tbody tr')).filter((row) => !row.hidden).length"


def assert_sound(browser: Any, page: Path) -> None:
    assert browser.messages == []
    assert browser.run(DRAWN)
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.run("document.title") != "taken"
    assert browser.run("document.querySelectorAll('img[src=x], b > i, td b b').length") == 0
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert page.stat().st_size < 3_000_000


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_every_chart_of_a_run_is_drawn_without_an_error(
    browser: Any, make_folder: MakeFolder, kind: str, width: int, *, dark: bool
) -> None:
    page = write_report(make_folder(kind), is_sweep=False)
    browser.messages.clear()
    browser.open(page, width=width, dark=dark)
    browser.wait("document.querySelectorAll('.chart:not([data-drawn])').length === 0")
    titles = browser.run(TITLES)
    expected = {"Loss", "Learning rate", "f1"}
    expected |= (
        {"Confusion, test", "Confusion, validation"}
        if kind == "classes"
        else {"Predicted and expected, test", "Predicted and expected, validation"}
    )
    assert set(titles) == expected
    assert_sound(browser, page)
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 150) == dark


def test_lengths_and_classes_of_data_are_drawn(browser: Any, tmp_path: Path) -> None:
    hostile = ["</script><img src=x>", "<b>b</b>"]
    lengths = lengths_chart({hostile[0]: np.array([1, 2, 3, 9])}, max_length=8)
    sections = [Section("data", "Data", [[lengths, classes_chart({"train": [7, 1]}, hostile)]])]
    page = tmp_path / "data.html"
    page.write_text(render(sections, title="data", heading="data", lines=[]), encoding="utf-8")
    browser.messages.clear()
    browser.open(page, width=390)
    assert set(browser.run(TITLES)) == {"Text lengths", "Classes"}
    browser.wait("document.querySelectorAll('.chart:not([data-drawn])').length === 0")
    assert_sound(browser, page)


def test_examples_can_be_filtered_tables_sorted_and_curves_hidden(
    browser: Any, make_folder: MakeFolder
) -> None:
    browser.messages.clear()
    browser.open(write_report(make_folder(), is_sweep=False), width=1000)
    assert browser.run(SHOWN_ROWS) == 100
    type_words = "const f = document.querySelector('.filters input'); f.value = 'PLAIN 20'; "
    browser.run(type_words + "f.dispatchEvent(new Event('input')); 1")
    assert browser.run(SHOWN_ROWS) == 2
    choose = "const c = document.querySelector('.filters select'); c.value = 'test'; "
    browser.run(choose + "c.dispatchEvent(new Event('change')); 1")
    assert browser.run(SHOWN_ROWS) == 1
    assert browser.run("document.querySelector('.filters output').textContent") == "1 of 100 examples"
    first = "document.querySelector('.worst tbody tr td').textContent"
    before = browser.run(first)
    browser.run("document.querySelector('.worst thead button').click()")
    assert float(browser.run(first)) < float(before)
    lines = "document.querySelectorAll('#curves svg path.line').length"
    num_lines = browser.run(lines)
    browser.run("document.querySelector('#curves .legend button').click()")
    assert browser.run(lines) < num_lines
    browser.run("document.getElementById('theme').click()")
    assert browser.run("document.documentElement.dataset.theme") == "dark"
    assert browser.messages == []


def test_a_curve_is_looked_at_closer_by_dragging(browser: Any, make_folder: MakeFolder) -> None:
    browser.messages.clear()
    browser.open(write_report(make_folder(), is_sweep=False), width=1000)
    browser.run("document.querySelector('#curves svg').scrollIntoView({block: 'center'})")
    box = json.loads(
        browser.run("JSON.stringify(document.querySelector('#curves svg').getBoundingClientRect())")
    )
    y = box["top"] + box["height"] / 2
    for kind, share in (("mousePressed", 0.4), ("mouseMoved", 0.5), ("mouseReleased", 0.6)):
        x = box["left"] + share * box["width"]
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
    names = "document.querySelector('#curves svg').querySelectorAll('.tick.middle')"
    ticks = f"Array.from({names}).map((tick) => Number(tick.textContent))"
    steps = browser.run(ticks)
    assert min(steps) > 90
    assert max(steps) < 200
    browser.run("document.querySelector('#curves button.reset').click()")
    assert max(browser.run(ticks)) >= 250
    assert browser.messages == []


def test_an_error_in_a_page_would_be_noticed(browser: Any, make_folder: MakeFolder) -> None:
    browser.messages.clear()
    browser.open(write_report(make_folder(), is_sweep=False), width=1000)
    browser.run("setTimeout(() => { throw new Error('noticed'); }); 1")
    browser.run("const image = new Image(); image.src = 'x.png'; document.body.append(image); 1")
    browser.wait("performance.now() > 0 && document.querySelectorAll('body > img').length === 1")
    browser.run("new Promise((done) => setTimeout(done, 50))")
    assert any("noticed" in message for message in browser.messages)
    assert any("Content Security Policy" in message for message in browser.messages)
    browser.messages.clear()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_of_a_sweep_has_its_jobs_search_parameters_and_curves(
    browser: Any, make_folder: MakeFolder, tmp_path: Path, width: int, *, dark: bool
) -> None:
    sweep = tmp_path / "outputs" / "sweeps" / "2026-01-31_13-00-00-aabbcc"
    rates = ["1e-5", "1e-3", "<i>odd</i>", "1e-4", "1e-5", "1e-3", "1e-4", "1e-2", "1e-2"]
    for number, rate in enumerate(rates):
        folder = make_folder(name=f"job{number}", step_loss=1.0 + number)
        summary = json.loads((folder / "summary.json").read_text())
        summary["metrics"] |= {"validation/f1": 0.1 * number, "validation/loss": abs(number - 4.0)}
        (folder / "summary.json").write_text(json.dumps(summary))
        outcome = {
            "job": number,
            "overrides": [f"optimizer.lr={rate}", f"trainer.max_steps={100 * 10 ** (number % 3)}"],
        }
        if number == 8:
            outcome["overrides"] = ["optimizer.lr=1e-2", "trainer.max_steps=1000", "seed=1"]
        outcome |= {"folder": str(folder), "exit_code": 0, "status": "finished", "seconds": 3.0}
        (sweep / str(number)).mkdir(parents=True)
        (sweep / str(number) / "outcome.json").write_text(json.dumps(outcome))
    ways = {"validation/f1": "maximize", "validation/loss": "minimize"}
    (sweep / "sweep.json").write_text(json.dumps({"objectives": ways}))
    page = write_report(sweep, is_sweep=True)
    browser.messages.clear()
    browser.open(page, width=width, dark=dark)
    assert set(browser.run(TITLES)) == {
        *("validation/f1 by job", "Importance of parameters", "All together", "Pareto front"),
        *("optimizer.lr", "trainer.max_steps", "Training loss", "validation/loss", "validation/f1"),
    }
    assert browser.run("document.querySelectorAll('#jobs tbody tr').length") == 9
    # Jobs 7 and 8, and 3 and 6, which have the same settings.
    assert browser.run("document.querySelectorAll('#seeds tbody tr').length") == 2
    assert browser.run("document.querySelectorAll('[data-kind=parallel] path.line').length") == 9
    fronts = "document.querySelectorAll('#search [data-kind=scatter] circle.s0').length"
    assert browser.run(fronts) == 5  # f1 rises from job to job, the loss is smallest at the fourth
    assert_sound(browser, page)

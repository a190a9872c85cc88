"""What is on a page, and that nothing of a run becomes part of its HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runwright.cli import report as command
from runwright.cli.main import main, parser_of
from runwright.errors import ConfigError
from runwright.report.page.charts import lengths_chart, line, loss_chart, matrix_chart, scatter_chart
from runwright.report.page.document import Cell, Chart, Section, Table, Text, render
from runwright.runs.page import find, write_report

MakeFolder = Callable[..., Path]


class Reader(HTMLParser):
    """Elements of a page and what stands in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.tags[-1][0] if self.tags else "", []).append(data)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_nothing_of_a_run_becomes_an_element(make_folder: MakeFolder, kind: str) -> None:
    text = write_report(make_folder(kind), is_sweep=False).read_text(encoding="utf-8")
    found = Reader(text)
    names = [name for name, _ in found.tags]
    assert names.count("script") == 2
    assert not {"img", "i", "iframe", "link", "object"} & set(names)
    assert not [attrs for _, attrs in found.tags if any(key.startswith("on") for key in attrs)]
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_only_the_pages_own_style_and_script_may_run(make_folder: MakeFolder) -> None:
    text = write_report(make_folder(), is_sweep=False).read_text(encoding="utf-8")
    policy = next(attrs["content"] for name, attrs in Reader(text).tags if "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for element in ("style", "script"):
        content = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


def page_of(*blocks: Table | Text | list[Chart | None], **head: Any) -> str:
    head = {"title": "t", "heading": "h", "lines": [], **head}
    return render([Section("s", "S", blocks)], **head)


def test_data_cannot_end_its_script_element() -> None:
    value = {"text": "</script><!--<script>\u2028&", "odd": float("nan"), "list": [float("inf"), 1.5]}
    text = page_of([Chart(kind="curves", title="", about="", data=value)])
    (data,) = re.findall(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    assert not set("<>&\u2028") & set(data)
    expected = {"kind": "curves", "label": "", "text": value["text"], "odd": None, "list": [None, 1.5]}
    assert json.loads(data) == {"charts": [expected]}


ATTACK = "\"'><i onx=1>&\x00\x08\ud800</pre></span>"


def test_every_text_of_a_page_is_escaped_in_elements_and_attributes() -> None:
    cell = Cell(ATTACK, kind=ATTACK, about=ATTACK)
    table = {"title": ATTACK, "columns": [ATTACK, "b"], "rows": [[cell, ATTACK], [Cell("x", link=ATTACK), 1]]}
    text = page_of(
        Table(**table),
        Table(**table, filters=[ATTACK, "b"], summary=ATTACK),
        Text(text=ATTACK, items=[ATTACK], summary=ATTACK),
        Text(text=ATTACK, is_code=True),
        [Chart(kind=ATTACK, title=ATTACK, about=ATTACK, data={ATTACK: ATTACK})],
        title=ATTACK,
        heading=ATTACK,
        status=ATTACK,
        error=ATTACK,
        lines=[ATTACK],
    )
    found = Reader(text)
    assert "i" not in {name for name, _ in found.tags}
    assert not [attrs for _, attrs in found.tags if "onx=1" in attrs or "onx" in attrs]
    shown = "\"'><i onx=1>&?</pre></span>"
    assert found.texts["h1"][0].strip() == shown
    assert found.texts["title"][0] == shown
    assert [attrs["href"] for name, attrs in found.tags if name == "a"] == ["#s", shown, shown]
    assert not {"\x00", "\x08"} & set(text)


def test_tables_have_heads_of_rows_and_columns_and_a_caption() -> None:
    found = Reader(page_of(Table(title="Jobs <1>", columns=["job", "f1"], rows=[["a", 0.25], ["b", None]])))
    scopes = [attrs.get("scope") for name, attrs in found.tags if name == "th"]
    assert scopes == ["col", "col", "row", "row"]
    assert found.texts["caption"][0] == "Jobs <1>"
    assert [attrs.get("data-value") for name, attrs in found.tags if name == "td"] == ["0.25", None]


def test_a_section_without_content_is_left_out() -> None:
    sections = [Section("a", "A", [[None], None, Table(title="", columns=[], rows=[])])]
    found = Reader(render(sections, title="", heading="", lines=[]))
    assert not {"section", "a", "table"} & {name for name, _ in found.tags}


def test_a_run_that_has_only_begun_has_a_page(make_folder: MakeFolder) -> None:
    folder = make_folder()
    for file in ("summary.json", "task.json", "data.json", "provenance.json"):
        (folder / file).unlink()
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "status": "RUNNING"}))
    (folder / "data.json").write_text("{torn")
    text = write_report(folder, is_sweep=False).read_text(encoding="utf-8")
    assert "RUNNING" in text


def test_a_long_curve_is_drawn_as_means_of_neighbours() -> None:
    drawn = line("train", np.arange(10_000), np.arange(10_000.0))
    assert len(drawn["x"]) == 2500
    assert drawn["y"][:2] == [1.5, 5.5]  # the means of 0, 1, 2, 3 and of 4, 5, 6, 7
    assert line("short", np.arange(3), np.ones(3))["y"] == [1, 1, 1]


def test_confusion_counts_each_pair_once() -> None:
    predicted, expected = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    chart = matrix_chart("test", predicted, expected, ["a", "b", "never"])
    assert chart is not None
    assert chart.data["cells"] == [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 2]]
    assert "60.0% on the diagonal" in chart.about


def test_a_scatter_of_many_draws_some_and_counts_all() -> None:
    numbers = np.linspace(0, 1, 5000)
    chart = scatter_chart("test", numbers, numbers, texts=["x"] * 5000)
    assert chart.about == "5,000 examples, r = 1.000, mean error 0; 2,000 of them drawn"
    assert len(chart.data["px"]) == len(chart.data["texts"]) == 2000


def test_without_a_loss_there_is_no_chart_of_it() -> None:
    assert loss_chart({"speed/x": (np.arange(2), np.ones(2))}, best_step=None) is None


def test_lengths_are_counted_in_bins_that_cover_all_but_the_longest() -> None:
    chart = lengths_chart({"a": np.array([1, 2, 2, 9])}, max_length=8)
    assert chart is not None
    (series,) = chart.data["series"]
    assert series["y"][:3] == [0, 25, 50]
    assert sum(series["y"]) == 100
    assert series["name"] == "a (4, median 2)"
    assert chart.about == "longest 9 tokens; cut at 8: 25.00% of texts"


def test_runs_and_sweeps_are_found_by_folder_id_and_latest(make_folder: MakeFolder, tmp_path: Path) -> None:
    outputs, run = str(tmp_path / "outputs"), make_folder()
    sweep = tmp_path / "outputs" / "sweeps" / "2026-01-31_13-00-00-aabbcc"
    (sweep / "0").mkdir(parents=True)
    (sweep / "0" / "outcome.json").write_text("{}")
    assert find("latest", output_dir=outputs) == (run.resolve(), False)
    assert find("1a2b", output_dir=outputs) == (run.resolve(), False)
    for name in (str(sweep), "aabb", "latest:sweeps"):
        assert find(name, output_dir=outputs) == (sweep.resolve(), True)
    study = sweep.with_name("a study")  # begun later, and no trial has ended
    study.mkdir()
    (study / "sweep.json").write_text("{}")
    for name in ("a study", str(study), "latest:sweeps"):
        assert find(name, output_dir=outputs) == (study.resolve(), True)
    assert main(["sweep", "stop", str(sweep)]) == 2  # which nobody would look for
    assert not (sweep / "stop").exists()
    assert main(["sweep", "stop", str(study)]) == 0
    assert (study / "stop").exists()
    with pytest.raises(ConfigError, match="given no run"):
        find("nothing", output_dir=outputs)


def test_the_command_prints_where_the_page_is(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = make_folder() / "report.html"
    arguments = ["latest", "--output-dir", str(tmp_path / "outputs")]
    assert command.execute(parser_of("report").parse_args(arguments)) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["report", *arguments, "a=1"]) == 2
    assert "a=1: given an override" in capsys.readouterr().err

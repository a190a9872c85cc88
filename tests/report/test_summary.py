from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from runwright.report.summary import RunSummary, peak_memory_bytes, print_summary, write_summary
from runwright.types import Interval, Speed


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSummary:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "vader" / "2026-11-21_20-15-01-7f3a9c"
    folder.mkdir(parents=True)
    metrics = {
        "test/loss": 0.7,
        "test/pearson": 0.8312,
        "test/pearson/tweets": 0.9,
        "test/pearson/news": float("nan"),
    }
    return RunSummary(
        name="vader",
        run_id="7f3a9c",
        folder=folder,
        global_step=250,
        best_step=200,
        training_loss=0.81,
        metrics=metrics | {"test/mae/tweets": 0.5, "test/mae/news": 0.6},
        intervals={"test/pearson": Interval(value=0.8312, low=0.82, high=0.84)},
        references={
            "lexicon": {"test/pearson/tweets": 0.881},
            "humans": {"test/pearson/news": 0.745},
            "no": {"x": 1.0},
        },
        seconds={"data": 12.0, "train": 100.0, "evaluate": 20.0, "save": 3.0, "all": 140.0},
        speed=Speed(seconds=100.0, num_samples=8000, num_steps=250, num_tokens=90_000, flops_per_token=6e7),
        real_tokens=90_000,
        padded_tokens=100_000,
        peak_memory_bytes=3 * 2**30,
        device="cpu",
        ledger="",
        paths={"best": folder / "best", "tables/classes": folder / "tables" / "classes.csv"},
        tracked_at=f"sqlite:///{tmp_path}/outputs/mlflow.db",
    )


def printed(summary: RunSummary, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_summary(summary, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_summary_says_what_came_of_the_run(summary: RunSummary) -> None:
    lines = printed(summary, 80).splitlines()

    def line(start: str) -> list[str]:
        return next(line.split() for line in lines if line.split()[:1] == [start])

    assert line("vader") == ["vader", "7f3a9c", "FINISHED"]
    assert line("pearson") == ["pearson", "0.8312", "[0.8200,", "0.8400]"]
    assert [row.split() for row in lines if row.startswith(" tweets")] == [
        ["tweets", "0.9000", "0.8810", "0.5000"]
    ]
    assert [row.split() for row in lines if row.startswith(" news")] == [["news", "nan", "0.7450", "0.6000"]]
    text = "\n".join(lines)
    assert "data 12s, train 1m 40s, evaluate 20s, save 3.0s" in text
    assert "80.0 samples/s, 900 real tokens/s, 10.0% padding" in text
    assert "3.00 GiB at most (cpu)" in text
    assert "lexicon" in text
    assert " no " not in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_fits(summary: RunSummary, width: int) -> None:
    assert max(map(len, printed(summary, width).splitlines())) <= width


def test_paths_and_commands_can_be_copied_at_any_width(summary: RunSummary) -> None:
    run = "outputs/vader/2026-11-21_20-15-01-7f3a9c"
    (summary.folder / "report.html").touch()
    for width in (40, 80):
        text = printed(summary, width)
        assert f"runwright evaluate {run}\n" in text
        assert f"runwright predict {run} 'a text'\n" in text
        assert "runwright ui\n" in text
        assert f"{run}/best\n" in text
        assert f"report      {run}/report.html\n" in text


@pytest.mark.parametrize("query", ["", "?timeout=60"])
def test_the_store_is_named_from_here_in_a_folder_of_an_odd_name(
    query: str, summary: RunSummary, tmp_path: Path
) -> None:
    (tmp_path / "which lr?").mkdir()
    os.chdir(tmp_path / "which lr?")
    address = f"sqlite+pysqlite:///{tmp_path}/which lr%3F/outputs/mlflow.db{query}"
    text = printed(replace(summary, tracked_at=address), 80)
    assert f"tracked     sqlite:///outputs/mlflow.db{query}\n" in text
    assert ("runwright ui\n" in text) is (not query)


def test_the_file_is_strict_json_with_paths_inside_the_run(summary: RunSummary) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    content = json.loads(write_summary(summary).read_text("utf-8"), parse_constant=refuse)
    assert content["metrics"]["test/pearson"] == 0.8312
    assert content["metrics"]["test/pearson/news"] == "nan"
    assert content["intervals"]["test/pearson"] == {"value": 0.8312, "low": 0.82, "high": 0.84}
    assert content["paths"] == {"best": "best", "tables/classes": "tables/classes.csv"}
    assert content["rates"] == pytest.approx(
        {
            "samples_per_second": 80.0,
            "steps_per_second": 2.5,
            "real_tokens_per_second": 900.0,
            "flops": 5.4e12,
            "padding_share": 0.1,
        }
    )
    assert [path.name for path in summary.folder.iterdir()] == ["summary.json"]


def test_memory_is_that_of_this_process() -> None:
    before = peak_memory_bytes()
    block = bytearray(200 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert before > 2**24
    assert peak_memory_bytes() >= max(before, len(block))

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.analysis.runs import DIED, RunRow, last_metrics, read_row, read_rows, require_key, sort
from runwright.errors import ConfigError
from runwright.runs.folder import read_run, update_status
from runwright.tracker.journal import Journal

MakeFolder = Callable[..., Path]


def test_a_row_has_fields_figures_and_settings(make_folder: MakeFolder) -> None:
    folder = make_folder(
        "vader", metrics={"test/f1": 0.5}, optimizer={"lr": 1e-5, "betas": [0.9, 0.99]}, seed=3
    )
    row = read_row(folder)
    assert row is not None
    assert (row.name, row.status, row.step, row.seconds) == ("vader", "FINISHED", 2, 90)
    update_status(folder, "FINISHED", idle_seconds=30.0)  # a pause before it was resumed
    assert getattr(read_row(folder), "seconds", None) == 60
    assert row.short_id == folder.name[-6:]
    assert row.value("test/f1") == 0.5
    assert float(row.value("optimizer.lr")) == 1e-5
    assert row.value("optimizer.betas") == [0.9, 0.99]
    assert row.value("seed") == 3
    assert row.value("nothing") is None
    assert json.dumps(row.as_json())


def test_rows_come_in_the_order_of_their_start(make_folder: MakeFolder, tmp_path: Path) -> None:
    late, early = make_folder("a", started=20.0), make_folder("b", started=10.0)
    assert [row.folder for row in read_rows(tmp_path / "outputs")] == [early, late]
    assert read_rows(tmp_path / "nothing") == []


def test_the_step_is_the_last_one_of_the_training(make_folder: MakeFolder) -> None:
    folder = make_folder(status="KILLED")
    journal = Journal(folder / "journal.jsonl")
    for sample in range(50):  # of the machine: no steps
        journal.metrics({"system/cpu_percent": 1.0}, step=sample)
    journal.close()
    row = read_row(folder)
    assert row is not None
    assert row.step == 2
    update_status(folder, "KILLED", end={"step": 7, "steps": 9, "reason": "SIGTERM"})  # not each is logged
    row = read_row(folder)
    assert row is not None
    assert row.step == 7


def test_a_run_without_a_summary_shows_its_last_metrics(make_folder: MakeFolder) -> None:
    row = read_row(make_folder(status="KILLED"))
    assert row is not None
    assert (row.metrics, row.step) == ({"train/loss": 0.5}, 2)


def test_last_metrics_are_read_from_the_end_of_a_long_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.metrics({"validation/f1": float("nan")}, step=1)
    for step in range(1, 4001):
        journal.metrics({"train/loss": 1 / step}, step=step)
    journal.metrics({"validation/f1": 0.25, "train/big": float("inf")}, step=4000)
    journal.close()
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"t":1,"s":4001,"m":3}\n{"t":1,"s":4001,"m":{"train/lo')  # a damaged line and a torn one
    metrics, step = last_metrics(tmp_path / "journal.jsonl")
    assert metrics == {"train/loss": 1 / 4000, "validation/f1": 0.25, "train/big": float("inf")}
    assert step == 4000


def test_a_dead_run_is_called_so_and_left_as_it_is(make_folder: MakeFolder) -> None:
    folder = make_folder(status="KILLED")
    update_status(folder, "RUNNING")
    os.utime(folder / "run.json", (0, 0))  # no heartbeat since
    row = read_row(folder)
    assert row is not None
    assert row.status == DIED
    assert "is gone (killed" in row.reason
    assert read_run(folder)["status"] == "RUNNING"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": 1}'])
def test_a_folder_that_is_no_whole_run_is_left_out(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "demo" / "x"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    assert read_rows(tmp_path / "outputs") == []


@pytest.fixture
def rows(make_folder: MakeFolder, tmp_path: Path) -> list[RunRow]:
    for index, f1 in enumerate((0.9, 0.5, float("nan"))):
        make_folder(
            f"n{index}",
            started=float(index),
            metrics={"test/f1": f1},
            optimizer={"lr": 10.0**-index},
            deep=index == 1,
        )
    make_folder("n3", started=3.0, status="FAILED", optimizer={"lr": 5.0}, deep=False)
    return read_rows(tmp_path / "outputs")


def test_those_without_a_value_come_last(rows: list[RunRow]) -> None:
    assert [row.name for row in sort(rows, "test/f1")] == ["n1", "n0", "n2", "n3"]
    assert [row.name for row in sort(rows, "optimizer.lr")] == ["n2", "n1", "n0", "n3"]


def test_an_unknown_key_is_answered_with_the_nearest(rows: list[RunRow]) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'optimizer\.lr'"):
        require_key("optimiser.lr", rows)
    with pytest.raises(ConfigError, match="did you mean 'test/f1'"):
        sort(rows, "tets/f1")

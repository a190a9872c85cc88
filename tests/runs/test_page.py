from __future__ import annotations

import json
from pathlib import Path

import pytest

from runwright.runs.page import print_table, read_jobs


def write_job(folder: Path, number: int, overrides: list[str], value: float | None) -> None:
    run, job = folder / "outputs" / "demo" / f"run-{number}", folder / "sweep" / str(number)
    for path in (run, job):
        path.mkdir(parents=True)
    if value is not None:
        (run / "config.yaml").write_text("trainer: {best_metric: f1, best_mode: max}")
        summary = {"metrics": {"validation/loss": 1.0, "validation/f1": value}, "seconds": {"all": 13.0}}
        (run / "summary.json").write_text(json.dumps(summary))
    outcome = {"job": number, "overrides": overrides, "folder": str(run), "seconds": 20.0}
    outcome |= {"exit_code": int(value is None), "status": "failed" if value is None else "finished"}
    (job / "outcome.json").write_text(json.dumps(outcome))


def test_a_sweep_ends_with_means_over_seeds_and_the_best_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {("lr=1", 1): 0.75, ("lr=1", 2): 0.25, ("lr=2", 1): 0.625, ("lr=2", 2): 0.875, ("lr=3", 1): None}
    for number, ((lr, seed), value) in enumerate(values.items()):
        write_job(tmp_path, number, ["experiment=demo", lr, f"seed={seed}"], value)
    print_table(read_jobs(tmp_path / "sweep"), tmp_path / "sweep")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "5 jobs"
    assert "3 lr=2 seed=2 finished 0.8750 1.0000 13s run-3" in lines
    assert "4 lr=3 seed=1 failed (1) - - 20s run-4" in lines
    # (0.625 + 0.875) / 2 = 0.75, standard deviation 0.25 / sqrt(2); the better mean first.
    means = ["2 lr=2 2 0.7500 ± 0.1768 1.0000 ± 0.0000", "0 lr=1 2 0.5000 ± 0.3536 1.0000 ± 0.0000"]
    assert [line for line in lines if " ± 0" in line] == means
    assert lines[-2:] == ["best job 3, outputs/demo/run-3", "next runwright evaluate outputs/demo/run-3"]


def test_jobs_without_a_seed_axis_have_no_table_of_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        write_job(tmp_path, number, [f"lr={number}"], 0.5)
    print_table(read_jobs(tmp_path / "sweep"), tmp_path / "sweep")
    assert "±" not in capsys.readouterr().out

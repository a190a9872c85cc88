"""Tables of runs: rows by settings, spread over seeds, the best and what is not significantly worse."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from runwright.analysis.runs import RunRow, read_row
from runwright.analysis.table import make_table
from runwright.cli.main import main
from runwright.errors import ConfigError

Make = Callable[..., RunRow]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A finished run; `right` says which of its test rows are predicted as expected."""

    def run(name: str, score: float, *, seed: int = 0, lr: float = 1.0, right: Sequence[bool] = ()) -> RunRow:
        number = len(list(tmp_path.iterdir()))
        folder = tmp_path / f"2026-01-01_00-00-00-{number:06x}"
        (folder / "predictions").mkdir(parents=True)
        record = {
            "run_id": f"{number:032x}",
            "name": name,
            "status": "FINISHED",
            "start_time": 1.0,
            "end_time": 2.0,
            "overrides": [],
        }
        config = {"name": name, "seed": seed, "optimizer": {"lr": lr, "_target_": "torch.optim.AdamW"}}
        config["trainer"] = {"best_metric": "accuracy", "best_mode": "max"}
        config["metric"] = {"accuracy": {"_target_": "runwright.metric.classification.accuracy"}}
        interval = {"value": score, "low": score - 0.01, "high": score + 0.01}
        summary = {"metrics": {"test/accuracy": score}, "intervals": {"test/accuracy": interval}}
        for file, content in (
            ("run.json", record),
            ("summary.json", summary),
            ("task.json", {"label_names": ["a", "b"]}),
        ):
            (folder / file).write_text(json.dumps(content))
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        rows = [
            {"text": str(i), "expected": "a", "predicted": "a" if good else "b"}
            for i, good in enumerate(right)
        ]
        if rows:
            (folder / "predictions" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
        row = read_row(folder)
        assert row is not None
        return row

    return run


def test_seeds_are_a_mean_with_their_spread_and_the_best_is_marked(make: Make) -> None:
    runs = [make("small", score, seed=seed) for seed, score in enumerate((0.50, 0.52, 0.54))]
    runs += [make("large", score, seed=seed) for seed, score in enumerate((0.90, 0.92, 0.94))]
    runs += [make("near_by", score, seed=seed) for seed, score in enumerate((0.89, 0.92, 0.92))]
    text = make_table(runs, ["name"], ["test/accuracy"], form="markdown")
    assert "| small | 0.5200 ± 0.0200 | 3 |" in text
    assert "| large | **0.9200 ± 0.0200** | 3 |" in text
    assert "| near_by | 0.9100 ± 0.0173 † | 3 |" in text
    assert "not significantly worse than it, by Welch's test over runs, 95%" in text
    assert "large | test/accuracy: 3 runs: 000003 000004 000005\n" in text
    assert make_table(runs[::-1], ["name"], ["test/accuracy"], form="markdown") == text
    assert "†" not in make_table(runs[:3], ["name"], ["test/accuracy"], form="markdown")  # nothing to test


def test_single_runs_are_compared_on_the_same_rows(make: Make) -> None:
    chance = np.random.default_rng(0)
    good = chance.random(400) < 0.8
    near = good.copy()
    near[np.flatnonzero(good)[:2]] = False
    far = good & (chance.random(400) < 0.8)
    runs = [make(name, float(np.mean(right)), right=right.tolist()) for name, right in
            (("best", good), ("near", near), ("far", far))]  # fmt: skip
    text = make_table(runs, ["name"], ["test/accuracy"], form="csv")
    lines = dict(line.split(",", 1) for line in text.splitlines() if not line.startswith("#"))
    value = good.mean()
    assert lines["best"] == f'"{value:.4f} [{value - 0.01:.4f}, {value + 0.01:.4f}] (best)",1'
    assert lines["near"].endswith('] †",1')
    assert lines["far"].endswith(']",1')


def test_a_setting_among_the_columns_parts_them(make: Make) -> None:
    runs = [
        make("a_b", 0.5, lr=1.0),
        make("a_b", 0.6, lr=10.0),
        make("c&d", 0.7, lr=10.0),
        make("c&d", 0.9, lr=10.0),
    ]
    text = make_table(runs, ["name"], ["optimizer.lr", "test/accuracy"], form="latex")
    assert "name & 1.0 test/accuracy & 10.0 test/accuracy & runs \\\\" in text
    assert "a\\_b & 0.5000 [0.4900, 0.5100] & 0.6000 [0.5900, 0.6100] & 1 \\\\" in text
    assert "c\\&d & - & \\textbf{0.8000 $\\pm$ 0.1414} & 2 \\\\" in text


def test_rows_come_by_number_and_what_differs_beside_the_seed_is_said(make: Make) -> None:
    runs = [make(name, 0.5, lr=lr) for lr, name in ((10.0, "x"), (2.0, "y"), (2.0, "z"))]
    text = make_table(runs, ["optimizer.lr"], ["test/accuracy"], form="csv")
    assert [line.partition(",")[0] for line in text.splitlines()[-2:]] == ["2.0", "10.0"]
    assert "2 runs: 000001 000002\n" in text
    runs = [make("x", 0.5, lr=3.0), make("x", 0.5, lr=4.0)]
    assert "differ in more than seeds: optimizer.lr" in make_table(
        runs, ["name"], ["test/accuracy"], form="csv"
    )


def test_without_a_metric_those_that_there_are_are_named(make: Make) -> None:
    with pytest.raises(ConfigError, match="--columns: given seed, expected a metric: test/accuracy"):
        make_table([make("x", 0.5)], ["name"], ["seed"], form="csv")


def test_a_text_of_several_lines_ends_no_comment_and_no_row(make: Make) -> None:
    runs = [make("a\n\\input{x}", 0.5), make("b\n-->", 0.6)]
    latex, markdown = (
        make_table(runs, ["name"], ["test/accuracy"], form=form) for form in ("latex", "markdown")
    )
    comments = latex.partition("\\begin")[0].splitlines()
    assert len(comments) == 3
    assert all(line.startswith("% ") for line in comments)
    assert "| b --> | **0.6000" in markdown
    assert markdown.partition("<!--")[2].count("-->") == 1


def test_the_runs_of_a_sweep_are_those_that_have_metrics(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make("x", 0.5, lr=1.0), make("x", 0.7, lr=2.0)]
    for number, folder in enumerate([*(str(row.folder) for row in runs), None]):
        outcome = {"job": number, "overrides": [], "folder": folder, "exit_code": 0 if folder else 1}
        (tmp_path / "sweep" / str(number)).mkdir(parents=True)
        (tmp_path / "sweep" / str(number) / "outcome.json").write_text(json.dumps(outcome))
    words = ["--rows", "optimizer.lr", "--columns", "test/accuracy", "--format", "csv"]
    assert main(["table", str(tmp_path / "sweep"), *words]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert [line.partition(",")[0] for line in lines] == ["optimizer.lr", "1.0", "2.0"]
    words = ["--rows", "optimizer.lr", "--format", "csv"]
    assert main(["table", str(tmp_path / "sweep"), *words]) == 0
    assert "optimizer.lr,test/accuracy" in capsys.readouterr().out  # of the usual metrics these runs have one


def test_a_group_is_a_setting_whose_value_is_what_was_chosen(make: Make) -> None:
    text = make_table([make("a", 0.5)], ["optimizer"], ["test/accuracy"], form="csv")
    assert 'optim.AdamW,"0.5000 [' in text


@pytest.mark.parametrize(
    ("rates", "shown"),
    [
        ((0.00010746119999967553, 0.0005, 0.5), ["0.000107", "0.0005", "0.5"]),
        ((0.00010746119999967553, 0.00010745999999967553), ["0.00010746", "0.000107461"]),
        ((1.23456789e-7, 20.0), ["1.23e-07", "20.0"]),
    ],
)
def test_long_numbers_of_settings_are_short_and_stay_distinct(
    make: Make, rates: Sequence[float], shown: list[str]
) -> None:
    runs = [make("x", 0.5, lr=lr) for lr in rates]
    text = make_table(runs, ["optimizer.lr"], ["test/accuracy"], form="csv")
    assert [line.partition(",")[0] for line in text.splitlines()[-len(rates) :]] == shown
    assert f"bold: the best; {len(rates)} rows share the best test/accuracy; ±" in text


def test_a_name_that_is_nearly_right_is_suggested(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, finished = make("mine", 0.5).folder, tmp_path / "outputs" / "mine"
    finished.mkdir(parents=True)
    folder.rename(finished / folder.name)
    arguments = ["--columns", "test/accuracy", "--output-dir", str(tmp_path / "outputs")]
    assert main(["table", "name:min", *arguments]) == 2
    assert "expected the name of an experiment that finished; did you mean 'mine'?" in capsys.readouterr().err

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from runwright.analysis.compare.sides import Difference, differing_settings, find_sides
from runwright.analysis.compare.verdict import Verdict, judge
from runwright.types import Interval

MakeRun = Callable[..., Path]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions" / "test.jsonl").read_text().splitlines()]


def compare(*sides: str | Path) -> Verdict:
    first, second = find_sides([str(side) for side in sides], output_dir="outputs")
    return judge(first, second)


def by_metric(verdict: Verdict) -> dict[str, Difference]:
    return {each.metric: each for each in verdict.differences}


def test_a_clearly_better_run_is_called_so(make_run: MakeRun) -> None:
    verdict = compare(make_run(skill=0.6, seed=1), make_run(skill=0.8, seed=2))
    assert verdict.words.startswith("B is better than A: test/accuracy is 0.")
    assert "paired bootstrap over rows, 95%, n = 400 rows" in verdict.words
    assert [each.metric for each in verdict.differences] == ["test/accuracy", "test/loss"]
    worse = compare(make_run(skill=0.8, seed=2), make_run(skill=0.6, seed=1))
    assert worse.words.startswith("B is worse than A: test/accuracy is 0.")


def test_a_run_and_itself_cannot_be_told_apart(make_run: MakeRun) -> None:
    one, same = make_run(skill=0.7, seed=1), make_run(skill=0.7, seed=1)
    verdict = compare(one, same)
    assert verdict.words.startswith(
        "No difference can be told between A and B: test/accuracy of both is equal"
    )
    assert {each.interval.value for each in verdict.differences} == {0.0}


def test_figures_are_those_of_the_rows(make_run: MakeRun) -> None:
    one, other = make_run(skill=0.6, seed=1), make_run(skill=0.65, seed=2)
    losses = [np.array([record["loss"] for record in records(folder)]) for folder in (one, other)]
    found = by_metric(compare(one, other))
    loss = found["test/loss"]
    assert (loss.first, loss.second) == pytest.approx([each.mean() for each in losses])
    t = stats.ttest_rel(losses[1], losses[0]).confidence_interval(0.95)  # near the bootstrap's with 400 rows
    assert (loss.interval.low, loss.interval.high) == pytest.approx(
        (t.low, t.high), abs=0.1 * (t.high - t.low)
    )


def test_a_metric_that_is_no_mean_is_resampled_with_the_same_rows(make_run: MakeRun) -> None:
    folders = [make_run(skill=skill, seed=seed) for skill, seed in ((0.5, 1), (0.7, 2))]
    figures = []
    for folder in folders:
        columns = [[record[key] for record in records(folder)] for key in ("expected", "predicted")]
        figures.append(float(f1_score(*columns, average="macro")))
        summary = {"global_step": 9, "metrics": {"test/f1_macro": figures[-1]}}
        (folder / "summary.json").write_text(json.dumps(summary))
    difference = by_metric(compare(*folders))["test/f1_macro"]
    assert (difference.first, difference.second) == pytest.approx(figures)
    assert difference.interval.low < figures[1] - figures[0] < difference.interval.high
    assert difference.better == 1
    # A figure that is not what the run recorded was computed from less than the run had: left out.
    summary = {"global_step": 9, "metrics": {"test/f1_macro": figures[0] + 0.01}}
    (folders[0] / "summary.json").write_text(json.dumps(summary))
    assert "test/f1_macro" not in by_metric(compare(*folders))


def test_numbers_are_judged_by_their_metrics(make_run: MakeRun) -> None:
    generator = np.random.default_rng(3)
    expected = generator.normal(size=300)
    node = {"pearson": {"_target_": "runwright.metric.means.pearson"}}
    folders = []
    for noise in (1.0, 0.5):
        predicted = expected + generator.normal(scale=noise, size=300)
        rows = [
            {
                "row_id": i,
                "text": "x",
                "expected": float(e),
                "predicted": float(p),
                "loss": float((p - e) ** 2),
            }
            for i, (e, p) in enumerate(zip(expected, predicted, strict=True))
        ]
        pearson = float(stats.pearsonr(expected, predicted).statistic)
        trainer = {"best_metric": "pearson", "best_mode": "max"}
        figures = {"test/pearson": pearson, "test/loss": float(np.mean((predicted - expected) ** 2))}
        folder = make_run(predictions=rows, metric=node, figures=figures, trainer=trainer)
        (folder / "task.json").write_text('{"label_names": []}')
        folders.append(folder)
    verdict = compare(*folders)
    assert verdict.words.startswith("B is better than A: test/pearson is 0.")
    assert set(by_metric(verdict)) == {"test/pearson", "test/loss"}


def test_other_rows_are_not_paired(make_run: MakeRun) -> None:
    verdict = compare(make_run(data=1), make_run(data=2))
    assert verdict.main is None
    assert verdict.words == "Whether B is better than A cannot be tested."
    assert "their test splits are not the same rows (0 of 400 are in both)" in verdict.notes


def test_rows_that_only_one_has_are_left_out_and_said(make_run: MakeRun) -> None:
    whole = make_run(seed=1)
    part = make_run(seed=2, predictions=[{**record, "more": 1} for record in records(make_run(seed=2))[::2]])
    difference = by_metric(compare(whole, part))["test/accuracy"]
    assert difference.n == "200 rows"
    assert "200 rows of the test split are in one only and left out" in compare(part, whole).notes


def test_the_direction_of_a_metric_is_that_of_its_function(make_run: MakeRun) -> None:
    means = "runwright.metric.means"
    names = {"distance": f"{means}.mean_absolute_error", "bits": f"{means}.bits_per_byte"}
    names |= {"error_free": "runwright.metric.classification.accuracy", "my_error": "mine.metric.rate"}
    metric = {name: {"_target_": target} for name, target in names.items()}
    for side, value in (("first", 0.9), ("second", 0.5)):
        for seed in range(2):
            figures = {f"test/{name}": value + seed / 100 for name in [*names, "mine"]}
            make_run(side, seed=seed, metric=metric, figures=figures)
    better = {name: each.better for name, each in by_metric(compare("name:first", "name:second")).items()}
    assert better == {
        "test/distance": 1,
        "test/bits": 1,
        "test/error_free": 0,
        "test/my_error": 1,  # by its name: nobody knows the function
        "test/mine": 0,
    }


# --- several seeds ------------------------------------------------------------------------------------


def test_several_seeds_are_tested_as_runs(make_run: MakeRun) -> None:
    values = {"small": (0.80, 0.81, 0.79, 0.80), "large": (0.84, 0.85, 0.83)}
    for name, figures in values.items():
        for seed, value in enumerate(figures):
            hard = {"validation_hard/accuracy": value - 0.2}
            make_run(name, seed=seed, figures={"test/accuracy": value, "test/loss": 1 - value} | hard)
    verdict = compare("name:small", "name:large")
    main = verdict.main
    assert main is not None
    expected = stats.ttest_ind(values["large"], values["small"], equal_var=False).confidence_interval(0.95)
    assert (main.interval.low, main.interval.high) == pytest.approx((expected.low, expected.high))
    assert verdict.words.startswith("B is better than A: test/accuracy is 0.0400 higher")
    assert "n = 4 and 3 runs" in verdict.words
    assert by_metric(verdict)["test/loss"].better == 1  # less of it
    assert by_metric(verdict)["validation_hard/accuracy"].better == 1


def test_seeds_that_are_the_same_on_both_sides_do_not_differ(make_run: MakeRun) -> None:
    for name in ("one", "two"):
        for seed in (1, 2):
            make_run(name, seed=seed, figures={"test/accuracy": 0.5 + seed / 99})
    sides = find_sides(["name:one", "name:two"], output_dir="outputs")
    assert differing_settings(sides) == {}  # the same seeds on both


def test_runs_of_a_side_that_are_no_repetitions_are_noted(make_run: MakeRun) -> None:
    folders = [
        make_run(seed=seed, figures={"test/accuracy": 0.5 + seed / 99}, optimizer={"lr": lr})
        for seed, lr in ((1, 1e-3), (2, 1e-4), (3, 1e-3), (3, 1e-3))
    ]
    ids = [folder.name[-6:] for folder in folders]
    notes = "\n".join(compare(",".join(ids[:2]), ",".join(ids[2:])).notes)
    assert "the runs of A differ in more than seeds: optimizer.lr" in notes


def test_one_run_against_several_is_refused_with_what_to_do(make_run: MakeRun) -> None:
    folders = [str(make_run(seed=seed)) for seed in (1, 2, 3)]
    verdict = compare(folders[0], ",".join(folders[1:]))
    assert verdict.main is None
    assert "give several seeds for both" in verdict.notes[0]


# --- settings, words ----------------------------------------------------------------------------------


def test_settings_that_differ_are_listed_by_side(make_run: MakeRun) -> None:
    one = make_run("one", seed=1, optimizer={"lr": 1e-4}, same=[1, 2])
    two = [
        make_run("two", seed=seed, optimizer={"lr": 1e-3, "nesterov": True}, same=[1, 2]) for seed in (1, 2)
    ]
    sides = find_sides([str(one), ",".join(map(str, two))], output_dir="outputs")
    assert differing_settings(sides) == {
        "seed": ["1", "1, 2"],
        "seeds.init": ["1", "1, 2"],
        "seeds.dropout": ["1", "1, 2"],
        "optimizer.lr": ["0.0001", "0.001"],
        "optimizer.nesterov": ["not there", "true"],
    }


@pytest.mark.parametrize(
    ("low", "high", "less", "better"),
    [
        (0.1, 0.2, False, 1),
        (0.1, 0.2, True, 0),
        (-0.2, -0.1, False, 0),
        (-0.2, -0.1, True, 1),
        (-0.1, 0.1, True, None),
    ],
)
def test_the_interval_decides(low: float, high: float, less: bool, better: int | None) -> None:
    interval = Interval(value=(low + high) / 2, low=low, high=high)
    difference = Difference(
        metric="test/x", first=0.0, second=0.0, interval=interval, less_is_better=less, method="", n=""
    )
    assert difference.better == better

from __future__ import annotations

from runwright.report.terminal import EvaluationTable


def test_each_evaluation_is_a_line_and_the_best_so_far_is_marked() -> None:
    table = EvaluationTable(split="validation", metric="f1")
    values = {"loss": 0.69592, "accuracy": 0.5, "f1": 0.25, "f1/tweets": 0.125}
    assert list(table.lines(500, {"validation": values}, is_best=False)) == [
        "evaluations of validation:",
        "    step        f1      loss  accuracy",
        "     500    0.2500    0.6959    0.5000",
    ]
    (line,) = table.lines(1000, {"validation": values | {"f1": 0.75}}, is_best=True)
    assert line == "   1,000    0.7500    0.6959    0.5000  best"


def test_forty_metrics_leave_room_for_the_time_of_a_log_line_in_eighty_columns() -> None:
    table = EvaluationTable(split="validation", metric="span_f1_macro")
    values = {"loss": 1.0, "span_f1_macro": 0.5} | {f"metric_{number}": 1.0 for number in range(40)}
    _, head, line = table.lines(10, {"validation": values}, is_best=True)
    assert len(f"15:21:46 INFO     {line}") <= 80
    assert head.split() == ["step", "span_f1_macro", "loss", "metric_0", "metric_1"]


def test_of_another_split_the_choosing_metric_is_shown() -> None:
    table = EvaluationTable(split="validation", metric="f1")
    by_split = {"validation": {"loss": 0.5, "f1": 0.5}, "validation_hard": {"loss": 0.7, "f1": 0.25}}
    _, head, line = table.lines(1, by_split, is_best=False)
    assert head.endswith("      loss   hard/f1")
    assert line.endswith("0.2500")

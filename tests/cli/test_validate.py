"""`runwright validate --deep`: what it says of rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from runwright.cli.main import main


def deep(file: Path, *overrides: str) -> int:
    files = ["dataset=csv", f"dataset.source.files.train={file}", "dataset.holdout.validation=0"]
    return main(["validate", "--deep", *files, *overrides])


def test_class_names_that_may_be_meant_otherwise_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\na,Pos\nb,pos\nc,joy;anger\n")
    assert deep(file) == 0
    assert "data: classes that look the same: 'Pos', 'pos'" in (said := capsys.readouterr().out)
    assert "1 of 3 class names hold ';'" in said


def test_a_comma_between_two_labels_is_no_decimal_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text('text,label\na,"1,2"\nb,"0,1"\nc,"2,1"\n')
    assert deep(file, "task.problem=multi_label") == 0
    assert "dataset.source.decimal" not in capsys.readouterr().out
    assert deep(file) == 0
    assert "dataset.source.decimal" in capsys.readouterr().out

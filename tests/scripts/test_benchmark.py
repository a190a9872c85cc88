"""`runwright bench`: what it refuses, and a part that cannot run here."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from runwright.cli.main import main


def test_a_part_that_there_is_not_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "tarining"]) == 2
    assert "tarining: given as a part, expected one of training, prediction" in capsys.readouterr().err


def test_a_part_that_cannot_run_says_why_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["bench", "tarining"])  # imports it
    file = tmp_path / "speed.json"
    words = ["--override", "optimizer.lr=fast"]
    monkeypatch.setattr(importlib.import_module("benchmark"), "measure_commands", lambda _: {"--help": [0.1]})
    assert main(["bench", "prediction", "command", *words, "--json", str(file)]) == 0
    assert "prediction  not measured: optimizer.lr: given 'fast'" in capsys.readouterr().out
    assert list(json.loads(file.read_text())) == ["command"]
    assert main(["bench", "prediction", *words]) == 1

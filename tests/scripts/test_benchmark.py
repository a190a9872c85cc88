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


def test_a_long_start_ends_with_its_step_and_not_with_what_the_machine_did_before(tmp_path: Path) -> None:
    main(["bench", "tarining"])  # imports it
    start = importlib.import_module("benchmarks.start")
    lines = [{"t": 2000, "m": {"system/cpu_percent": 9.0}}, {"t": 5000, "s": 1, "m": {"train/loss": 1.0}}]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert start.first_step(tmp_path) == 5.0

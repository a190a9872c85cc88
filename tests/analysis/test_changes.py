"""What is different around two runs is named by the thing that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runwright.analysis.reproduce import _changes, model_changes, surrounding_changes
from runwright.runs.folder import create
from runwright.runs.resume import record_resume


def surroundings(**changed: Any) -> dict[str, Any]:
    found = {
        "code": {"lab": {"a.py": "1", "b.py": "2"}},
        "packages": {"torch": "2.13.0", "zebra": "1.0"},
        "python": {"version": "3.11.9"},
        "hardware": {"cpu": "one", "gpus": [], "num_torch_threads": 2},
        "git": {"commit": "c" * 40},
        "folder": "/home",
        "num_processes": 1,
    }
    return found | changed


def test_files_packages_and_machines_are_named() -> None:
    now = surroundings(
        code={"lab": {"a.py": "changed", "new.py": "3"}},
        packages={"torch": "2.12.0", "added": "1"},
        hardware={"cpu": "one", "gpus": [], "num_torch_threads": None},
        git={"commit": "d" * 40},
        num_processes=2,
    )
    found = list(surrounding_changes(surroundings(), now))
    assert [str(change) for change in found] == [
        "source: lab/a.py, lab/b.py, lab/new.py",
        "packages: torch 2.13.0 → 2.12.0, added none → 1, zebra 1.0 → none",
        "machine: processes 1 → 2",
    ]  # fmt: skip
    assert list(surrounding_changes(surroundings(), surroundings())) == []


def test_model_files_are_named() -> None:
    before, now = ({"model": {"files": {"model.safetensors": text}}} for text in ("1", "2"))
    assert [str(each) for each in model_changes(before, now)] == [
        "model: other files of the model: model.safetensors"
    ]


def test_a_run_that_was_made_longer_says_so(tmp_path: Path) -> None:
    config = {"name": "one", "output_dir": str(tmp_path)}
    first, again = (create(config, overrides=[], command=[]) for _ in range(2))
    record_resume(first, {"trainer.max_steps": (5, 7), "tracker.uri": ("a", "b")})
    assert _changes(first, again) == ["resumed: the first run's trainer.max_steps 5 → 7"]

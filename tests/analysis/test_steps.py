"""`scripts/compare_runs.py` names the first place at which two runs part."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.analysis.steps import compare
from runwright.runs.folder import create
from runwright.tracker.journal import Journal
from runwright.trainer.batches import LEDGER_START, extend_ledger

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run folder with a journal of ten steps, checkpoints after five and ten, and a best model."""

    def make(
        *, batches: str = "abcdefghij", losses: dict[int, float] | None = None, end: int = 10,
        figures: dict[int, dict[str, float]] | None = None, weights: dict[int, str] | None = None,
        best: bytes = b"best", log_every: int = 1,
    ) -> Path:  # fmt: skip
        config = {"name": "demo", "output_dir": str(tmp_path / "outputs")}
        folder = create(config, overrides=(), command=("test",))
        journal, ledger = Journal(folder / "journal.jsonl"), LEDGER_START
        for step in range(1, end + 1):
            ledger = extend_ledger(ledger, batches[step - 1])
            if step % log_every:
                continue
            journal.metrics({"train/loss": (losses or {}).get(step, 1 / step)}, step=step)
            journal.ledger(ledger, step=step)
            journal.metrics({"validation/loss": 0.5, **(figures or {}).get(step, {})}, step=step)
            journal.metrics({"time/step_seconds": float(id(journal))}, step=step)  # clocks always differ
        journal.close()
        for step in {5: "w5", 10: "w10"} if weights is None else weights:
            content = (weights or {}).get(step, f"w{step}")
            files = {"model.safetensors": {"sha256": content}, "state.json": {"sha256": str(id(journal))}}
            manifest = folder / "checkpoints" / f"step-{step:08d}" / "manifest.json"
            manifest.parent.mkdir(parents=True)
            manifest.write_text(json.dumps({"step": step, "files": files}))
        (folder / "best").mkdir()
        (folder / "best" / "model.safetensors").write_bytes(best)
        return folder

    return make


def places(one: Path, other: Path) -> dict[str, str]:
    return {each.what: each.where for each in compare(one, other)}


def test_equal_runs_differ_nowhere(make_run: MakeRun) -> None:
    assert set(places(make_run(), make_run()).values()) == {""}


@pytest.mark.parametrize(
    ("change", "what", "place"),
    [
        ({"batches": "abcdeXghij"}, "data", "step 6"),
        ({"losses": {7: 0.1 + 0.2, 9: 5.0}}, "loss", "step 7"),
        ({"losses": {3: float("nan")}}, "loss", "step 3"),
        ({"figures": {4: {"validation/loss": 0.5000000000000001}}}, "other metrics", "step 4"),
        ({"weights": {5: "w5", 10: "other"}}, "weights", "step 10"),
        ({"best": b"other"}, "weights", "best model"),
    ],
)
def test_the_first_difference_is_named(
    change: dict[str, Any], what: str, place: str, make_run: MakeRun
) -> None:
    found = places(make_run(), make_run(**change))
    assert found.pop(what) == place
    assert set(found.values()) == {""}


def test_a_difference_in_the_last_bit_of_a_loss_is_one(make_run: MakeRun) -> None:
    _, loss, *_ = compare(make_run(losses={2: 0.3}), make_run(losses={2: 0.1 + 0.2}))
    assert loss.values == ("0.3", "0.30000000000000004")


@pytest.mark.parametrize(
    ("loss", "is_close"), [(1 / 7 + 1e-7, True), (1 / 7 + 1e-3, False), (float("nan"), False)]
)
def test_losses_that_differ_by_rounding_are_close(loss: float, is_close: bool, make_run: MakeRun) -> None:
    data, losses, others, _ = compare(make_run(), make_run(losses={7: loss}))
    assert (losses.is_equal, losses.is_close) == (False, is_close)
    assert data.is_close
    assert others.is_close
    assert not compare(make_run(), make_run(log_every=5))[1].is_close  # fewer steps


def test_a_run_that_ends_earlier_differs_at_the_end(make_run: MakeRun) -> None:
    found = places(make_run(), make_run(end=8, weights={5: "w5"}))
    assert found == {"data": "the end", "loss": "the end", "other metrics": "the end", "weights": ""}


def test_another_logging_interval_is_no_difference_but_is_counted(make_run: MakeRun) -> None:
    comparisons = compare(make_run(), make_run(log_every=5))
    assert all(each.is_equal for each in comparisons)
    assert [each.num_unmatched for each in comparisons[:2]] == [8, 8]
    assert comparisons[0].compared == "2 steps; 8 are in one only"


def test_the_script_prints_a_table_and_gives_an_exit_code(make_run: MakeRun, repository: Path) -> None:
    one, same, other = make_run(), make_run(), make_run(losses={7: 2.5})

    def script(*runs: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(repository / "scripts" / "compare_runs.py"), *map(str, runs)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "160"})

    assert script(one, same).returncode == 0
    different = script(one, other)
    assert different.returncode == 1
    (row,) = (line for line in different.stdout.splitlines() if line.startswith("loss"))
    assert row.split() == ["loss", "10", "steps", "step", "7", repr(1 / 7), "2.5"]
    missing = script(one, "nothing")
    assert missing.returncode == 2
    assert "'nothing'" in missing.stderr

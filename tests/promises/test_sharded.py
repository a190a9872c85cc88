"""Promises 1, 2 and 3 where each process holds a part of the model (launch.strategy=fsdp)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]

TOLERANCES = {"torch.float64": 1e-10, "torch.float32": 1e-5}
FSDP = "launch.strategy=fsdp"


def tolerance(name: str) -> float:
    return next((limit for dtype, limit in TOLERANCES.items() if dtype in name), TOLERANCES["torch.float64"])


def compare(file: Path) -> list[str]:
    """Asserts that loss, norm and gradient agree with those of one process; the names."""
    with np.load(file) as archive:
        found = dict(archive)
    names = [name.removesuffix(" alone") for name in found if name.endswith(" alone")]
    for name in names:
        one, many, limit = found[f"{name} alone"], found[f"{name} sharded"], tolerance(name)
        norm = np.linalg.norm(one[2:])
        assert norm > 1e-3, name
        assert one.shape == many.shape, name
        assert np.all(np.abs(many[:2] - one[:2]) <= limit * np.abs(one[:2])), name
        assert np.linalg.norm(many[2:] - one[2:]) <= limit * norm, name
    return names


@pytest.mark.parametrize("num_processes", [2, 3])
def test_a_model_in_parts_gives_the_loss_and_gradient_of_a_whole_one(
    processes: Any, tmp_path: Path, num_processes: int
) -> None:
    processes.call("sharded_steps", tmp_path, num_processes=num_processes)
    assert len(compare(tmp_path / f"steps-{num_processes}.npz")) == {2: 18, 3: 6}[num_processes]


def test_special_models_agree_as_well(processes: Any, tmp_path: Path) -> None:
    processes.call("sharded_models", tmp_path, num_processes=2)
    assert len(compare(tmp_path / "models-2.npz")) == 5


@pytest.mark.parametrize("num_processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_twenty_steps_with_dropout_and_clipping_agree(
    processes: Any, tmp_path: Path, num_processes: int
) -> None:
    processes.call("sharded_curve", tmp_path, num_processes=num_processes, num_steps=20)
    with np.load(tmp_path / f"curve-{num_processes}.npz") as found:
        for dtype, limit in TOLERANCES.items():
            for what in ("losses", "norms"):
                one, many = found[f"{what} {dtype} alone"], found[f"{what} {dtype} sharded"]
                assert many == pytest.approx(one, rel=limit, abs=0)
            assert len(one) == 20
            assert np.max(one) > 0.5  # there was something to clip


@pytest.mark.parametrize("num_processes", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_each_process_holds_a_share_and_whole_states_go_on_anywhere(
    processes: Any, tmp_path: Path, num_processes: int
) -> None:
    processes.call("sharded_parts", tmp_path, num_processes=num_processes)


@pytest.mark.slow
def test_a_sharded_run_has_the_figures_of_one_process(whole_run: Run) -> None:
    one, whole = whole_run(1), whole_run(2, FSDP)
    found, expected = whole.metrics(), one.metrics()
    assert whole.training()["ledger"] == one.training()["ledger"]
    assert whole.status() == "FINISHED"
    for name in ("train/loss", "validation/loss", "test/loss"):
        values = [float.fromhex(value) for _, value in expected[name]]
        assert [float.fromhex(value) for _, value in found[name]] == pytest.approx(values, rel=1e-5)
    config = json.loads((whole.folder / "best" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]


@pytest.mark.slow
def test_a_killed_sharded_run_resumes_bit_for_bit(processes: Any, whole_run: Run, new_run: Run) -> None:
    run, whole = new_run(FSDP), whole_run(2, FSDP)
    job = processes.start("execute_run", run.folder, num_processes=2)
    run.wait_for_step(17, job)
    job.kill(signal.SIGKILL)
    job.wait()
    assert run.last_step() < 60
    processes.call("execute_run", run.folder, num_processes=2)
    assert run.weights() == whole.weights()
    assert run.training() == whole.training()
    assert run.metrics() == whole.metrics()
    assert not [record for record in run.records() if "conflict" in record]


@pytest.mark.slow
def test_a_sharded_run_stops_after_a_signal_and_goes_on_in_one_process(
    processes: Any, whole_run: Run, new_run: Run
) -> None:
    run = new_run(FSDP)
    job = processes.start("execute_run", run.folder, num_processes=3)
    run.wait_for_step(9, job)
    job.kill(signal.SIGTERM, ranks=[1])
    assert job.wait(seconds=60) == [143] * 3, job.output()
    assert run.training()["step"] == run.last_step() < 60
    processes.call("execute_run", run.folder, num_processes=1)
    values = [float.fromhex(value) for _, value in whole_run(1).metrics()["train/loss"]]
    found = [float.fromhex(value) for _, value in run.metrics()["train/loss"]]
    assert found == pytest.approx(values, rel=1e-5)
    assert "not bit for bit: strategy fsdp → replicated" in (run.folder / "log.txt").read_text()


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"])
def test_a_launcher_that_was_told_otherwise_is_refused_with_the_reason(
    variable: str, experiment: list[str], repository: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(repository / "scripts" / "train.py"), *experiment]
    done = subprocess.run(
        [*command, f"output_dir={tmp_path}"],
        capture_output=True, text=True, timeout=120, env={**os.environ, variable: "true"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("launch.strategy: given 'replicated', but `accelerate launch` set")
    assert f"set {variable}=true" in done.stderr
    assert "launch.strategy=fsdp" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_verify_checks_a_model_in_parts(experiment: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runwright", "verify", *experiment, FSDP, f"output_dir={tmp_path}"]
    done = subprocess.run(
        [*command, "parity"],
        capture_output=True, text=True, timeout=500, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("processes") >= 4  # a long name in the table makes it wrap the others

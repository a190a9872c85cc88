"""What launchers say in the environment."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from runwright.errors import ConfigError
from runwright.launch.start import check_launch
from runwright.sweep.trial import SLOTS_VARIABLE
from runwright.tracker.provenance import installed_packages
from runwright.trainer.environment import check_num_processes, join_launch, share_of_cores

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


def set_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "outside"),
    [
        ({}, False),
        (TORCHRUN, True),  # also of a pod, and set by hand
        ({**TORCHRUN, "OMPI_COMM_WORLD_SIZE": "2"}, True),  # `accelerate launch` through mpirun
        ({"ACCELERATE_MIXED_PRECISION": "no"}, True),  # `accelerate launch --cpu`: one process, no WORLD_SIZE
        ({"ACCELERATE_LOG_LEVEL": "info"}, False),  # a setting of a user
        ({"TORCHELASTIC_RUN_ID": "none"}, True),
        ({"WORLD_SIZE": "2", "RUNWRIGHT_WORKER": "1"}, False),
    ],
)
def test_other_launchers_are_recognised(
    variables: dict[str, str], outside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, variables)
    assert join_launch("train") is outside


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
        {"LOCAL_RANK": "0"},
        {"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "pod-0", "MASTER_PORT": "23456"},
        {"PMI_SIZE": "1"},
        {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"},  # the shell of salloc
    ],
)
@pytest.mark.parametrize("command", ["train", "predict"])
def test_what_a_launch_of_one_process_left_behind_is_named_and_ignored(
    command: str,
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_variables(monkeypatch, variables)
    assert not join_launch(command)
    (line,) = capsys.readouterr().err.splitlines()
    named = {name: value for name, value in variables.items() if name not in ("SLURM_JOB_ID", "SLURM_PROCID")}
    assert all(f"{name}={value}" in line for name, value in named.items())
    assert not [name for name in variables if name in os.environ and not name.startswith("SLURM_")]


@pytest.mark.parametrize(
    ("command", "variables", "expected"),
    [
        ("train", {"RANK": "1"}, "RANK=1; .*env -u RANK runwright"),
        ("train", {"WORLD_SIZE": "2", "RANK": "0"}, "RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT together"),
        ("train", {**TORCHRUN, "RANK": "2"}, "RANK=2, WORLD_SIZE=2"),
        ("train", {"WORLD_SIZE": "two"}, "WORLD_SIZE=two"),
        ("train", {"OMPI_COMM_WORLD_SIZE": "2"}, "env -u OMPI_COMM_WORLD_SIZE runwright"),
        ("search", {"PMI_SIZE": "2"}, "PMI_SIZE=2; expected a single process for search"),
        ("verify", TORCHRUN, "a single process for verify; without a launcher: env -u RANK -u WORLD_SIZE"),
        ("train -m", TORCHRUN, "a single process for train -m"),
    ],
)
def test_variables_that_no_launcher_sets_so_are_refused_by_name(
    command: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, variables)
    with pytest.raises(ConfigError, match=expected):
        join_launch(command)


def test_the_tasks_of_a_step_of_srun_share_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    step = {
        "JOB_ID": "7",
        "STEP_ID": "0",
        "STEP_NUM_TASKS": "5",
        "NTASKS": "5",
        "PROCID": "4",
        "LOCALID": "1",
    }
    step |= {"STEP_TASKS_PER_NODE": "1,2(x2)", "STEP_NODELIST": "gpu[07-08,11]", "NODEID": "2"}
    set_variables(monkeypatch, {f"SLURM_{name}": value for name, value in step.items()})
    assert join_launch("train")
    assert {name: os.environ[name] for name in (*TORCHRUN, "LOCAL_RANK", "LOCAL_WORLD_SIZE")} == {
        "RANK": "4",
        "WORLD_SIZE": "5",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "20217",  # 20000 + 7 * 31
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
    }


def test_fewer_processes_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="given 2, but the launcher started 1"):
        check_num_processes(2)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ConfigError, match=r"torchrun.*env -u TORCHELASTIC_RUN_ID runwright train launch"):
        check_num_processes(2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="given 2, but the launcher started 4"):
        check_num_processes(2)
    check_num_processes(4)
    check_num_processes(1)  # not said: any number


def test_processes_and_the_trials_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [share_of_cores(number) for number in (1, 3, 9)] == [8, 2, 1]
    monkeypatch.setenv(SLOTS_VARIABLE, "2")
    assert [share_of_cores(number) for number in (1, 3, 9)] == [4, 1, 1]


def check_settings(changes: dict[str, str]) -> None:
    trainer = {name: changes.get(name, usual) for name, usual in (("precision", "bf16"), ("device", "cuda"))}
    launch = {"num_processes": 1, "strategy": changes.get("strategy", "replicated")}
    check_launch({"launch": launch, "trainer": trainer})


@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        ({}, {"ACCELERATE_USE_DEEPSPEED": "true"}, "replicated', .* set ACCELERATE_USE_DEEPSPEED=true"),
        ({"strategy": "fsdp"}, {"ACCELERATE_USE_DEEPSPEED": "true"}, "set ACCELERATE_USE_DEEPSPEED=true"),
        ({}, {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "set ACCELERATE_USE_FSDP=true, expected"),
        (
            {"strategy": "fsdp"},
            {"ACCELERATE_USE_FSDP": "1", "FSDP_VERSION": "1"},
            "FSDP_VERSION=1.*version 2",
        ),
        ({}, {"ACCELERATE_MIXED_PRECISION": "fp16"}, "PRECISION=fp16.*trainer.precision=bf16"),
        (
            {"precision": "fp32"},
            {"ACCELERATE_MIXED_PRECISION": "bf16"},
            "PRECISION=bf16.*trainer.precision=fp32",
        ),
        ({}, {"ACCELERATE_USE_CPU": "True"}, "ACCELERATE_USE_CPU=True.*trainer.device=cuda"),
        ({}, {"ACCELERATE_TORCH_DEVICE": "meta"}, "set ACCELERATE_TORCH_DEVICE=meta"),
        ({}, {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "STEPS=4.*trainer.microbatch_size"),
        ({}, {"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "set ACCELERATE_DYNAMO_BACKEND=INDUCTOR"),
    ],
)
def test_a_setting_of_accelerate_launch_that_contradicts_the_configuration_is_an_error(
    settings: dict[str, str], variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_settings(settings)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=expected):
        check_settings(settings)


def test_what_accelerate_launch_sets_without_being_told_contradicts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "ACCELERATE_USE_DEEPSPEED": "false",
        "ACCELERATE_USE_CPU": "False",
        "ACCELERATE_MIXED_PRECISION": "no",
        "ACCELERATE_DYNAMO_BACKEND": "NO",
    }.items():
        monkeypatch.setenv(name, value)
    check_settings({})
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_settings({"strategy": "fsdp"})


def test_of_two_copies_of_a_package_the_one_that_is_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed_packages()["torch"] == metadata.version("torch")
    folder = tmp_path / "torch-1.2.3.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.2.3\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert installed_packages()["torch"] == metadata.version("torch") == "1.2.3"

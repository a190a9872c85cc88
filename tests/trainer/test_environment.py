"""What launchers say in the environment."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from runwright.errors import ConfigError
from runwright.launch.start import check_accelerate_settings
from runwright.tracker.provenance import installed_packages
from runwright.trainer.environment import check_num_processes, started_from_outside


@pytest.mark.parametrize(
    ("variables", "outside"),
    [
        ({}, False),
        ({"WORLD_SIZE": "1"}, True),
        ({"ACCELERATE_USE_CPU": "true"}, True),  # `accelerate launch --cpu`: one process, no WORLD_SIZE
        ({"TORCHELASTIC_RUN_ID": "none"}, True),
        ({"WORLD_SIZE": "2", "RUNWRIGHT_WORKER": "1"}, False),
    ],
)
def test_other_launchers_are_recognised(
    variables: dict[str, str], outside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert started_from_outside() is outside


def test_fewer_processes_than_asked_for_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="given 2, but the launcher started 1"):
        check_num_processes(2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="given 2, but the launcher started 4"):
        check_num_processes(2)
    check_num_processes(4)
    check_num_processes(1)  # not said: any number


SETTINGS = {"precision": "bf16", "device": "cuda", "strategy": "replicated"}


@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        ({}, {"ACCELERATE_USE_DEEPSPEED": "true"}, "launch.strategy=fsdp shards"),
        (
            {"strategy": "fsdp"},
            {"ACCELERATE_USE_DEEPSPEED": "true"},
            "DeepSpeed accumulates, clips and steps",
        ),
        ({}, {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "without --use_fsdp"),
        ({"strategy": "fsdp"}, {"ACCELERATE_USE_FSDP": "1", "FSDP_VERSION": "1"}, "--fsdp_version 2"),
        ({}, {"ACCELERATE_MIXED_PRECISION": "fp16"}, "given 'bf16', .* set ACCELERATE_MIXED_PRECISION=fp16"),
        ({"precision": "fp32"}, {"ACCELERATE_MIXED_PRECISION": "bf16"}, "--mixed_precision no"),
        ({}, {"ACCELERATE_USE_CPU": "True"}, "trainer.device: given 'cuda'"),
        ({}, {"ACCELERATE_TORCH_DEVICE": "meta"}, "it would override trainer.device"),
        ({}, {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "trainer.microbatch_size cuts a batch"),
        ({}, {"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "compiled models are not supported"),
    ],
)
def test_a_setting_of_accelerate_launch_that_contradicts_the_configuration_is_an_error(
    settings: dict[str, str], variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_accelerate_settings(**SETTINGS | settings)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=expected):
        check_accelerate_settings(**SETTINGS | settings)


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
    check_accelerate_settings(**SETTINGS)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_accelerate_settings(**SETTINGS | {"strategy": "fsdp"})


def test_of_two_copies_of_a_package_the_one_that_is_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed_packages()["torch"] == metadata.version("torch")
    folder = tmp_path / "torch-1.2.3.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.2.3\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert installed_packages()["torch"] == metadata.version("torch") == "1.2.3"

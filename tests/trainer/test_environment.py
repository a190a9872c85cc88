"""What launchers say in the environment."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from runwright.errors import ConfigError
from runwright.launch.start import check_strategy
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
    with pytest.raises(ConfigError, match="given 2, but 1 came up"):
        check_num_processes(2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="given 2, but 4 came up"):
        check_num_processes(2)
    check_num_processes(4)
    check_num_processes(1)  # not said: any number


@pytest.mark.parametrize(
    ("strategy", "variables", "expected"),
    [
        ("replicated", {"ACCELERATE_USE_DEEPSPEED": "true"}, "launch.strategy=fsdp shards"),
        ("fsdp", {"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed accumulates, clips and steps by itself"),
        ("replicated", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "without --use_fsdp"),
        ("fsdp", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "--fsdp_version 2"),
    ],
)
def test_another_way_to_spread_the_model_that_a_launcher_was_told_is_an_error(
    strategy: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_strategy(strategy)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=expected):
        check_strategy(strategy)


def test_a_launcher_that_says_the_same_or_nothing_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "false")
    check_strategy("replicated")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_strategy("fsdp")


def test_of_two_copies_of_a_package_the_one_that_is_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed_packages()["torch"] == metadata.version("torch")
    folder = tmp_path / "torch-1.2.3.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.2.3\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert installed_packages()["torch"] == metadata.version("torch") == "1.2.3"

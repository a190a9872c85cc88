"""What launchers say in the environment."""

from __future__ import annotations

import pytest

from runwright.environment import check_num_processes, started_from_outside
from runwright.errors import ConfigError


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

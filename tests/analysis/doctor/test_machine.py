from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runwright.analysis.doctor import machine
from runwright.analysis.doctor.machine import (
    check_cache,
    check_disk,
    check_limits,
    check_memory,
    check_threads,
    check_torch,
)


@pytest.mark.parametrize(
    ("cores", "quota", "environment", "level"),
    [
        (8, None, {}, "ok"),
        (8, None, {"OMP_NUM_THREADS": "8"}, "ok"),
        (8, None, {"OMP_NUM_THREADS": "9"}, "warning"),
        (8, 2.0, {}, "warning"),
        (8, 2.0, {"OMP_NUM_THREADS": "2"}, "ok"),
        (8, 2.0, {"MKL_NUM_THREADS": "4"}, "warning"),
        (8, None, {"OMP_NUM_THREADS": "many"}, "ok"),
    ],
)
def test_threads_beyond_the_cores_are_a_warning(
    cores: int, quota: float | None, environment: dict[str, str], level: str
) -> None:
    finding = check_threads(cores, quota, environment)
    assert finding.level == level
    assert bool(finding.advice) == (level != "ok")


def test_this_machine_can_train() -> None:
    assert check_torch().level == "ok"
    assert "free" in check_memory().text


def test_little_room_is_a_warning_and_almost_none_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "not" / "there" / "yet"
    assert check_disk("runs", place).level in ("ok", "warning")
    monkeypatch.setattr(machine, "LITTLE_DISK", 2**80)
    assert check_disk("runs", place).level == "warning"
    monkeypatch.setattr(machine, "ALMOST_NO_DISK", 2**80)
    finding = check_disk("runs", place)
    assert finding.level == "problem"
    assert "checkpoints" in finding.advice
    assert not place.exists()


def test_the_cache_is_measured(tmp_path: Path) -> None:
    (tmp_path / "examples" / "x").mkdir(parents=True)
    (tmp_path / "examples" / "x" / "data").write_bytes(b"0" * 5000)
    assert check_cache(tmp_path).text.startswith("4.9 KiB in ")
    assert check_cache(tmp_path / "nothing").text.startswith("0 B in ")


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("resource.RLIMIT_NOFILE, (256, 256)", "256 open files at a time"),
        ("resource.RLIMIT_FSIZE, (2**20, 2**20)", "no file may be larger than 1.0 MiB"),
    ],
)
def test_limits_of_the_shell_are_seen(limit: str, text: str) -> None:
    code = f"import resource; resource.setrlimit({limit})\n"
    code += "from runwright.analysis.doctor.machine import check_limits\n"
    code += "finding = check_limits(); print(finding.level, finding.text, finding.advice, sep='|')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    level, found, advice = done.stdout.strip().split("|")
    assert (level, found) == ("warning", text)
    assert advice.startswith("ulimit")
    assert check_limits().what == "limits"

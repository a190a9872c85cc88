"""One process group at a time works on a run, and a dead one holds nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runwright.runs.folder import this_process
from runwright.runs.states import DEAD_AFTER_SECONDS, LOCK_FILE, RunBusyError, is_busy, run_lock

HOLDER = """
import sys, time
from pathlib import Path
from runwright.runs.states import run_lock

with run_lock(Path(sys.argv[1])) as descriptor:
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with start_holder(tmp_path) as holder:
        assert is_busy(tmp_path)
        with (
            pytest.raises(RunBusyError, match=rf"process {holder.pid} on .* SIGTERM saves first"),
            run_lock(tmp_path),
        ):
            pass
        holder.kill()  # as a power cut: nothing is put right
        holder.wait()
        assert not is_busy(tmp_path)
        with run_lock(tmp_path):
            assert is_busy(tmp_path)
    assert not is_busy(tmp_path)


def test_a_lock_lives_as_long_as_any_process_that_inherited_it(tmp_path: Path) -> None:
    with run_lock(tmp_path) as descriptor:
        worker = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    try:
        assert is_busy(tmp_path)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert not is_busy(tmp_path)


def test_an_error_gives_the_run_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_lock(tmp_path):
        raise KeyboardInterrupt
    assert json.loads((tmp_path / LOCK_FILE).read_text()) == {}
    assert not is_busy(tmp_path)


def test_without_locks_the_heartbeat_counts_on_the_same_machine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("runwright.runs.states.fcntl.flock", refuse)
    monkeypatch.setattr("runwright.runs.states.HEARTBEAT_SECONDS", 0.05)
    file = tmp_path / LOCK_FILE
    with run_lock(tmp_path):
        assert is_busy(tmp_path)
        os.utime(file, (0, 0))
        time.sleep(0.3)  # it beats
        assert is_busy(tmp_path)
    file.write_text(json.dumps(this_process()))  # killed
    os.utime(file, (0, 0))
    assert not is_busy(tmp_path)


def test_a_holder_elsewhere_counts_while_its_heartbeat_is_young(tmp_path: Path) -> None:
    # As on a network file system whose locks do not reach other machines.
    file = tmp_path / LOCK_FILE
    file.write_text(json.dumps({"host": "elsewhere", "pid": 7, "boot_id": "x", "time": 0.0}))
    with pytest.raises(RunBusyError, match="process 7 on elsewhere"), run_lock(tmp_path):
        pass
    long_ago = time.time() - DEAD_AFTER_SECONDS - 1
    os.utime(file, (long_ago, long_ago))
    with run_lock(tmp_path):
        assert json.loads(file.read_text())["pid"] == os.getpid()

"""Groups of real processes: how they are started, stopped, watched, and what is said when one fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


def test_workers_know_who_they_are_and_only_the_first_is_heard(start: Start) -> None:
    names = '"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"'
    what = f"print(*(os.environ[name] for name in ({names})), 'RUNWRIGHT_STORE_FD' in os.environ)"
    launched = start(what, num_processes=3)
    outcome = launched.outcome()
    assert outcome["code"] == 0
    assert outcome["failure"] == ""
    assert outcome["output"].splitlines()[0] == "0 0 3 3 127.0.0.1 True"
    assert (launched.folder / "rank-2.log").read_text() == "2 2 3 3 127.0.0.1 False\n"


def test_one_process_is_a_group_without_a_world(start: Start) -> None:
    outcome = start("print('WORLD_SIZE' in os.environ)", num_processes=1).outcome()
    assert outcome["output"].splitlines()[0] == "False"


def test_the_failure_that_came_first_is_shown_and_its_echoes_are_not(start: Start) -> None:
    echo = "time.sleep(0.3 * rank); raise RuntimeError('[pair.cc:553] Connection closed by peer')"
    what = f"if rank == 1:\n    time.sleep(0.5); raise ValueError('a bad row, token=hunter2')\n{echo}"
    outcome = start(what, num_processes=3).outcome()
    assert outcome["code"] == 1
    text = outcome["text"]
    assert text.startswith("rank 1 of 3 (process ")
    assert text.endswith("ValueError: a bad row, token=[redacted]")
    assert "Traceback" in text
    assert "Connection closed" not in text + outcome["errors"]
    assert not outcome["is_mistake"]


def test_a_users_mistake_is_told_without_a_traceback(start: Start) -> None:
    outcome = start("raise ConfigError('tracker.uri: given password=hunter2')").outcome()
    assert outcome["code"] == 2
    assert outcome["text"] == "tracker.uri: given password=[redacted]"
    assert outcome["is_mistake"]


def test_a_killed_rank_ends_the_others(start: Start) -> None:
    launched = start("print('last words', flush=True); wait_for_ever()", num_processes=3)
    pid, log = launched.pids()[2], launched.folder / "rank-2.log"
    while not log.read_text():
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    outcome = launched.outcome()
    assert outcome["code"] == 128 + signal.SIGKILL
    assert "rank 2 of 3" in outcome["text"]
    assert "SIGKILL" in outcome["text"]
    assert "last words" in outcome["text"]  # of the rank's own output


def test_a_crash_in_native_code_shows_where(start: Start) -> None:
    what = "def inner():\n    import ctypes; ctypes.string_at(0)\nif rank:\n    inner()\nwait_for_ever()"
    outcome = start(what).outcome()
    assert outcome["code"] == 128 + signal.SIGSEGV
    assert "SIGSEGV" in outcome["text"]
    assert "in inner" in outcome["text"]


@pytest.mark.parametrize("is_frozen", [False, True])
def test_ranks_that_wait_for_one_that_hangs_show_where_it_is(start: Start, is_frozen: bool) -> None:
    what = (
        "def busy_elsewhere():\n    wait_for_ever()\n"
        "if rank:\n    busy_elsewhere()\n"
        "while not (folder / 'hangs').is_file():\n    time.sleep(0.01)\n"
        "raise RuntimeError('Timed out waiting 3000ms for recv operation')"
    )
    launched = start(what)
    pid = launched.pids()[1]
    time.sleep(0.2)
    if is_frozen:
        os.kill(pid, signal.SIGSTOP)
    (launched.folder / "hangs").touch()
    began = time.monotonic()
    outcome = launched.outcome()
    assert time.monotonic() - began < 10
    assert outcome["code"] == 1
    text = outcome["text"]
    assert text.startswith("the 2 ranks waited for one another for longer than launch.timeout_seconds")
    assert "busy_elsewhere" in text
    assert "Timed out waiting 3000ms" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_launcher_reaches_every_worker(start: Start, number: int) -> None:
    # Sent before the workers can handle it: it waits until they can.
    what = (
        "time.sleep(0.5)\nfor number in SIGNALS: signal.signal(number, stopped)\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS); wait_for_ever()"
    )
    launched = start(what)
    launched.pids()
    launched.process.send_signal(number)
    outcome = launched.outcome()
    assert outcome["code"] == 128 + number
    assert outcome["failure"] == ""
    assert "killed" not in outcome["said"][-1]
    assert signal.Signals(number).name in outcome["said"][0]


def test_workers_that_do_not_stop_are_ended_after_the_grace_time(start: Start) -> None:
    launched = start("signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS); wait_for_ever()", grace=1.0)
    launched.pids()
    began = time.monotonic()
    launched.process.send_signal(signal.SIGTERM)
    outcome = launched.outcome()
    assert 1 <= time.monotonic() - began < 20
    assert outcome["code"] == 143
    assert outcome["said"][-1] == "killed: not ended 1 s after SIGTERM; the newest checkpoint stands"


def test_a_third_signal_does_not_wait(start: Start) -> None:
    launched = start("wait_for_ever()", grace=60.0)
    launched.pids()
    began = time.monotonic()
    launched.interrupt(times=3)
    outcome = launched.outcome()
    assert outcome["code"] == 130
    assert outcome["said"][-1].startswith("killed: 3 signals;")  # and not that a minute is over
    assert time.monotonic() - began < 30


def test_a_rank_that_is_told_to_stop_itself_is_no_failure(start: Start) -> None:
    # A scheduler may signal every process of a job rather than the launcher.
    what = (
        "signal.signal(signal.SIGTERM, stopped)\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS); wait_for_ever()"
    )
    launched = start(what)
    for pid in launched.pids():
        os.kill(pid, signal.SIGTERM)
    outcome = launched.outcome()
    assert (outcome["code"], outcome["failure"]) == (143, "")


CHILD = "child = subprocess.Popen(['sleep', '300']); (folder / f'child-{rank}').write_text(str(child.pid))\n"


def children(folder: Path) -> list[int]:
    return [int(file.read_text()) for file in folder.glob("child-*")]


def test_what_a_worker_started_ends_with_it(start: Start, gone: Callable[[int], bool]) -> None:
    launched = start(CHILD)
    assert launched.outcome()["code"] == 0
    assert len(children(launched.folder)) == 2
    assert all(map(gone, children(launched.folder)))


def test_nothing_outlives_a_launcher_that_is_killed(start: Start, gone: Callable[[int], bool]) -> None:
    launched = start(CHILD + "(folder / f'ready-{rank}').touch(); wait_for_ever()", num_processes=3)
    pids = launched.pids()
    while len(list(launched.folder.glob("ready-*"))) < 3:
        time.sleep(0.02)
    os.kill(pids[1], signal.SIGSTOP)  # even one that cannot notice
    launched.process.kill()
    assert all(map(gone, [*pids, *children(launched.folder)]))

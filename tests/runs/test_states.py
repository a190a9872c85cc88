"""Runs that died without a word are found and marked; what lives, here or elsewhere, is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runwright.runs.folder import create, read_run, update_status
from runwright.runs.states import (
    LOCK_FILE,
    complete_journal,
    find_dead,
    held_for_a_moment,
    look_at,
    mark,
    mark_all,
    noting_the_end,
    run_lock,
)
from runwright.tracker.journal import Journal, read

RUN = """
import sys, time
from pathlib import Path
from runwright.runs.folder import create, update_status
from runwright.runs.states import run_lock
from runwright.tracker.journal import Journal

folder = create({"name": "demo", "output_dir": sys.argv[1]}, overrides=[], command=[])
if "early" not in sys.argv:
    with run_lock(folder):
        journal = Journal(folder / "journal.jsonl")
        journal.status("RUNNING")
        journal.metrics({"loss": 1.0}, step=1)
        update_status(folder, "RUNNING")
        print(folder, flush=True)
        time.sleep(600)
print(folder, flush=True)
time.sleep(600)
"""


class Running:
    """A real process that is at work on a run."""

    def __init__(self, root: Path, *words: str) -> None:
        command = [sys.executable, "-P", "-c", RUN, str(root), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.folder = Path(self.process.stdout.readline().strip())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.end()


def statuses(folder: Path) -> list[str]:
    return [record["status"] for record, _ in read(folder / "journal.jsonl") if "status" in record]


def age(folder: Path, seconds: float) -> float:
    moment = time.time() - seconds
    for file in folder.iterdir():
        os.utime(file, (moment, moment))
    return moment


def write_holder(folder: Path, **changes: object) -> None:
    holder = {name: read_run(folder)[name] for name in ("host", "pid", "boot_id")}
    (folder / LOCK_FILE).write_text(json.dumps({**holder, "time": time.time(), **changes}))


def test_a_killed_run_is_marked_with_its_last_sign_of_life(running: Running, tmp_path: Path) -> None:
    assert find_dead(tmp_path) == []  # it lives
    running.kill()
    while running.process.poll() is None:
        time.sleep(0.01)
    moment = age(running.folder, 3600)
    (death,) = mark_all(tmp_path)
    record = read_run(running.folder)
    assert (death.status, record["status"]) == ("KILLED", "KILLED")
    assert record["reason"].startswith(f"process {running.process.pid} on ")
    assert "is gone (killed" in record["reason"]
    assert record["end_time"] == pytest.approx(moment, abs=1)
    assert statuses(running.folder) == ["RUNNING", "KILLED"]
    *_, last = (line for line, _ in read(running.folder / "journal.jsonl"))
    assert last["t"] == pytest.approx(moment * 1000, abs=1000)
    assert mark_all(tmp_path) == []  # once


def test_a_process_that_nobody_waited_for_is_dead_too(running: Running) -> None:
    running.kill()
    until = time.monotonic() + 10
    while look_at(running.folder) is None and time.monotonic() < until:
        time.sleep(0.02)
    assert look_at(running.folder) is not None  # a zombie until now


def test_a_run_that_left_a_traceback_failed(running: Running) -> None:
    (running.folder / "traceback.txt").write_text("OSError: no space left")
    running.end()
    death = look_at(running.folder)
    assert death is not None
    assert (death.status, "traceback.txt" in death.reason) == ("FAILED", True)
    assert mark(death)
    assert read_run(running.folder)["status"] == "FAILED"


def test_a_run_whose_lock_was_given_back_failed_by_itself(tmp_path: Path) -> None:
    folder = create({"name": "demo", "output_dir": str(tmp_path)}, overrides=[], command=[])
    with pytest.raises(ImportError), run_lock(folder):
        raise ImportError
    update_status(folder, "CREATED", pid=2**22 + 1)  # that process is gone
    death = look_at(folder)
    assert death is not None
    assert (death.status, "failed; see its output" in death.reason) == ("FAILED", True)


@pytest.mark.parametrize(
    ("error", "status"), [(ImportError("no such model"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_an_error_before_the_run_can_record_is_noted(
    error: BaseException, status: str, tmp_path: Path
) -> None:
    folder = create({"name": "demo", "output_dir": str(tmp_path)}, overrides=[], command=[])
    with pytest.raises(type(error)), run_lock(folder), noting_the_end(folder):
        raise error
    record = read_run(folder)
    assert (record["status"], record["error"]) == (status, f"{type(error).__name__}: {error}")
    assert record["end_time"] == pytest.approx(time.time(), abs=60)


def test_what_the_run_said_of_its_own_end_stands(tmp_path: Path) -> None:
    folder = create({"name": "demo", "output_dir": str(tmp_path)}, overrides=[], command=[])
    update_status(folder, "FAILED", error="the first")
    with pytest.raises(SystemExit), noting_the_end(folder):
        raise SystemExit(1)
    assert read_run(folder)["error"] == "the first"


def test_a_dead_run_that_refuses_to_resume_stays_as_it_was(running: Running) -> None:
    running.end()
    before = read_run(running.folder)
    with pytest.raises(OSError, match="other data"), noting_the_end(running.folder):
        raise OSError("other data")
    assert read_run(running.folder) == before


def test_a_restart_of_the_machine_is_the_reason(running: Running) -> None:
    running.end()
    write_holder(running.folder, boot_id="another")
    assert look_at(running.folder) is None  # a machine of the same name may share the folder
    age(running.folder, 120)
    death = look_at(running.folder)
    assert death is not None
    assert "is gone (killed, out of memory, restarted" in death.reason


def test_a_run_elsewhere_is_left_alone_until_its_heartbeat_is_old(running: Running, tmp_path: Path) -> None:
    running.end()
    write_holder(running.folder, host="elsewhere", pid=7)
    age(running.folder, 50)
    assert mark_all(tmp_path) == []
    age(running.folder, 70)
    (death,) = mark_all(tmp_path)
    assert death.reason.startswith("process 7 on elsewhere is gone (killed, ")
    assert "cut off); last sign of life 20" in death.reason


def test_a_run_that_workers_still_hold_lives(tmp_path: Path) -> None:
    folder = create({"name": "demo", "output_dir": str(tmp_path)}, overrides=[], command=[])
    update_status(folder, "RUNNING")
    with run_lock(folder) as descriptor:
        worker = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    write_holder(folder, pid=2**22 + 1)  # the launcher itself is gone
    assert look_at(folder) is None
    worker.kill()
    worker.wait()
    assert look_at(folder) is not None


def test_a_run_that_died_before_it_began_is_found(tmp_path: Path) -> None:
    early = Running(tmp_path, "early")
    assert find_dead(tmp_path) == []  # made, and about to be locked
    early.end()
    age(early.folder, 70)
    (death,) = mark_all(tmp_path)
    assert "is gone (killed" in death.reason
    assert read_run(early.folder)["status"] == "KILLED"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_an_ended_run_is_not_asked(status: str, running: Running) -> None:
    running.end()
    update_status(running.folder, status)
    assert look_at(running.folder) is None


def test_a_run_that_is_resumed_while_it_is_looked_at_is_not_marked(running: Running, tmp_path: Path) -> None:
    running.end()
    (death,) = find_dead(tmp_path)
    with run_lock(running.folder):
        assert not mark(death)
    assert read_run(running.folder)["status"] == "RUNNING"
    update_status(running.folder, "FINISHED")
    assert not mark(death)
    assert read_run(running.folder)["status"] == "FINISHED"


def test_who_only_looks_does_not_keep_a_run_from_starting(running: Running) -> None:
    running.end()
    looker = subprocess.Popen(
        [sys.executable, "-P", "-c", LOOKER, str(running.folder)], stdout=subprocess.PIPE, text=True
    )
    assert looker.stdout
    assert looker.stdout.readline() == "looking\n"
    with held_for_a_moment(running.folder) as held:
        assert not held
    with run_lock(running.folder):  # waits for it
        pass
    looker.communicate()


LOOKER = """
import sys, time
from pathlib import Path
from runwright.runs.states import held_for_a_moment

with held_for_a_moment(Path(sys.argv[1])) as held:
    assert held
    print("looking", flush=True)
    time.sleep(0.4)
"""


def test_damaged_and_foreign_folders_are_left_out(tmp_path: Path) -> None:
    for name, text in (("torn", '{"status": "RUN'), ("empty", ""), ("other", "{}")):
        folder = tmp_path / "demo" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(text)
    assert find_dead(tmp_path) == []


def test_the_end_of_a_run_that_was_killed_before_it_was_in_the_journal_is_written_there(
    tmp_path: Path,
) -> None:
    folder = create({"name": "demo", "output_dir": str(tmp_path)}, overrides=[], command=[])
    journal = Journal(folder / "journal.jsonl")
    journal.status("RUNNING")
    journal.metrics({"loss": 1.0}, step=1)
    journal.close()
    complete_journal(folder)
    assert statuses(folder) == ["RUNNING"]
    update_status(folder, "FINISHED", end_time=12.5)
    for _ in range(2):  # once
        complete_journal(folder)
        assert statuses(folder) == ["RUNNING", "FINISHED"]
    assert [record["t"] for record, _ in read(folder / "journal.jsonl")][-1] == 12_500

"""Standard streams of a program whose terminal or reader goes away, or that were closed from the start."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = """
import contextlib, os, sys
from runwright.report.log import guard_streams
guard_streams()
print("größe")
with contextlib.suppress(OSError):  # where the terminal is closed before this
    sys.stdin.read(1)
print("lost", flush=True)
print("lost too", file=sys.stderr)
os.write(int(os.environ["RESULT"]), b"alive")
"""


def run_program(**streams: Any) -> tuple[subprocess.Popen[Any], int]:
    read_end, write_end = os.pipe()
    environment = {**os.environ, "RESULT": str(write_end), "PYTHONIOENCODING": "ascii"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM], pass_fds=[write_end], env=environment, **streams
    )
    os.close(write_end)
    return process, read_end


def test_a_program_outlives_its_terminal_and_shows_what_it_can() -> None:
    controller, terminal = pty.openpty()
    process, result = run_program(stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    assert os.read(controller, 100).strip() == b"gr??e"  # the terminal's encoding is ascii
    os.close(controller)
    with os.fdopen(result, "rb") as alive:
        assert alive.read() == b"alive"
    assert process.wait(timeout=30) == 0


def test_a_file_gets_utf_8_whatever_the_terminal_could_show() -> None:
    process, result = run_program(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    os.close(result)
    output, _ = process.communicate(timeout=30)
    assert output.decode("utf-8").splitlines() == ["größe", "lost"]


def test_closed_streams_are_opened_to_nowhere() -> None:
    read_end, write_end = os.pipe()
    command = f'{sys.executable} -P -c "$PROGRAM" <&- >&- 2>&-'
    environment = {**os.environ, "RESULT": str(write_end), "PROGRAM": PROGRAM}
    process = subprocess.Popen(["/bin/sh", "-c", command], pass_fds=[write_end], env=environment)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as alive:
        assert alive.read() == b"alive"
    assert process.wait(timeout=30) == 0


def test_a_program_nobody_reads_ends_as_by_sigpipe_without_a_word() -> None:
    program = (
        "from runwright.report.log import guard_streams\nguard_streams()\n"
        "from runwright.report.terminal import result_console\nresult_console().print('lost')"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.run(
        [sys.executable, "-P", "-c", program], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert (process.returncode, process.stderr) == (141, b"")


def test_a_full_disk_behind_the_output_is_told_once() -> None:
    program = (
        "import sys\nfrom runwright.report.log import guard_streams\nguard_streams()\n"
        "try: print('lost', flush=True)\nexcept OSError as error: print(error.errno, file=sys.stderr)"
    )
    with Path("/dev/full").open("w") as full:
        process = subprocess.run([sys.executable, "-P", "-c", program], stdout=full, stderr=subprocess.PIPE)
    assert (process.returncode, process.stderr) == (0, b"28\n")

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from runwright.report.log import run_logging

ours, theirs = logging.getLogger("runwright.x"), logging.getLogger("transformers.models")


def test_the_file_has_our_details_and_everyones_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_logging(tmp_path, first=True):
        ours.debug("a detail")
        ours.info("step done")
        theirs.info("noise of a library")
        theirs.warning("a library warns")
        logging.getLogger("other").info("noise of another")
    text = (tmp_path / "log.txt").read_text()
    assert "DEBUG   runwright.x: a detail" in text
    assert "a library warns" in text
    assert "noise" not in text
    shown = capsys.readouterr().err
    assert "step done" in shown
    assert shown.count("a library warns") == 1
    assert "a detail" not in shown
    assert "noise" not in shown


def test_control_characters_are_written_as_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_logging(tmp_path, first=True):
        ours.warning("data: a\x1b[2Jb\u202ec\x9bd\u2028e\tf\ng, é, 👩\u200d🔬")
    text = "data: a\\x1b[2Jb\\u202ec\\x9bd\\u2028e\tf\ng, é, 👩\u200d🔬\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").endswith(text)
    assert capsys.readouterr().err.endswith(text)


def test_warnings_are_logged(tmp_path: Path) -> None:
    with run_logging(tmp_path, first=True), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("careful", stacklevel=1)
    assert "UserWarning: careful" in (tmp_path / "log.txt").read_text()


def test_everything_is_as_before_afterwards(tmp_path: Path) -> None:
    names = ("", "runwright", "transformers", "datasets")

    def state() -> list[tuple[int, bool, list[logging.Handler]]]:
        loggers = [logging.getLogger(name) for name in names]
        return [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]

    with run_logging(tmp_path, first=True):
        pass
    before = state()
    for _ in range(3):
        with run_logging(tmp_path, first=True):
            ours.info("once")
    with pytest.raises(KeyError), run_logging(tmp_path, first=True):
        raise KeyError
    assert state() == before
    assert (tmp_path / "log.txt").read_text().count("once") == 3


def test_other_processes_write_no_file_and_show_errors_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_logging(tmp_path, first=False):
        ours.warning("said by the first process too")
        ours.error("a rank failed")
    assert list(tmp_path.iterdir()) == []
    shown = capsys.readouterr().err
    assert "a rank failed" in shown
    assert "said by" not in shown


def test_secrets_are_masked_in_lines_and_tracebacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def mask(text: str) -> str:
        return text.replace("canary", "[redacted]")

    with run_logging(tmp_path, first=True, redact=mask):
        ours.info("token %s", "canary")
        try:
            raise ValueError("canary")
        except ValueError:
            ours.exception("failed")
    text = (tmp_path / "log.txt").read_text()
    assert "canary" not in text
    assert "ValueError: [redacted]" in text
    assert "canary" not in capsys.readouterr().err


def test_odd_characters_do_not_stop_the_log(tmp_path: Path) -> None:
    program = (
        "import logging, sys; from pathlib import Path; from runwright.report.log import run_logging\n"
        "with run_logging(Path(sys.argv[1]), first=True):\n"
        "    logging.getLogger('runwright.x').info('größe \\ud800 [/bold] 🙂')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "größe" in (tmp_path / "log.txt").read_text("utf-8")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("level", "shown"), [("debug", "a b c"), ("warning", "c"), ("error", "")])
def test_the_terminal_shows_messages_from_a_level_on_and_the_file_all(
    level: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_logging(tmp_path, first=True, level=level):
        for write, text in ((ours.debug, "a"), (ours.info, "b"), (ours.warning, "c")):
            write(text)
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()] == shown.split()
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 3

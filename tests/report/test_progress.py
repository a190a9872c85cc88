from __future__ import annotations

import io
import logging
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from runwright.report import progress as module
from runwright.report.progress import Progress


def terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def output(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_training_with_an_evaluation_below() -> None:
    console = terminal()
    with Progress(enabled=True, console=console) as progress, progress.training(total=10, done=4):
        progress.step(5, 10, {"loss": 0.51234, "samples/s": 64.25})
        with progress.counting("evaluate validation", total=20) as on_progress:
            on_progress(20, 20)
            time.sleep(0.6)
        progress.step(10, 10, {"loss": 0.25})
    text = output(console)
    assert "5/10" in text
    assert "loss 0.5123" in text
    assert "samples/s 64.25" in text
    assert "evaluate validation" in text
    assert "20/20" in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    console = terminal(width)
    metrics = {"loss": 0.5, "lr": 2e-5, "samples/s": 64.0, "tokens/s": 1431.0, "more": 1.0}
    with Progress(enabled=True, console=console) as progress, progress.training(total=1000):
        progress.step(999, 1000, metrics)
        time.sleep(0.4)
    visible = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output(console)).replace("\r", "\n")
    assert "999/1000" in visible
    assert max(map(len, visible.split("\n"))) <= width


def test_without_a_terminal_there_is_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    console = Console(file=io.StringIO())
    with Progress(enabled=True, console=console) as progress, progress.training(total=1000):
        for step in range(1, 1000):
            progress.step(step, 1000, {"loss": 0.5})
        monkeypatch.setattr(module, "LINE_EVERY_SECONDS", 0.0)
        progress.step(1000, 1000, {"loss": 0.25})
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    assert messages[0] == "train: step 0/1000"
    assert messages[1].startswith("train: step 1/1000 (0%), loss 0.5")
    assert messages[2] == "train: step 1000/1000 (100%), loss 0.25"
    assert output(console) == ""


def test_short_stages_are_worth_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress(enabled=True, console=Console(file=io.StringIO())) as progress:
        with progress.counting("predict") as on_progress:
            for done in range(100):
                on_progress(done)
        with progress.counting("evaluate test", total=10) as on_progress:
            on_progress(10, 10)
    assert caplog.text == ""


def test_other_processes_show_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    console = terminal()
    with Progress(enabled=False, console=console) as progress, progress.training(total=2):
        progress.step(1, 2, {"loss": 1.0})
        with progress.counting("evaluate test", total=1) as on_progress:
            on_progress(1, 1)
        with progress.counting("prepare") as on_progress:
            on_progress(1)
    assert output(console) == ""
    assert caplog.text == ""


def test_an_error_inside_leaves_no_thread_and_no_bar_behind() -> None:
    threads, console = threading.active_count(), terminal()
    with (
        pytest.raises(KeyError),
        Progress(enabled=True, console=console) as progress,
        progress.training(total=2),
        progress.counting("evaluate test", total=1),
    ):
        raise KeyError
    until = time.monotonic() + 2
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.05)  # the bars' own thread ends by itself within a quarter of a second
    assert threading.active_count() == threads
    assert "\x1b[?25h" in output(console)  # the cursor is shown again


def test_showing_a_step_takes_microseconds() -> None:
    with Progress(enabled=True, console=terminal()) as progress, progress.training(total=10_000):
        began = time.perf_counter()
        for step in range(5000):
            progress.step(step, 10_000, {"loss": 0.5, "samples/s": 64.0})
        assert (time.perf_counter() - began) / 5000 < 200e-6


def test_a_stage_before_the_first_step_says_what_it_does_and_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STAGE_LINE_EVERY_SECONDS", 0.05)
    said: list[str] = []
    console = Console(file=io.StringIO())
    with Progress(enabled=True, console=console, stages_before=2, say=said.append) as progress:
        with progress.starting("reading rows") as on_rows:
            time.sleep(0.08)
            on_rows(20_000)
            time.sleep(0.12)
        with progress.training(total=9):
            time.sleep(0.12)
            progress.step(1, 9)
            num_lines = len(said)
            time.sleep(0.12)
    assert said[0] == "[3/6] reading rows"
    assert any(line.startswith("[3/6] reading rows: 20,000 so far, 0.") for line in said)
    assert any(line.startswith("train: step 0/9, 0.") for line in said)
    assert len(said) == num_lines  # training has lines of its own


def test_eighty_columns_show_loss_and_speed_beside_the_bar() -> None:
    console = terminal(80)
    with Progress(enabled=True, console=console) as progress, progress.training(total=10_000):
        progress.step(9999, 10_000, {"loss": 0.51234, "samples/s": 64.25, "tokens/s": 1431.0})
        time.sleep(0.3)
    (line, *_) = [line for line in re.split(r"[\r\n]", output(console)) if "9999/10000" in line]
    assert "loss 0.5123  samples/s 64.25" in line


def test_a_notebook_has_one_output_of_kept_lines_and_the_progress_below(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []

    class Cell:
        def update(self, text: dict[str, str], *, raw: bool) -> None:
            assert raw
            shown.append(text["text/plain"])

    def display(text: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert display_id
        Cell().update(text, raw=raw)
        return Cell()

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    console = Console(file=io.StringIO(), force_jupyter=True)
    with Progress(enabled=True, console=console) as progress, progress.training(total=2):
        progress.step(1, 2, {"loss": 0.5})
        progress.keep("validation at step 1")
        monkeypatch.setattr(module, "NOTE_EVERY_SECONDS", 0.0)
        progress.step(2, 2, {"loss": 0.25})
    assert [text.splitlines()[0] for text in shown[1:]] == ["validation at step 1"] * 2
    assert shown[-1].splitlines()[1].startswith("train: step 2/2 (100%), loss 0.25")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


def test_a_terminal_shows_a_stage_as_a_bar() -> None:
    console = terminal()
    with Progress(enabled=True, console=console) as progress, progress.starting("reading rows") as on_rows:
        on_rows(20_000)
        time.sleep(0.4)
    assert "[1/6] reading rows" in output(console)


@pytest.mark.parametrize("console", [terminal(), Console(file=io.StringIO())])
def test_by_epochs_training_is_a_line_an_epoch_with_the_mean_loss(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="runwright")
    with (
        Progress(enabled=True, console=console, mode="epochs") as progress,
        progress.training(total=5, done=1, steps_per_epoch=2),
    ):
        for step, loss in enumerate([1.0, 0.5, 0.25, 0.125], start=2):
            progress.step(step, 5, {"loss": loss, "samples/s": 8.0})
    assert [message for message in caplog.messages if "epoch" in message] == [
        "epoch 1: step 2/5, loss 1, samples/s 8",
        "epoch 2: step 4/5, loss 0.375, samples/s 8",
        "epoch 2.5: step 5/5, loss 0.125, samples/s 8",
    ]
    assert "━" not in output(console)


def test_without_progress_results_alone_are_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="runwright")
    console = terminal()
    with Progress(enabled=True, console=console, mode="off") as progress:
        with progress.starting("reading rows"), progress.training(total=2):
            progress.step(2, 2, {"loss": 1.0})
        progress.keep("step 2: f1 0.5")
    assert (output(console), caplog.messages) == ("", ["step 2: f1 0.5"])

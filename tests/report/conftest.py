"""A finished run whose every text is an attack, and a real browser to look at its page."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runwright.config.addresses import to_address

HOSTILE = (
    "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> & \" '"
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """The folder of a run as `runwright train` leaves it, with classes or with numbers."""

    def make(kind: str = "classes", *, name: str = "demo", step_loss: float = 1.0) -> Path:
        folder = tmp_path / "outputs" / name / "2026-01-31_12-00-00-1a2b3c"
        (folder / "predictions").mkdir(parents=True)
        (folder / "tables").mkdir()
        labels = ["good", HOSTILE, "<b>bad</b>"] if kind == "classes" else []
        write = {
            "run.json": {
                "run_id": "1a2b3c" * 5,
                "name": f"{name}{HOSTILE}",
                "status": "FINISHED",
                "command": ["runwright", HOSTILE],
                "overrides": [f"name={HOSTILE}"],
                "error": HOSTILE,
                "start_time": 1.7e9,
            },
            "summary.json": _summary(),
            "task.json": {"label_names": labels, "group_names": ["<i>a</i>", "b"]},
            "data.json": {"fingerprints": {"train": HOSTILE}, "notes": [HOSTILE]},
            "provenance.json": {
                "git": {"commit": HOSTILE, "dirty": True, "diff": HOSTILE},
                "packages": {HOSTILE: "1"},
                "hardware": {"cpu": HOSTILE},
            },
        }
        for file, content in write.items():
            (folder / file).write_text(json.dumps(content), encoding="utf-8")
        config = {"task": {"group_column": "group"}, "trainer": {"best_metric": "f1", "best_mode": "max"}}
        (folder / "config.yaml").write_text(json.dumps({**config, "note": HOSTILE}), encoding="utf-8")
        (folder / "journal.jsonl").write_text("".join(_journal(step_loss)), encoding="utf-8")
        for split in ("validation", "test"):
            lines = [json.dumps(each) for each in _predictions(labels)]
            (folder / "predictions" / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        if labels:
            (folder / "tables" / "classes_test.csv").write_text('class,f1,support\n"<b>x</b>",0.5,7\n')
        return folder

    return make


def _summary() -> dict[str, Any]:
    metrics = {
        f"{split}/{name}": 0.5
        for split in ("validation", "test")
        for name in ("loss", "f1", "f1/<i>a</i>", "f1/b")
    }
    return {
        "status": "FINISHED",
        "global_step": 300,
        "best_step": 200,
        "metrics": {**metrics, "test/odd": "nan"},
        "intervals": {"test/f1": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "references": {HOSTILE: {"test/f1/b": 0.7}},
        "seconds": {"train": 10.0, "all": 12.0},
        "rates": {"samples_per_second": 30.0},
        "ledger": HOSTILE,
    }


def _journal(loss: float) -> Iterator[str]:
    for step in range(1, 301):
        metrics: dict[str, Any] = {"train/loss": loss / step, "train/learning_rate": 1e-4 / step}
        if step % 100 == 0:
            metrics |= {
                "validation/loss": loss / step,
                "validation/f1": step / 400,
                f"validation/f1/{HOSTILE}": 0.1,
            }
        if step == 250:
            metrics["train/loss"] = "inf"
        yield json.dumps({"t": step, "s": step, "m": metrics}) + "\n"


def _predictions(labels: list[str]) -> Iterator[dict[str, Any]]:
    for row in range(60):
        pair = (labels[row % 3], labels[row % 2]) if labels else (row / 10, row / 12)
        text, group = HOSTILE if row % 2 else f"plain {row}", ("<i>a</i>", "b")[row % 2]
        yield dict(zip(("expected", "predicted"), pair, strict=True)) | {
            "row_id": row,
            "text": text,
            "group": group,
            "loss": row / 7,
        }


class Browser:
    """Headless Chromium, spoken to over two pipes in its own protocol: no driver, no package."""

    def __init__(self, command: list[str]) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def wire() -> None:  # the protocol's pipes are the descriptors 3 and 4
            read, write = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(read, 3)
            os.dup2(write, 4)

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, preexec_fn=wire, pass_fds=(3, 4), **quiet)  # type: ignore[call-overload]
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out, self._rest, self._number = ours_in, ours_out, b"", 0
        self.messages: list[str] = []  # of the console, and errors that nobody caught
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, page: Path, *, width: int, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=to_address(page.resolve(), "file"))
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str) -> None:
        until = time.monotonic() + 30
        while not self.run(expression):
            assert time.monotonic() < until, expression
            time.sleep(0.05)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._in, 1 << 20)
            assert more, "the browser is gone"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.messages.append(json.dumps(message["params"])[:600])
        return message


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Skips where there is none."""
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no Chromium to look at a page with: none of {', '.join(CHROMIUM)} is installed")
    profile = tmp_path_factory.mktemp("chromium")
    command = [
        program,
        "--headless",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        "--disable-gpu",
    ]
    command += ["--no-first-run", "--disable-background-networking", "--hide-scrollbars"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox does not work for root
    started = Browser(command)
    yield started
    started.close()

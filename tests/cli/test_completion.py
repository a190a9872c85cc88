"""Tab completion: what is offered, and that a real bash offers it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.runs.folder import create

BASH = shutil.which("bash")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("runwright tr", ["train"]),
        ("runwright --v", ["--version"]),
        ("runwright train --mul", ["--multirun"]),
        ("runwright train --cfg ", ["job"]),
        ("runwright completion ", ["bash", "fish", "zsh"]),
        ("runwright train optimi", ["optimizer.", "optimizer="]),
        ("runwright train optimizer=", ["optimizer=adamw", "optimizer=sgd"]),
        ("runwright train +optimizer=sg", ["+optimizer=sgd"]),
        ("runwright train optimizer.beta", ["optimizer.beta1=", "optimizer.beta2="]),
        ("runwright train optimizer=sgd optimizer.mo", ["optimizer.momentum="]),
        ("runwright train optimizer.lr=", ["optimizer.lr=5e-05"]),
        ("runwright validate task.problem=r", ["task.problem=regression"]),
        (
            "runwright train trainer.deterministic=",
            ["trainer.deterministic=false", "trainer.deterministic=true"],
        ),
        ("runwright train metric=[f1,accu", [r"metric=\[f1,accuracy"]),
        ("runwright train dataset.source.neg", ["dataset.source.negative_at_most="]),
        ("runwright train -m se", ["seed=", "seeds."]),
        ("runwright train nonsense=1 seeds.i", ["seeds.init="]),
        ("runwright nothing x", []),
        ("runwright evaluate latest --split test dataset.source.neg", ["dataset.source.negative_at_most="]),
        ("runwright train metric=[] --cfg job seeds.i", ["seeds.init="]),
        ("runwright train seeds", ["seeds.data=", "seeds.dropout=", "seeds.init="]),
    ],
)
def test_what_is_offered(
    line: str, expected: list[str], tmp_path: Path, complete: Callable[[str], list[str]]
) -> None:
    os.chdir(tmp_path)
    assert complete(line) == expected


def test_runs_are_offered_where_a_run_is_wanted(tmp_path: Path, complete: Callable[[str], list[str]]) -> None:
    os.chdir(tmp_path)
    folder = create({"name": "mine", "output_dir": "outputs"}, overrides=[], command=[])
    short = folder.name.rpartition("-")[2]
    for line in ("runwright evaluate ", "runwright predict ", "runwright train --resume "):
        assert complete(line) == sorted(["latest", "latest:mine", short])


def test_options_of_ones_own_are_offered(tmp_path: Path, complete: Callable[[str], list[str]]) -> None:
    os.chdir(tmp_path)
    file = tmp_path / "conf" / "optimizer" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: runwright.optimizer.adamw\nlr: 1\n")
    assert "optimizer=mine" in complete("runwright train optimizer=")


# --- a real shell -------------------------------------------------------------------------------------


@pytest.fixture
def program_folder(tmp_path: Path) -> Path:
    """A folder for PATH with the command in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "runwright"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom runwright.cli.main import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    return folder


class Shell:
    """An interactive bash on a terminal of its own."""

    def __init__(self, program_folder: Path, folder: Path) -> None:
        assert BASH is not None
        self.master, slave = pty.openpty()
        environment = {
            **os.environ,
            "PATH": f"{program_folder}:{os.environ['PATH']}",
            "PS1": "> ",
            "TERM": "dumb",
        }
        self.process = subprocess.Popen(
            [BASH, "--norc", "--noprofile", "-i"],
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.type(
            'eval "$(runwright completion bash)"; bind "set enable-bracketed-paste off"; echo rea""dy\n'
        )
        self.read_until("ready")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read_until(self, text: str, timeout: float = 20.0) -> str:
        seen, end = "", time.monotonic() + timeout
        while text not in seen and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                seen += os.read(self.master, 65536).decode(errors="replace")
        assert text in seen, f"waited for {text!r}, saw {seen!r}"
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_a_real_bash_completes(program_folder: Path, tmp_path: Path) -> None:
    shell = Shell(program_folder, tmp_path)
    try:
        for typed, completed in (
            ("runwright tra\t", "runwright train "),
            ("optimizer=sg\t", "optimizer=sgd "),
            ("optimizer.mom\t", "optimizer.momentum="),
            ("0.5 task.problem=reg\t", "task.problem=regression "),
        ):
            shell.type(typed)
            shell.read_until(completed)
        shell.type("dataset.source.\t\t")
        shell.read_until("source.domains.")
    finally:
        shell.close()

"""Help, printing, checking and completion load nothing heavy and take less than half a second of CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunProbe = Callable[..., tuple[subprocess.CompletedProcess[str], float]]

HEAVY = (
    *("torch", "transformers", "datasets", "tokenizers", "mlflow", "evaluate", "accelerate", "peft"),
    *("sklearn", "scipy", "pandas", "matplotlib", "pyarrow", "numpy", "safetensors"),
)
BUDGET_SECONDS = 0.5
PROBE = f"""
import sys
from runwright.cli.main import main
try:
    code = main()  # as the program, which leaves its garbage alone
except SystemExit as stop:
    code = stop.code or 0
print("loaded:", sorted(set({HEAVY!r}) & set(sys.modules)), "hydra" in sys.modules)
sys.exit(code)
"""
COMMANDS = (
    *("train", "evaluate", "predict", "validate", "init", "completion"),
    *("runs", "compare", "doctor", "ui", "plan"),
)
WITHOUT_HYDRA = [
    ["--help"],
    ["--version"],
    *([name, "--help"] for name in COMMANDS),
    ["completion", "bash"],
    ["TAB", "runwright tr"],
]
WITH_HYDRA = [
    ["train", "--cfg", "job"],
    ["train", "--cfg", "job", "--resolve", "experiment=vader"],
    ["validate"],
    ["validate", "experiment=vader", "model=lora"],
    ["TAB", "runwright train optimizer."],
    ["TAB", "runwright train experiment="],
]


@pytest.fixture
def run_probe(run_timed: Any, tmp_path: Path) -> RunProbe:
    def run(
        arguments: list[str], *, answer: Path = Path(os.devnull)
    ) -> tuple[subprocess.CompletedProcess[str], float]:
        # With byte code, as an installed package has it.
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        if arguments[0] == "TAB":  # what a shell's function sets
            line = arguments[1]
            variables |= {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
            variables |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
        return run_timed([sys.executable, "-c", PROBE, *arguments], cwd=tmp_path, env=variables)

    return run


@pytest.mark.parametrize("arguments", WITHOUT_HYDRA, ids=" ".join)
def test_help_and_scripts_load_not_even_hydra(arguments: list[str], run_probe: RunProbe) -> None:
    process, _ = run_probe(arguments)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "loaded: [] False"


@pytest.mark.parametrize("arguments", WITH_HYDRA, ids=" ".join)
def test_composing_and_checking_load_nothing_heavy(
    arguments: list[str], run_probe: RunProbe, tmp_path: Path
) -> None:
    process, _ = run_probe(arguments)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1].startswith("loaded: [] ")
    assert list(tmp_path.iterdir()) == []  # and leave nothing behind


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--cfg", "job"],
        ["validate", "experiment=vader"],
        ["TAB", "runwright train optimizer.l"],
    ],
    ids=" ".join,
)
def test_half_a_second_of_cpu_is_enough(arguments: list[str], run_probe: RunProbe) -> None:
    run_probe(arguments)  # writes the byte code
    # One of five: others at work raise even the CPU time by a third.
    assert any(run_probe(arguments)[1] < BUDGET_SECONDS for _ in range(5))


def test_importing_the_package_takes_less_than_a_tenth_of_a_second(run_timed: Any) -> None:
    assert any(run_timed([sys.executable, "-c", "import runwright"])[1] < 0.1 for _ in range(3))


def test_the_completion_that_is_measured_is_argcompletes_and_finds_something(
    run_probe: RunProbe, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    process, _ = run_probe(["TAB", "runwright train optimizer.l"], answer=found)
    assert process.returncode == 0, process.stderr
    assert found.read_text().split("\v") == ["optimizer.lr="]

"""Help, printing, checking and completion load nothing heavy and take less than half a second of CPU."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("torch", "transformers", "datasets", "tokenizers", "mlflow", "evaluate", "accelerate", "peft"),
    *("sklearn", "scipy", "pandas", "matplotlib", "pyarrow", "numpy", "safetensors"),
)
BUDGET_SECONDS = 0.5
HYDRA_SECONDS = 0.12  # to import Hydra, on a machine of which docs/benchmarks.md has the figures
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


def run_probe(
    arguments: list[str], folder: Path, *, answer: Path = Path(os.devnull)
) -> tuple[subprocess.CompletedProcess[str], float]:
    # With byte code, as an installed package has it.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if arguments[0] == "TAB":  # what a shell's function sets
        line = arguments[1]
        variables |= {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
        variables |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", WITHOUT_HYDRA, ids=" ".join)
def test_help_and_scripts_load_not_even_hydra(arguments: list[str], tmp_path: Path) -> None:
    process, _ = run_probe(arguments, tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "loaded: [] False"


@pytest.mark.parametrize("arguments", WITH_HYDRA, ids=" ".join)
def test_composing_and_checking_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    process, _ = run_probe(arguments, tmp_path)
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
def test_half_a_second_of_cpu_is_enough(arguments: list[str], tmp_path: Path) -> None:
    run_probe(arguments, tmp_path)  # writes the byte code
    # CPU time, not wall time, and one of five: the machine that runs the tests may be busy with others,
    # which raises even the CPU time by a third; or slow, which the import of Hydra alone tells.
    assert any(run_probe(arguments, tmp_path)[1] < BUDGET_SECONDS * slowness() for _ in range(5))


def slowness() -> float:
    """How many times slower this machine is at present than one with the usual speed; at least 1."""
    return max(1.0, cpu_seconds("import hydra, hydra._internal.config_loader_impl") / HYDRA_SECONDS)


def cpu_seconds(code: str) -> float:
    timed = f"import time; began = time.process_time(); {code}; print(time.process_time() - began)"
    return float(subprocess.check_output([sys.executable, "-c", timed]))


def test_importing_the_package_takes_less_than_a_tenth_of_a_second() -> None:
    assert any(cpu_seconds("import runwright") < 0.1 * slowness() for _ in range(3))


def test_the_completion_that_is_measured_is_argcompletes_and_finds_something(tmp_path: Path) -> None:
    found = tmp_path / "found"
    process, _ = run_probe(["TAB", "runwright train optimizer.l"], tmp_path, answer=found)
    assert process.returncode == 0, process.stderr
    assert found.read_text().split("\v") == ["optimizer.lr="]

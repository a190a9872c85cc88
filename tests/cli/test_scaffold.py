"""`runwright init` makes a project whose documented example runs."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from runwright.cli.init import scaffold
from runwright.cli.main import main
from runwright.errors import ConfigError

PIPES = {"capture_output": True, "text": True, "check": False}


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=folder, **PIPES)


def test_the_project_is_complete(tmp_path: Path) -> None:
    files = {file.as_posix() for file in scaffold(tmp_path / "my-project")}
    assert {
        "pyproject.toml",
        "README.md",
        ".gitignore",
        "conf/experiment/tiny.yaml",
        "src/my_project/reviews.py",
        "src/my_project/small_encoder.py",
        "src/my_project/worst_recall.py",
        "tests/test_project.py",
    } <= files
    texts = [path.read_text() for path in (tmp_path / "my-project").rglob("*") if path.is_file()]
    assert not [text for text in texts if "{package}" in text or "{{" in text]


@pytest.mark.slow
def test_the_documented_example_runs(tmp_path: Path) -> None:
    folder = tmp_path / "my-project"
    assert run_in(tmp_path, "runwright", "init", "my-project").returncode == 0
    quick = ["trainer.max_epochs=null", "trainer.max_steps=2", "trainer.evaluate_every_epochs=null"]
    process = run_in(folder, "runwright", "train", "experiment=tiny", *quick)
    assert process.returncode == 0, process.stderr
    (run,) = (folder / "outputs" / "tiny").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert "test/worst_recall" in summary["metrics"]
    process = run_in(folder, "runwright", "predict", "latest:tiny", "the soup was cold and dull")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["predicted"] in {"negative", "positive"}


@pytest.mark.slow
def test_the_whole_example_learns_its_data(tmp_path: Path) -> None:
    folder = tmp_path / "my-project"
    scaffold(folder)
    assert run_in(folder, "runwright", "train", "experiment=tiny").returncode == 0
    (run,) = (folder / "outputs" / "tiny").iterdir()
    assert json.loads((run / "summary.json").read_text())["metrics"]["test/accuracy"] >= 0.9
    process = run_in(folder, "runwright", "evaluate", "latest:tiny")
    assert process.returncode == 0, process.stderr


def test_the_projects_own_tests_pass(tmp_path: Path) -> None:
    scaffold(tmp_path / "my-project")
    process = run_in(tmp_path / "my-project", "pytest", "-q", "-p", "no:cacheprovider")
    assert process.returncode == 0, process.stdout


def test_the_project_is_right_even_without_the_data(tmp_path: Path) -> None:
    scaffold(tmp_path / "my-project")
    process = run_in(tmp_path / "my-project", "runwright", "validate", "experiment=tiny")
    assert process.returncode == 0, process.stderr
    process = run_in(tmp_path / "my-project", "runwright", "validate", "--deep", "experiment=tiny")
    assert process.returncode == 0, process.stderr
    assert "data: train" in process.stdout


@pytest.mark.parametrize("name", ["json", "torch", "runwright", "1st", "class", "---"])
def test_a_name_that_would_hide_a_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        scaffold(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    with pytest.raises(ConfigError, match="which exists"):
        scaffold(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.txt"]


def test_a_project_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, names = Path.write_text, list[str]()

    def fail_at_the_third(file: Path, text: str, **options: str) -> int:
        names.append(file.name)
        return write(file, text, **options) if len(names) < 3 else int("no space")

    monkeypatch.setattr(Path, "write_text", fail_at_the_third)
    with pytest.raises(ValueError, match="no space"):
        scaffold(tmp_path / "mine")
    monkeypatch.setattr(Path, "write_text", write)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()  # and an empty folder is filled: it may be the current one
    monkeypatch.chdir(tmp_path / "mine")
    assert scaffold(Path())
    assert Path("README.md").is_file()


def test_a_folder_with_spaces_can_be_entered_and_its_project_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "Mein erstes Projekt"]) == 0
    command = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  cd "))
    assert shlex.split(command) == ["cd", "Mein erstes Projekt"]
    project = tomllib.loads((tmp_path / "Mein erstes Projekt" / "pyproject.toml").read_text())["project"]
    Requirement(project["name"])  # raises for what pip could not install

"""What a user gets who installs the package instead of cloning it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml


def run(*command: str | Path, folder: Path) -> str:
    # Neither the sources nor the checkout's own settings may help an installed package.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built with the installed hatchling: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, repository, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_config_under_its_own_path(repository: Path, contents: set[str]) -> None:
    shipped = {path.relative_to(repository).as_posix() for path in (repository / "conf").rglob("*.yaml")}
    packed = {name.removeprefix("runwright/") for name in contents if name.startswith("runwright/conf/")}
    assert packed == shipped


def test_the_wheel_holds_every_source_and_the_mark_that_it_is_typed(
    repository: Path, contents: set[str]
) -> None:
    source, scripts = repository / "src", repository / "scripts"
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    bench = [scripts / "benchmark.py", *(scripts / "benchmarks").rglob("*.py")]
    expected |= {f"runwright/{path.relative_to(repository).as_posix()}" for path in bench}
    assert {name for name in contents if name.endswith(".py")} == expected
    assert "runwright/py.typed" in contents


def test_the_wheel_holds_nothing_else(contents: set[str]) -> None:
    known = (".py", ".yaml", ".template", ".jinja", ".js", ".css", ".html", "py.typed")
    strange = {name for name in contents if not name.endswith(known) and ".dist-info/" not in name}
    assert not strange
    assert {name.partition("/")[0].partition("-")[0] for name in contents} == {"hydra_plugins", "runwright"}


def test_the_wheel_carries_the_licence_and_the_command(repository: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        (commands,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert archive.read(licence) == (repository / "LICENSE").read_bytes()
        assert b"runwright = runwright.cli.main:main" in archive.read(commands)


def test_every_dependency_is_pinned_once_and_names_no_place(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert not [pin for pin in pins if pin.count("==") != 1 or any(mark in pin for mark in ("/", "@", "+"))]
    names = [canonical(pin) for pin in pins]
    assert len(names) == len(set(names))
    extras = project["optional-dependencies"].values()
    wanted = {canonical(each) for group in (project["dependencies"], *extras) for each in group}
    assert wanted - {"runwright"} <= set(names)


def test_the_citation_names_the_version_of_the_package(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def canonical(requirement: str) -> str:
    """The name in a requirement, spelled as the index does: `Py_Yaml[x]>=1` -> `py-yaml`."""
    end = next((at for at, sign in enumerate(requirement) if sign in "[<>=!~; "), len(requirement))
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The folder of commands of a new environment with the wheel in it.

    Its dependencies are those of this environment: installing them again would take minutes. Files ending in
    .pth are not read from a folder that another one names, so this checkout does not come along.
    """
    environment = tmp_path / "a new environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=tmp_path)
    pip = (sys.executable, "-m", "pip", "--quiet", "--python", environment / "bin" / "python")
    run(*pip, "install", "--no-deps", "--no-index", wheel, folder=tmp_path)
    (site,) = (environment / "lib").glob("python*/site-packages")
    borrowed = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    (site / "borrowed.pth").write_text("".join(f"{entry}\n" for entry in borrowed), encoding="utf-8")
    return environment / "bin"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installed_runwright_validates_measures_and_leaves_nothing_behind(
    installed: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(installed / "python", "-c", "import runwright; print(runwright.__file__)", folder=elsewhere)
    assert Path(where.strip()).is_relative_to(installed.parent)
    run(installed / "runwright", "validate", "experiment=vader", folder=elsewhere)
    file = tmp_path / "speed.json"
    parts = ("start", "command")  # which need no package index for their data
    shown = run(installed / "runwright", "bench", *parts, "--repeats", "1", "--json", file, folder=elsewhere)
    measured = json.loads(file.read_text(encoding="utf-8"))
    assert tuple(measured) == parts, shown
    assert all(values and min(values) > 0 for part in measured.values() for values in part.values())
    assert not list(elsewhere.iterdir())


def train_five_steps(commands: Path, folder: Path) -> list[dict[str, float]]:
    """Train a small model from random weights on a file; the metrics that the journal has by step."""
    folder.mkdir()
    rows = [f"{('good', 'bad')[n % 2]} soup number {n},{('good', 'bad')[n % 2]}" for n in range(60)]
    (folder / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    data = ["dataset=csv", "dataset.source.files.train=reviews.csv", "dataset.holdout.test=0.2"]
    small = [
        "model=scratch",
        "tokenizer=train/wordpiece",
        "debug=five_steps",
        "trainer.batch_size=8",
        "trainer.microbatch_size=null",
    ]
    run(commands / "runwright", "train", *data, *small, folder=folder)
    (finished,) = (folder / "outputs" / "debug").iterdir()
    lines = (finished / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["m"] for record in map(json.loads, lines) if "train/loss" in record.get("m", {})]


@pytest.mark.slow
def test_an_installed_runwright_trains_five_steps_from_another_folder(
    installed: Path, tmp_path: Path
) -> None:
    assert len(train_five_steps(installed, tmp_path / "elsewhere")) == 5


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(1800)
def test_the_wheel_and_what_pip_fetches_for_it_train_five_steps(
    repository: Path, wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment, folder=tmp_path)
    pins = ("--constraint", repository / "constraints.txt")
    run(environment / "bin" / "python", "-m", "pip", "--quiet", "install", *pins, wheel, folder=tmp_path)
    assert len(train_five_steps(environment / "bin", tmp_path / "elsewhere")) == 5


@pytest.mark.slow
def test_wheel_and_sdist_are_built_from_a_clean_clone(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", repository, clone, folder=tmp_path)
    (clone / ".venv").symlink_to(sys.prefix)
    (clone / "notes.txt").write_text("not part of it", encoding="utf-8")
    built = run("bash", clone / "scripts" / "dist.sh", folder=tmp_path).split()
    assert [name.rpartition(".")[2] for name in sorted(built)] == ["whl", "gz"]
    with tarfile.open(next((clone / "dist").glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "mkdocs.yml", "docs/images/report.png", "tests/docs/conftest.py"} <= names
    assert "notes.txt" not in names

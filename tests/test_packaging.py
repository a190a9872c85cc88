"""What a user gets who installs the package instead of cloning it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest


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
    source = repository / "src"
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert {name for name in contents if name.endswith(".py")} == expected
    assert "runwright/py.typed" in contents


def test_the_wheel_holds_nothing_else(contents: set[str]) -> None:
    known = (".py", ".yaml", ".template", "py.typed", "page/charts.js", "page/style.css", "page/page.html")
    strange = {name for name in contents if not name.endswith(known) and ".dist-info/" not in name}
    assert not strange
    assert {name.partition("/")[0].partition("-")[0] for name in contents} == {"runwright"}


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
    assert wanted <= set(names)


def canonical(requirement: str) -> str:
    """The name in a requirement, spelled as the index does: `Py_Yaml[x]>=1` -> `py-yaml`."""
    end = next((at for at, sign in enumerate(requirement) if sign in "[<>=!~; "), len(requirement))
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


@pytest.mark.slow
def test_an_installed_runwright_validates_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    environment, elsewhere = tmp_path / "a new environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=tmp_path)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--quiet", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, folder=tmp_path)
    # The dependencies are borrowed from this environment: installing them again would take minutes. Files
    # ending in .pth are not read from a folder that one names, so the checkout does not come along.
    (site,) = (environment / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    where = run(python, "-c", "import runwright; print(runwright.__file__)", folder=elsewhere)
    assert Path(where.strip()).is_relative_to(environment)
    run(environment / "bin" / "runwright", "validate", "experiment=vader", folder=elsewhere)
    assert not list(elsewhere.iterdir()), "validate leaves nothing behind"

"""The floor plan of the package and the house rules that its sources can be read for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

import runwright

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = REPOSITORY / "src" / "runwright"
ROOT = "runwright"

# The floors, from the top down; docs/architecture.md shows this table. A room is a folder or a module at the
# root of the package. An import points to a lower floor or stays inside its room.
FLOORS = """
cli
analysis, api
launch, inference
runs, optimizer
task, build
generation
model
tokenizer, metric, tracker, report
config, dataset, trainer
sweep
store, predictions, scheduler
types, errors, version
"""
FACE = ("", "__main__")  # the package itself, whose names are lazy, and `python -m runwright`
MAX_FOLDERS, MAX_ROOT_MODULES = 16, 11  # with __init__ and __main__
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

# Modules that a string names without importing them.
NAMES_NO_IMPORT = {
    "config.targets": "the list of modules whose classes a config may name",
    "tracker.mlflow.logged_model": "the module by which MLflow loads what was logged",
}
# Groups of conf/ that no room of the package mirrors.
WITHOUT_ROOM = {
    "experiment": "values for all groups at once",
    "debug": "values for all groups at once",
    "card": "texts alone, for runs/card.py",
}

HEAVY = {
    *(
        "torch",
        "transformers",
        "datasets",
        "tokenizers",
        "accelerate",
        "mlflow",
        "evaluate",
        "peft",
        "optuna",
    ),
    *("sklearn", "scipy", "matplotlib", "pandas", "pyarrow", "safetensors", "numpy"),
}
# What help, completion, `train --cfg job` and validate run; commands import the rest inside their functions.
LIGHT = ("cli", "cli.*", "config", "config.*", "runs.folder", "types", "errors", "version")


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One imported module of any package."""

    name: str  # absolute
    at_start: bool  # when the importing module is imported, not later in a function or for types alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One source file; `name` is "trainer.loop", or "" for the package itself."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder or root module that it belongs to."""
        return self.name.partition(".")[0]


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by name."""
    read = {}
    for path in sorted(SOURCES.rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        read[name] = Module(name=name, path=path, tree=ast.parse(path.read_text(encoding="utf-8")))
    return read


@cache
def imports(module_name: str) -> tuple[Import, ...]:
    """All imports of a module: statements anywhere in it, and strings that name a module of ours."""
    module = modules()[module_name]
    return (*_statements(module.tree, module, at_start=True), *_strings(module))


def _statements(node: ast.AST, module: Module, *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in _imported_names(child, module):
            yield Import(name=name, at_start=at_start)
        is_for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _statements(child, module, at_start=at_start and not is_for_types and not is_function)


def _imported_names(node: ast.AST, module: Module) -> Iterator[str]:
    """Absolute names that an import statement may load: `from a import b` gives `a` and `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"{module.path}: relative import"
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _strings(module: Module) -> Iterator[Import]:
    """`import_module("runwright.x")`, `-m runwright.x`, and f-strings that begin with a package of ours."""
    if module.name in NAMES_NO_IMPORT:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            text = str(node.values[0].value).removesuffix(".")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        name = text.removeprefix(f"{ROOT}.")
        is_module = name in modules() and modules()[name].path.name != "__init__.py"
        if text != name and (is_module or isinstance(node, ast.JoinedStr)):
            yield Import(name=text, at_start=False)


def own_imports(name: str, *, at_start_only: bool = False) -> set[str]:
    """The modules of this package that a module imports, without itself."""
    names = {each.name for each in imports(name) if each.at_start or not at_start_only}
    short = {name.removeprefix(f"{ROOT}.") for name in names if name.startswith(f"{ROOT}.")}
    return short & modules().keys() - {name}


@cache
def floors() -> dict[str, int]:
    """The floor of each room, 0 at the ground."""
    lines = reversed(FLOORS.strip().splitlines())
    return {room: floor for floor, line in enumerate(lines) for room in line.split(", ")}


def rooms() -> set[str]:
    """The folders and root modules that the package has."""
    return {module.room for module in modules().values()} - set(FACE)


def with_parents(name: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a` and the root: importing a module runs its parents first."""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(len(parts), -1, -1))


# --- floors, circles, rooms -------------------------------------------------------------------------------


def test_every_room_has_a_floor() -> None:
    assert rooms() == floors().keys()


def test_imports_point_down_or_stay_in_their_room() -> None:
    upward = [
        f"{name} (floor {floors()[module.room]}) imports {target}"
        for name, module in modules().items()
        if name not in FACE
        for target in sorted(own_imports(name))
        if modules()[target].room != module.room and floors()[modules()[target].room] >= floors()[module.room]
    ]
    assert not upward, "\n".join(upward)


def test_no_module_imports_itself_through_others() -> None:
    done: set[str] = set()
    circles: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circles.append(" -> ".join((*trail[trail.index(name) :], name)))
        elif name not in done:
            for target in sorted(own_imports(name)):
                visit(target, (*trail, name))
            done.add(name)

    for name in modules():
        if name not in FACE:
            visit(name, ())
    assert not circles, "\n".join(circles)


def test_the_package_has_few_rooms() -> None:
    folders = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
    root_modules = {path.stem for path in SOURCES.glob("*.py")}
    assert len(folders) <= MAX_FOLDERS, sorted(folders)
    assert len(root_modules) <= MAX_ROOT_MODULES, sorted(root_modules)


def test_each_group_of_the_configuration_has_a_room_and_tests() -> None:
    groups = {path.name for path in (REPOSITORY / "conf").iterdir() if path.is_dir()}
    tests = {path.stem.removeprefix("test_") for path in (REPOSITORY / "tests").iterdir()}
    assert groups - rooms() == WITHOUT_ROOM.keys()
    assert groups - tests == WITHOUT_ROOM.keys()


def test_tests_lie_where_their_room_does() -> None:
    folders = {path.relative_to(REPOSITORY / "tests").parts[0] for path in REPOSITORY.glob("tests/*/**/*.py")}
    assert folders - rooms() == {"course", "docs", "promises", "scripts"}


def test_no_room_hides_a_name_of_the_python_api() -> None:
    # Importing runwright.run.x would make `runwright.run` a module, and the function unreachable.
    assert not rooms() & set(runwright.__all__)


def test_the_page_names_functions_where_they_are() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    pairs = re.findall(r"`([\w/]+\.py)`: `([\w.]+)`", page.partition("## Modules")[0])
    assert len(pairs) >= 10
    for file, name in pairs:
        *outer, last = name.split(".")
        nodes = list(ast.walk(ast.parse((SOURCES / file).read_text(encoding="utf-8"))))
        for owner in outer:
            (kind,) = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name == owner]
            nodes = kind.body
        assert any(getattr(node, "name", "") == last for node in nodes), f"{file} has no {name}"


def test_the_architecture_page_is_up_to_date() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert FLOORS.strip() in page
    script = REPOSITORY / "scripts" / "architecture_page.py"
    assert not subprocess.run([sys.executable, script, "--check"], check=False).returncode, f"run {script}"


@pytest.mark.parametrize("name", [*NAMES_NO_IMPORT, *(name for name in LIGHT if "*" not in name)])
def test_the_rules_name_modules_that_exist(name: str) -> None:
    assert name in modules()


# --- what is light, what is long --------------------------------------------------------------------------


def test_light_modules_load_nothing_heavy() -> None:
    mistakes = []
    for start in ("", *(name for name in modules() if any(fnmatch(name, rule) for rule in LIGHT))):
        waiting, seen = [(start,)], set()
        while waiting:
            trail = waiting.pop()
            for name in with_parents(trail[-1]):
                if name in seen:
                    continue
                seen.add(name)
                tops = {each.name.partition(".")[0] for each in imports(name) if each.at_start}
                mistakes += [f"{' -> '.join((*trail, heavy))}" for heavy in sorted(HEAVY & tops)]
                waiting += [
                    (*trail, target) for target in sorted(own_imports(name, at_start_only=True) - seen)
                ]
    assert not mistakes, "\n".join(mistakes)


def test_the_init_file_of_a_room_imports_nothing() -> None:
    # Locating `runwright.task.x` imports `runwright.task`: anything there would be paid for by `--help`.
    # A docstring, and in `runwright.metric` a function for notebooks that imports when it is called.
    filled = {
        name: list(map(ast.unparse, others))
        for name, module in modules().items()
        if name and module.path.name == "__init__.py"
        if (others := [node for node in module.tree.body if not isinstance(node, ast.Expr)])
    }
    assert filled.keys() == {"metric"}
    start, function = filled["metric"]
    assert start == "from typing import Any"
    assert function.startswith("def as_evaluate(")


def test_files_are_short() -> None:
    long = {
        module.path.relative_to(SOURCES).as_posix(): num_lines
        for module in modules().values()
        if (num_lines := len(module.path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert not long


def test_functions_are_short() -> None:
    long = {
        f"{module.path.relative_to(SOURCES).as_posix()}:{node.name}": num_lines
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (num_lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert not long

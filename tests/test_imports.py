"""The house rules that the sources can be read for: who imports whom, what is light, how long things are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[1] / "src" / "runwright"
ROOT = "runwright"

GROUPS = ("dataset", "tokenizer", "task", "model", "metric", "optimizer", "scheduler", "tracker")
# task -> metric: a task says which figures can judge it.
ALLOWED_BETWEEN_GROUPS = {("task", "metric")}

BASE = ("types", "errors", "sources")  # every part may use these
# inference builds a finished run again, for evaluate and predict.
MAY_IMPORT_BUILD = (
    "api",
    "execute",
    "run_evaluation",
    "recording",
    "inference",
    "evaluating",
    "predicting",
    "reproducing",
    "verify*",
    "exploring*",
    "commands*",
    "cli",
)

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
# What help, completion, config and validate run; commands import what they need inside their functions.
LIGHT = (
    *("cli", "compose", "schema", "signature", "targets", "run_folder", "completion", "permissions"),
    *("commands", "commands.*", *BASE),
)

LONGEST_FILE = 300
LONGEST_FUNCTION = 60
# Longer ones, each with its reason: "trainer/loop.py": "the order of events is read in one place".
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """What one source file imports at run time; `name` is "trainer.loop", or "" for the package itself."""

    name: str
    path: Path
    tree: ast.Module
    at_import: set[str] = field(default_factory=set)  # absolute names, when the module is imported
    later: set[str] = field(default_factory=set)  # inside functions


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by name."""
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name=name, path=path, tree=ast.parse(path.read_text(encoding="utf-8")))
    for module in found.values():
        for node, inside_function in runtime_nodes(module.tree):
            (module.later if inside_function else module.at_import).update(imported_names(node, module))
    return found


def runtime_nodes(node: ast.AST, *, inside: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes but those under `if TYPE_CHECKING`, each with whether it is inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other, inside
                yield from runtime_nodes(other, inside=inside)
            continue
        yield child, inside
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from runtime_nodes(child, inside=inside or is_function)


def imported_names(node: ast.AST, module: Module) -> Iterator[str]:
    """Absolute names that an import statement may load: `from a import b` gives `a` and `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            package = [ROOT, *module.name.split(".")] if module.name else [ROOT]
            drop = node.level - (module.path.name == "__init__.py")
            origin = ".".join([*package[: len(package) - drop], *filter(None, [node.module])])
        yield origin
        yield from (f"{origin}.{alias.name}" for alias in node.names)


def own(names: set[str]) -> set[str]:
    """The modules of this package among absolute names; the root is left out, it holds only lazy names."""
    short = {name.removeprefix(f"{ROOT}.") for name in names if name.startswith(f"{ROOT}.")}
    return short & modules().keys()


def group_of(name: str) -> str:
    return name.partition(".")[0]


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def with_parents(name: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a` and the root: importing a module runs its parents first."""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(len(parts), -1, -1))


def test_no_module_imports_itself_through_others() -> None:
    done: set[str] = set()
    cycles: list[str] = []

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            cycles.append(" -> ".join((*trail[trail.index(name) :], name)))
        elif name not in done:
            for target in sorted(own(modules()[name].at_import | modules()[name].later) - {name}):
                visit(target, (*trail, name))
            done.add(name)

    for name in modules():
        if name:  # the root's lazy names lead everywhere
            visit(name, ())
    assert not cycles, "\n".join(cycles)


def test_the_trainer_knows_only_the_nouns_and_itself() -> None:
    strangers = [
        f"{name} imports {target}"
        for name, module in modules().items()
        if group_of(name) == "trainer"
        for target in sorted(own(module.at_import | module.later))
        if group_of(target) not in ("trainer", "types", "errors", "predictions")
    ]
    assert not strangers, "\n".join(strangers)


def test_groups_do_not_import_each_other() -> None:
    strangers = [
        f"{name} imports {target}"
        for name, module in modules().items()
        if group_of(name) in GROUPS
        for target in sorted(own(module.at_import | module.later))
        if group_of(target) in (*GROUPS, "trainer")
        and group_of(target) != group_of(name)
        and (group_of(name), group_of(target)) not in ALLOWED_BETWEEN_GROUPS
    ]
    assert not strangers, "\n".join(strangers)


def test_only_the_entry_points_import_build() -> None:
    others = [
        name
        for name, module in modules().items()
        if "build" in {group_of(target) for target in own(module.at_import | module.later)}
        and not matches(name, MAY_IMPORT_BUILD)
        and group_of(name) != "build"
    ]
    assert not others


def test_a_groups_init_file_holds_a_docstring_only() -> None:
    # Locating `runwright.task.x` imports `runwright.task`: anything there would be paid for by `--help`.
    filled = [
        name
        for name, module in modules().items()
        if module.path.name == "__init__.py" and group_of(name) in (*GROUPS, "trainer")
        if [node for node in module.tree.body if not isinstance(node, ast.Expr)]
    ]
    assert not filled


def test_light_modules_load_nothing_heavy() -> None:
    mistakes = []
    for start in ("", *(name for name in modules() if matches(name, LIGHT))):
        waiting, seen = [(start,)], set()
        while waiting:
            trail = waiting.pop()
            for name in with_parents(trail[-1]):
                if name in seen:
                    continue
                seen.add(name)
                names = modules()[name].at_import
                heavy = sorted(HEAVY & {group_of(target) for target in names})
                mistakes += [f"{' -> '.join((*trail, each))}" for each in heavy]
                waiting += [(*trail, target) for target in sorted(own(names) - seen)]
    assert not mistakes, "\n".join(mistakes)


@pytest.mark.parametrize("rule", [*GROUPS, "trainer", *BASE, "cli", "build", "compose", "schema", "commands"])
def test_the_rules_name_modules_that_exist(rule: str) -> None:
    names = set(modules())
    assert rule in names


def test_files_are_short() -> None:
    long = {
        path.relative_to(SOURCES).as_posix(): num_lines
        for path in SOURCES.rglob("*.py")
        if (num_lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert long.keys() == LONG_FILES.keys(), f"over {LONGEST_FILE} lines: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{module.path.relative_to(SOURCES).as_posix()}:{node.name}": num_lines
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (num_lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert long.keys() == LONG_FUNCTIONS.keys(), f"over {LONGEST_FUNCTION} lines: {long}"

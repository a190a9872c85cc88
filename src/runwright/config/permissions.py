"""Permissions that only the user can grant: packages, downloaded code, changed data, shadowed files.

Granted on the command line or by the project the user starts in; worker processes get it through their
environment.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runwright.errors import ConfigError, shown

VARIABLE = "RUNWRIGHT_PERMISSIONS"  # of worker processes: those of the process that started them, as JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Permissions:
    """The permissions of this process; recorded with every run."""

    packages: tuple[str, ...] = ()  # whose classes and functions a configuration may name
    trust_remote_code: bool = False  # code that comes with data, metrics or models may run
    changed_data: bool = False  # a run may go on with other data than it was trained on
    shadow: bool = False  # a file of the project's conf/ may replace a shipped one


_granted: Permissions | None = None


def grant(
    *,
    packages: Iterable[str] = (),
    trust_remote_code: bool = False,
    changed_data: bool = False,
    shadow: bool = False,
    folder: Path | None = None,
) -> Permissions:
    """Allow these packages, and those in `[tool.runwright]` of `folder`'s pyproject.toml (default: here).

    Replaces what was granted before in this process. The packages become importable from the folder or its
    src/. Raises ConfigError for a name that is not a package's or is Runwright's own.
    """
    global _granted
    folder = folder or Path.cwd()
    inherited = Permissions(**json.loads(os.environ.get(VARIABLE, "{}")))
    names = tuple(dict.fromkeys([*packages, *inherited.packages, *_packages_of_project(folder)]))
    for name in names:
        top = name.split(".")[0]
        if not all(map(str.isidentifier, name.split("."))) or top == "runwright":
            expected = "the import name of a package of yours"
            raise ConfigError(f"--allow-package, [tool.runwright]: given {name!r}, expected {expected}")
        roots = [folder / "src", folder]
        roots = [root for root in roots if (root / top).is_dir() or (root / f"{top}.py").is_file()]
        # Appended, not put first: a file in the working folder must not replace an installed module.
        sys.path.extend(str(root) for root in roots[:1] if str(root) not in sys.path)
    _granted = Permissions(
        packages=names,
        trust_remote_code=trust_remote_code or inherited.trust_remote_code,
        changed_data=changed_data or inherited.changed_data,
        shadow=shadow or inherited.shadow,
    )
    return _granted


def granted() -> Permissions:
    """The permissions of this process; at first those of its environment and of the current folder."""
    return _granted if _granted is not None else grant()


def code_allowed() -> bool:
    return granted().trust_remote_code


def worker_environment() -> dict[str, str]:
    """The environment variable that carries the permissions to worker processes."""
    return {VARIABLE: json.dumps(asdict(granted()))}


def _packages_of_project(folder: Path) -> list[str]:
    file = folder / "pyproject.toml"
    if not file.is_file():
        return []
    import tomllib

    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: given broken TOML ({error}), expected a project file") from error
    own = tool.get("runwright", {}) if isinstance(tool := table.get("tool"), dict) else {}
    names = own.get("packages", []) if isinstance(own, dict) and own.keys() <= {"packages"} else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        expected = 'expected packages = ["NAME", …] alone'
        raise ConfigError(f"{file}: given [tool.runwright] {shown(own)}, {expected}")
    return names

"""A project for a user to start from: the files beside this one, with the project's name filled in."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Any

from runwright.config.folders import GLOBAL_GROUPS, find_conf_folders
from runwright.config.json_schema import json_schema
from runwright.config.signature import find_file
from runwright.config.targets import GROUPS
from runwright.errors import ConfigError
from runwright.store import write_json

SUFFIX = ".template"


def scaffold(folder: Path) -> list[Path]:
    """Write a project into a new folder; returns its files. Raises ConfigError for a name that cannot be."""
    name = folder.resolve().name
    package = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    _check(folder, name, package)
    root = Path(__file__).parent
    written: list[Path] = []
    for template in sorted(root.rglob(f"*{SUFFIX}")):
        relative = _destination(template.relative_to(root), package)
        text = template.read_text(encoding="utf-8")
        if template.suffixes[-2:-1] != [".tsv"]:
            text = text.format(name=name, package=package)
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(relative)
    return written + _write_schemas(folder)


def _write_schemas(folder: Path) -> list[Path]:
    """Write JSON Schemas of the project's YAML files, and the settings that tell an editor of them."""
    schemas: dict[str, Any] = {group: {"$ref": f"config.json#/$defs/{group}"} for group in GROUPS}
    schemas["config"] = json_schema(find_conf_folders(folder))
    patterns = {group: [f"conf/{group}/**/*.yaml"] for group in GROUPS}
    patterns["config"] = [f"conf/{group}/**/*.yaml" for group in GLOBAL_GROUPS]
    settings = {f".vscode/schemas/{name}.json": files for name, files in patterns.items()}
    files = {f"schemas/{name}.json": schema for name, schema in schemas.items()}
    for name, content in ({"settings.json": {"yaml.schemas": settings}} | files).items():
        (folder / ".vscode" / name).parent.mkdir(parents=True, exist_ok=True)
        write_json(folder / ".vscode" / name, content)
    return [Path(".vscode", "settings.json"), Path(".vscode", "schemas")]


def _destination(relative: Path, package: str) -> Path:
    name = relative.name.removesuffix(SUFFIX)
    name = ".gitignore" if name == "gitignore" else name  # a real one would hide files from our own git
    parent = relative.parent
    return (parent / package if parent.name == "src" else parent) / name


def _check(folder: Path, name: str, package: str) -> None:
    if not package.isidentifier() or keyword.iskeyword(package):
        raise ConfigError(f"runwright init: given {name!r}, expected a name that starts with a letter")
    if package in sys.stdlib_module_names or package == "runwright" or find_file(package) is not None:
        expected = f"a name that no installed package has: 'import {package}' means another one here"
        raise ConfigError(f"runwright init: given {name!r}, expected {expected}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"runwright init: given {str(folder)!r}, which exists, expected a new folder")

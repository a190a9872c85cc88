"""Renews the map of modules in docs/architecture.md from their first docstring lines.

python scripts/architecture_page.py             write it
python scripts/architecture_page.py --check     exit code 1 where it is not up to date
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "architecture.md"
SOURCES = REPOSITORY / "src" / "runwright"
BEGIN, END = "<!-- map: written by scripts/architecture_page.py -->\n", "<!-- end of map -->\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it with what would be written; the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE}: no line {END!r}"
    renewed = before + BEGIN + "\n".join(lines()) + "\n" + END + after
    if "--check" in arguments:
        return int(page != renewed)
    PAGE.write_text(renewed, encoding="utf-8")
    return 0


def lines() -> Iterator[str]:
    """The map: a heading for each folder, a line for each module."""
    yield from folder_map(SOURCES, title="src/runwright/")
    yield from folder_map(REPOSITORY / "scripts", title="scripts/")


def folder_map(folder: Path, *, title: str) -> Iterator[str]:
    """The modules of a folder, then its sub-folders."""
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    package = folder / "__init__.py"
    yield f"\n### {title}\n"
    if package.is_file():
        yield f"{summary(package)}\n"
    yield from (f"- `{module.name}`: {summary(module)}" for module in modules)
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield from folder_map(inner, title=f"{title}{inner.name}/")


def summary(module: Path) -> str:
    """The first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

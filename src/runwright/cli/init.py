"""`runwright init`: create a project that is ready to run, from the templates in scaffold/."""

import argparse
import keyword
import re
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

from runwright.errors import ConfigError

EXAMPLES = """examples:
  runwright init my-project
  cd my-project
  runwright train experiment=tiny          seconds on a CPU, no download"""
SUFFIX = ".template"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the new folder; also the name of the project")


def execute(args: argparse.Namespace) -> int:
    folder = Path(args.name)
    for file in scaffold(folder):
        print(f"  {folder / file}")
    change = f"cd {shlex.quote(str(folder))}"
    print(f"\nNext:\n  {change}\n  runwright train experiment=tiny\n\nREADME.md says where things are.")
    return 0


def scaffold(folder: Path) -> list[Path]:
    """Write a project into a new folder; returns its files. Raises ConfigError for a name that cannot be."""
    from runwright.config.signature import find_file
    from runwright.store import folder_whole

    name = folder.resolve().name
    package = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    problem = ""
    if not package.isidentifier() or keyword.iskeyword(package):
        problem = f"{name!r}, expected a name that starts with a letter"
    elif package in sys.stdlib_module_names or package == "runwright" or find_file(package) is not None:
        expected = f"a name that no installed package has: 'import {package}' means another one here"
        problem = f"{name!r}, expected {expected}"
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problem = f"{str(folder)!r}, which exists, expected a new folder"
    if problem:
        raise ConfigError(f"runwright init: given {problem}")
    root = Path(__file__).with_name("scaffold")
    texts: dict[Path, str] = {}
    for template in sorted(root.rglob(f"*{SUFFIX}")):
        relative = template.relative_to(root).with_name(template.name.removesuffix(SUFFIX))
        if relative.name == "gitignore":  # a real one would hide files from our own git
            relative = relative.with_name(".gitignore")
        if relative.parent.name == "src":
            relative = relative.parent / package / relative.name
        text = template.read_text(encoding="utf-8")
        texts[relative] = text if relative.suffix == ".tsv" else text.format(name=name, package=package)
    # An empty folder that is there may be the current one: it is filled, not replaced.
    with nullcontext(folder) if folder.exists() else folder_whole(folder.resolve()) as project:
        for relative, text in texts.items():
            (project / relative).parent.mkdir(parents=True, exist_ok=True)
            (project / relative).write_text(text, encoding="utf-8")
    return [*texts]

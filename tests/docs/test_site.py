"""The generated pages of the site, and the site as a whole where MkDocs is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runwright.cli.main import COMMANDS
from runwright.config.folders import find_conf_folders

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """scripts/docs_site.py."""
    spec = importlib.util.spec_from_file_location("docs_site", REPOSITORY / "scripts" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def options_page(hook: ModuleType) -> str:
    return "\n".join(hook.options_page())


def test_every_option_of_every_group_has_a_section(hook: ModuleType, options_page: str) -> None:
    sections = set(re.findall(r"^### (\S+)$", options_page, re.MULTILINE))
    for group in hook.GROUPS:
        assert {f"{group}={option}" for option in find_conf_folders().options(group)} <= sections


def test_a_row_has_key_default_type_and_meaning(options_page: str) -> None:
    rows = options_page.splitlines()
    assert "| `optimizer.lr` | `5e-05` | a number > 0 |  |" in rows
    assert (
        '| `seeds.data` | `"${seed}"` | a whole number >= 0 | splits, order of the examples, subsets |'
        in rows
    )
    untyped = [row for row in rows if row.startswith("| `") and row.split(" | ")[2] == ""]
    assert not untyped


def test_every_command_is_shown_with_its_help(hook: ModuleType) -> None:
    page = "\n".join(hook.commands_page())
    assert [name for name in COMMANDS if f"usage: runwright {name}" not in page] == []


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    for module in ("material", "mkdocstrings", "nbclient", "ipykernel"):
        pytest.importorskip(module)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING -" not in done.stderr
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"?(https?:[^\"> ]+)", page.read_text())
        assert not [address for address in loaded if "canonical" not in address], page

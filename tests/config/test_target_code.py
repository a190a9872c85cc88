"""What a cache goes by follows the source text: edited code gives new examples, untouched code a hit."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.config.permissions import Permissions
from runwright.config.targets import code_of
from runwright.task.masked_language_modeling import MaskedLanguageModeling

TASK = """
from runwright.task.masked_language_modeling import MaskedLanguageModeling
from own_tasks.words import changed


class Loud(MaskedLanguageModeling):
    def encode(self, columns):
        return super().encode({**columns, "text": [changed(text) for text in columns["text"]]})
"""
WORDS = "def changed(text):\n    return text.upper()\n"
PROBE = """
import sys
from pathlib import Path
from runwright import build
from runwright.config.compose import compose
from runwright.config.permissions import grant

folder = Path(sys.argv[1])
grant(packages=["own_tasks"], folder=folder)
overrides = [
    "dataset=text", f"dataset.source.files.train={folder / 'a.txt'}",
    "dataset.holdout={validation: 0, test: 0}", "task=masked_language_modeling",
    "task._target_=own_tasks.loud.Loud", "metric=[perplexity]",
]
config = compose(overrides, folder=folder).config
examples = build.prepare(config, cache_folder=folder / "cache").examples["train"]
print(examples.cache_note)
print(examples.fetch([0])[0]["input_ids"])
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "own_tasks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "loud.py").write_text(TASK)
    (folder / "words.py").write_text(WORDS)
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    return folder


@pytest.fixture
def run(
    tmp_path: Path, run_forked: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[[], tuple[str, str]]:
    """Prepare the examples in a process of its own: what the cache said, and the first example."""

    def prepare() -> tuple[str, str]:
        done = run_forked(str(tmp_path), code=PROBE, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        note, ids = done.stdout.splitlines()[-2:]
        return note, ids

    return prepare


def test_an_edited_module_beside_a_task_gives_new_examples(
    package: Path, run: Callable[[], tuple[str, str]]
) -> None:
    first, upper = run()
    assert first.startswith("prepared now")
    assert run() == ("taken from the cache", upper)
    (package / "words.py").write_text(WORDS.replace("upper()", "replace('one', 'two')"))
    note, other = run()
    assert note == "prepared now"
    assert other != upper
    (package / "words.py").write_text(WORDS)
    assert run() == ("taken from the cache", upper)


def loaded(package: Path, monkeypatch: pytest.MonkeyPatch, *, granted: bool) -> type:
    """The task's class as a new process would import it."""
    for name in ("own_tasks", "own_tasks.loud", "own_tasks.words"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    packages = ("own_tasks",) if granted else ()
    monkeypatch.setattr("runwright.config.permissions._granted", Permissions(packages=packages))
    monkeypatch.syspath_prepend(package.parent)
    return importlib.import_module("own_tasks.loud").Loud


def test_a_loaded_class_keeps_its_hash_while_its_file_changes(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded(package, monkeypatch, granted=True)
    first = code_of(before, group="task")
    (package / "words.py").write_text(WORDS + "\n# edited\n")
    assert code_of(before, group="task") == first
    assert code_of(loaded(package, monkeypatch, granted=True), group="task") != first


def test_of_a_package_that_was_not_allowed_only_the_module_counts(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = code_of(loaded(package, monkeypatch, granted=False), group="task")
    (package / "words.py").write_text(WORDS + "\n# edited\n")
    assert code_of(loaded(package, monkeypatch, granted=False), group="task") == first
    (package / "loud.py").write_text(TASK + "\n# edited\n")
    assert code_of(loaded(package, monkeypatch, granted=False), group="task") != first


def test_bases_and_python_itself_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    monkeypatch.setattr("runwright.store.sources_digest", lambda *places, also: seen.extend(places))
    code_of.__wrapped__(MaskedLanguageModeling, group="task")
    assert [place.name for place in seen] == ["task"]
    seen.clear()
    code_of.__wrapped__(Path, group="dataset")
    assert [place.name for place in seen] == ["dataset"]

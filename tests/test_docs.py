"""README and guides say what is: files, links, commands, keys and examples are held against the project."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from runwright.cli.init import scaffold
from runwright.cli.main import COMMANDS, parser_of
from runwright.config.compose import all_mistakes, compose
from runwright.config.folders import find_conf_folders
from runwright.config.permissions import grant
from runwright.config.signature import find_file, read_source
from runwright.inference.evaluate import on_top_of
from runwright.launch.multirun import check_all

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
PAGES = [README, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Hydra reads `# @package` in the first line only, so a file's name stands below it.
FILE_LINE = re.compile(r"(?:# @package \S+\n)?# ((?:src|conf|tests|data)/\S+)\n")
KEY = re.compile(r"(dataset|tokenizer|task|model|optimizer|scheduler|trainer|tracker|launch|seeds)(\.\w+)+")
PATH = re.compile(r"(?:\.ci|conf|docs|scripts|src|tests)/[\w./*{},-]*")
VALIDATE = "runwright validate "
REPOSITORY_FILES = (".json", ".jsonl", ".yaml", ".py", ".md", ".txt")


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [content for language, content in found if language in languages]


def spans(page: Path) -> list[str]:
    """What stands between single backquotes outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))


def command_lines(page: Path) -> list[str]:
    """Lines of shell blocks, of console blocks those after a prompt, and commands in running text."""
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += [line for line, output in sessions(page) if not (line.startswith(VALIDATE) and output)]
    return lines + [span for span in spans(page) if span.startswith(("runwright ", "make ", "torchrun "))]


def sessions(page: Path) -> list[tuple[str, list[str]]]:
    """(what was typed, what was shown) in console blocks."""
    typed = [part for block in blocks(page, "console") for part in f"\n{block}".split("\n$ ")[1:]]
    return [(part.splitlines()[0], part.splitlines()[1:]) for part in typed]


def commands(program: str) -> list[Any]:
    """(words after the program) of every use of it in the pages, each once, with its page as the name."""
    found: dict[tuple[str, ...], str] = {}
    for page in PAGES:
        for line in command_lines(page):
            for words in split(line):
                if words and Path(words[0]).name == program:
                    found.setdefault(tuple(words[1:]), page.name)
                elif program in words and words[0] in ("torchrun", "accelerate", "srun"):
                    found.setdefault(tuple(words[words.index(program) + 1 :]), page.name)
    return [pytest.param(list(words), id=f"{page}: {' '.join(words)}") for words, page in found.items()]


def split(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, without settings of the environment before it."""
    reader = shlex.shlex(line.replace('"$(', "; ").replace(')"', ""), posix=True, punctuation_chars="|&;<>")
    reader.whitespace_split = True
    words: list[str] = []
    for word in [*reader, ";"]:
        if set(word) <= set("|&;<>"):
            yield [w for w in words if w != words[0] or not re.fullmatch(r"[A-Z_]+=.*", w)]
            words = []
        else:
            words.append(word)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as `runwright init my-project` makes it, with the files that the pages show in it."""
    folder = tmp_path_factory.mktemp("docs") / "my-project"
    scaffold(folder)
    written: dict[str, str] = {}
    for page in PAGES:
        for block in blocks(page, "python", "yaml", "csv"):
            if shown := FILE_LINE.match(block):
                # As a reader copies it: with the line that names the file.
                assert written.setdefault(shown[1], block) == block, f"{shown[1]} is shown in two ways"
    for name, content in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "my_metric").mkdir()  # that a reader has already
    (folder / "my_metric" / "my_metric.py").touch()
    read_source.cache_clear()
    yield folder
    read_source.cache_clear()


@pytest.fixture(autouse=True)
def _start_in_the_project(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if "project" not in request.fixturenames:
        yield
        return
    monkeypatch.chdir(request.getfixturevalue("project"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    grant()
    yield
    grant()


# --- commands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", commands("runwright"))
def test_a_command_is_right(words: list[str], project: Path) -> None:
    if words[0].startswith("-"):
        assert words[0] in {"--help", "--version"}
        return
    name, *rest = words
    assert name in COMMANDS, f"there is no command {name}"
    if "--help" in rest or not rest:
        return
    parser = parser_of(name)
    args, overrides = parser.parse_known_intermixed_args(rest)
    assert not [word for word in overrides if word.startswith("-")], "an unknown flag"
    if getattr(args, "multirun", False):
        check_all(overrides, find_conf_folders())
        return
    grant(trust_remote_code=getattr(args, "trust_remote_code", False))
    for words_to_compose in composed_by(name, args, overrides):
        assert not [str(mistake) for mistake in all_mistakes(compose(words_to_compose))]


WITH_COMMAND = [
    file for file in (REPOSITORY / "conf").rglob("*.yaml") if "runwright train " in file.read_text()
]


@pytest.mark.parametrize("file", sorted(WITH_COMMAND), ids=lambda file: file.stem)
def test_a_command_at_the_top_of_a_shipped_file_is_right(file: Path) -> None:
    text = re.sub(r"\n#   +(?!runwright)", " ", file.read_text(encoding="utf-8"))  # lines that go on
    for line in re.findall(r"^# +runwright train (.+)$", text, re.MULTILINE):
        command, *_ = re.split(r"   |, then:", line)
        if not re.search(r"…|NAME|^-m", command):
            assert not [str(mistake) for mistake in all_mistakes(compose(shlex.split(command)))], command


def composed_by(name: str, args: Any, overrides: list[str]) -> list[list[str]]:
    """The overrides that a command composes; a run called latest:NAME is taken for one of that experiment."""
    if name in {"train", "validate", "explore"}:
        return [[*experiment_of(getattr(args, "resume", None)), *overrides]]
    if name == "evaluate":
        experiment = experiment_of(args.run)
        return [[*experiment, *overrides]] if "latest" in args.run else [on_top_of([], overrides)]
    return []


def experiment_of(run: str | None) -> list[str]:
    experiment = (run or "").partition("latest:")[2]
    options = find_conf_folders().options("experiment")
    own_data = ["dataset.source.folder=PATH"] if experiment in {"banking77", "goemotions", "stsb"} else []
    return [f"experiment={experiment}", *own_data] if experiment in options else []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mistakes_are_shown_as_they_are(page: Path, project: Path) -> None:
    for line, output in sessions(page):
        if line.startswith(VALIDATE) and output:
            actual = [str(m) for m in all_mistakes(compose(shlex.split(line.removeprefix(VALIDATE))))]
            # An ellipsis stands for what the page leaves out.
            shown = [".*".join(map(re.escape, line.split("…"))) for line in output if line.strip()]
            assert len(actual) == len(shown)
            assert all(map(re.fullmatch, shown, actual)), actual


@pytest.mark.parametrize("words", commands("make"))
def test_a_make_target_is_there(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert not [word for word in words if "=" not in word and word not in targets]


@pytest.mark.parametrize("page", [README, REPOSITORY / "Makefile"], ids=lambda page: page.name)
def test_what_make_train_is_given_is_right(page: Path) -> None:
    shown = re.findall(r'make train ARGS="([^"]+)"', page.read_text(encoding="utf-8"))
    assert shown
    for words in shown:
        assert not [str(mistake) for mistake in all_mistakes(compose(["experiment=vader", *words.split()]))]


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 300


# --- names --------------------------------------------------------------------------------------------


@cache
def known_keys() -> set[str]:
    """Every key of every shipped file, with the keys around it."""
    keys: set[str] = set()
    for file in (REPOSITORY / "conf").rglob("*.yaml"):
        group = file.relative_to(REPOSITORY / "conf").parts[0]
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        prefix = "" if group in {"train.yaml", "experiment", "debug"} else f"{group}."
        keys |= {f"{prefix}{key}" for key in nested_keys(content)}
    return keys


def nested_keys(content: Any) -> Iterator[str]:
    for name, value in content.items() if isinstance(content, dict) else ():
        yield str(name)
        yield from (f"{name}.{key}" for key in nested_keys(value))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_are_those_of_the_configuration(page: Path) -> None:
    named = {re.split("[=:]", span)[0] for span in spans(page)}
    keys = {name for name in named if KEY.fullmatch(name) and not name.endswith(REPOSITORY_FILES)}
    assert not keys - known_keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path, project: Path) -> None:
    for span in spans(page):
        path, _, name = span.partition("::")
        if PATH.fullmatch(path):
            found = [file for root in (REPOSITORY, project) for file in root.glob(path.rstrip("/"))]
            assert found, f"{path} does not exist"
            assert not name or f"def {name}(" in found[0].read_text(encoding="utf-8"), span


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue  # another site: not ours to check
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {slug(heading) for heading in headings}, target


def slug(heading: str) -> str:
    """The anchor that code hosts make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# --- examples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_can_be_read(page: Path, project: Path) -> None:
    for block in blocks(page, "yaml"):
        yaml.safe_load(block)
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "runwright":
                file = find_file(str(node.module))
                assert file is not None, node.module
                for alias in node.names:
                    assert re.search(rf"^(?:def |class )?{alias.name}\b", file.read_text(), re.MULTILINE), (
                        alias
                    )
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "runwright.run":
                assert not all_mistakes(compose(ast.literal_eval(node.args[0])))


@pytest.mark.slow
def test_examples_pass_the_tests_that_are_shown_with_them(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


# --- what is shipped ----------------------------------------------------------------------------------

GROUPS = sorted(path.name for path in (REPOSITORY / "conf").iterdir() if path.is_dir())


def rows_of_groups() -> dict[str, list[str]]:
    """The names and patterns in the last column of docs/experiments.md's table of groups, by group."""
    page = (REPOSITORY / "docs" / "experiments.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|(.*)\|$", page, re.MULTILINE)
    return {group: re.findall(r"`([^`]+)`", options) for group, options in rows}


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_of_groups_has_every_option_of(group: str) -> None:
    options, shown = find_conf_folders().options(group), rows_of_groups().get(group, [])
    missing = [option for option in options if not any(fnmatchcase(option, name) for name in shown)]
    assert not missing, f"docs/experiments.md, Groups and values: {group} lacks {', '.join(missing)}"
    unknown = [name for name in shown if not any(fnmatchcase(option, name) for option in options)]
    assert not unknown, f"docs/experiments.md, Groups and values: {group} has no {', '.join(unknown)}"


def test_the_guide_to_data_has_every_data_set() -> None:
    page = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(?:dataset=)?([\w/*]+)`", page, re.MULTILINE)
    options = find_conf_folders().options("dataset")
    missing = [option for option in options if not any(fnmatchcase(option, name) for name in shown)]
    assert not missing, f"docs/data.md, Sources or Shipped sets: {', '.join(missing)}"

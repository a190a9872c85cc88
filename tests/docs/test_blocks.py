"""Every shell, YAML and Python block of the README and the guides is executed, in the order of its page.

A page has a project folder of its own (conftest.py). Commands run as printed, apart from what `adapted` says:
fewer steps and jobs, and the newest run in the place of an example's name. Blocks
under a comment `<!-- not run: REASON -->` are listed in NOT_RUN.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runwright.cli.main import main
from runwright.config.folders import ConfFolders
from runwright.config.permissions import grant
from runwright.config.signature import read_source

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
COURSE = REPOSITORY / "docs" / "course.md"  # tests/course runs that page, on stand-ins of its models
CLUSTERS = REPOSITORY / "docs" / "clusters.md"  # and tests/launch/test_clusters.py this one
PAGES = [README, *sorted(set((REPOSITORY / "docs").glob("*.md")) - {COURSE, CLUSTERS})]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w+)[^\n]*\n(?P<content>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILE_LINE = re.compile(r"(?:# @package \S+\n)?# ((?:src|conf|tests|data)/\S+)\n")
EXAMPLE_ID = re.compile(r"\b\d[a-f]\d[a-f]\d[a-f]\b")  # of a run: 1a2b3c
# How many blocks of a page are not run; 8 in all at most.
NOT_RUN = {"README.md": 1, "data.md": 1, "tracking.md": 3, "training.md": 1}
TAKE_PERMISSIONS = {
    *("train", "evaluate", "explore", "validate", "verify"),
    *("reproduce", "tokenizer", "push"),
}
# What a page takes for granted: the run that somebody has by the time they read it.
RUN_OF = {
    "mine": "dataset=csv dataset.source.files.train=reviews.csv dataset.holdout.test=0.1 "
    "task.text_column=review task.label_column=mood",
    "mnli": "experiment=glue/mnli dataset.source.folder=PATH/MNLI trainer.max_epochs=1",
    "adapted": "experiment=wikitext2_mlm dataset.source.folder=PATH trainer.max_epochs=1",
    "banking77": "experiment=banking77 dataset.source.folder=PATH trainer.max_epochs=1",
    "stsb": "experiment=stsb dataset.source.folder=PATH trainer.max_epochs=1",
    "stsb_bi": "experiment=stsb_bi dataset.source.folder=PATH trainer.max_epochs=1",
    "squad": "experiment=squad dataset.source.folder=PATH trainer.max_epochs=1",
    "sweeps": "-m experiment=vader seed=1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    line: int
    language: str
    content: str
    reason: str | None  # why it is not run


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            line=text.count("\n", 0, found.start()) + 1,
            language=found["language"],
            content=found["content"],
            reason=found["reason"],
        )
        for found in BLOCK.finditer(text)
    ]


def commands(block: Block) -> Iterator[str]:
    """The commands of a shell block, or those after a prompt of a console block."""
    lines = block.content.replace("\\\n", " ").splitlines()
    for line in lines:
        if block.language == "console" and not line.startswith("$ "):
            continue
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words:
            yield line.removeprefix("$ ").strip()


def newest(name: str) -> Path | None:
    """The newest run of a name."""
    runs = sorted(
        (path for path in Path("outputs", name).glob("*") if path.is_dir()), key=lambda p: p.stat().st_mtime
    )
    return runs[-1] if runs else None


def adapted(command: str) -> str:
    """A command as printed, with fewer steps and jobs, and with real runs in the place of an example's."""
    command = re.sub(r"(max_steps=)(\d+)", lambda found: found[1] + str(min(int(found[2]), 20)), command)
    if " -m " in command:  # a job imports everything anew: two of them in the README, elsewhere one
        axes = re.findall(r"(?<= )'?[\w.]+=[\w.\[\]-]+(?:,[\w.\[\]-]+)+(?='| |$)", command)
        for number, axis in enumerate(axes):
            count = 2 if "experiment=mine" in command and number == 0 else 1
            command = command.replace(axis, ",".join(axis.split(",")[:count]))
    if " sweep=" in command:
        command += " hydra.sweeper.n_trials=2"
    return with_runs(command)


def with_runs(text: str) -> str:
    """The newest runs in the place of an example's folder and ids."""
    text = re.sub(r"outputs/(\w+)/(?:RUN|2026-01-31\S+?-1a2b3c)\b", lambda found: str(run_of(found[1])), text)
    ids = list(dict.fromkeys(EXAMPLE_ID.findall(text)))
    if ids:
        runs = [
            run.parent.name.rpartition("-")[2] for run in sorted(Path("outputs").glob("*/*/summary.json"))
        ]
        for example, run in zip(ids, runs[: len(ids)], strict=True):
            text = text.replace(example, run)
    return text


def run_of(name: str) -> Path:
    """The newest run of a name, made where there is none."""
    if newest(name) is None:
        words = RUN_OF.get(name, "experiment=vader" + " tracker=console" * name.startswith("example"))
        execute(f"runwright train {words}" + ("" if name == "sweeps" else f" name={name}"))
    found = newest(name)
    assert found is not None
    return found


def execute(command: str, *, code: int = 0) -> None:
    """Run a command line: in this process where it is one command of Runwright, else by bash."""
    for name in re.findall(r"(?:latest|name):(\w+)", command):
        run_of(name)
    if re.search(r"\blatest\b(?!:)", command):
        run_of("vader")
    for number in range(len(set(EXAMPLE_ID.findall(command)))):
        run_of(f"example{number}")
    command = adapted(command)
    words = shlex.split(command, comments=True)
    if words[0] == "cd":
        return  # the page is in its project already
    if words[:2] == ["runwright", "init"]:
        assert main(["init", f"elsewhere/{words[2]}"]) == code
        read_source.cache_clear()  # it looked for the project's modules before they could be imported
    elif words[0] == "runwright" and words[1] in ("ui", "serve"):
        serve(words)
    elif words[0] == "python":
        run_script(words[1:])
    elif words[0] == "runwright" and not set("|<>&") & {word[0] for word in words} and "$" not in command:
        shadow = ["--allow-shadow"] if words[1] in TAKE_PERMISSIONS else []
        assert main([words[1], *shadow, *words[2:]]) == code
    else:
        by_bash(command)


def run_script(words: list[str]) -> None:
    """A script of the repository, in this process, where files may replace shipped ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(REPOSITORY / words[0]), *words[1:]])
        code: str | int | None = None
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        assert not code


def by_bash(command: str) -> None:
    command = re.sub(
        rf"\brunwright ({'|'.join(TAKE_PERMISSIONS)})\b", r"runwright \1 --allow-shadow", command
    )
    command = command.replace("scripts/", f"{REPOSITORY}/scripts/").replace(
        "train.py ", "train.py --allow-shadow "
    )
    if command.startswith("make "):  # of the checkout, in this folder, without the set-up
        command = command.replace("make ", f"make -f {REPOSITORY}/Makefile -o setup JOBS=1 ", 1)
        if "train" in command:
            command += " ARGS=--allow-shadow" if "ARGS=" not in command else ""
            command = command.replace('ARGS="', 'ARGS="--allow-shadow ')
        else:  # of this folder; one of its tests forbids the files that replace shipped ones
            command += " ARGS=\"-k 'not valid'\""
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def serve(words: list[str]) -> None:
    """A command that ends with Ctrl-C: until it prints its address."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        shown = next((line for line in process.stdout if "http://" in line), None)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert shown


def run_shell(block: Block) -> None:
    for command in commands(block):
        # A console block that shows what is wrong with a configuration: exit code 2.
        refused = block.language == "console" and " validate " in command and ": given " in block.content
        execute(command, code=2 if refused else 0)


def run_file(block: Block) -> None:
    """Write a file that is shown, as a reader copies it, and check it."""
    found = FILE_LINE.match(block.content)
    assert found, "a YAML block says in its first comment which file it is"
    file = Path(found[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.content, encoding="utf-8")
    read_source.cache_clear()


def run_python(block: Block) -> None:
    if FILE_LINE.match(block.content):
        run_file(block)
        return
    exec(compile(with_runs(block.content), f"line {block.line}", "exec"), {"__name__": "page"})


RUN: dict[str, Callable[[Block], None]] = {
    "bash": run_shell,
    "console": run_shell,
    "yaml": run_file,
    "python": run_python,
}


@pytest.fixture
def in_project(
    request: pytest.FixtureRequest, prepared_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of the project as working folder; what a page imports from it is forgotten afterwards."""
    folder = tmp_path / "my-project"
    shutil.copytree(prepared_project, folder)
    if not request.node.name.endswith(("[README.md]", "[tracking.md]")):  # a store takes seconds to make
        console = (REPOSITORY / "conf" / "tracker" / "console.yaml").read_text(encoding="utf-8")
        (folder / "conf" / "tracker").mkdir(parents=True)
        (folder / "conf" / "tracker" / "mlflow.yaml").write_text(console, encoding="utf-8")
    # Two workers share two cores: runs with two threads each would wait for one another.
    trainer = (REPOSITORY / "conf" / "trainer" / "default.yaml").read_text(encoding="utf-8")
    assert "num_threads: null" in trainer
    (folder / "conf" / "trainer").mkdir(parents=True)
    one_thread = trainer.replace("num_threads: null", "num_threads: 1")
    (folder / "conf" / "trainer" / "default.yaml").write_text(one_thread, encoding="utf-8")
    (folder / ".venv").symlink_to(sys.prefix)
    if request.node.name.endswith("[serving.md]"):
        request.getfixturevalue("folders").write("bert", folder / "bert-base-cased")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("BROWSER", "true")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    # What Python's `run` composes may shadow shipped files too; commands have a flag for that.
    monkeypatch.setattr(ConfFolders, "shadows", lambda self: [])
    read_source.cache_clear()
    yield folder
    grant()
    read_source.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_project"]:
        del sys.modules[name]


def run_blocks(chosen: list[Block]) -> list[str]:
    """Run blocks in order; what failed, with its line."""
    failed = []
    for block in chosen:
        if block.reason or block.language not in RUN:
            continue
        started = time.monotonic()
        try:
            RUN[block.language](block)
        except (Exception, SystemExit):  # noqa: BLE001 - the other blocks are tried as well
            failed.append(f"line {block.line}: {traceback.format_exc(limit=-3)}")
        print(f"--- line {block.line}: {time.monotonic() - started:.1f} s")
    return failed


def heading_of(page: Path, heading: str) -> list[Block]:
    """The blocks of one section."""
    lines = page.read_text(encoding="utf-8").splitlines()
    begin = lines.index(f"## {heading}") + 1
    end = next((n for n, line in enumerate(lines[begin:], begin + 1) if line.startswith("## ")), len(lines))
    return [block for block in blocks(page) if begin < block.line <= end]


def test_the_readme_s_first_experiment_runs_as_printed(in_project: Path) -> None:
    chosen = heading_of(README, "A first experiment of your own")
    wanted = [block for block in chosen if block.language == "yaml"] + [
        block for block in chosen if block.language == "bash"
    ][:1]
    assert not run_blocks(wanted)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page: Path, in_project: Path) -> None:
    failed = run_blocks(blocks(page))
    assert not failed, "\n".join(failed)


@pytest.mark.slow
def test_the_notebook_runs(in_project: Path) -> None:
    notebook = json.loads((REPOSITORY / "docs" / "first-steps.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "the site executes it"
    shared = {"__name__": "notebook"}
    for cell in cells:
        exec(compile(cell, "cell", "exec"), shared)


def test_at_most_eight_blocks_are_not_run_and_each_says_why() -> None:
    reasons = {page.name: [block.reason for block in blocks(page) if block.reason] for page in PAGES}
    counts = {name: len(of_page) for name, of_page in reasons.items() if of_page}
    assert counts == NOT_RUN
    assert sum(counts.values()) <= 8

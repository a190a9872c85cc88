"""Every command of docs/course.md runs: a section is a test, in a project of its own.

Checkpoints of the hub are replaced by small local folders of the same architecture (conftest.py). A comment
with `refused` says that the commands below it end with a message and nothing is computed.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runwright.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "course.md"
HEADINGS = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
QUICK = {"Pipelines", "Tokenizers"}  # the others train models
# What an exercise shows, by the beginning of its comment: a regular expression over all of its output.
EXPECTED = {
    "Sentiment of a text": r'"predicted": "NEGATIVE".*"scores": {"NEGATIVE": 0.\d+, "POSITIVE": 0.\d+}',
    "Zero-shot": r'"sport": 0.\d+, "food": 0.\d+, "music": 0.\d+.*"work": 0.\d+',
    "Two texts where": r"num_return_sequences.*sample",
    "Two continuations": r'"predicted": \[".*", ".*"\]',
    "141 billion": r"141.0 billion parameters .* free; .*--dtype bf16",
    "A gated model": r"Meta-Llama-3-8B",
    "Parts of speech, from": r"runwright convert",
    "The same, converted": r'"DT|"NN|"VB|"JJ|"IN|"PRP|"RB',
    "Coreference": r"asp",
    "A question about": r'"predicted": "[^"]+", "start": \d+, "end": \d+, "score": 0',
    "A checkpoint without": r"classifier.weight.*(train|task)",
    "Texts as tokens": r"\[CLS\] .*lovely .*19.*lost: The → the",
    "Word pieces of BERT": r"models/t5.*<s> .*Ġmuseum .*</s>",
    "The five special": r"\[CLS\].*这.*\[SEP\]",
    "Words, characters": r"words +\d+ .*characters +\d+ .*pieces +\d+",
    "Parameters, layers": r"BertForMaskedLM: 37,193 parameters.*DistilBertForMaskedLM: 37,129",
    "Six labels": r"classifier",
    "BERT with one layer": r'FINISHED.*"predicted": "(joy|sadness|anger|fear|love|surprise)"',
    "An encoder-decoder": r"crossattention.*crossattention.*crossattention",
    "Texts of thousands": r"LongformerForSequence.*LongformerForQuestion.*LEDForConditional",
    "The first batch": r"input_ids \[8, \d+\].*\[CLS\].*\[SEP\]",
    "Pairs: types": r"\[SEP\] +3 +0 .*\[SEP\] +3 +1 .*\[SEP\] +3 +special",
    "The two columns of MRPC": r"train +48 .*not_equivalent 24, equivalent 24",
    "Thirty rows": r"train +30 ",
    "Similarity as three": r"different \d+.*equivalent \d+",
    "One step on two": r"1 steps?,",
    "MRPC with the defaults": r'18 steps.*"predicted": "(not_)?equivalent"',
    "Raw scores": r"accuracy.*predictions and tables",
    "Masked language modelling: the": r"perplexity",
    "Spans, texts": r"span_recall.*bleu.*rouge_lsum.*answer_f1",
    "import evaluate": r"span_precision.: 1.0.*span_recall.: 0.66.*span_f1.: 0.8",
    "The reviews cleaned": r"DropEmpty dropped 18 of 72 rows.*FINISHED",
    "A validation split": r"held out of 72 rows of train: 14 for validation",
    "A corpus larger": r"20 steps",
    "Issues of a": r"KeepValues dropped 15 of 60 rows",
    "Rows in the order": r"DropEmpty dropped 18 of 72 rows.*looks like an id",
    "Search by meaning": r"How to load file \d+",
    "Like GPT-2's": r"code-tokenizer: 1000 tokens.*code-tokenizer +1,000 ",
    "Is a new one": r"unknown +chars each",
    "BPE, WordPiece and": r"bpe-50: 50 tokens.*wordpiece-70: 70 tokens",
    "Character, byte": r"delimited: \d+ tokens",
    "Names: a tag": r'FINISHED.*"predicted": \[',
    "Translation: a split": r"bleu +0\.\d+ +\[.*\] +0\.\d+ *\n",
    "Masks and pairs": r"next_sentence_accuracy",
    "Two rows as a batch": r"-100",
    "Sources that name": r"FilterPattern dropped \d+ of 298",
    "GPT-2 from random": r"GPT2LMHeadModel.*FINISHED(.*\"predicted\"){4}",
    "A name that is": r"no-such-model",
    "A column that": r"no such column; columns: 'text', 'label'",
    "Two class names": r"unknown label '\w+'; the 2 classes are 'joy', 'sadness'",
    "The metrics before": r"before.*loss",
    "A column of 0 and 1": r"6 classes, 8 to 22 each.*FINISHED",
    "The same six": r"6 classes, 8 to 22 each.*FINISHED",
    "Six classes": r"6 classes",
    "Trained; the loss": r"predictions: validation.jsonl",
}
BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BASH_STRING = re.compile(r"\$'([^']*)'")


def section(heading: str) -> str:
    """The text of one section."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    return text.partition("\n## ")[0]


def exercises(block: str) -> list[tuple[str, list[str]]]:
    """(comment, commands below it) of a shell block."""
    entries: list[tuple[str, list[str]]] = []
    command = ""
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("# "):
            entries.append((line[2:], []))
            continue
        command = f"{command} {line.strip()}".strip()
        if command and BASH_STRING.sub("", command).count("'") % 2 == 0:  # else the quotes are open
            entries[-1][1].append(command)
            command = ""
    return entries


def with_stand_ins(text: str, names: dict[str, str]) -> str:
    """The text with local folders in the place of checkpoints of the hub."""
    pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.sub(rf"(?<![\w/-])({pattern})(?![\w-])", lambda match: f"models/{names[match[0]]}", text)


@pytest.fixture
def course_project(
    in_project: Path, stand_ins: Path, write_course_data: Callable[[Path], None], page_blocks: ModuleType
) -> Path:
    """The project of the pages with the stand-ins and the files of the course."""
    model = in_project / "conf" / "model" / "pretrained.yaml"
    model.write_text(model.read_text().replace("attention: sdpa", "attention: auto"), encoding="utf-8")
    shutil.copytree(stand_ins, in_project / "models", copy_function=_link)
    write_course_data(in_project)
    for block in page_blocks.blocks(PAGE):  # files that another section shows
        if page_blocks.FILE_LINE.match(block.content):
            page_blocks.run_file(block)
    return in_project


def _link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)  # sparse files stay sparse
    return target


@pytest.mark.parametrize(
    "heading", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in HEADINGS]
)
def test_the_commands_of(
    heading: str, course_project: Path, page_blocks: ModuleType, stand_in_names: dict[str, str]
) -> None:
    failures: list[str] = []

    def attempt(title: str, action: Callable[..., None], *arguments: Any) -> str:
        output = io.StringIO()
        started = time.monotonic()
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                action(*arguments)
        except (Exception, SystemExit):  # noqa: BLE001 - the other commands are tried as well
            failures.append(f"{title}: {traceback.format_exc(limit=-2)}{output.getvalue()[-2000:]}")
        print(f"--- {time.monotonic() - started:.1f} s: {title}\n{output.getvalue()}")
        return output.getvalue()

    for block in page_blocks.BLOCK.finditer(section(heading)):
        content, language = with_stand_ins(block["content"], stand_in_names), block["language"]
        if language == "bash":
            for title, commands in exercises(content):
                shown = [attempt(title, run, page_blocks, stand_in_names, line, title) for line in commands]
                failures += missing(title, "".join(shown))
        elif language in ("python", "yaml"):
            as_block = page_blocks.Block(line=0, language=language, content=content, reason=None)
            title = content.partition("\n")[0]
            failures += missing(title, attempt(title, page_blocks.RUN[language], as_block))
    assert not failures, "\n\n".join(failures)


def missing(title: str, shown: str) -> list[str]:
    """What an exercise should have shown and did not."""
    patterns = [pattern for start, pattern in EXPECTED.items() if title.startswith(start)]
    return [f"{title}: shows no {p!r}" for p in patterns if not re.search(p, shown, re.DOTALL)]


def test_every_expectation_belongs_to_an_exercise() -> None:
    titles = re.findall(r"^(?:# )?(.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert not [start for start in EXPECTED if not any(title.startswith(start) for title in titles)]


@pytest.mark.parametrize("heading", HEADINGS)
def test_each_exercise_has_a_command(heading: str, page_blocks: ModuleType) -> None:
    blocks = list(page_blocks.BLOCK.finditer(section(heading)))
    assert blocks or "Not yet:" in section(heading)
    shell = [block["content"] for block in blocks if block["language"] == "bash"]
    assert not [title for block in shell for title, commands in exercises(block) if not commands]


@pytest.mark.network
def test_the_checkpoints_are_on_the_hub(stand_in_names: dict[str, str]) -> None:
    from huggingface_hub import HfApi

    assert all(HfApi().model_info(name).id for name in stand_in_names)


def run(page_blocks: ModuleType, names: dict[str, str], command: str, title: str) -> None:
    """Run a command in this process, or by bash where a file is redirected or another program is started."""
    for name in re.findall(r"latest:([\w-]+)", command):
        if not list(Path("outputs", name).glob("*")):
            run(page_blocks, names, with_stand_ins(training_of(name), names), "")
    words = shlex.split(BASH_STRING.sub(_quoted, page_blocks.with_runs(command)))
    if words[0] != "runwright" or {"<", ">", "|"} & set(words):
        page_blocks.execute(command)
        return
    code = main(words[1:])
    assert code in ((2, 3) if "refused" in title else (0,)), f"exit code {code}"


def training_of(name: str) -> str:
    """The command of the page that trains the run of this name, perhaps in another section."""
    commands = [
        c for b in BASH.findall(PAGE.read_text(encoding="utf-8")) for _, cs in exercises(b) for c in cs
    ]
    trained = [command for command in commands if command.startswith("runwright train ")]
    called = [command for command in trained if re.search(rf" name={name}(?= |$)", command)]
    return (called or [c for c in trained if f" experiment={name} " in c and " name=" not in c])[0]


def _quoted(match: re.Match[str]) -> str:
    return shlex.quote(match[1].replace("\\t", "\t").replace("\\n", "\n"))

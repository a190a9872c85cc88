"""What a task says of a row names the file and the line to open, whatever was done to the rows before."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright import build
from runwright.config.compose import compose
from runwright.config.permissions import Permissions
from runwright.errors import DataError

NUM_ROWS = 12  # written twice: every second line is dropped again
STEPS = "dataset.cleaning=[{_target_: runwright.dataset.cleaning.texts.DropDuplicates, "
TAGS = ["task=token_classification", "metric=[span_f1]", "trainer.best_metric=span_f1"]
MASKS = [
    "task=masked_language_modeling", "metric=[perplexity]", "trainer.best_metric=perplexity",
    "trainer.best_mode=min",
]  # fmt: skip


def lines_of(good: Callable[[int], Any], bad: Any) -> str:
    """JSON Lines of rows that each come twice; the next to last one is bad."""
    rows = [good(n) for n in range(NUM_ROWS)]
    return "\n\n".join(json.dumps(row) for row in [*(row for row in rows for _ in "ab"), bad, rows[0]])


BAD_LINE = 4 * NUM_ROWS + 1  # of lines with a blank one between them, counted from 1


def answer(n: int, text: str) -> dict[str, Any]:
    return {"question": f"Who {n}?", "context": "Ada", "answers": {"text": [text], "answer_start": [0]}}


CASES = {
    "classes": (
        ["task=sequence_classification", "task.label_names=[a,b]"],
        lines_of(lambda n: {"text": f"t {n}", "label": "ab"[n % 2]}, {"text": "x", "label": "c"}),
        "unknown label 'c'",
    ),
    "numbers": (
        ["task=sequence_classification", "task.problem=regression", "metric=[mse]", "trainer.best_mode=min",
         "trainer.best_metric=loss"],
        lines_of(lambda n: {"text": f"t {n}", "label": "1.5"}, {"text": "x", "label": "high"}),
        "expected a finite number, given 'high'",
    ),
    "tags": (
        [*TAGS, "task.tag_names=[O,B-a]"],
        lines_of(
            lambda n: {"words": [f"w{n}", "x"], "tags": ["B-a", "O"]}, {"words": ["y"], "tags": ["O", "O"]}
        ),
        "2 tags for 1 words",
    ),
    "tag names": (
        [*TAGS, "task.tag_names=[O,B-a,I-a]"],
        lines_of(lambda n: {"words": [f"w{n}"], "tags": ["B-a"]}, {"words": ["y"], "tags": ["E-a"]}),
        "unknown tag 'E-a'",
    ),
    "answers": (
        ["task=question_answering", "metric=[answer_f1]", "trainer.best_metric=answer_f1"],
        lines_of(lambda n: answer(n, "Ada"), answer(0, "Bob")),
        "the answer 'Bob' is not at answer_start 0",
    ),
    "scores": (
        ["task=sentence_embedding", "metric=[spearman]", "trainer.best_metric=spearman"],
        lines_of(
            lambda n: {"sentence1": f"t {n}", "sentence2": "u", "score": 0.5},
            {"sentence1": "x", "sentence2": "u", "score": 7.5},
        ),
        "given 7.5, expected a number from task.label_min=0.0",
    ),
}  # fmt: skip


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Any]:
    """Data, tokenizer, task and examples of a JSON Lines file."""

    def make(content: str, overrides: list[str]) -> Any:
        path = tmp_path / "rows.jsonl"
        path.write_text(content, encoding="utf-8")
        data = ["dataset=json", f"dataset.source.files.train={path}"]
        composed = compose([*data, *overrides], folder=tmp_path)
        return build.prepare(composed.config, cache_folder=None)

    return make


def without_repeats(content: str) -> str:
    columns = [name for name in json.loads(content.split("\n")[0]) if name not in ("label", "score", "tags")]
    return f"{STEPS}columns: [{','.join(columns)}], within: [train], across: false}}]"


def expect_bad_line(error: DataError, folder: Path, says: str) -> None:
    assert says in str(error)
    assert (error.file, error.line) == (str(folder / "rows.jsonl"), BAD_LINE)
    assert (error.split in ("train", "validation"), error.row) == (True, 2 * NUM_ROWS)


@pytest.mark.parametrize("held_out", [1, NUM_ROWS], ids=["one held out", "all but one held out"])
@pytest.mark.parametrize("name", CASES)
def test_a_bad_row_is_named_by_its_line(
    name: str, held_out: int, prepare: Callable[..., Any], tmp_path: Path
) -> None:
    overrides, content, says = CASES[name]
    holdout = f"dataset.holdout={{validation: {held_out}, test: 0}}"
    with pytest.raises(DataError) as caught:
        prepare(content, [*overrides, without_repeats(content), holdout])
    expect_bad_line(caught.value, tmp_path, says)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_row_of_a_stream_is_named_by_its_line(
    name: str, prepare: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides, content, says = CASES[name]
    monkeypatch.setattr(
        "runwright.dataset.readers.streams.BLOCK_ROWS", 5
    )  # what is looked at before training
    stream = [
        "dataset.streaming=true",
        "dataset.shuffle_buffer=4",
        "dataset.holdout={validation: 0, test: 0}",
    ]
    prepared = prepare(content, [*overrides, *stream, "trainer=steps"])
    assert prepared.stream is not None
    with pytest.raises(DataError) as caught:
        prepared.stream.open(None).read(1000, is_cancelled=lambda: False)
    expect_bad_line(caught.value, tmp_path, says)


def test_a_tag_of_another_scheme_is_named_by_its_line(prepare: Callable[..., Any], tmp_path: Path) -> None:
    _, content, _ = CASES["tag names"]
    with pytest.raises(DataError) as caught:
        prepare(content, [*TAGS, without_repeats(content), "dataset.holdout={validation: 0, test: 0}"])
    expect_bad_line(caught.value, tmp_path, "'E-a' is no tag of task.scheme=bio")


OWN_TASK = """
from runwright.errors import DataError
from runwright.task.masked_language_modeling import MaskedLanguageModeling


def refuse_bad(texts):
    for place, text in enumerate(texts):
        if text == "bad":
            raise DataError("I do not like it", row=place, column="text")


class InInputs(MaskedLanguageModeling):
    def inputs_of(self, rows, *, split):
        refuse_bad(rows["text"][:])
        return super().inputs_of(rows, split=split)


class InEncode(MaskedLanguageModeling):
    def encode(self, columns):
        refuse_bad(columns["text"])
        return super().encode(columns)
"""


@pytest.mark.parametrize("name", ["InInputs", "InEncode"])
def test_a_task_of_ones_own_names_a_row_by_its_place_among_those_it_got(
    name: str, prepare: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "row_namer.py").write_text(OWN_TASK, encoding="utf-8")
    monkeypatch.setattr("runwright.config.permissions._granted", Permissions(packages=("row_namer",)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "row_namer", raising=False)
    monkeypatch.setattr("runwright.dataset.examples.BATCH_ROWS", 3)
    content = lines_of(lambda n: {"text": f"t {n}"}, {"text": "bad"})
    own = [*MASKS, f"task._target_=row_namer.{name}", without_repeats(content)]
    with pytest.raises(DataError) as caught:
        prepare(content, [*own, "dataset.holdout={validation: 1, test: 0}"])
    expect_bad_line(caught.value, tmp_path, "column 'text': I do not like it")

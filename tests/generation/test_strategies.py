"""Strategies: what they refuse, and the configuration that lies beside a saved model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import GenerationConfig

from runwright.config.rules.table import GENERATION, check_rules
from runwright.generation.strategies import Greedy, Sample

COMMON: dict[str, Any] = {
    "max_new_tokens": 12, "min_new_tokens": 0, "no_repeat_ngram_size": 0, "repetition_penalty": 1.0,
    "stop_strings": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_new_tokens": 13}, "min_new_tokens: given 13, expected at most"),
        ({"num_beams": 1, "num_return_sequences": 1}, "one beam is generation=greedy"),
        (
            {"num_beams": 2, "num_return_sequences": 3},
            "num_return_sequences: given 3, expected at most generation.num_beams, which is 2",
        ),
    ],
)
def test_what_cannot_be_decoded_is_refused(options: dict[str, Any], message: str) -> None:
    (mistake,) = check_rules(GENERATION, {"generation": {**COMMON, **options}}, ())
    assert message in str(mistake)


def test_a_saved_model_decodes_by_the_strategy_and_with_its_own_tokens(tmp_path: Path) -> None:
    own = GenerationConfig(eos_token_id=[7, 8], decoder_start_token_id=2, num_beams=4, temperature=0.2)
    model, tokenizer = SimpleNamespace(generation_config=own), SimpleNamespace(pad_token_id=0, eos_token_id=9)
    strategy = Sample(
        **dict(COMMON, stop_strings=["\n"]), temperature=0.7, top_k=None, top_p=0.9, min_p=None,
        num_return_sequences=2, seed=5,
    )  # fmt: skip
    strategy.to_config(model, tokenizer).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    assert {name: value for name, value in saved.items() if name != "transformers_version"} == {
        "eos_token_id": [7, 8, 9], "decoder_start_token_id": 2, "pad_token_id": 0, "do_sample": True,
        "temperature": 0.7, "top_k": 0, "top_p": 0.9, "num_return_sequences": 2, "stop_strings": ["\n"],
        "max_new_tokens": 12, "min_new_tokens": 0, "no_repeat_ngram_size": 0, "repetition_penalty": 1.0,
    }  # fmt: skip


def test_a_tokenizer_without_padding_pads_with_its_end() -> None:
    tokenizer = SimpleNamespace(pad_token_id=None, eos_token_id=9)
    assert Greedy(**COMMON).to_config(SimpleNamespace(), tokenizer).pad_token_id == 9

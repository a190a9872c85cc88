"""Tokenizers that are trained: from steps and a model given in YAML, or as another one was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from runwright.errors import ConfigError, DataError
from runwright.tokenizer.algorithms import Bpe, Unigram, WordPiece, Words
from runwright.tokenizer.families import FAMILIES, FamilyName
from runwright.tokenizer.pipeline import (
    DecoderName,
    NormalizerName,
    PreTokenizerName,
    make_decoder,
    make_normalizer,
    make_pre_tokenizer,
)
from runwright.tokenizer.pretrained import load_pretrained
from runwright.tokenizer.texts import Corpus, RunTexts
from runwright.types import PositiveInt

ALGORITHMS = "Bpe, WordPiece, Unigram or Words of runwright.tokenizer.algorithms"


def train(
    texts: RunTexts,
    *,
    files: list[str] | None,
    columns: list[str] | None,
    family: FamilyName,
    extra_tokens: list[str],
    normalizer: list[NormalizerName],
    replace: dict[str, str],
    pre_tokenizer: list[PreTokenizerName],
    model: Any,
    post_processor: dict[str, str] | None,
    decoder: DecoderName | None,
    padding_side: Literal["left", "right"],
) -> PreTrainedTokenizerFast:
    """A tokenizer with the special tokens of a family; the same texts and options give the same one."""
    if not callable(getattr(model, "train", None)):
        raise ConfigError(f"tokenizer.model: given {model!r}, expected a node of {ALGORITHMS}")
    special = FAMILIES[family]
    tokens = list(dict.fromkeys([*special.tokens, *extra_tokens]))
    inner = Tokenizer(models.WordLevel(unk_token=""))
    inner.normalizer = make_normalizer(normalizer, replace)
    inner.pre_tokenizer = make_pre_tokenizer(pre_tokenizer)
    corpus = texts.choose(files=files, columns=columns)
    inner.model = _learned(model, inner, corpus, tokens=tokens, unk=special.roles["unk"])
    prefix, suffix = (getattr(model, name, None) for name in ("continuing_prefix", "end_of_word_suffix"))
    inner.decoder = make_decoder(decoder, prefix=prefix, suffix=suffix)
    templates = {"single": special.single, "pair": special.pair} if post_processor is None else post_processor
    if templates:
        inner.post_processor = _frame(templates, tokens)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        extra_special_tokens=[token for token in tokens if token not in special.tokens],
        padding_side=padding_side,
        clean_up_tokenization_spaces=False,
        **special.settings,
    )


def like(
    texts: RunTexts,
    *,
    name: str,
    revision: str | None,
    files: list[str] | None,
    columns: list[str] | None,
    vocab_size: PositiveInt | None,
    min_frequency: PositiveInt,
    alphabet_size: PositiveInt | None,
    padding_side: Literal["left", "right"] | None,
    pad_token: str | None,
) -> PreTrainedTokenizerFast:
    """A tokenizer with every step and special token of the one saved under `name`, and a new vocabulary."""
    old = load_pretrained(name=name, revision=revision, padding_side=padding_side, pad_token=pad_token)
    state = json.loads(old.backend_tokenizer.to_str())
    special = [token for token in state["added_tokens"] if token["special"]]
    unk = state["model"].get("unk_token")
    if state["model"]["type"] == "Unigram" and state["model"]["unk_id"] is not None:
        unk = state["model"]["vocab"][state["model"]["unk_id"]][0]
    # with byte_fallback a model writes an unknown character byte by byte
    fallback = [f"<0x{byte:02X}>" for byte in range(256)] if state["model"].get("byte_fallback") else []
    first = [*(token["content"] for token in special), *([unk] if unk else []), *fallback]
    tokens = list(dict.fromkeys(first))
    algorithm = _algorithm_like(
        state["model"], size=vocab_size or len(old), min_frequency=min_frequency, alphabet_size=alphabet_size
    )
    corpus = texts.choose(files=files, columns=columns)
    learned = _learned(algorithm, old.backend_tokenizer, corpus, tokens=tokens, unk=unk or tokens[0])
    new = json.loads(Tokenizer(learned).to_str())["model"]
    ids = {token: index for index, token in enumerate(tokens)}
    state["model"] |= {name: new[name] for name in ("vocab", "merges", "unk_id") if name in new}
    state["added_tokens"] = [{**token, "id": ids[token["content"]]} for token in special]
    state["post_processor"] = _renumbered(state["post_processor"], ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), **_settings_of(old)
    )


def _learned(
    algorithm: Any, pipeline: Tokenizer, corpus: Corpus, *, tokens: Sequence[str], unk: str
) -> models.Model:
    """The model that the algorithm trained; raises DataError where the texts gave it no token."""
    learned = algorithm.train(pipeline, corpus, tokens=tokens, unk=unk)
    if Tokenizer(learned).get_vocab_size() <= len(tokens):
        raise DataError(
            f"{corpus.name} gave the tokenizer no token beside the special ones: every piece is too rare "
            "(tokenizer.model.min_frequency), or the vocabulary has no room (tokenizer.model.vocab_size)"
        )
    return learned


def _settings_of(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Settings that transformers keeps beside the library's tokenizer."""
    extra: Any = tokenizer.extra_special_tokens or []
    return {
        "extra_special_tokens": [str(token) for token in extra],
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "model_max_length": tokenizer.model_max_length,
        "clean_up_tokenization_spaces": bool(tokenizer.clean_up_tokenization_spaces),
        "model_input_names": list(tokenizer.model_input_names),
        **{role: token for role, token in tokenizer.special_tokens_map.items() if isinstance(token, str)},
    }


def stand_in(options: Mapping[str, Any] | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer of special tokens alone, for a task to be made with while there is no real one.

    With the options of `train` it has those of its family, in its frame, else all that a task may ask for.
    """
    options = options or {}
    family: FamilyName | None = options.get("family")
    special = FAMILIES[family or "bert"]
    roles = special.roles if family else {**FAMILIES["roberta"].roles, **special.roles}
    extra: list[str] = options.get("extra_tokens") or []
    tokens = list(dict.fromkeys([*roles.values(), *extra]))
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=roles["unk"]))
    templates = options.get("post_processor")
    inner.post_processor = _frame({"single": special.single} if templates is None else templates, tokens)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        padding_side=options.get("padding_side") or "right",
        chat_template=None if family else "{{ messages }}",
        **{f"{role}_token": token for role, token in roles.items()},
    )


def _algorithm_like(
    model: Mapping[str, Any], *, size: int, min_frequency: int, alphabet_size: int | None
) -> Bpe | WordPiece | Unigram | Words:
    kind, prefix = model["type"], model.get("continuing_subword_prefix") or ""
    frequent = {"vocab_size": size, "min_frequency": min_frequency}
    pieces: dict[str, Any] = {"vocab_size": size, "alphabet_size": alphabet_size}
    if kind == "WordLevel":
        return Words(**frequent)
    if kind == "Unigram":
        return Unigram(**pieces, max_piece_length=16, shrinking_factor=0.75)
    pieces["min_frequency"] = min_frequency
    if kind == "WordPiece":
        longest = model["max_input_chars_per_word"]
        return WordPiece(**pieces, continuing_prefix=prefix, max_word_length=longest)
    if kind == "BPE" and not prefix:
        suffix = model.get("end_of_word_suffix") or None
        return Bpe(**pieces, max_piece_length=None, end_of_word_suffix=suffix)
    raise ConfigError(f"tokenizer.name: a model of the kind {kind} cannot be trained anew")


def _renumbered(post_processor: Any, ids: Mapping[str, int]) -> Any:
    """A post-processor whose special tokens have their new ids."""
    if not isinstance(post_processor, dict):
        return post_processor
    renewed = dict(post_processor)
    if "processors" in renewed:
        renewed["processors"] = [_renumbered(step, ids) for step in renewed["processors"]]
    if isinstance(renewed.get("special_tokens"), dict):
        renewed["special_tokens"] = {
            name: {**entry, "ids": [ids[token] for token in entry["tokens"]]}
            for name, entry in renewed["special_tokens"].items()
        }
    for role in ("cls", "sep"):
        if role in renewed:
            renewed[role] = [renewed[role][0], ids[renewed[role][0]]]
    return renewed


def _frame(templates: Mapping[str, str], tokens: Sequence[str]) -> Any:
    """A post-processor that puts special tokens around $A and $B as the templates do."""
    used = {word.removesuffix(":0").removesuffix(":1") for word in " ".join(templates.values()).split()}
    try:
        return processors.TemplateProcessing(
            single=templates.get("single") or "$A",
            pair=templates.get("pair") or "$A $B",
            special_tokens=[(token, index) for index, token in enumerate(tokens) if token in used],
        )
    except ValueError as error:
        raise ConfigError(
            f"tokenizer.post_processor: given {templates}, expected $A, $B and special tokens of the "
            f"tokenizer ({', '.join(tokens)}): {error}"
        ) from error

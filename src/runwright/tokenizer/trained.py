"""Tokenizers that are trained: from steps and a model given in YAML, or as another one was made.

A trained one is found in the run's own folder first, then in the cache under everything that it depends on;
of several processes that want it one trains, the others wait for its lock.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from runwright import store
from runwright.config.options import TARGET
from runwright.config.signature import Signature
from runwright.config.sources import resolve_source
from runwright.config.targets import check_target, code_of, instantiate, locate
from runwright.errors import ConfigError, DataError
from runwright.store import file_sha256, folder_whole
from runwright.tokenizer import pipeline
from runwright.tokenizer.algorithms import Bpe, Unigram, WordPiece, Words
from runwright.tokenizer.pipeline import DecoderName, NormalizerName, PreTokenizerStep
from runwright.tokenizer.pretrained import load_pretrained, open_saved
from runwright.tokenizer.texts import Corpus
from runwright.types import PositiveInt

log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 2**30
TOKENIZER_FOLDER = "tokenizer"  # of a run
TOKENIZER_FILE = "tokenizer.json"

FamilyName = Literal["bert", "roberta", "t5", "gpt2", "llama", "plain"]


@dataclass(frozen=True, slots=True)
class Family:
    """Special tokens by role, the first of the vocabulary in this order, and the frame they make."""

    roles: dict[str, str]  # `pad` is the role of transformers' pad_token
    single: str = "$A"  # $A is the text
    pair: str = "$A $B"  # $B the second one; `:1` is the token type

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of a transformers tokenizer."""
        settings: dict[str, Any] = {f"{role}_token": token for role, token in self.roles.items()}
        if settings.get("mask_token") == "<mask>":  # `a <mask>` is `a`, mask: the space belongs to the mask
            settings["mask_token"] = AddedToken("<mask>", lstrip=True, special=True)
        types = ["token_type_ids"] if ":1" in self.pair else []
        return settings | {"model_input_names": ["input_ids", *types, "attention_mask"]}


FAMILIES: dict[str, Family] = {
    "bert": Family(  # BERT, DistilBERT, ELECTRA, DeBERTa, ModernBERT
        {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
        "[CLS] $A [SEP]",
        "[CLS] $A [SEP] $B:1 [SEP]:1",
    ),
    "roberta": Family(  # RoBERTa, BART, CamemBERT
        {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
        | {"cls": "<s>", "sep": "</s>", "mask": "<mask>"},
        "<s> $A </s>",
        "<s> $A </s> </s> $B </s>",
    ),
    "t5": Family({"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, "$A </s>", "$A </s> $B </s>"),
    # One token of its own to pad with: the end of a text is not padding.
    "gpt2": Family(dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>") | {"pad": "<|pad|>"}),
    "llama": Family({"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"}, "<s> $A", "<s> $A <s> $B"),
    "plain": Family({"pad": "[PAD]", "unk": "[UNK]"}),
}


def is_trained(node: Mapping[str, Any]) -> bool:
    """Return True if the tokenizer of this config node is trained: its target takes texts."""
    signature = check_target(node.get(TARGET), key="tokenizer", group="tokenizer")
    return isinstance(signature, Signature) and signature.num_required_objects > 0


def trained_tokenizer(
    node: Mapping[str, Any], texts: Callable[[], Corpus], *, run_folder: Path | None
) -> Any:
    """The tokenizer that training makes of these texts, from the run's folder or the cache if it is there."""
    if run_folder is not None and (run_folder / TOKENIZER_FILE).is_file():
        log.info("tokenizer: as trained when the run began")
        return open_saved(str(run_folder.resolve()))
    corpus = texts()
    example = Path(resolve_source(node["name"])) / TOKENIZER_FILE if node.get("name") else None
    key = {
        "tokenizer": dict(node),
        "texts": corpus.state,
        # of a local tokenizer that is the example its content counts, of a hub's its name
        "example": file_sha256(example) if example and example.is_file() else None,
        "tokenizers": tokenizers.__version__,
        "code": code_of(locate(node[TARGET], group="tokenizer"), group="tokenizer"),
    }
    entry = store.cache_root() / "tokenizers" / store.digest(key)

    def write(folder: Path) -> dict[str, Any]:
        log.info("tokenizer: trained now on %s", corpus.name)
        instantiate(node, corpus, group="tokenizer", key="tokenizer").save_pretrained(folder)
        return {"key": key}

    with store.cached(entry, write, max_bytes=MAX_CACHE_BYTES) as (_, is_new):
        if not is_new:
            log.info("tokenizer: taken from the cache, trained on %s", corpus.name)
        tokenizer = open_saved(str(entry.resolve()))
    log.info("tokenizer: %d tokens", len(tokenizer))
    return tokenizer


def keep_trained(node: Mapping[str, Any], tokenizer: Any, run_folder: Path) -> None:
    """Save a trained tokenizer in the folder of its run, which reads it again when it is resumed."""
    folder = run_folder / TOKENIZER_FOLDER
    if is_trained(node) and not (folder / TOKENIZER_FILE).is_file():
        save_tokenizer(tokenizer, folder)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer as a folder that AutoTokenizer loads; appears whole or not at all."""
    with folder_whole(folder) as unfinished:
        tokenizer.save_pretrained(unfinished)


def train(
    corpus: Corpus,
    *,
    files: list[str] | None,  # noqa: ARG001 - these and the columns make the corpus
    columns: list[str] | None,  # noqa: ARG001
    family: FamilyName,
    extra_tokens: list[str],
    normalizer: list[NormalizerName],
    replace: dict[str, str],
    pre_tokenizer: list[PreTokenizerStep],
    model: Any,
    post_processor: dict[str, str] | None,
    decoder: DecoderName | None,
    padding_side: Literal["left", "right"],
) -> PreTrainedTokenizerFast:
    """A tokenizer with the special tokens of a family; the same texts and options give the same one."""
    special = FAMILIES[family]
    tokens = list(dict.fromkeys([*special.roles.values(), *extra_tokens]))
    inner = Tokenizer(models.WordLevel(unk_token=""))
    inner.normalizer = pipeline.make_normalizer(normalizer, replace)
    inner.pre_tokenizer = pipeline.make_pre_tokenizer(pre_tokenizer)
    inner.model = _learned(model, inner, corpus, tokens=tokens, unk=special.roles["unk"])
    prefix, suffix = (getattr(model, name, None) for name in ("continuing_prefix", "end_of_word_suffix"))
    inner.decoder = pipeline.make_decoder(decoder, prefix=prefix, suffix=suffix)
    templates = {"single": special.single, "pair": special.pair} if post_processor is None else post_processor
    if templates:
        inner.post_processor = _frame(templates, tokens)
    settings = special.settings | {"padding_side": padding_side, "clean_up_tokenization_spaces": False}
    extra = [token for token in tokens if token not in special.roles.values()]
    return PreTrainedTokenizerFast(tokenizer_object=inner, extra_special_tokens=extra, **settings)


def like(
    corpus: Corpus,
    *,
    name: str,
    revision: str | None,
    files: list[str] | None,  # noqa: ARG001 - these and the columns make the corpus
    columns: list[str] | None,  # noqa: ARG001
    vocab_size: PositiveInt | None,
    min_frequency: PositiveInt,
    alphabet_size: PositiveInt | None,
    padding_side: Literal["left", "right"] | None,
    special_tokens: dict[str, str],
    extra_tokens: list[str],
) -> PreTrainedTokenizerFast:
    """A tokenizer with every step and special token of the one saved under `name`, and a new vocabulary."""
    old = load_pretrained(
        name=name, revision=revision, padding_side=padding_side, special_tokens=special_tokens
    )
    size = len(old)
    extra: Any = old.extra_special_tokens or []
    old.add_special_tokens({"extra_special_tokens": [*map(str, extra), *extra_tokens]})
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
        state["model"], size=vocab_size or size, min_frequency=min_frequency, alphabet_size=alphabet_size
    )
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
        "extra_special_tokens": [*map(str, extra)],
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

"""Tokenizers that are trained: from steps and a model given in YAML, or as another one was made.

A trained one is found in the run's own folder first, then in the cache under everything that it depends on;
of several processes that want it one trains, the others wait for its lock.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any, Literal

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from runwright import store
from runwright.config.options import TARGET
from runwright.config.signature import Signature
from runwright.config.sources import resolve_source
from runwright.config.targets import check_target, code_of, instantiate, locate
from runwright.errors import ConfigError, DataError
from runwright.store import file_sha256, folder_whole
from runwright.tokenizer.algorithms import ANY_CHARACTER, Bpe, Corpus, Unigram, WordPiece, Words
from runwright.tokenizer.pretrained import load_pretrained, open_saved
from runwright.types import PositiveInt

log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 2**30
TOKENIZER_FOLDER = "tokenizer"  # of a run
TOKENIZER_FILE = "tokenizer.json"

NormalizerName = Literal[
    "nfc", "nfd", "nfkc", "nfkd", "lowercase", "strip_accents", "clean_text", "collapse_whitespace", "strip"
]
PreTokenizerName = Literal[
    "whitespace", "words", "bert", "punctuation", "chinese", "characters", "metaspace", "byte_level"
]
PreTokenizerStep = PreTokenizerName | dict[str, str]  # {char_delimiter: "_"}: cut at it, and drop it
DecoderName = Literal["wordpiece", "bpe", "metaspace", "byte_level", "fuse"]
FamilyName = Literal["bert", "roberta", "t5", "gpt2", "llama", "plain"]


NORMALIZERS: dict[str, Any] = {
    "nfc": normalizers.NFC(),
    "nfd": normalizers.NFD(),
    "nfkc": normalizers.NFKC(),
    "nfkd": normalizers.NFKD(),
    "lowercase": normalizers.Lowercase(),
    "strip_accents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()]),
    "clean_text": normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False
    ),
    "collapse_whitespace": normalizers.Replace(Regex(r"\s+"), " "),
    "strip": normalizers.Strip(),
}
PRE_TOKENIZERS: dict[str, Any] = {
    "whitespace": pre_tokenizers.WhitespaceSplit(),
    "words": pre_tokenizers.Whitespace(),
    "bert": pre_tokenizers.BertPreTokenizer(),
    "punctuation": pre_tokenizers.Punctuation("isolated"),
    "chinese": pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
    "characters": pre_tokenizers.Split(Regex(ANY_CHARACTER), "isolated"),
    "metaspace": pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=True),
    "byte_level": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
}


@dataclass(frozen=True, slots=True)
class Family:
    """Special tokens by role, the first of the vocabulary in this order, and the frame they make."""

    roles: dict[str, str]  # `pad` is the role of transformers' pad_token
    single: str = "$A"  # $A is the text
    pair: str = "$A $B"  # $B the second one; `:1` is the token type

    @property
    def settings(self) -> dict[str, Any]:
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
    columns: list[str] | None,  # noqa: ARG001 - they make the corpus
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
    if steps := [*starmap(normalizers.Replace, replace.items()), *map(NORMALIZERS.__getitem__, normalizer)]:
        inner.normalizer = normalizers.Sequence(steps)
    split = pre_tokenizers.CharDelimiterSplit
    cuts = [
        PRE_TOKENIZERS[step] if isinstance(step, str) else split(step["char_delimiter"])
        for step in pre_tokenizer
    ]
    if cuts:
        inner.pre_tokenizer = cuts[0] if len(cuts) == 1 else pre_tokenizers.Sequence(cuts)
    inner.model = _learned(model, inner, corpus, tokens=tokens, unk=special.roles["unk"])
    if decoder:  # without one, tokens are joined with spaces
        inner.decoder = {
            "wordpiece": decoders.WordPiece(getattr(model, "continuing_prefix", None) or "##", cleanup=False),
            "bpe": decoders.BPEDecoder(getattr(model, "end_of_word_suffix", None) or "</w>"),
            "metaspace": decoders.Metaspace("▁", prepend_scheme="first", split=True),
            "byte_level": decoders.ByteLevel(),
            "fuse": decoders.Fuse(),
        }[decoder]
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
    columns: list[str] | None,  # noqa: ARG001 - they make the corpus
    vocab_size: PositiveInt | None,
    padding_side: Literal["left", "right"] | None,
    special_tokens: dict[str, str],
    extra_tokens: list[str],
) -> PreTrainedTokenizerFast:
    """A tokenizer with every step and special token of the one saved under `name`, and a new vocabulary."""
    old = load_pretrained(
        name=name, revision=revision, padding_side=padding_side, special_tokens=special_tokens
    )
    size = len(old)
    former: Any = old.extra_special_tokens or []
    extra: Any = [*map(str, former), *extra_tokens]
    old.add_special_tokens({"extra_special_tokens": extra})
    state = json.loads(old.backend_tokenizer.to_str())
    special = [token for token in state["added_tokens"] if token["special"]]
    unk = state["model"].get("unk_token")
    if state["model"]["type"] == "Unigram" and state["model"]["unk_id"] is not None:
        unk = state["model"]["vocab"][state["model"]["unk_id"]][0]
    # with byte_fallback a model writes an unknown character byte by byte
    fallback = [f"<0x{byte:02X}>" for byte in range(256)] if state["model"].get("byte_fallback") else []
    first = [*(token["content"] for token in special), *([unk] if unk else []), *fallback]
    tokens = list(dict.fromkeys(first))
    algorithm = _algorithm_like(state["model"], vocab_size or size)
    learned = _learned(algorithm, old.backend_tokenizer, corpus, tokens=tokens, unk=unk or tokens[0])
    new = json.loads(Tokenizer(learned).to_str())["model"]
    ids = {token: index for index, token in enumerate(tokens)}
    state["model"] |= {name: new[name] for name in ("vocab", "merges", "unk_id") if name in new}
    state["added_tokens"] = [{**token, "id": ids[token["content"]]} for token in special]
    state["post_processor"] = _renumbered(state["post_processor"], ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        extra_special_tokens=extra,
        padding_side=old.padding_side,
        truncation_side=old.truncation_side,
        model_max_length=old.model_max_length,
        model_input_names=old.model_input_names,
        clean_up_tokenization_spaces=old.clean_up_tokenization_spaces,
        **{role: token for role, token in old.special_tokens_map.items() if isinstance(token, str)},
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


def stand_in(options: Mapping[str, Any] | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer of special tokens alone, for a task to be made with while there is no real one.

    With the options of `train` it has those of its family, in its frame, else all that a task may ask for.
    """
    options = options or {}
    family: FamilyName | None = options.get("family")
    special = FAMILIES[family or "bert"]
    roles = special.roles if family else {**FAMILIES["roberta"].roles, **special.roles}
    extra: list[str] = options.get("extra_tokens") or [f"<extra_id_{n}>" for n in range(100) if not family]
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


def _algorithm_like(model: Mapping[str, Any], size: int) -> Bpe | WordPiece | Unigram | Words:
    kind, prefix = model["type"], model.get("continuing_subword_prefix") or ""
    merged: Any = {"vocab_size": size, "min_frequency": 2, "alphabet_size": None}
    if kind == "WordLevel":
        return Words(vocab_size=size, min_frequency=2)
    if kind == "Unigram":
        return Unigram(vocab_size=size, alphabet_size=None, shrinking_factor=0.75)
    if kind == "WordPiece":
        return WordPiece(**merged, continuing_prefix=prefix)
    if kind == "BPE" and not prefix:
        return Bpe(**merged, end_of_word_suffix=model.get("end_of_word_suffix"))
    raise ConfigError(f"tokenizer.name: a model of the kind {kind} cannot be trained anew")


def _renumbered(post_processor: Any, ids: Mapping[str, int]) -> Any:
    def renumber(step: dict[str, Any]) -> dict[str, Any]:
        if isinstance(step.get("ids"), list):  # of a template
            step["ids"] = [ids[token] for token in step["tokens"]]
        for role in ("cls", "sep"):
            if isinstance(step.get(role), list):  # of BERT's and RoBERTa's frames
                step[role] = [step[role][0], ids[step[role][0]]]
        return step

    return json.loads(json.dumps(post_processor), object_hook=renumber)


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

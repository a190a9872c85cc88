"""Normalizers, pre-tokenizers and decoders by name: the steps around a tokenizer's model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from tokenizers import Regex, decoders, normalizers, pre_tokenizers

NormalizerName = Literal[
    "nfc", "nfd", "nfkc", "nfkd", "lowercase", "strip_accents", "clean_text", "collapse_whitespace", "strip"
]
PreTokenizerName = Literal[
    "whitespace",
    "words",
    "bert",
    "punctuation",
    "digits",
    "single_digits",
    "chinese",
    "scripts",
    "characters",
    "metaspace",
    "byte_level",
]
PreTokenizerStep = PreTokenizerName | dict[str, str]  # {char_delimiter: "_"}: cut at it, and drop it
DecoderName = Literal["wordpiece", "bpe", "metaspace", "byte_level", "fuse"]

ANY_CHARACTER = r"[\s\S]"  # a dot is none at the end of a line

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
    "digits": pre_tokenizers.Digits(individual_digits=False),
    "single_digits": pre_tokenizers.Digits(individual_digits=True),
    "chinese": pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
    "scripts": pre_tokenizers.UnicodeScripts(),
    "characters": pre_tokenizers.Split(Regex(ANY_CHARACTER), "isolated"),
    "metaspace": pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=True),
    "byte_level": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
}


def make_normalizer(names: Sequence[str], replace: Mapping[str, str]) -> Any:
    """Normalizer of replacements, then the steps in their order; None without any."""
    steps = [normalizers.Replace(old, new) for old, new in replace.items()]
    steps += [NORMALIZERS[name] for name in names]
    return normalizers.Sequence(steps) if steps else None


def make_pre_tokenizer(names: Sequence[str | Mapping[str, str]]) -> Any:
    """The steps in their order; None where the text stays whole."""
    steps: list[Any] = [
        PRE_TOKENIZERS[name]
        if isinstance(name, str)
        else pre_tokenizers.CharDelimiterSplit(name["char_delimiter"])
        for name in names
    ]
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)


def make_decoder(name: str | None, *, prefix: str | None, suffix: str | None) -> Any:
    """The decoder, which turns tokens into text; None joins them with spaces."""
    choices: dict[str, Callable[[], Any]] = {
        "wordpiece": lambda: decoders.WordPiece(prefix or "##", cleanup=False),
        "bpe": lambda: decoders.BPEDecoder(suffix or "</w>"),
        "metaspace": lambda: decoders.Metaspace("▁", prepend_scheme="first", split=True),
        "byte_level": decoders.ByteLevel,
        "fuse": decoders.Fuse,
    }
    return choices[name]() if name else None

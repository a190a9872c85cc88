"""A tokenizer as it was saved: on a hub, in a folder, or in an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from runwright.config.sources import resolve_source
from runwright.errors import ConfigError
from runwright.tokenizer.fingerprint import tokenizer_fingerprint


def open_saved(name: str, *, revision: str | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer under `name`, whether or not it can pad; `revision` is a branch, tag or commit of a hub.

    One that transformers 5 saved is read as it was, also where a model lies beside it for which AutoTokenizer
    would take another class (see `other_class`). Raises ConfigError where none can be loaded.
    """
    source = resolve_source(name)
    options: dict[str, Any] = {"revision": revision or "main"}
    try:
        if "backend" in get_tokenizer_config(source, **options):  # as transformers 5 writes
            options["config"] = PreTrainedConfig()  # of no model
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, use_fast=True, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(f"tokenizer.name: {name!r} cannot be loaded: {_reason(source, error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ConfigError(f"tokenizer.name: {name!r} is a {type(tokenizer).__name__}, not a fast tokenizer")
    if tokenizer.get_vocab().keys() <= {*tokenizer.all_special_tokens, "▁"}:
        # transformers 5 makes one without words where it finds a model's config.json and no tokenizer.
        raise ConfigError(f"tokenizer.name: {name!r} holds no tokenizer: only special tokens came of it")
    return tokenizer


def other_class(folder: Path) -> str | None:
    """The class that AutoTokenizer reads from a folder, where that cuts otherwise than what was saved there.

    For some architectures, as qwen2, transformers takes the tokenizer of the architecture whatever was saved.
    """
    try:
        read = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if type(read).__name__ == get_tokenizer_config(folder).get("tokenizer_class"):
            return None
        same = tokenizer_fingerprint(read) == tokenizer_fingerprint(open_saved(str(folder.resolve())))
    except (ConfigError, OSError, ValueError):
        return None  # a tokenizer of the user's, which is for others to read
    return None if same else type(read).__name__


def _reason(source: str, error: Exception) -> str:
    if Path(source).is_dir() and not (Path(source) / "tokenizer.json").is_file():
        found = sorted(path.name for path in Path(source).iterdir())[:8]
        return f"the folder has no tokenizer.json, only {', '.join(found) or 'nothing'}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

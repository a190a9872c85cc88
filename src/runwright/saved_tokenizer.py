"""A tokenizer as it was saved: on a hub, in a folder, or in an installed package."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from runwright.errors import ConfigError
from runwright.sources import resolve_source


def open_saved(name: str, *, revision: str | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer under `name`, whether or not it can pad; `revision` is a branch, tag or commit of a hub.

    Raises ConfigError where none can be loaded.
    """
    source = resolve_source(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision or "main", trust_remote_code=False, use_fast=True
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"tokenizer.name: {name!r} cannot be loaded: {_reason(source, error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ConfigError(f"tokenizer.name: {name!r} is a {type(tokenizer).__name__}, not a fast tokenizer")
    if tokenizer.get_vocab().keys() <= {*tokenizer.all_special_tokens, "▁"}:
        # transformers 5 makes one without words where it finds a model's config.json and no tokenizer.
        raise ConfigError(f"tokenizer.name: {name!r} holds no tokenizer: only special tokens came of it")
    return tokenizer


def _reason(source: str, error: Exception) -> str:
    if Path(source).is_dir() and not (Path(source) / "tokenizer.json").is_file():
        found = sorted(path.name for path in Path(source).iterdir())[:8]
        return f"the folder has no tokenizer.json, only {', '.join(found) or 'nothing'}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

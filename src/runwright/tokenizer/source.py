"""Tokenizers that are trained on texts once for a run, then saved and found again.

A trained one is found in the run's own folder first, then in the cache under everything that it depends on;
of several processes that want it one trains, the others wait for its lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from runwright import store
from runwright.config.options import TARGET
from runwright.config.signature import Signature
from runwright.config.sources import resolve_source
from runwright.config.targets import check_target, code_of, instantiate, locate
from runwright.store import file_sha256, folder_whole, why_missed
from runwright.tokenizer.pretrained import load_pretrained
from runwright.tokenizer.texts import RunTexts

log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 2**30
SAME_TEXTS = ("texts.rows", "texts.files")  # parts of a key: those that differ in these are not compared
TOKENIZER_FOLDER = "tokenizer"  # of a run
TOKENIZER_FILE = "tokenizer.json"


def is_trained(node: Mapping[str, Any]) -> bool:
    """Return True if the tokenizer of this config node is trained: its target takes texts."""
    signature = check_target(node.get(TARGET), key="tokenizer", group="tokenizer")
    return isinstance(signature, Signature) and signature.num_required_objects > 0


def trained_tokenizer(node: Mapping[str, Any], texts: RunTexts, *, run_folder: Path | None) -> Any:
    """The tokenizer that training makes of these texts, from the run's folder or the cache if it is there."""
    if run_folder is not None and (run_folder / TOKENIZER_FILE).is_file():
        log.info("tokenizer: as trained when the run began")
        return _read(run_folder)
    corpus = texts.choose(files=node.get("files"), columns=node.get("columns"))
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
    with store.locked(entry):
        if store.read_whole(entry) is None:
            reason = why_missed(entry, key, same=SAME_TEXTS)
            log.info("tokenizer: trained now on %s%s", corpus.name, f": {reason}" if reason else "")
            store.write_entry(entry, lambda folder: _train(node, texts, folder) | {"key": key})
            store.evict(entry.parent, max_bytes=MAX_CACHE_BYTES, keep=entry)
        else:
            log.info("tokenizer: taken from the cache, trained on %s", corpus.name)
        store.touch(entry)
        tokenizer = _read(entry)
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


def _train(node: Mapping[str, Any], texts: RunTexts, folder: Path) -> dict[str, Any]:
    began = time.monotonic()
    tokenizer = instantiate(node, texts, group="tokenizer", key="tokenizer")
    tokenizer.save_pretrained(folder)
    seconds = time.monotonic() - began
    log.info("tokenizer: trained in %.1f s", seconds)
    return {"num_tokens": len(tokenizer), "seconds": round(seconds, 2)}


def _read(folder: Path) -> Any:
    return load_pretrained(name=str(folder.resolve()), revision=None, padding_side=None, pad_token=None)

"""Where a run's tokenizer comes from: loaded by name, or trained on texts once, then kept and found again.

A trained one is found in the run's own folder first, then in the cache under everything that it depends on;
of several processes that want it one trains, the others wait for its lock.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
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
from runwright.errors import CheckpointError, ConfigError
from runwright.store import why_missed
from runwright.tokenizer.pretrained import load_pretrained
from runwright.tokenizer.texts import RunTexts

log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 2**30
SAME_TEXTS = ("texts.rows", "texts.files")  # parts of a key: those that differ in these are not compared
TOKENIZER_FOLDER = "tokenizer"  # of a run
TOKENIZER_FILE = "tokenizer.json"


def is_trained(node: Mapping[str, Any]) -> bool:
    """Whether a tokenizer's node is one that is trained: its target is a function of texts."""
    signature = check_target(node.get(TARGET), key="tokenizer", group="tokenizer")
    return isinstance(signature, Signature) and signature.num_required_objects > 0


def load_tokenizer(node: Mapping[str, Any]) -> Any:
    """A tokenizer that is there already."""
    return instantiate(node, group="tokenizer", key="tokenizer")


def trained_tokenizer(node: Mapping[str, Any], texts: RunTexts, *, run_folder: Path | None) -> Any:
    """The tokenizer that training makes of these texts; it is trained only where nothing holds it yet."""
    if run_folder is not None and (run_folder / TOKENIZER_FILE).is_file():
        log.info("tokenizer: as trained when the run began")
        return _read(run_folder)
    corpus = texts.choose(files=node.get("files"), columns=node.get("columns"))
    key = {
        "tokenizer": dict(node),
        "texts": corpus.state,
        "named": _content_of(node.get("name")),
        "tokenizers": tokenizers.__version__,
        "code": code_of(locate(node[TARGET], group="tokenizer"), group="tokenizer"),
    }
    entry = store.cache_root() / "tokenizers" / store.digest(key)
    with store.locked(entry):
        if store.read_manifest(entry) is None:
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
    """Write a tokenizer that was trained into the run's folder, from which the run goes on."""
    folder = run_folder / TOKENIZER_FOLDER
    if is_trained(node) and not (folder / TOKENIZER_FILE).is_file():
        save_tokenizer(tokenizer, folder)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """The tokenizer as a folder that AutoTokenizer loads; appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        tokenizer.save_pretrained(unfinished)
        if folder.is_dir():
            shutil.rmtree(folder)
        unfinished.chmod(0o755)  # as any other folder of a run
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _train(node: Mapping[str, Any], texts: RunTexts, folder: Path) -> dict[str, Any]:
    began = time.monotonic()
    tokenizer = instantiate(node, texts, group="tokenizer", key="tokenizer")
    tokenizer.save_pretrained(folder)
    seconds = time.monotonic() - began
    log.info("tokenizer: trained in %.1f s", seconds)
    return {"num_tokens": len(tokenizer), "seconds": round(seconds, 2)}


def _read(folder: Path) -> Any:
    try:
        return load_pretrained(name=str(folder.resolve()), revision=None, padding_side=None, pad_token=None)
    except ConfigError as error:
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be read; is the disk failing? {error}"
        ) from error


def _content_of(name: Any) -> str | None:
    """What tells one state of a local tokenizer from another; a hub name stands for itself."""
    file = Path(resolve_source(name)) / TOKENIZER_FILE if isinstance(name, str) else None
    if file is None or not file.is_file():
        return None
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()

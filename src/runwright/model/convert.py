"""Weights that were saved with pickle: refused, and converted to safetensors by a command of its own."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from runwright import store
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError
from runwright.tokenizer.pretrained import MAX_CACHE_BYTES, why_not_loaded

_INDEX = "pytorch_model.bin.index.json"
_FILES = ("*.json", "*.txt", "*.model", "pytorch_model*.bin")  # of a repository, with its tokenizer


def with_safetensors(source: str, *, name: str) -> str:
    """The folder or hub name itself; where its weights are pickled, the folder that `convert` made of them.

    Raises ConfigError where they have not been converted.
    """
    files = _pickled(source)
    entry = _entry(files) if files else None
    if entry is not None and store.read_manifest(entry) is None:
        raise ConfigError(
            f"model.name: {name!r} has its weights in {files[0].name} alone, a pickle, which may run code; "
            f"convert them once: runwright convert {name}"
        )
    return source if entry is None else str(entry)


def convert(name: str) -> Path:
    """Save the pickled weights of a folder, package or hub name as safetensors in the cache; the folder.

    torch's restricted loader makes tensors alone: raises ConfigError for a file with anything else.
    """
    source = resolve_source(name)
    if not Path(source).is_dir():
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(source, allow_patterns=[*_FILES])
        except (OSError, ValueError) as error:
            reason = why_not_loaded(error)
            raise ConfigError(f"runwright convert: cannot load {name!r}: {reason}") from error
    files = _pickled(source)
    if not files:
        raise ConfigError(f"runwright convert: {name!r} has no pytorch_model.bin, or safetensors beside it")
    entry = _entry(files)
    with store.cached(entry, lambda folder: _write(files, folder), max_bytes=MAX_CACHE_BYTES):
        return entry


def _pickled(source: str) -> list[Path]:
    """The files with the weights of a folder, or of a hub name in the cache, where none are safetensors."""
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        paths = [try_to_load_from_cache(source, file) for file in ("pytorch_model.bin", _INDEX)]
        folder = next((Path(path).parent for path in paths if isinstance(path, str)), folder)
    pickled = sorted(filter(Path.is_file, folder.glob("pytorch_model*.bin")))
    return [] if any(folder.glob("*.safetensors")) else pickled


def _entry(files: list[Path]) -> Path:
    key = {file.name: store.file_sha256(file) for file in files}
    return store.cache_root() / "models" / store.digest({"pickled": key})


def _write(files: list[Path], folder: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import save_file

    weights: dict[str, Any] = {}
    try:
        for file in files:
            mmap = zipfile.is_zipfile(file)
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
            # Copies: two names of one tensor, which safetensors refuses, are tied again when it is loaded.
            weights |= {name: tensor.contiguous().clone() for name, tensor in state.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    except Exception as error:  # a file may hold anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{files[0]}: expected tensors by name alone ({reason:.200})") from error
    for file in map(files[0].with_name, ("config.json", "generation_config.json")):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    return {"converted_from": [str(file) for file in files]}

"""Models in one GGUF file, as llama.cpp has them, written once in the format that everything else reads."""

from __future__ import annotations

import logging
import struct
import time
from functools import cache
from pathlib import Path
from typing import Any

import transformers

from runwright import store
from runwright.config.sources import GGUF
from runwright.errors import ConfigError

log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 50 * 2**30


@cache
def in_safetensors(source: str) -> str:
    """The folder or hub name itself; for one GGUF file, or a folder that holds nothing else, its conversion.

    That is a folder of the cache with weights in float32 and the tokenizer, found again by the file's hash.
    Raises ConfigError for a file that cannot be read.
    """
    file = Path(source)
    if file.is_dir() and not (file / "config.json").is_file():
        files = sorted(file.glob(f"*{GGUF}"))
        if len(files) > 1:
            names = ", ".join(path.name for path in files)
            raise ConfigError(f"model.name: {source} holds {names}; add the name of one, as /{files[0].name}")
        file = files[0] if files else file
    if file.suffix != GGUF or not file.is_file():
        return source
    key = {"gguf": store.file_sha256(file), "transformers": transformers.__version__}
    entry = store.cache_root() / "models" / store.digest(key)
    with store.locked(entry):
        if store.read_whole(entry) is None:
            store.write_entry(entry, lambda folder: _convert(file, folder) | {"key": key})
            store.evict(entry.parent, max_bytes=MAX_CACHE_BYTES, keep=entry)
        store.touch(entry)
    return str(entry)


def _convert(file: Path, folder: Path) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    began = time.monotonic()
    options: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
        read: Any = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options)
    except ImportError as error:
        raise ConfigError(f"model.name: {file.name} needs gguf: pip install gguf") from error
    except (OSError, ValueError, LookupError, RuntimeError, struct.error) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"model.name: cannot read {str(file)!r}: {reason}") from error
    # A model read from GGUF counts as quantized and refuses to be saved; one with the same weights does not.
    del read.config.quantization_config
    model: Any = type(read)(read.config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    log.info("%s: converted to safetensors in %.0f s", file.name, time.monotonic() - began)
    return {"file": file.name}

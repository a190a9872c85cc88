"""Saved tokenizers, from a hub, a folder, a package; GGUF files and pickled weights as safetensors."""

import hashlib
import json
import logging
import shlex
import shutil
import struct
import zipfile
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import tokenizers
import transformers
from huggingface_hub import constants, get_session
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from runwright import store
from runwright.config.sources import GGUF, resolve_source
from runwright.errors import ConfigError, did_you_mean, first_line

log = logging.getLogger(__name__)

MAX_CACHE_BYTES = 50 * 2**30  # of converted weights
WITH_PICKLE = ["*.json", "*.txt", "*.model", "pytorch_model*.bin"]  # of a repository, with its tokenizer
_INDEX = "pytorch_model.bin.index.json"


def load_pretrained(
    *,
    name: str,
    revision: str | None,
    padding_side: Literal["left", "right"] | None,
    special_tokens: dict[str, str],
) -> PreTrainedTokenizerFast:
    """The tokenizer saved under `name`, ready to pad; no code that came with it is run.

    `special_tokens` are tokens of its own by role, such as `mask`. One that was saved without a token to pad
    with pads with its end token. Raises ConfigError where it cannot be loaded, or has neither.
    """
    tokenizer = open_saved(name, revision=revision)
    vocabulary = tokenizer.get_vocab() if special_tokens else {}
    for role, token in special_tokens.items():
        if token not in vocabulary:  # it would get an id beyond the model's embedding
            hint = did_you_mean(token, vocabulary)
            problem = f"{token!r} is not in the tokenizer's vocabulary; {hint}".rstrip("; ")
            raise ConfigError(f"tokenizer.special_tokens.{role}: {problem}")
    if special_tokens:
        added = {str(token): token for token in tokenizer.added_tokens_decoder.values()}  # with their spaces
        special: Any = {f"{role}_token": added.get(token, token) for role, token in special_tokens.items()}
        tokenizer.add_special_tokens(special)
        is_bare = not get_tokenizer_config(resolve_source(name), revision=revision or "main")
        pair = tokenizer.backend_tokenizer.encode("a", "b")
        if is_bare and any(map(min, pair.type_ids, pair.special_tokens_mask)):
            # Without settings beside tokenizer.json nothing but the frame says that a model of it has
            # types, as BERT's: [CLS] $A [SEP] $B:1 [SEP]:1.
            names = ["input_ids", "token_type_ids", "attention_mask"]
            tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
    if padding_side is not None:
        tokenizer.padding_side = padding_side
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            problem = f"{name!r} was saved without a token to pad with and without an end token"
            example = tokenizer.unk_token or "[PAD]"
            hint = f"tokenizer.special_tokens='{{pad: \"{example}\"}}'"
            raise ConfigError(f"tokenizer.special_tokens: {problem}; name one of its own, as {hint}")
        tokenizer.pad_token = tokenizer.eos_token  # masks tell the padding from the end of a text
    return tokenizer


def open_saved(name: str, *, revision: str | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer under `name`, even one that cannot pad; `revision` is a branch, tag or commit of a hub.

    One that transformers 5 saved is read as it was, also where a model lies beside it for which AutoTokenizer
    would take another class (see `other_class`). Raises ConfigError where none can be loaded.
    """
    source = in_safetensors(resolve_source(name))
    options: dict[str, Any] = {"revision": revision or "main"}
    try:
        if "backend" in get_tokenizer_config(source, **options):  # as transformers 5 writes
            options["config"] = PreTrainedConfig()  # of no model
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, use_fast=True, **options)
    except Exception as error:  # whatever a damaged file leads to
        raise ConfigError(f"tokenizer.name: {name!r} cannot be loaded: {why_not_loaded(error)}") from error
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


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast, *, with_version: bool = True) -> str:
    """A hash of everything that changes what a tokenizer encodes: 32 hex digits, the same in every process.

    `with_version`: another version of the library counts as another tokenizer.
    """
    settings = {
        "class": type(tokenizer).__name__,
        "tokenizers": tokenizers.__version__ if with_version else "any",
        "special_tokens": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "model_max_length": str(tokenizer.model_max_length),
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "model_input_names": list(tokenizer.model_input_names),
    }
    state = _sorted_state(tokenizer.backend_tokenizer.to_str())
    text = f"[{state}, {json.dumps(settings, sort_keys=True, ensure_ascii=False)}]"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@lru_cache(maxsize=1)  # a run asks three times or more, and a vocabulary takes a tenth of a second
def _sorted_state(text: str) -> str:
    state = json.loads(text)
    # A call with padding or truncation leaves its arguments behind in these two; the next call replaces them.
    state.pop("truncation", None)
    state.pop("padding", None)
    return json.dumps(state, sort_keys=True, ensure_ascii=False)


def why_not_loaded(error: Exception) -> str:
    """The reason in one line; of a name that a hub refuses transformers says what to do there."""
    reason = f"{' '.join(str(error).split()) or type(error).__name__:.300}"
    if "instantiate the backend tokenizer" in reason:
        return "no tokenizer.json is there, nor another file of a tokenizer that can be read"
    return f"{reason.partition(' 40')[0]} Then log in: hf auth login" if "gated repo" in reason else reason


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
        if not file.exists():
            _check_hub(source)
        return source
    key = {"gguf": store.file_sha256(file), "transformers": transformers.__version__}
    entry = store.cache_root() / "models" / store.digest(key)
    with store.cached(entry, lambda new: _convert_gguf(file, new) | {"key": key}, max_bytes=MAX_CACHE_BYTES):
        return str(entry)


def _check_hub(name: str) -> None:
    """Refuse a hub name that has no copy here where no hub answers: transformers would try for a minute."""
    copy = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}")
    if constants.is_offline_mode() or copy.is_dir():
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # of the HTTP client below the hub's library
        problem = f"{name!r} is no folder here, and the hub ({constants.ENDPOINT}) cannot be reached: {error}"
        raise ConfigError(f"model.name or tokenizer.name: {problem}") from error


def _convert_gguf(file: Path, folder: Path) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
        read: Any = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options)
    except ImportError as error:
        raise ConfigError(f"model.name: {file.name} needs gguf: pip install gguf") from error
    except (OSError, ValueError, LookupError, RuntimeError, struct.error) as error:
        raise ConfigError(f"model.name: cannot read {str(file)!r}: {why_not_loaded(error)}") from error
    # A model read from GGUF counts as quantized and refuses to be saved; one with the same weights does not.
    del read.config.quantization_config
    model: Any = type(read)(read.config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    log.info("%s: converted to safetensors", file.name)
    return {"file": file.name}


# --- weights that were saved with pickle: refused, and converted by a command of its own --------------------


def with_safetensors(source: str, *, name: str) -> str:
    """The folder or hub name itself; where its weights are pickled, the folder that `convert` made of them.

    Raises ConfigError where they have not been converted.
    """
    if not (files := _pickled(source)):
        return source
    if not store.read_json((entry := _entry(files)) / store.MANIFEST):
        raise ConfigError(
            f"model.name: {name!r} has its weights in {files[0].name} alone, a pickle, which may run code; "
            f"convert them once: runwright convert {shlex.quote(name)}"
        )
    return str(entry)


def convert(name: str) -> Path:
    """Save the pickled weights of a folder, package or hub name as safetensors in the cache; the folder.

    torch's restricted loader makes tensors alone: raises ConfigError for a file with anything else.
    """
    source = resolve_source(name)
    if not Path(source).is_dir():
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(source, allow_patterns=WITH_PICKLE)
        except (OSError, ValueError) as error:
            raise ConfigError(f"runwright convert: cannot load {name!r}: {why_not_loaded(error)}") from error
    if not (files := _pickled(source)):
        raise ConfigError(f"runwright convert: {name!r} has no pytorch_model.bin, or safetensors beside it")
    entry = _entry(files)
    with store.cached(entry, lambda folder: _convert_pickles(files, folder), max_bytes=MAX_CACHE_BYTES):
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


def _convert_pickles(files: list[Path], folder: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import save_file

    weights: dict[str, Any] = {}
    try:
        for file in files:
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
            # Copies: two names of one tensor, which safetensors refuses, are tied again when it is loaded.
            weights |= {name: tensor.contiguous().clone() for name, tensor in state.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    except Exception as error:  # a file may hold anything
        problem = f"expected tensors by name alone ({first_line(error):.200})"
        raise ConfigError(f"{files[0]}: {problem}") from error
    for file in map(files[0].with_name, ("config.json", "generation_config.json")):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    return {"converted_from": [str(file) for file in files]}

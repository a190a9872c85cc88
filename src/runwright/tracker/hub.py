"""Publish a folder: as one commit to a repository of the hub, or to a local folder by one rename.

What is sent is decided by the names of files; a file in which a secret is written is refused.
"""

import codecs
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runwright.config.redaction import MASK, Redactor, redact
from runwright.errors import ConfigError, TrackingError
from runwright.store import folder_whole, output_path
from runwright.version import __version__

# Whole names where they are known: `*token*.json` would match rows of texts as well.
WEIGHTS = ("*.safetensors", "*.onnx", "*.pt2", "*.gguf")
MODEL_FILES = (
    *(*WEIGHTS, "*.safetensors.index.json", "*.onnx.data", "*.onnx_data", "config.json", "*_config.json"),
    *("modules.json", "config_sentence_transformers.json", "tokenizer.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "target_vocab.json", "vocab.txt", "merges.txt", "*.jinja", "*.spm"),
    *("*.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "README.md", "LICENSE*"),
    *("task.json", "config.yaml", "export.json", "example.py"),
)
DATASET_FILES = ("data/*.parquet", "README.md")
MODEL_MARKS = (*WEIGHTS, "config.json", "modules.json")  # at the top of a model's folder
PRIVATE_KEY = "PRIVATE KEY-----"
# In JSON a secret is a text: `"password": 2817` is a word of a vocabulary.
_NO_TEXT = re.compile(r"(?<=\"):\s*(?=[^\"\s])")


class Upload(NamedTuple):
    """The files of a folder that are published; those left out are data, or of no known kind."""

    folder: Path
    sizes: dict[str, int]  # bytes by path in the folder
    left_out: list[str]
    repo_type: str


def choose_files(folder: Path, *, also: Sequence[str] = (), is_dataset: bool = False) -> Upload:
    """The files to publish: those of a model (or data set), and what patterns in `also` name.

    Links and hidden files are left out, and evaluations of an export unless `also` names their files. Raises
    ConfigError without a model, and for a secret in a file.
    """
    root, files = folder.resolve(), DATASET_FILES if is_dataset else MODEL_FILES
    paths = sorted(root.rglob("*"))
    has_runs = any(path.name == "run.json" and path.parent != root for path in paths)
    if not is_dataset and (has_runs or not any(any(root.glob(mark)) for mark in MODEL_MARKS)):
        expected = "expected weights or a config.json in it and no runs below; `runwright runs` lists runs"
        raise ConfigError(f"{folder} is no run, export or model folder; {expected}")
    sizes, left_out = dict[str, int](), list[str]()
    for path in paths:
        name = path.relative_to(root)
        is_open = path.resolve() == path and not any(part.startswith(".") for part in name.parts)
        patterns = also if name.parts[0] == "evaluations" else (*files, *also)
        if is_open and path.is_file() and any(map(name.match, patterns)):
            sizes[name.as_posix()] = path.stat().st_size
        elif path.is_symlink() or not path.is_dir():
            left_out.append(name.as_posix())
    for pattern in also:
        if not any(Path(name).match(pattern) for name in sizes):
            raise ConfigError(
                f"--include: {root} has no file like {pattern!r} that is neither hidden nor a link"
            )
    if not is_dataset and not any(Path(name).match(weights) for name in sizes for weights in WEIGHTS):
        expected = "a run, an export or a model that is not made of links"
        raise ConfigError(f"{folder}: given a folder without weights, expected {expected}")
    redactor = Redactor()
    for name in sizes:
        _require_no_secret(root / name, name, redactor)
    return Upload(root, sizes, left_out, "dataset" if is_dataset else "model")


def _require_no_secret(file: Path, name: str, redactor: Redactor) -> None:
    with file.open("rb") as stream:
        head = stream.read(4096)
    is_utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in head and not is_utf16:
        return  # weights and tables
    text = file.read_text(encoding="utf-16" if is_utf16 else "utf-8", errors="replace")
    text = _NO_TEXT.sub(": null ", text) if file.suffix == ".json" else text
    masked = redactor.text(text).replace(PRIVATE_KEY, MASK)
    if masked != text:
        lines = enumerate(zip(text.splitlines(), masked.splitlines(), strict=False), start=1)
        number = next((number for number, (one, other) in lines if one != other), 1)
        raise ConfigError(f"{name}, line {number}: given what looks like a secret, expected none: remove it")


def copy(upload: Upload, target: Path) -> Path:
    """Copy the files to a new folder, which appears whole or not at all; ConfigError for a full one."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"--to: given {target}, which is there already, expected a new or empty folder")
    with folder_whole(output_path(target, is_folder=True, flag="--to").resolve()) as unfinished:
        for name in upload.sizes:
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(upload.folder / name, unfinished / name)
    return target


def push(upload: Upload, repo: str, *, private: bool, message: str | None = None) -> str:
    """Send the files as one commit, to a repository that is made where there is none; the commit's address.

    Files that the hub has already are not sent again. Raises TrackingError where it does not take them, where
    nobody is logged in, and where others see the repository than are meant to.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if not get_token():
        raise TrackingError("the hub needs to know who you are: hf auth login, or the variable HF_TOKEN")
    api, kind = HfApi(), upload.repo_type
    files = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=upload.folder / name) for name in upload.sizes
    ]
    message = message or f"Push {len(files)} files with Runwright {__version__}"
    try:
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        if bool(api.repo_info(repo, repo_type=kind).private) == private:
            return api.create_commit(repo, files, commit_message=message, repo_type=kind).commit_url
    except Exception as error:
        reason = " ".join(redact(f"{error or type(error).__name__} {error.__cause__ or ''}").split())
        raise TrackingError(f"the hub does not take {repo}: {reason[:300]}") from error
    now, flag = ("public", "if that is meant:") if private else ("private", "leave out")
    raise TrackingError(f"{repo} is {now} on the hub; {flag} --public (hub.private=false)")

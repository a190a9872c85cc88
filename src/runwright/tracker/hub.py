"""Publish a folder: as one commit to a repository of the hub, or to a local folder by one rename.

What is sent is decided by the names of files; a file in which a secret is written is refused.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from runwright.config.redaction import MASK, Redactor, redact
from runwright.config.rules.table import HUB_NAME
from runwright.errors import ConfigError, TrackingError
from runwright.store import folder_whole
from runwright.version import __version__

# Files of a model and of an export; rows and predictions, pickles, logs and checkpoints are not among them.
WEIGHTS = ("*.safetensors", "*.onnx", "*.pt2", "*.gguf")
MODEL_FILES = (
    *(*WEIGHTS, "*.index.json", "*.onnx.data", "*.onnx_data"),
    *("*config*.json", "*token*.json", "vocab.*", "merges.txt", "*.model", "*.spm", "*.jinja"),
    *("modules.json", "task.json", "config.yaml", "README.md", "LICENSE*", "example.py"),
)
DATASET_FILES = ("data/*.parquet", "README.md")
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

    Links are not followed. Raises ConfigError where there is no model, and for a secret in a file.
    """
    root, patterns = folder.resolve(), (*(DATASET_FILES if is_dataset else MODEL_FILES), *also)
    sizes, left_out = dict[str, int](), list[str]()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        is_hidden = any(part.startswith(".") for part in Path(name).parts)
        is_meant = any(fnmatch(name, pattern) for pattern in patterns) and not is_hidden
        if path.is_file() and path.resolve() == path and is_meant:
            sizes[name] = path.stat().st_size
        elif path.is_symlink() or not path.is_dir():
            left_out.append(name)
    if not is_dataset and not any(fnmatch(name, weights) for name in sizes for weights in WEIGHTS):
        raise ConfigError(f"{folder}: given a folder without weights, expected a run, an export or a model")
    redactor = Redactor()
    for name in sizes:
        _require_no_secret(root / name, name, redactor)
    return Upload(root, sizes, left_out, "dataset" if is_dataset else "model")


def _require_no_secret(file: Path, name: str, redactor: Redactor) -> None:
    with file.open("rb") as stream:
        if b"\0" in stream.read(4096):
            return  # weights and tables
    text = file.read_text(encoding="utf-8", errors="replace")
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
    with folder_whole(target) as unfinished:
        for name in upload.sizes:
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(upload.folder / name, unfinished / name)
    return target


def is_folder(target: str) -> bool:
    """Return True for a local folder, which begins with ./, ../, ~ or /, and False for a repository."""
    if target.startswith((".", "~", "/", "$")):
        return True
    if not re.fullmatch(HUB_NAME, target):
        raise ConfigError(f"--to: given {target!r}, expected OWNER/NAME on the hub, or a folder: ./{target}")
    return False


def has_repository(repo: str, *, private: bool, repo_type: str) -> bool:
    """Return True if there is such a repository on the hub, which those see who are meant to.

    Raises TrackingError where others see it, where nobody is logged in, and where the hub does not answer.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if not get_token():
        raise TrackingError("the hub needs to know who you are: hf auth login, or the variable HF_TOKEN")
    try:
        is_private = bool(HfApi().repo_info(repo, repo_type=repo_type).private)
    except RepositoryNotFoundError:
        return False
    except Exception as error:
        raise _refusal(repo, error) from error
    if is_private != private:
        now, flag = ("private", "leave out") if is_private else ("public", "if that is meant:")
        raise TrackingError(f"{repo} is {now} on the hub; {flag} --public (hub.private=false)")
    return True


def push(
    upload: Upload, repo: str, *, private: bool, message: str | None = None, revision: str | None = None
) -> str:
    """Send the files as one commit, to a repository that is made where there is none; the commit's address.

    Files that the hub has already are not sent again. Raises TrackingError where it does not take them.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api, kind = HfApi(), upload.repo_type
    is_there = has_repository(repo, private=private, repo_type=kind)
    files = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=upload.folder / name) for name in upload.sizes
    ]
    message = message or f"Push {len(files)} files with Runwright {__version__}"
    try:
        if not is_there:
            api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo, repo_type=kind, branch=revision, exist_ok=True)
        done = api.create_commit(repo, files, commit_message=message, repo_type=kind, revision=revision)
    except Exception as error:
        raise _refusal(repo, error) from error
    return done.commit_url


def _refusal(repo: str, error: Exception) -> TrackingError:
    """What the hub's library raised, in one line and without secrets."""
    texts = (str(one) or type(one).__name__ for one in (error, error.__cause__) if one is not None)
    reason = " ".join(redact(" ".join(texts)).split())
    return TrackingError(f"the hub does not take {repo}: {reason[:300]}")

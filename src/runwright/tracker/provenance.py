"""Where a run comes from: code, packages, machine and command, with secrets masked.

Nothing is imported or started for it but git: GPUs are named only where torch is loaded already.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from runwright.environment import installed_packages
from runwright.tracker.redaction import Redactor, redact
from runwright.tracker.source_files import hash_code

__all__ = ["collect", "redact", "tags"]

# What decides how many threads compute, and with them the last bits of a result.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TOKENIZERS_PARALLELISM",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "PYTHONHASHSEED",
)
MAX_DIFF_LENGTH = 2_000_000
MAX_UNTRACKED = 2000  # files; of source code there are fewer, and data belongs into its own fingerprint
MAX_UNTRACKED_BYTES = 20_000_000
_GIT_TIMEOUT_SECONDS = 10


def collect(
    folder: Path | None = None, *, code: Mapping[str, Path] | None = None, but: Path | None = None
) -> dict[str, Any]:
    """What is known of a run before it starts; plain values, safe to write down.

    `git` is None outside a repository; its `diff` is the text of changes to tracked files against the
    commit. `untracked` holds the sha256 of each file that git neither tracks nor ignores, except those in
    the folder `but`; `code` that of each source file in the given folders.
    """
    folder = folder or Path.cwd()
    found = {
        "command": shlex.join(map(redact, sys.argv)),  # before quotes tear secrets apart
        "folder": str(folder.resolve()),
        "git": _git(folder),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "hardware": _hardware(),
        "host": {"name": socket.gethostname(), "pid": os.getpid(), "system": platform.platform()},
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }
    # Names of packages and files are no settings: `google-auth` keeps its version.
    plain = {
        "packages": installed_packages(),
        "untracked": _untracked(folder, but),
        "code": hash_code(code or {}),
    }
    return Redactor().value(found) | plain


def tags(found: dict[str, Any]) -> dict[str, str]:
    """The few facts worth a column in a list of runs, under the names that MLflow's page shows."""
    facts = {
        "mlflow.source.name": found["command"],
        "runwright.host": found["host"]["name"],
        "runwright.cpu": found["hardware"]["cpu"],
        "runwright.gpus": ", ".join(found["hardware"]["gpus"]),
        "runwright.python": found["python"]["version"],
    }
    if found["git"] is not None:
        facts |= {
            "mlflow.source.git.commit": found["git"]["commit"],
            "runwright.git.dirty": str(found["git"]["dirty"]).lower(),
        }
    return {name: text for name, text in facts.items() if text}


def _git(folder: Path) -> dict[str, Any] | None:
    top = _ask_git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return None
    root = Path(top.rstrip("\n"))
    commit = (_ask_git(folder, "rev-parse", "--verify", "--quiet", "HEAD") or "").strip()
    diff = _ask_git(root, "diff", "--no-ext-diff", "--no-color", "HEAD") if commit else None
    diff = diff or ""
    return {
        "root": str(root),
        "commit": commit or None,
        "branch": (_ask_git(folder, "branch", "--show-current") or "").strip() or None,
        "dirty": bool(diff),
        "diff": diff if len(diff) <= MAX_DIFF_LENGTH else f"{diff[:MAX_DIFF_LENGTH]}\n[cut]",
        "diff_sha256": hashlib.sha256(diff.encode("utf-8", "surrogateescape")).hexdigest(),
    }


def _untracked(folder: Path, but: Path | None) -> dict[str, str]:
    top = _ask_git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return {}
    root = Path(top.rstrip("\n"))
    names = (_ask_git(root, "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
    kept = (name for name in sorted(filter(None, names)) if not (but and (root / name).is_relative_to(but)))
    return {name: _digest(root / name) for name in islice(kept, MAX_UNTRACKED)}


def _ask_git(folder: Path, *arguments: str) -> str | None:
    # Locks are optional: a run that only looks must not disturb a commit in progress.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            command, capture_output=True, timeout=_GIT_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _digest(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_UNTRACKED_BYTES:
            return f"not read: {size} bytes"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _hardware() -> dict[str, Any]:
    import psutil  # deferred: the command line's light path never needs it

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch = sys.modules.get("torch")
    gpus = []
    if torch is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu_model(),
        "num_cores": psutil.cpu_count(logical=False),
        "num_logical_cores": os.cpu_count(),
        "num_usable_cores": usable,
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus,
        "num_torch_threads": torch.get_num_threads() if torch is not None else None,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())

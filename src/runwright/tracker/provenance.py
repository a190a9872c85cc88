"""Origin of a run: code, packages, machine and command, with secrets masked.

Nothing is imported or started for it but git: GPUs are named only where torch is loaded already.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runwright.config.redaction import Redactor, redact
from runwright.tracker.repository import Repository, read_repository
from runwright.tracker.source_files import hash_code

# Variables that set the number of threads, and with it the last bits of a result.
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
MAX_NOT_COMPARED = 100  # files that are named


def collect(
    folder: Path | None = None, *, code: Mapping[str, Path] | None = None, but: Path | None = None
) -> dict[str, Any]:
    """Origin of a run that starts; plain values, safe to write down.

    `git` is None outside a repository; its `diff` is the text of changes to tracked files against the
    commit, its `not_compared` the files that could not be compared. `untracked` holds the sha256 of each file
    that git neither tracks nor ignores, except those in the folder `but`; `code` that of each source file in
    these folders.
    """
    folder = folder or Path.cwd()
    repository = read_repository(folder, but=but)
    masked = {
        "command": shlex.join(map(redact, sys.argv)),  # before quotes tear secrets apart
        "folder": str(folder.resolve()),
        "git": _git(repository),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "hardware": _hardware(),
        "host": {"name": socket.gethostname(), "pid": os.getpid(), "system": platform.platform()},
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }
    # Names of packages and files are no settings: `google-auth` keeps its version.
    plain = {
        "packages": installed_packages(),
        "untracked": repository.untracked if repository else {},
        "code": hash_code(code or {}),
    }
    return Redactor().value(masked) | plain


def tags(origin: dict[str, Any]) -> dict[str, str]:
    """The few facts worth a column in a list of runs, under the names that MLflow's page shows."""
    facts = {
        "mlflow.source.name": origin["command"],
        "runwright.host": origin["host"]["name"],
        "runwright.cpu": origin["hardware"]["cpu"],
        "runwright.gpus": ", ".join(origin["hardware"]["gpus"]),
        "runwright.python": origin["python"]["version"],
    }
    if origin["git"] is not None:
        facts |= {
            "mlflow.source.git.commit": origin["git"]["commit"],
            "runwright.git.dirty": str(origin["git"]["dirty"]).lower(),
        }
    return {name: text for name, text in facts.items() if text}


def _git(repository: Repository | None) -> dict[str, Any] | None:
    if repository is None:
        return None
    diff, names = repository.diff, repository.not_compared
    more = len(names) - MAX_NOT_COMPARED
    return {
        "root": str(repository.root),
        "commit": repository.commit,
        "branch": repository.branch,
        "dirty": bool(diff),
        "diff": diff if len(diff) <= MAX_DIFF_LENGTH else f"{diff[:MAX_DIFF_LENGTH]}\n[cut]",
        "diff_sha256": hashlib.sha256(diff.encode()).hexdigest(),
        "not_compared": [*names[:MAX_NOT_COMPARED], *([f"and {more} more"] if more > 0 else [])],
    }


def _hardware() -> dict[str, Any]:
    import psutil  # deferred: the command line's light path never needs it

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch = sys.modules.get("torch")
    num_gpus = torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0
    return {
        "cpu": _cpu_model(),
        "num_cores": psutil.cpu_count(logical=False),
        "num_logical_cores": os.cpu_count(),
        "num_usable_cores": usable,
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(index) for index in range(num_gpus)] if torch else [],
        "num_torch_threads": torch.get_num_threads() if torch is not None else None,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def installed_packages() -> dict[str, str]:
    """Version of each installed package; of several copies that of the first on the path: it is imported."""
    from importlib import metadata  # deferred: the command line's light path never needs it

    versions: dict[str, str] = {}
    for package in metadata.distributions():
        fields = package.metadata  # parsed anew each time, by .name and .version too
        if name := fields["Name"]:
            versions.setdefault(name, fields["Version"])
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))

"""Origin of a run: code, packages, machine, files of models and command, with secrets masked.

Nothing is imported or started for it but git: GPUs are named only where torch is loaded already.
"""

import contextlib
import hashlib
import importlib.util
import os
import platform
import shlex
import socket
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from runwright.config.redaction import Redactor
from runwright.config.sources import resolve_source
from runwright.errors import ConfigError
from runwright.store import file_sha256, read_json, write_json
from runwright.tracker.repository import Repository, read_repository

# Variables that set the number of threads, and with it the last bits of a result.
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "TOKENIZERS_PARALLELISM", "CUBLAS_WORKSPACE_CONFIG"),
    *("CUDA_VISIBLE_DEVICES", "PYTHONHASHSEED"),
)
MAX_DIFF_LENGTH = 2_000_000
MAX_NOT_COMPARED = 100  # files that are named
MAX_FILES = 2000  # of one package or model
HASHES_FILE = "file-hashes.json"


def collect(
    folder: Path | None = None, *, code: Mapping[str, Path] | None = None, but: Path | None = None
) -> dict[str, Any]:
    """Origin of a run that starts; plain values, safe to write down.

    `git` is None outside a repository; its `diff` has the changes against the commit, but for new files in
    the folder `but`, `not_compared` the files that it lacks. `code` has the sha256 of the folders' sources.
    """
    folder, redactor = folder or Path.cwd(), Redactor()
    masked = {
        "command": shlex.join(map(redactor.text, sys.argv)),  # before quotes tear secrets apart
        "folder": str(folder.resolve()),
        "git": _git(read_repository(folder, but=but)),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "hardware": _hardware(),
        "host": {"name": socket.gethostname(), "pid": os.getpid(), "system": platform.platform()},
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }
    # Names of packages and files are no settings: `google-auth` keeps its version.
    plain = {"packages": installed_packages(), "code": hash_code(code or {})}
    return redactor.value(masked) | plain


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
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def installed_packages() -> dict[str, str]:
    """Version of each installed package; of several copies that of the first on the path: it is imported."""
    versions: dict[str, str] = {}
    for folder in filter(Path.is_dir, map(Path, sys.path)):
        versions = {**_packages_in(str(folder), folder.stat().st_mtime_ns), **versions}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


@lru_cache(maxsize=32)  # 0.2 s for all; to install a package changes the folder's time
def _packages_in(folder: str, changed: int) -> dict[str, str]:  # noqa: ARG001 - for the cache
    from importlib import metadata  # deferred: the command line's light path never needs it

    versions: dict[str, str] = {}
    for package in metadata.distributions(path=[folder]):
        fields = package.metadata  # parsed anew each time, by .name and .version too
        if name := fields["Name"]:
            versions.setdefault(name, fields["Version"])
    return versions


def code_folders(packages: Iterable[str], *, conf: Path | None) -> dict[str, Path]:
    """Folders of a run's source code: Runwright's, the user's packages', and their configuration."""
    folders: dict[str, Path] = {}
    for package in ("runwright", *packages):
        spec = importlib.util.find_spec(package.split(".")[0])
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            folders[package] = file.parent if file.name == "__init__.py" else file
        elif spec is not None and spec.submodule_search_locations:  # a package without __init__.py
            folders[package] = Path(next(iter(spec.submodule_search_locations)))
    if conf is not None and conf.is_dir():
        folders["conf"] = conf
    return folders


def hash_code(folders: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """The sha256 of each source file, by package and by its path in there."""
    hashes = {}
    for name, folder in folders.items():
        files = (file for file in folder.rglob("*") if file.suffix in (".py", ".yaml", ".yml"))
        sources = sorted(file for file in files if "__pycache__" not in file.parts and file.is_file())
        if folder.is_file():  # a package of one module
            folder, sources = folder.parent, [folder]
        hashes[name] = {
            file.relative_to(folder).as_posix(): file_sha256(file) for file in sources[:MAX_FILES]
        }
    return hashes


def hash_model(name: str, *, revision: str | None, cache: Path) -> dict[str, Any]:
    """The folder that a model or tokenizer was read from, and the sha256 of each of its files.

    `cache` is a folder that remembers the hashes of files whose size and time have not changed.
    """
    try:
        folder = Path(resolve_source(name))
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            # Where a hub's client keeps the files that were loaded; no network.
            folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (ConfigError, OSError, ValueError, ImportError) as error:
        return {"name": name, "revision": revision, "files": {}, "reason": str(error).split("\n")[0]}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    remembered, digests = dict(before := read_json(cache / HASHES_FILE)), {}
    for file in files[:MAX_FILES]:
        status, key = file.stat(), str(file.resolve())
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        if remembered.get(key, [None])[:-1] != state:
            remembered[key] = [*state, file_sha256(file)]
        digests[str(file.relative_to(folder))] = remembered[key][-1]
    if remembered != before:
        with contextlib.suppress(OSError):  # where it cannot be written, files are hashed again
            cache.mkdir(parents=True, exist_ok=True)
            write_json(cache / HASHES_FILE, remembered)
    return {"name": name, "revision": revision, "folder": str(folder), "files": digests}

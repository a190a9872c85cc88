"""What every test has: no network, one thread, no settings of the person who runs it, a shared cache."""

from __future__ import annotations

import email
import importlib.util
import ipaddress
import multiprocessing
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NETWORK_ALLOWED = os.environ.get("RUNWRIGHT_TEST_NETWORK") == "1"
CACHE = pytest.StashKey[str]()
FORKED = Path(__file__).with_name("forked.py")
IMPORT_HYDRA = [sys.executable, "-c", "import hydra, hydra._internal.config_loader_impl"]
HYDRA_SECONDS = 0.12  # of CPU that this takes on the machine of docs/benchmarks.md
PRELOADED = [
    "pytest", "runwright.runs.execute", "runwright.tracker.mlflow.tracker", "mlflow.tracking",
    "transformers.models.bert.modeling_bert", "sqlalchemy", "alembic.command",
    # A run imports these later; together they are half of what a forked start of a small run costs.
    "runwright.cli.train", "runwright.launch.start", "transformers.optimization", "peft",
    "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "sqlalchemy.dialects.sqlite",
]  # fmt: skip

# Set here, before any test module is imported: the libraries read these once, when they are imported.
# Processes that a test starts inherit them.
os.environ.update(
    {
        "TOKENIZERS_PARALLELISM": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # One thread per worker: two workers share two cores, and thread counts change the last bits.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
)
# Processes that tests start need not compile our sources each time anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A run records the version of each package: their metadata are parsed once, not at every start of a run.
email.message_from_string = lru_cache(maxsize=1000)(email.message_from_string)
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(name, None)
if not NETWORK_ALLOWED:
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PIP_NO_INDEX": "1"})


def loaded(path: str) -> ModuleType:
    """A module of these folders, which are no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, REPOSITORY / "tests" / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


def _refuse_outside_connections(event: str, args: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not isinstance(args[1], tuple):
        return  # a tuple is an internet address; local sockets are named by a path
    host = args[1][0]
    if host in ("", "localhost") or ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        return
    raise PermissionError(f"a test without the mark `network` connects to {host}")


if not NETWORK_ALLOWED:
    # An audit hook, because it also sees connections that are made below the socket module's Python part.
    sys.addaudithook(_refuse_outside_connections)


def pytest_configure(config: pytest.Config) -> None:
    """One cache of prepared data for the whole session, made by the process that starts the workers."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:  # in a background job, by nohup; inherited
            signal.signal(number, handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.stash[CACHE] = tempfile.mkdtemp(prefix="runwright-tests-")
        os.environ["RUNWRIGHT_CACHE"] = config.stash[CACHE]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests begin the share of each worker: at the end none waits for a long one."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    fast = [item for item in items if not item.get_closest_marker("slow")]
    modules = [*dict.fromkeys(item.path for item in slow)]  # neighbours are of like length
    ordered: list[pytest.Item] = []
    for share in range(1, count + 1):
        ordered += [item for item in slow if modules.index(item.path) % count == share - 1]
        left = max(0, share * len(items) // count - len(ordered))
        ordered, fast = [*ordered, *fast[:left]], fast[left:]
    items[:] = [*ordered, *fast]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's cache."""
    folder = config.stash.get(CACHE, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot do, and say what is missing."""
    if item.get_closest_marker("network") and not NETWORK_ALLOWED:
        pytest.skip("needs a network: set RUNWRIGHT_TEST_NETWORK=1")
    if item.get_closest_marker("gpu"):
        import torch  # only here: most sessions select no such test

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; a test that asks for it skips where there is none."""
    given = os.environ.get("RUNWRIGHT_DATA")
    folder = Path(given).expanduser() if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data sets: {folder} is not a folder; RUNWRIGHT_DATA names another")
    return folder.resolve()


@pytest.fixture(scope="session")
def context() -> ForkServerContext:
    """Makes processes that begin at once, forked from one that imported everything and computed nothing.

    There is one such server in a process, whoever asks first: all tests name the same modules.
    """
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    return made


@pytest.fixture(scope="session")
def folders() -> ModuleType:
    """tests/course/folders.py, which writes small models of many architectures."""
    return loaded("course/folders.py")


@pytest.fixture(scope="session")
def make_hub() -> Iterator[Callable[[], Any]]:
    """Starts a hub on the loopback, see tests/tracker/hub_server.py."""
    made: list[Any] = []
    yield lambda: made.append(loaded("tracker/hub_server.py").Hub()) or made[-1]
    for hub in made:
        hub.server.shutdown()
        hub.server.server_close()


@pytest.fixture
def hub(make_hub: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hub that this process knows."""
    made = make_hub()
    made.stand_in(monkeypatch)
    return made


@pytest.fixture(scope="session")
def model_folder(folders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`model_folder("ner")`: that stand-in, written once a session and only to be read."""
    home = tmp_path_factory.mktemp("models")

    def written(name: str) -> Path:
        folder: Path = home / name
        return folder if folder.is_dir() else folders.write(name, folder)

    return written


@pytest.fixture
def run_forked(context: ForkServerContext, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `runwright …`, or `python -c code …`, in a folder, in a process of its own that begins at once."""

    def run(
        *arguments: str, folder: Path, code: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        files = [tmp_path / ".stdout", tmp_path / ".stderr"]
        given = {"arguments": list(arguments), "code": code, "folder": str(folder), "files": files}
        given["environment"] = {**os.environ, **variables}
        process = context.Process(target=runpy.run_path, args=(str(FORKED), {"ARGUMENTS": given}, "__main__"))  # type: ignore[arg-type]
        process.start()
        process.join()
        exit_code = process.exitcode
        assert exit_code is not None
        process.close()
        return subprocess.CompletedProcess(arguments, exit_code, *(file.read_text() for file in files))

    return run


@pytest.fixture(scope="session")
def run_timed() -> Callable[..., tuple[subprocess.CompletedProcess[str], float]]:
    """Runs a command; gives its result, and the CPU seconds that it would take on a machine of usual speed.

    CPU time, since others may be at work; related to the import of Hydra, since a machine may be slow.
    """

    def cpu_seconds(command: list[str], **options: Any) -> tuple[subprocess.CompletedProcess[str], float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return process, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def run(command: list[str], **options: Any) -> tuple[subprocess.CompletedProcess[str], float]:
        process, seconds = cpu_seconds(command, **options)
        _, of_hydra = cpu_seconds(IMPORT_HYDRA)
        return process, seconds / max(1.0, of_hydra / HYDRA_SECONDS)

    return run


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sqlite store with MLflow's tables and nothing in them, to be copied: making one takes seconds."""
    from runwright.tracker.mlflow.store import client_settings, locate, prepare

    folder = tmp_path_factory.mktemp("store")
    with client_settings():
        prepare(locate(None, artifacts=None, output_dir=folder), timeout_seconds=60)
    return folder / "mlflow.db"


@pytest.fixture(scope="session", autouse=True)
def _unchanged_sources_are_hashed_once() -> Iterator[None]:
    """Each run of a test records the sha256 of 400 source files; those of unchanged ones are taken again."""
    from runwright.tracker import provenance

    hash_file = provenance.file_sha256
    hashes: dict[tuple[Any, ...], str] = {}

    def once(file: Path) -> str:
        now = file.stat()
        key = (file, now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino)
        if key not in hashes:
            hashes[key] = hash_file(file)
        return hashes[key]

    provenance.file_sha256 = once
    yield
    provenance.file_sha256 = hash_file


@pytest.fixture(autouse=True)
def _environment_is_put_back() -> Iterator[None]:
    """A test that changes the environment or the working folder must not change the next one."""
    before, folder = dict(os.environ), Path.cwd()
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    os.chdir(folder)


@pytest.fixture
def complete() -> Callable[[str], list[str]]:
    """Give what the shell offers for a command line up to the cursor."""
    from argcomplete.lexers import split_line

    from runwright.cli.completion import make_finder
    from runwright.cli.main import COMMANDS, parser_of

    def candidates(line: str) -> list[str]:
        finder = make_finder(COMMANDS, parser_of)
        finder.append_space = False
        prequote, prefix, _, words, last_break = split_line(line, len(line))
        return finder._get_completions(words, prefix, prequote, last_break)

    return candidates

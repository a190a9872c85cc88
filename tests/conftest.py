"""What every test has: no network, one thread, no settings of the person who runs it, a shared cache."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NETWORK_ALLOWED = os.environ.get("RUNWRIGHT_TEST_NETWORK") == "1"
CACHE = pytest.StashKey[str]()

# Set here, before any test module is imported: the libraries read these once, when they are imported.
# Processes that a test starts inherit them.
os.environ.update(
    {
        "TOKENIZERS_PARALLELISM": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MPLBACKEND": "Agg",
        # One thread per worker: two workers share two cores, and thread counts change the last bits.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
)
# Processes that tests start need not compile our sources each time anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(name, None)
if not NETWORK_ALLOWED:
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PIP_NO_INDEX": "1"})


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
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a background job; inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.stash[CACHE] = tempfile.mkdtemp(prefix="runwright-tests-")
        os.environ["RUNWRIGHT_CACHE"] = config.stash[CACHE]


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

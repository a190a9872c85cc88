"""A module of `evaluate` by its name: fetched at one commit from a hub, here a server of ours, and kept."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest

from runwright.config import permissions
from runwright.errors import ConfigError
from runwright.metric.bootstrap import make_metric
from runwright.metric.evaluate_adapter import module_metric, module_notes
from runwright.types import Predictions

COMMIT = "0a" * 20
SCRIPT = (Path(__file__).with_name("modules") / "accuracy" / "accuracy.py").read_bytes()
OPTIONS: dict[str, Any] = {"revision": COMMIT, "config_name": None, "key": "accuracy", "options": {}}
PREDICTIONS = Predictions(
    example_ids=np.arange(4),
    predicted=np.array([0, 1, 1, 0]),
    expected=np.array([0, 1, 0, 0]),
    scores=None,
    losses=None,
)
asked: list[str] = []


class Hub(BaseHTTPRequestHandler):
    """Has accuracy.py in the space evaluate-metric/accuracy at one commit, and nothing else."""

    def do_GET(self) -> None:
        asked.append(self.path)
        tag = hashlib.sha1(SCRIPT).hexdigest()
        tree = [{"type": "file", "path": "accuracy.py", "size": len(SCRIPT), "oid": tag}]
        listing = f"/api/spaces/evaluate-metric/accuracy/tree/{COMMIT}"
        bodies = {listing: json.dumps(tree).encode()}
        bodies[f"/spaces/evaluate-metric/accuracy/resolve/{COMMIT}/accuracy.py"] = SCRIPT
        body = bodies.get(self.path.partition("?")[0])
        self.send_response(404 if body is None else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{tag}"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body or b"")))
        if body is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    asked.clear()
    permissions.grant(trust_remote_code=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        constants = huggingface_hub.constants
        for name, value in {
            "ENDPOINT": address,
            "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path),
        }.items():
            monkeypatch.setattr(constants, name, value)
        yield
        server.shutdown()
    permissions.grant()


def test_a_name_is_fetched_at_its_commit_and_works_without_the_hub_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = {"_target_": "runwright.metric.evaluate_adapter.module_metric", "path": "accuracy", **OPTIONS}
    metric = make_metric(node, key="metric.evaluate")
    assert metric(PREDICTIONS, np.ones((1, 4)))[0] == 0.75
    assert asked
    assert all(COMMIT in path for path in asked)
    asked.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert module_metric(PREDICTIONS, (), path="evaluate-metric/accuracy", **OPTIONS) == 0.75
    assert not asked
    assert module_notes({"evaluate": node}) == [
        f"evaluate: accuracy.py, sha256 {hashlib.sha256(SCRIPT).hexdigest()[:16]}"
    ]


@pytest.mark.parametrize("path", ["acuracy", "someone/accuracy"])
def test_an_unknown_name_is_told_in_one_line(path: str) -> None:
    name = path if "/" in path else f"evaluate-metric/{path}"
    with pytest.raises(ConfigError, match=f"the hub gives no {name} at {COMMIT}") as caught:
        module_metric(PREDICTIONS, (), path=path, **OPTIONS)
    assert len(str(caught.value).splitlines()) == 1


def test_another_commit_is_not_taken_for_the_one_that_is_here() -> None:
    module_metric(PREDICTIONS, (), path="accuracy", **OPTIONS)
    other: dict[str, Any] = {**OPTIONS, "revision": "1b" * 20}
    with pytest.raises(ConfigError, match="the hub gives no"):
        module_metric(PREDICTIONS, (), path="accuracy", **other)


@pytest.mark.parametrize("revision", [None, "main"])
def test_a_name_without_a_commit_is_refused(revision: str | None) -> None:
    with pytest.raises(ConfigError, match="the commit of accuracy on the hub, 40 digits"):
        module_metric(PREDICTIONS, (), path="accuracy", **{**OPTIONS, "revision": revision})

"""A hub on the loopback: the endpoints that a push uses, with repositories and blobs kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huggingface_hub import constants

LARGE = (".safetensors", ".parquet", ".onnx")


@dataclass
class Repository:
    private: bool
    branches: dict[str, list[dict[str, bytes]]]  # all files after each commit, by path

    @property
    def commits(self) -> list[dict[str, bytes]]:
        return self.branches["main"]


class Hub:
    """`breaks(request line)` closes the connection there without an answer, in the middle of a blob."""

    def __init__(self, breaks: Callable[[str], bool] = lambda line: False) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()
        self.breaks = breaks
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """For a process that pushes here."""
        return {"HF_ENDPOINT": self.uri, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Be the hub of this process, whose library has read the address of the real one."""
        settings = {"ENDPOINT": self.uri, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
        for name, value in settings.items():
            patch.setattr(constants, name, value)
        patch.setenv("HF_TOKEN", TOKEN)

    def everything(self) -> bytes:
        """All bytes that ever came here as content."""
        branches = [commits for one in self.repositories.values() for commits in one.branches.values()]
        commits = [made for commits in branches for made in commits]
        return b"\n".join([*(content for made in commits for content in made.values()), *self.blobs.values()])


TOKEN = "hf_" + "loopbackloopbackloopback"  # of nobody


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, value: Any = None, *, code: int = 200, **headers: str) -> None:
        body = json.dumps(value if value is not None else {}).encode()
        self.send_response(code)
        headers |= {"Content-Length": str(len(body)), "Content-Type": "application/json"}
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def _work(self) -> None:
        hub, line = self.hub, f"{self.command} {self.path.partition('?')[0]}"
        length = int(self.headers.get("Content-Length") or 0)
        hub.requests.append(line)
        hub.tokens.add(self.headers.get("Authorization"))
        if hub.breaks(line):
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.shutdown(2)
            return
        body = self.rfile.read(length)
        if len(body) == length:
            self._route(line, body)

    do_GET = do_POST = do_PUT = _work  # noqa: N815

    def _route(self, line: str, body: bytes) -> None:
        hub, parts = self.hub, line.split("/")
        if line == "POST /api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('type') or 'model'}s/{asked['organization']}/{asked['name']}"
            hub.repositories.setdefault(name, Repository(asked.get("visibility") == "private", {"main": []}))
            self._answer({"url": f"{hub.uri}/{name}"})
        elif line == "POST /api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif line.startswith("PUT /blobs/"):
            assert hashlib.sha256(body).hexdigest() == parts[-1]
            hub.blobs[parts[-1]] = body
            self._answer()
        elif line.endswith("/info/lfs/objects/batch"):
            self._answer({"objects": [self._object(one) for one in json.loads(body)["objects"]]})
        elif line.endswith("/verify"):
            self._answer(code=200 if json.loads(body)["oid"] in hub.blobs else 404)
        elif (repository := hub.repositories.get(name := "/".join(parts[2:5]))) is None:
            self._answer({"error": "none"}, code=404, **{"X-Error-Code": "RepoNotFound"})
        elif len(parts) == 5 or parts[5] == "revision":
            self._answer({"id": name.partition("/")[2], "private": repository.private, "sha": "0" * 40})
        elif parts[5] == "branch":
            repository.branches.setdefault(parts[6], list(repository.commits))
            self._answer()
        elif (commits := repository.branches.get(parts[6])) is not None and parts[5] == "preupload":
            now = commits[-1] if commits else {}
            self._answer({"files": [self._upload(now, file["path"]) for file in json.loads(body)["files"]]})
        elif commits is not None and parts[5] == "commit":
            commits.append(self._commit(commits, [*map(json.loads, body.splitlines())]))
            address = f"{hub.uri}/{name.removeprefix('models/')}/commit/{len(commits):040}"
            self._answer({"commitUrl": address, "commitOid": "0" * 40, "success": True})
        else:
            self._answer({"error": line}, code=404)

    def _commit(self, before: list[dict[str, bytes]], entries: list[dict[str, Any]]) -> dict[str, bytes]:
        files = dict(before[-1] if before else {})
        for key, value in ((entry["key"], entry["value"]) for entry in entries):
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        return files

    def _upload(self, files: dict[str, bytes], path: str) -> dict[str, Any]:
        mode, content = "lfs" if path.endswith(LARGE) else "regular", files.get(path)
        git = hashlib.sha1(b"blob %d\0%s" % (len(content), content)) if content is not None else None
        oid = hashlib.sha256(content) if content is not None and mode == "lfs" else git
        kept = {"oid": oid.hexdigest()} if oid is not None else {}
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, **kept}

    def _object(self, asked: dict[str, Any]) -> dict[str, Any]:
        hub, oid = self.hub, asked["oid"]
        actions = {
            "upload": {"href": f"{hub.uri}/blobs/{oid}"},
            "verify": {"href": f"{hub.uri}/blobs/verify"},
        }
        return {**asked, **({} if oid in hub.blobs else {"actions": actions})}

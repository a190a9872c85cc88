"""Processes that serve a model: one, or several workers on one socket, each with its own model.

Light to import: a worker reads what it is to serve, which names this module, before it can say that it lives.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError, RunwrightError, plain, report

if TYPE_CHECKING:
    from runwright.inference.named import Named

MAX_CONNECTIONS = 1000  # 503 above
OPENAI = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health")


def serve(app: Callable[[], Any], *, host: str, port: int, workers: int, timeout: float) -> int:
    """Serve until a signal comes, then answer what was accepted; returns the exit code.

    `app` makes the ASGI application of a process. An answer takes `timeout` seconds at the most.
    """
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named asyncio sends small answers at once (TCP_NODELAY), else 40 ms late.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:  # before the model is read, for which clients wait
            listener.bind((host, port))
            listener.listen(MAX_CONNECTIONS)  # one that is bound alone may be bound twice
        except (OSError, OverflowError) as error:
            at = f"{host}, port {port}"
            raise ConfigError(f"--port: {at} cannot be had ({error}); --port 0 takes a free one") from error
        config = uvicorn.Config(
            app if workers > 1 else app(),
            factory=workers > 1,
            workers=workers,
            http="h11",  # whatever else is installed
            ws="none",
            log_level="warning",
            access_log=False,
            lifespan="on",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=int(timeout) + 15,
            timeout_worker_healthcheck=20,  # seconds; while libraries are loaded a worker answers late
        )
        name = f"[{host}]" if ":" in host else host
        print(f"serving at http://{name}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        if workers == 1:
            uvicorn.Server(config).run([listener])
            return 0
        with tempfile.TemporaryDirectory(prefix="runwright-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where workers add up their counters
            supervisor = Multiprocess(config, [listener])
            supervisor.run()
        return int(any(one.exitcode == STARTUP_FAILURE for one in supervisor.processes))


def guarded(
    source: Path | Named,
    *,
    overrides: Sequence[str],
    device: str | None,
    workers: int,
    token: str | None,
    timeout: float,
    openai: bool,
) -> Any:
    """The ASGI application of one process, of so many workers."""
    from runwright.inference.models import open_model
    from runwright.inference.server.guard import Guard
    from runwright.inference.server.service import Service
    from runwright.trainer.environment import share_of_cores
    from runwright.trainer.ranks import set_threads

    try:
        if openai:
            return Guard(app=_chats(source, device), token=token, paths=OPENAI)
        run = open_model(source, overrides=overrides, device=device)
    except RunwrightError as error:
        if workers == 1:
            raise
        print(plain(report(error)), file=sys.stderr)
        sys.exit(3)  # STARTUP_FAILURE: no other worker is started
    set_threads(run.options.num_threads or share_of_cores(workers))
    return Guard(app=Service(run, seconds=timeout).app(), token=token, paths=())


def _chats(source: Path | Named, device: str | None) -> Any:
    """Transformers' own server on a decoder's folder, for completions and chats as OpenAI's."""
    from fastapi import FastAPI
    from transformers.cli.serve import Serve

    from runwright.config.sources import resolve_source
    from runwright.model.pretrained import open_config
    from runwright.tokenizer.pretrained import in_safetensors

    if isinstance(source, Path):
        folder = source / "best" if (source / "best").is_dir() else source  # an export
    else:
        folder = Path(in_safetensors(resolve_source(source.name)))
    kinds = getattr(open_config(str(folder), revision=None), "architectures", None) or [""]
    if not kinds[0].endswith(("ForCausalLM", "LMHeadModel")):
        raise ConfigError(f"--openai: given {kinds[0] or folder}, expected a decoder, as ...ForCausalLM")
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(f"--openai: {folder} has no safetensors, expected a run, or such an export of it")

    class Chats(Serve):
        def start_server(self) -> None:
            """Start none: this process serves already."""

    os.chdir(folder.parent)  # the model's name is that of its folder, for requests that must give one
    theirs: Any = Chats(force_model=folder.name, device=device or "auto", non_blocking=True).server.config.app
    app = FastAPI()  # theirs lists a cache of models
    app.get("/v1/models")(lambda: {"object": "list", "data": [{"id": folder.name, "object": "model"}]})
    app.mount("/", theirs)
    return app

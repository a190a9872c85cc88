"""Processes that serve a model: one, or several workers on one socket, each with its own model.

Light to import: a worker reads its orders, which name this module, before it can say that it lives.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError, RunwrightError, plain, report

if TYPE_CHECKING:
    from runwright.inference.named import Named

MAX_CONNECTIONS = 1000  # 503 above
OPENAI = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health")


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """All that a worker needs to serve a model."""

    source: Path | Named
    overrides: Sequence[str]
    device: str | None
    host: str
    port: int
    workers: int
    token: str | None
    timeout: float  # seconds
    openai: bool


def serve(orders: Orders) -> int:
    """Serve until a signal comes, then answer what was accepted; returns the exit code."""
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    with socket.socket(socket.AF_INET6 if ":" in orders.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:  # before the model is read; it listens afterwards
            listener.bind((orders.host, orders.port))
        except (OSError, OverflowError) as error:
            at = f"{orders.host}, port {orders.port}"
            raise ConfigError(f"--port: {at} cannot be had ({error}); --port 0 takes a free one") from error
        config = uvicorn.Config(
            partial(guarded, orders) if orders.workers > 1 else guarded(orders),
            factory=orders.workers > 1,
            workers=orders.workers,
            log_level="warning",
            access_log=False,
            lifespan="on",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=int(orders.timeout) + 15,
            timeout_worker_healthcheck=20,  # seconds; while libraries are loaded a worker answers late
        )
        host = f"[{orders.host}]" if ":" in orders.host else orders.host
        print(f"serving at http://{host}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        if orders.workers == 1:
            uvicorn.Server(config).run([listener])
            return 0
        with tempfile.TemporaryDirectory(prefix="runwright-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where workers add up their counters
            supervisor = Multiprocess(config, [listener])
            supervisor.run()
        return int(any(one.exitcode == STARTUP_FAILURE for one in supervisor.processes))


def guarded(orders: Orders) -> Any:
    """The ASGI application of one process."""
    from runwright.inference.server.guard import Guard

    try:
        app = _chat_app(orders) if orders.openai else _app(orders)
    except RunwrightError as error:
        if orders.workers == 1:
            raise
        print(plain(report(error)), file=sys.stderr)
        sys.exit(3)  # STARTUP_FAILURE: no other worker is started
    paths = OPENAI if orders.openai else ()
    return Guard(app=app, token=orders.token, paths=paths)


def _app(orders: Orders) -> Any:
    from runwright.inference.models import open_model
    from runwright.inference.server.service import Service
    from runwright.trainer.environment import share_of_cores
    from runwright.trainer.ranks import set_threads

    run = open_model(orders.source, overrides=orders.overrides, device=orders.device)
    set_threads(run.options.num_threads or share_of_cores(orders.workers))
    return Service(run, seconds=orders.timeout).app()


def _chat_app(orders: Orders) -> Any:
    """Transformers' own server on a decoder's folder, for completions and chats as OpenAI's."""
    from fastapi import FastAPI
    from transformers.cli.serving import chat_completion, completion, response, systemone, transcription
    from transformers.cli.serving.model_manager import ModelManager
    from transformers.cli.serving.server import build_server
    from transformers.cli.serving.utils import GenerationState

    from runwright.config.sources import resolve_source
    from runwright.model.pretrained import open_config
    from runwright.tokenizer.pretrained import in_safetensors

    named = orders.source
    folder = named / "best" if isinstance(named, Path) else Path(in_safetensors(resolve_source(named.name)))
    kinds = getattr(open_config(str(folder), revision=None), "architectures", None) or [""]
    if not kinds[0].endswith(("ForCausalLM", "LMHeadModel")):
        raise ConfigError(f"--openai: given {kinds[0] or folder}, expected a decoder, as ...ForCausalLM")
    os.chdir(folder.parent)  # the model's name is that of its folder, for requests that must give one
    models = ModelManager(device=orders.device or "auto", force_model=folder.name)
    state = GenerationState()
    handlers: Any = (
        chat_completion.ChatCompletionHandler,
        completion.CompletionHandler,
        response.ResponseHandler,
        transcription.TranscriptionHandler,
        systemone.SystemOneHandler,
    )
    app = build_server(models, *(handler(models, state) for handler in handlers), generation_state=state)
    own = FastAPI()  # theirs lists a cache of models
    own.get("/v1/models")(lambda: {"object": "list", "data": [{"id": folder.name, "object": "model"}]})
    own.mount("/", app)
    return own

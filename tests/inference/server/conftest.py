"""A server on a real socket of this machine, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from runwright.inference.named import Named
from runwright.inference.server import start

Serving = Callable[..., AbstractContextManager[httpx.Client]]
OPTIONS: dict[str, Any] = {
    "overrides": [], "device": "cpu", "workers": 1, "token": None, "timeout": 20.0, "openai": False,
}  # fmt: skip


@contextmanager
def serving(source: Path | str, **changes: Any) -> Iterator[httpx.Client]:
    """A client of a server for a run (its folder as a path) or a model by name."""
    named = Named(name=source) if isinstance(source, str) else source
    app = start.guarded(named, **{**OPTIONS, **changes})
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def serve() -> Serving:
    return serving


@pytest.fixture(scope="session")
def ask_all() -> Callable[..., list[httpx.Response]]:
    """Sends many bodies to /predict, so many at once; the responses in their order."""

    def ask(
        client: httpx.Client, bodies: list[Any], *, clients: int, path: str = "predict"
    ) -> list[httpx.Response]:
        async def run() -> list[httpx.Response]:
            gate = asyncio.Semaphore(clients)
            limits = httpx.Limits(max_connections=clients)
            async with httpx.AsyncClient(base_url=client.base_url, timeout=60, limits=limits) as many:

                async def one(body: Any) -> httpx.Response:
                    async with gate:
                        return await many.post(path, json=body)

                return await asyncio.gather(*map(one, bodies))

        return asyncio.run(run())

    return ask

"""Rules that hold before any request is read: who may ask, from which page, how much and how slowly.

A middleware of ASGI and nothing of FastAPI's, so that it stands before transformers' own server too.
"""

import asyncio
import base64
import secrets
import signal
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

OPEN = ("/health", "/ready")  # asked by what watches a service, which has no token
MAX_BYTES = 1 << 22  # of a body
LOCAL = ("localhost", "127.0.0.1", "::1")
DISCARDED = 1 << 26  # bytes of a body that is too large and read all the same, so that its client reads why
BODY_SECONDS = 10  # in which a body must have come


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """An ASGI application that hands on what is allowed, with its body whole; all else gets its status."""

    app: Any
    token: str | None  # None: only this machine, and pages of it, may ask
    paths: Collection[str]  # the only ones, where there are any

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        messages: list[dict[str, Any]] = []

        async def replayed() -> Any:
            return messages.pop() if messages else await receive()

        async def closing(message: Any) -> None:
            # uvicorn asks the connections that it has to end; one that is just being made would go on.
            server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)  # its handler's
            if message["type"] == "http.response.start" and getattr(server, "should_exit", False):
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        if scope["type"] == "http":
            try:
                self._check(scope["path"], dict(scope["headers"]))
                messages = [{"type": "http.request", "body": await _body(receive), "more_body": False}]
            except HTTPException as refused:  # not all of the request may have been read
                headers = {**(refused.headers or {}), "connection": "close"}
                response = JSONResponse({"detail": refused.detail}, refused.status_code, headers)
                await response(scope, receive, send)
                return
        await self.app(scope, replayed, closing)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        host, origin = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"origin"))
        is_ours = False
        with suppress(ValueError):  # of an address that is none
            # A name of elsewhere that leads to this machine is how a page gets around the rule for origins.
            is_local = self.token is not None or urlsplit(f"//{host}").hostname in LOCAL
            is_ours = is_local and (not origin or urlsplit(origin).netloc == host)
        if not is_ours:
            raise HTTPException(403, f"a page of {origin or host} may not ask here; expected localhost")
        if self.paths and path not in self.paths:
            raise HTTPException(404, f"only {', '.join(self.paths)} are answered")
        if self.token is None or path in OPEN:
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"basic":  # how browsers send it: any name, and the token as its password
            with suppress(ValueError):
                given = base64.b64decode(given).partition(b":")[2]
        if not secrets.compare_digest(given, self.token.encode()):
            asks = {"www-authenticate": 'Basic realm="runwright"'}
            raise HTTPException(401, "a token is needed: Authorization: Bearer TOKEN", asks)


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    body, size, more = bytearray(), 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more and size <= DISCARDED:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HTTPException(400, "the connection was closed")
                more, part = message.get("more_body", False), message.get("body", b"")
                size += len(part)
                if size <= MAX_BYTES:
                    body += part
    except TimeoutError as error:
        raise HTTPException(408, f"the request did not come whole in {BODY_SECONDS} seconds") from error
    if size > MAX_BYTES:
        raise HTTPException(413, f"given more than {MAX_BYTES:,} bytes; send it in pieces")
    return bytes(body)

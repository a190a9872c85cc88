"""The requests that a served model answers: predictions, a page to try it, health and counters."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from logging import getLogger
from pathlib import Path
from typing import Annotated, Any

import prometheus_client as prometheus
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from runwright.errors import RunwrightError, listed
from runwright.inference.load import FinishedRun
from runwright.inference.records import as_records
from runwright.inference.server.batching import MAX_WAITING, Batcher, Row
from runwright.inference.stream import writes_one_text
from runwright.report.page import document
from runwright.report.page.marks import short_cell, text_cell
from runwright.report.tables import strict
from runwright.task.masked_language_modeling import MaskedLanguageModeling
from runwright.version import __version__

HERE = Path(__file__).parent
MAX_RECORDS = 1000  # of one request


class Options(BaseModel, extra="forbid"):
    """Options of a request, given in its query."""

    all_scores: bool = False  # the score of every class


class Service:
    """A model behind HTTP: its endpoints, its batcher and its counters."""

    def __init__(self, run: FinishedRun, *, seconds: float) -> None:
        self.run, self.seconds = run, seconds
        self.name = "/".join(Path(run.folder).resolve().parts[-2:])
        self.streams = writes_one_text(run)
        is_filling = isinstance(run.task, MaskedLanguageModeling)
        text = f"An example {run.tokenizer.mask_token if is_filling else 'text'}."
        self.example: Row = {names[-1]: text for names in run.columns.values()}
        self.answer: Row = {}
        self.registry = prometheus.CollectorRegistry()
        if shares := "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # with other workers
            MultiProcessCollector(self.registry)
        options: Any = {"namespace": "runwright", "registry": None if shares else self.registry}
        about = "From the whole request to /predict to its answer, by status"
        self.times = prometheus.Histogram("request_seconds", about, ["status"], **options)
        options["buckets"] = [2.0**power for power in range(9)]
        self.batches = prometheus.Histogram("batch_records", "Records computed together", **options)

    def app(self) -> FastAPI:
        """The endpoints, with an example of this model in their description."""
        app = FastAPI(title=f"Runwright: {self.name}", version=__version__, lifespan=self._lifespan)
        content = {"schema": {"oneOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}]}}
        request = {"requestBody": {"content": {"application/json": {**content, "example": self.example}}}}
        # Its example is filled in when the model has answered.
        answers: Any = {200: {"content": {"application/json": self.answer}}}
        app.post("/predict", responses=answers, openapi_extra=request)(self.predict)
        app.get("/", include_in_schema=False, response_class=HTMLResponse)(self.page)
        app.get("/health")(lambda: {"status": "alive"})
        app.get("/ready")(self.ready)
        app.get("/metrics", response_class=Response)(self.metrics)
        app.exception_handler(404)(self.wrong_path)
        app.exception_handler(RequestValidationError)(self.wrong_query)
        return app

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self.batcher = Batcher(self.run, observe=self.batches.observe)
        if not self.run.task.generates:  # which would take its time
            (self.answer["example"],) = await self.batcher.rows([self.example], all_scores=True)
        yield
        self.batcher.close()

    async def predict(self, request: Request, options: Annotated[Options, Query()]) -> Response:
        """Answer a text, a record with texts by name, or a list of them as `runwright predict` does.

        `all_scores` adds the score of every class. Accept: text/event-stream gets a generated text as it is
        written.

        400: no JSON. 401, 403: no token, or asked by another site. 408: too slow. 413: too many bytes or
        records. 422: no texts for this model. 503: too many records wait. 504: no answer in time.
        """
        began, status = time.perf_counter(), 200
        try:
            return await self._answer(request, options)
        except Exception as error:
            refused = self._refused(error)
            status = refused.status_code
            raise refused from error
        finally:
            self.times.labels(str(status)).observe(time.perf_counter() - began)

    async def _answer(self, request: Request, options: Options) -> Response:
        try:
            value = json.loads(await request.body())
        except ValueError as error:
            example = f"such as {json.dumps(self.example, ensure_ascii=False)}"
            expected = f'expected a text in quotes ("…"), a record {example}, or a list of them'
            raise HTTPException(400, f"the body is no JSON ({error}); {expected}") from error
        values = value if isinstance(value, list) else [value]
        if len(values) > MAX_RECORDS:
            raise HTTPException(413, f"given {len(values):,} records, expected at most {MAX_RECORDS:,}")
        records = [*as_records(values, self.run.columns)]
        accept = request.headers.get("accept", "")
        if "text/event-stream" in accept:
            return await self._stream(records)
        is_page = "text/html" in accept  # the page's script asks so
        async with asyncio.timeout(self.seconds):
            rows = await self.batcher.rows(records, all_scores=options.all_scores or is_page)
        if is_page:
            return HTMLResponse("".join(map(_html, rows)))
        return Response(_json(rows if isinstance(value, list) else rows[0]), media_type="application/json")

    async def _stream(self, records: list[Row]) -> Response:
        """A text as events `text` while it is generated, and an event `row` with all of it, or `error`."""
        if len(records) != 1 or not self.streams:
            reason = "text/event-stream: expected one record, and a model that generates one text"
            raise HTTPException(406, reason)
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def write(text: str) -> None:
            if answer.done():
                raise ConnectionError("nobody reads the text any more")
            loop.call_soon_threadsafe(texts.put_nowait, text)

        answer = asyncio.create_task(self.batcher.rows(records, write=write))
        answer.add_done_callback(lambda _: texts.put_nowait(None))
        await asyncio.sleep(0)  # until it waits for the model
        if answer.done():
            await answer  # raises: too many wait
        return StreamingResponse(self._events(answer, texts), media_type="text/event-stream")

    async def _events(
        self, answer: asyncio.Task[list[Row]], texts: asyncio.Queue[str | None]
    ) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(self.seconds):
                while (text := await texts.get()) is not None:
                    yield _event("text", {"text": text})
            yield _event("row", (await answer)[0])
        except Exception as error:  # noqa: BLE001 - of any kind: its status went out long ago
            yield _event("error", {"detail": self._refused(error).detail})
        finally:
            answer.cancel()

    def _refused(self, error: Exception) -> HTTPException:
        """The status of an error, with a reason that says what to change."""
        match error:
            case HTTPException():
                return error
            case RunwrightError():
                return HTTPException(422, str(error))
            case RecursionError():
                return HTTPException(400, "the body is nested too deeply")
            case TimeoutError():
                return HTTPException(504, f"no answer in {self.seconds:g} seconds (--timeout)")
        getLogger(__name__).error("a request failed", exc_info=error)
        return HTTPException(500, "this model failed on these records; the server's log says why")

    async def page(self) -> str:
        shown = (self.example, self.answer.get("example"))
        return document.filled(
            "serve.html",
            folder=HERE,
            styles=[document.HERE / "style.css", HERE / "serve.css"],
            scripts=[HERE / "serve.js"],
            service=self,
            shown=[json.dumps(one, ensure_ascii=False, indent=1) for one in shown],
        )

    async def wrong_path(self, request: Request, _: Exception) -> JSONResponse:
        paths = listed(["/", *request.app.openapi()["paths"], "/docs"])
        return JSONResponse({"detail": f"given {request.url.path}, expected one of {paths}"}, 404)

    async def wrong_query(self, request: Request, _: Exception) -> JSONResponse:
        detail = f"given ?{request.url.query}, expected nothing or ?all_scores=true"
        return JSONResponse({"detail": detail}, 422)

    async def ready(self) -> JSONResponse:
        is_ready = self.batcher.thread.is_alive() and self.batcher.waiting < MAX_WAITING
        return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)

    async def metrics(self) -> Response:
        """Counters of all workers in the form of Prometheus."""
        return Response(prometheus.generate_latest(self.registry), media_type=prometheus.CONTENT_TYPE_LATEST)


def _html(row: Row) -> str:
    """A row with what was predicted marked in its text, the prediction, and scores as bars."""
    cell, predicted = text_cell(row), short_cell(row.get("predicted")).text
    template = document.environment(HERE).get_template("answer.html")
    return template.render(row=row, cell=cell, predicted=predicted)


def _json(value: Any) -> str:
    return json.dumps(strict(value), ensure_ascii=False)


def _event(name: str, value: Any) -> str:
    return f"event: {name}\ndata: {_json(value)}\n\n"

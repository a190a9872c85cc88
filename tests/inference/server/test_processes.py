"""`runwright serve` as processes: several workers, stops that lose nothing, chats as OpenAI's, a long run."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn

from runwright.cli.main import main, parser_of
from runwright.inference.named import Named
from runwright.inference.server import start

Folders = Callable[[str], Path]
TOKEN = "t" * 24


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """`runwright serve …` on a free port, ready."""
    command = [sys.executable, "-m", "runwright", "serve", "--port", "0", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    try:
        assert running.stdout is not None
        address = running.stdout.readline().split()[2]
        with httpx.Client(base_url=address.replace("0.0.0.0", "127.0.0.1"), timeout=60) as client:
            deadline = time.monotonic() + 120
            while True:
                assert running.poll() is None
                assert time.monotonic() < deadline
                with suppress(httpx.TransportError):
                    if client.get("health").status_code == 200:
                        break
                time.sleep(0.05)
            yield running, client
    finally:
        running.terminate()
        running.wait(30)
        running.stdout.close() if running.stdout else None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host: given 0.0.0.0, expected a token in RUNWRIGHT_SERVE_TOKEN"),
        (["--workers", "0"], "--workers: given 0, expected at least 1"),
        (["--port", "70000"], "--port: 127.0.0.1, port 70000 cannot be had"),
        (["--openai"], "--openai: given DistilBertForSequenceClassification, expected a decoder"),
    ],
)
def test_mistakes_are_one_line_before_a_model_is_read(
    arguments: list[str], message: str, model_folder: Folders, capsys: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    folder = model_folder("sentiment")
    monkeypatch.chdir(tmp_path)
    assert main(["serve", str(folder), *arguments]) == 2
    assert message in capsys.readouterr().err
    if "--host" in arguments:
        monkeypatch.setenv("RUNWRIGHT_SERVE_TOKEN", "token\n")
        assert main(["serve", str(folder), *arguments]) == 2
        assert "RUNWRIGHT_SERVE_TOKEN: given 5 characters, expected at least 16" in capsys.readouterr().err


def test_a_port_that_another_server_still_reads_its_model_for_is_taken(
    model_folder: Folders, capsys: Any
) -> None:
    with socket.socket() as other:  # as ours, before its model is read
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", str(model_folder("sentiment")), "--port", str(port)]) == 2
    assert f"--port: 127.0.0.1, port {port} cannot be had" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_answer_does_not_wait_for_more_to_send(model_folder: Folders) -> None:
    """Without TCP_NODELAY each answer comes 40 ms late; the fastest of many tells on a busy machine too."""
    with process(str(model_folder("sentiment"))) as (_, client):
        seconds = []
        for _ in range(30):
            began = time.perf_counter()
            assert client.get("health").status_code == 200
            assert client.post("predict", json="good").status_code == 200
            seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.03


@pytest.mark.slow
def test_a_signal_ends_it_when_all_that_was_accepted_is_answered(model_folder: Folders) -> None:
    body = json.dumps(["the film"] * 20).encode()
    request = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with process(str(model_folder("gpt2")), "--set", "max_new_tokens=100") as (running, client):
        address = (client.base_url.host, client.base_url.port or 0)
        asked = [socket.create_connection(address, timeout=60) for _ in range(16)]
        for one in asked:
            one.sendall(request + body)
        time.sleep(0.5)
        assert not select.select(asked, [], [], 0)[0][8:]  # some are still to be answered
        running.send_signal(signal.SIGTERM)
        for one in asked:
            answer = HTTPResponse(one)
            answer.begin()
            assert (answer.status, len(json.loads(answer.read()))) == (200, 20)
            one.close()
        assert running.wait(30) == -signal.SIGTERM
        with pytest.raises(httpx.TransportError):
            client.get("health")


@pytest.mark.slow
def test_twenty_stops_under_load_lose_no_accepted_request(model_folder: Folders, monkeypatch: Any) -> None:
    options: dict[str, Any] = {
        "overrides": [], "device": "cpu", "workers": 1, "token": None, "timeout": 20.0, "openai": False,
    }  # fmt: skip
    source = Named(name=str(model_folder("sentiment")))
    for number in range(20):
        inner, counts = start.guarded(source, **options), {"accepted": 0, "answered": 0}

        async def counting(
            scope: Any, receive: Any, send: Any, inner: Any = inner, counts: Any = counts
        ) -> None:
            async def received() -> Any:
                message = await receive()
                counts["accepted"] += message["type"] == "http.request" and not message.get("more_body")
                return message

            await inner(scope, received if scope["type"] == "http" else receive, send)

        server = uvicorn.Server(uvicorn.Config(counting, port=0, log_level="error", lifespan="on"))
        monkeypatch.setattr(signal, "getsignal", lambda _, handler=server.handle_exit: handler)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/predict"
        lock = threading.Lock()

        def ask(address: str = address, counts: Any = counts, lock: Any = lock) -> None:
            with suppress(httpx.TransportError), httpx.Client(timeout=30, verify=False) as client:
                while client.post(address, json="good soup").status_code == 200:
                    with lock:
                        counts["answered"] += 1

        clients = [threading.Thread(target=ask) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.2 + random.Random(number).random() / 5)
        server.handle_exit(signal.SIGTERM, None)
        for one in (thread, *clients):
            one.join()
        assert counts["answered"] == counts["accepted"] > 0


@pytest.mark.slow
def test_workers_share_a_port_their_counters_and_the_token(
    model_folder: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNWRIGHT_SERVE_TOKEN", f"{TOKEN}\n")
    arguments = ["--workers", "2", "--host", "0.0.0.0"]
    with process(str(model_folder("sentiment")), *arguments) as (running, client):
        assert client.get("metrics").status_code == 401
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        rows = []
        for _ in range(40):  # each over a connection of its own, so that both are asked
            with httpx.Client(headers=client.headers) as other:
                rows.append(other.post(f"{client.base_url}/predict", json="good soup").json())
        assert all(row == rows[0] for row in rows)
        workers = [
            one for one in psutil.Process(running.pid).children() if "spawn_main" in str(one.cmdline())
        ]
        assert len(workers) == 2
        assert 'request_seconds_count{status="200"} 40.0' in client.get("metrics").text
        workers[0].kill()  # another one takes its place
        deadline = time.monotonic() + 120
        while workers[0].is_running() or client.post("predict", json="good").status_code != 200:
            assert time.monotonic() < deadline
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


@pytest.mark.slow
def test_a_model_that_no_worker_can_read_ends_them_all(tmp_path: Path, model_folder: Folders) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "config.json").write_text((model_folder("sentiment") / "config.json").read_text())
    command = [sys.executable, "-m", "runwright", "serve", str(folder), "--port", "0", "--workers", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 1
    assert "broken" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_openai_s_completions_are_greedy_ones_of_the_same_model(model_folder: Folders) -> None:
    pytest.importorskip("openai")
    folder = str(model_folder("gpt2"))
    with process(folder, "--openai", RUNWRIGHT_SERVE_TOKEN=TOKEN) as (_, client):
        # Ours puts the start token before a prompt, theirs takes it as it is.
        asked = {"prompt": "<|endoftext|>the film was", "max_tokens": 8, "temperature": 0}
        assert client.post("v1/completions", json=asked).status_code == 401
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        answer = client.post("v1/completions", json=asked)
        assert answer.status_code == 200, answer.text
        assert [one["id"] for one in client.get("v1/models").json()["data"]] == ["gpt2"]
        for path in ("load_model", "reset", "v1/audio/transcriptions"):
            assert client.post(path, json={"model": "owner/other"}).status_code == 404
        other = client.post("v1/completions", json={**asked, "model": "owner/other"})
        assert other.status_code == 400
    with process(folder, "--set", "max_new_tokens=8") as (_, client):
        expected = client.post("predict", json="the film was").json()["predicted"]
    assert answer.json()["choices"][0]["text"].strip() == expected


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_requests_leave_memory_and_files_as_they_were(model_folder: Folders) -> None:
    count = int(os.environ.get("RUNWRIGHT_SOAK", "20000"))
    texts = ["good soup", "the film was not good", "Anna lives in Paris " * 5, "bad"]
    with process(str(model_folder("sentiment"))) as (running, client):
        expected = [client.post("predict", json=text).json() for text in texts]
        seen = psutil.Process(running.pid)
        bodies = [json.dumps(text) for text in texts]
        headers = {"Content-Type": "application/json"}

        def ask(count: int) -> int:
            wrong = 0
            own = HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
            with closing(own):
                for number in range(count):
                    own.request("POST", "/predict", bodies[number % 4], headers)
                    row, right = json.loads(own.getresponse().read()), expected[number % 4]
                    wrong += (
                        row["predicted"] != right["predicted"] or abs(row["score"] - right["score"]) > 2e-6
                    )
            return wrong

        def measured(count: int) -> tuple[int, int]:
            with ThreadPoolExecutor(8) as pool:
                assert sum(pool.map(ask, [count // 8] * 8)) == 0
            time.sleep(7)  # the server ends idle connections after five seconds
            return seen.memory_info().rss, seen.num_fds()

        memory, open_files = measured(count // 10)
        later, files = measured(count - count // 10)
        assert later <= 1.05 * memory
        assert files == open_files
        print(json.dumps({"requests": count, "memory after a tenth": memory, "after all": later}))


def test_the_container_of_the_guide_has_no_root_no_token_and_a_pinned_base() -> None:
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    lines = page.partition("```dockerfile\n")[2].partition("```")[0].strip().splitlines()
    words = [line.partition(" ") for line in lines]
    assert {word for word, _, _ in words} <= {
        *("FROM", "COPY", "RUN", "USER", "WORKDIR", "ENV", "EXPOSE", "HEALTHCHECK", "CMD"),
    }
    assert next(rest for word, _, rest in words if word == "FROM") == "python:3.12-slim"
    names = [word for word, _, _ in words]
    assert names.index("USER") < names.index("CMD")
    assert next(rest for word, _, rest in words if word == "USER") == "1000"
    arguments = json.loads(words[-1][2])
    assert arguments[:2] == ["runwright", "serve"]
    parser_of("serve").parse_args(arguments[2:])

"""What a served model says: the rows of `predict`, whoever else asks, and a status for all that it cannot."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from runwright.inference.load import predict_records
from runwright.inference.models import open_model
from runwright.inference.named import Named
from runwright.inference.server import batching, guard, service

Folders = Callable[[str], Path]
WORDS = "the film was good bad very not my city Anna Karl lives in Paris soup bread cold".split()  # noqa: SIM905


def texts_of(count: int, *, longest: int = 40) -> list[str]:
    """Texts of many lengths, always the same ones."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(count)]


def expected_rows(
    folder: Path, records: list[dict[str, Any]], *, all_scores: bool = False, overrides: Sequence[str] = ()
) -> list[dict[str, Any]]:
    run = open_model(Named(name=str(folder)), device="cpu", overrides=overrides)
    return [*predict_records(run, records, all_scores=all_scores)]


def assert_equal(answer: Any, expected: Any) -> None:
    """Numbers to 1.1e-6 (they are rounded to six digits), all else exactly."""
    if isinstance(expected, float):
        assert answer == pytest.approx(expected, abs=1.1e-6)
    elif isinstance(expected, dict):
        assert answer.keys() == expected.keys()
        for name, value in expected.items():
            assert_equal(answer[name], value)
    elif isinstance(expected, list):
        assert len(answer) == len(expected)
        for one, other in zip(answer, expected, strict=True):
            assert_equal(one, other)
    else:
        assert answer == expected


@pytest.fixture(scope="module")
def sentiment(serve: Any, model_folder: Folders) -> Iterator[httpx.Client]:
    with serve(str(model_folder("sentiment"))) as client:
        yield client


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_row_is_that_of_predict_whoever_else_asks(
    count: int, sentiment: Any, ask_all: Any, model_folder: Folders
) -> None:
    texts, before = texts_of(count), num_batches(sentiment)
    answers = ask_all(sentiment, texts, clients=64)
    assert {answer.status_code for answer in answers} == {200}
    expected = expected_rows(model_folder("sentiment"), [{"text": text} for text in texts])
    assert_equal([answer.json() for answer in answers], expected)
    assert num_batches(sentiment) - before < count


def num_batches(client: httpx.Client) -> float:
    counters = client.get("metrics").text
    return float(counters.partition("runwright_batch_records_count ")[2].splitlines()[0])


SAMPLED = ["generation=sample", "generation.max_new_tokens=4"]


def test_sampled_texts_are_those_of_predict_and_may_be_streamed(
    serve: Any, ask_all: Any, model_folder: Folders
) -> None:
    folder, prompts = model_folder("gpt2"), ["the film", "Anna lives", "the film"]
    expected = expected_rows(folder, [{"text": text} for text in prompts], overrides=SAMPLED)
    with serve(str(folder), overrides=SAMPLED) as client:
        for answer in ask_all(client, [prompts] * 6, clients=6):
            assert answer.json() == expected
        streamed = client.post("predict", json=prompts[0], headers={"Accept": "text/event-stream"})
        events = [event.split("\n") for event in streamed.text.strip().split("\n\n")]
        texts = [json.loads(data[6:])["text"] for name, data in events if name == "event: text"]
        assert "".join(texts) == expected[0]["predicted"]
        assert (events[-1][0], json.loads(events[-1][1][6:])) == ("event: row", expected[0])
        refused = client.post("predict", json=prompts, headers={"Accept": "text/event-stream"})
        assert (refused.status_code, "one record" in refused.text) == (406, True)


def test_a_record_a_text_and_lists_of_them_are_answered_in_their_form(
    sentiment: Any, model_folder: Folders
) -> None:
    records = [{"text": "good soup", "id": 7, "score": "mine"}, {"text": "bad soup"}]
    expected = expected_rows(model_folder("sentiment"), records, all_scores=True)
    asked = {"params": {"all_scores": True}}
    assert_equal(sentiment.post("predict", json=records, **asked).json(), expected)
    assert_equal(sentiment.post("predict", json=records[0], **asked).json(), expected[0])
    assert_equal(sentiment.post("predict", json="bad soup", **asked).json(), expected[1])
    assert_equal(sentiment.post("predict", json=[records[0], "bad soup"], **asked).json(), expected)
    assert sentiment.post("predict", json=[]).json() == []
    many = [{"text": text} for text in texts_of(200)]  # more than a piece
    assert_equal(sentiment.post("predict", json=many).json(), expected_rows(model_folder("sentiment"), many))


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"text": "a', 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b"lovely soup", 400, 'a text in quotes ("…"), a record such as {"text": "An example text."}'),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"text": "a", "more": ' + b"[" * 600 + b"]" * 600 + b"}", 400, "nested too deeply"),
        (b'{"text": ' + b"9" * 5000 + b"}", 400, "no JSON"),
        (b"5", 422, "expected a text, or a record"),
        (b"null", 422, "expected a text, or a record"),
        (b'[["a"]]', 422, "expected a text, or a record"),
        (b'{"txt": "a"}', 422, "no such column; this record has txt"),
        (b'{"text": "\\ud800"}', 422, "half"),
        (json.dumps(["a"] * 1001).encode(), 413, "at most 1,000"),
        (b'"' + b"a" * 10_000_000 + b'"', 413, "given more than"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_has_a_status_and_a_reason(
    sentiment: Any, body: bytes, status: int, reason: str
) -> None:
    answer = sentiment.post("predict", content=body)
    assert (answer.status_code, reason in answer.json()["detail"]) == (status, True), answer.text
    assert sentiment.post("predict", json="good").status_code == 200


def test_a_wrong_path_and_a_wrong_query_get_those_that_there_are(sentiment: Any) -> None:
    for path, status, reason in (
        ("predct", 404, "given /predct, expected one of /, /predict, /health, /ready, /metrics, /docs"),
        ("predict?allscores=true", 422, "given ?allscores=true, expected nothing or ?all_scores=true"),
        ("predict?all_scores=maybe", 422, "given ?all_scores=maybe, expected nothing or ?all_scores=true"),
    ):
        answer = sentiment.post(path, json="good")
        assert (answer.status_code, answer.json()["detail"]) == (status, reason)


def test_a_wrong_record_spoils_nothing_for_the_requests_beside_it(
    serve: Any, ask_all: Any, model_folder: Folders
) -> None:
    overrides = ["generation.max_new_tokens=3"]
    with serve(str(model_folder("gpt2")), overrides=overrides) as client:
        answers = ask_all(client, ["good soup", "the film " * 200, "bad"] * 8, clients=24)
    assert [answer.status_code for answer in answers] == [200, 422, 200] * 8
    assert "a prompt of" in answers[1].json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "predict/../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "predict/latest",
        "docs/../serve.py",
        "static/x",
    ],
)
def test_a_path_names_no_file_and_no_model(sentiment: Any, path: str) -> None:
    assert sentiment.get(path).status_code in (404, 405)
    for name in ("model", "run", "revision"):
        answer = sentiment.post("predict", params={name: "owner/other"}, json="good")
        assert answer.status_code == 422
        assert name in answer.text


def test_numbers_and_missing_texts_are_read_as_predict_reads_them(
    sentiment: Any, model_folder: Folders
) -> None:
    records: list[dict[str, Any]] = [{"text": text} for text in (5, None, True, "")]
    assert_equal(
        sentiment.post("predict", json=records).json(), expected_rows(model_folder("sentiment"), records)
    )
    for value in ({"a": 1}, [1, 2]):
        answer = sentiment.post("predict", json=[{"text": "good"}, {"text": value}])
        assert answer.status_code == 422
        assert "where a text is expected" in answer.text


def test_a_slow_client_is_told_so_and_disturbs_nobody(
    sentiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    with socket.create_connection((sentiment.base_url.host, sentiment.base_url.port)) as slow:
        slow.sendall(b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"a')
        assert sentiment.post("predict", json="good").status_code == 200
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_another_site_s_page_may_not_ask(sentiment: Any) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Host": "evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ):
        assert sentiment.post("predict", json="good", headers=headers).status_code == 403
    same = {"Origin": str(sentiment.base_url).rstrip("/")}
    assert sentiment.post("predict", json="good", headers=same).status_code == 200


def test_the_description_has_an_example_of_this_model(sentiment: Any, model_folder: Folders) -> None:
    described = sentiment.get("openapi.json").json()["paths"]["/predict"]["post"]
    example = described["requestBody"]["content"]["application/json"]["example"]
    (row,) = expected_rows(model_folder("sentiment"), [example], all_scores=True)
    assert_equal(described["responses"]["200"]["content"]["application/json"]["example"], row)
    assert sentiment.get("docs").status_code == 200
    assert (sentiment.get("health").status_code, sentiment.get("ready").json()) == (200, {"ready": True})


def test_a_token_is_asked_for_everything_but_health(serve: Any, model_folder: Folders) -> None:
    token = "s" * 20
    with serve(str(model_folder("sentiment")), token=token) as client:
        paths = {path: client.get(path).status_code for path in ("", "docs", "metrics", "health", "ready")}
        assert paths == {"": 401, "docs": 401, "metrics": 401, "health": 200, "ready": 200}
        wrong = [("x", "s" * 19), (b"x", "ü" * 20), (token, "")]
        assert [client.post("predict", json="a", auth=auth).status_code for auth in wrong] == [401] * 3
        for header in ("Bearer", "Bearer x", "Basic a", "Basic !!!", f"bearer {token}x", "\xff"):
            headers = {"Authorization": header.encode("latin-1")}
            assert client.post("predict", json="a", headers=headers).status_code == 401
        assert (
            client.post("predict", json="a", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        )
        assert client.get("", auth=("anybody", token), headers={"Host": "models.example"}).status_code == 200


def test_more_than_may_wait_is_sent_away_and_told_when_to_come(
    serve: Any, ask_all: Any, model_folder: Folders, monkeypatch: Any
) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING", 1)
    with serve(str(model_folder("sentiment"))) as client:
        answers = ask_all(client, texts_of(30), clients=30)
        counts = {status: [a.status_code for a in answers].count(status) for status in (200, 503)}
        assert counts[200] >= 1
        assert counts[503] >= 1
        assert sum(counts.values()) == 30
        assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}
        assert client.post("predict", json=texts_of(5)).status_code == 200  # alone it may be larger


def test_a_request_is_given_up_in_time_and_not_computed(
    serve: Any, model_folder: Folders, monkeypatch: Any
) -> None:
    with serve(str(model_folder("gpt2")), timeout=0.3, overrides=["generation.max_new_tokens=60"]) as client:
        began = time.perf_counter()
        answer = client.post("predict", json=["the film"] * 900)
        assert (answer.status_code, answer.json()["detail"]) == (504, "no answer in 0.3 seconds (--timeout)")
        assert time.perf_counter() - began < 5


def test_a_pair_of_long_texts_is_answered(serve: Any, model_folder: Folders) -> None:
    with serve(str(model_folder("nli"))) as client:
        long = {"text": "good " * 20_000, "hypothesis": "soup " * 20_000}  # took all memory
        assert client.post("predict", json=long).status_code == 200


def test_a_text_without_a_mask_is_refused(serve: Any, model_folder: Folders) -> None:
    with serve(str(model_folder("bert"))) as client:
        answer = client.post("predict", json=["good [MASK]", "good soup"])
        assert (
            answer.status_code,
            "row 1: given 'good soup', expected a text with [MASK]" in answer.text,
        ) == (
            422,
            True,
        )
        guesses = client.post("predict", json="good [MASK]", params={"all_scores": True}).json()["scores"][0]
        page = client.post("predict", json="good [MASK]", headers={"Accept": "text/html"}).text
        assert page.count("<progress") == len(guesses) == 5


def test_a_large_request_leaves_turns_to_others(
    serve: Any, model_folder: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[int] = []
    predicted = batching.Batcher._predicted

    def slow(self: Any, pieces: Any) -> Any:
        order.append(len(pieces[0].records))
        time.sleep(0.1)
        return predicted(self, pieces)

    with serve(str(model_folder("sentiment"))) as client:
        monkeypatch.setattr(batching.Batcher, "_predicted", slow)
        large = threading.Thread(target=lambda: client.post("predict", json=["good"] * 640))
        large.start()
        while not order:
            time.sleep(0.005)
        assert client.post("predict", json="bad", params={"all_scores": True}).status_code == 200
        large.join()
    assert order.index(1) <= 2
    assert sum(order) == 641


def test_what_a_model_cannot_is_one_status_and_in_the_log(
    sentiment: Any, caplog: Any, monkeypatch: Any
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a secret of the model")

    monkeypatch.setattr(service.Batcher, "_predicted", broken)
    answer = sentiment.post("predict", json="good")
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert "a secret of the model" in caplog.text

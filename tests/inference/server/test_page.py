"""The page of a served model in a real browser: answers marked, scores as bars, texts as they are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Folders = Callable[[str], Path]
HOSTILE = "<img src=x onerror=document.title='taken'> & good soup"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium to look at a page with")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox does not work for root
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture(params=[("light", 1280), ("dark", 1280), ("light", 360)], ids=["light", "dark", "phone"])
def look(request: Any, chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page, asks for texts, and checks what holds for every page; the page with its answer."""
    scheme, width = request.param
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 760})

    def asked(client: Any, *texts: str) -> Any:
        page, problems = context.new_page(), []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(str(client.base_url))
        for area, text in zip(page.locator("textarea").all(), texts, strict=True):
            area.fill(text)
        page.get_by_role("button", name="Predict").click()
        page.wait_for_selector("#answer:not([aria-busy]):not(:empty)")
        page.screenshot(
            path=os.environ.get("RUNWRIGHT_SCREENSHOTS", tmp_path) / Path(f"{request.node.name}.png")
        )
        assert problems == []
        assert page.title() != "taken"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, colour[4:-1].split(","))) < 150) == (scheme == "dark")
        return page

    yield asked
    context.close()


def test_scores_are_bars_and_nothing_of_a_text_is_html(look: Any, serve: Any, model_folder: Folders) -> None:
    with serve(str(model_folder("sentiment"))) as client:
        page = look(client, HOSTILE)
        row = client.post("predict", json=HOSTILE, params={"all_scores": True}).json()
        bars = page.locator("progress").all()
        assert bars[0].get_attribute("aria-label") == row["predicted"]
        assert float(bars[0].get_attribute("value")) == pytest.approx(row["score"], abs=1e-5)
        assert page.locator("#answer b").inner_text() == row["predicted"]


def test_tags_and_answers_are_marked_in_the_text(look: Any, serve: Any, model_folder: Folders) -> None:
    with serve(str(model_folder("ner"))) as client:
        text = "Karl visited Acme in Berlin <b>"
        spans = client.post("predict", json=text).json()["predicted"]
        page = look(client, text)
        marks = page.locator("#answer mark").all_inner_texts()
        assert [mark.split("\n")[0] for mark in marks] == [span["text"] + span["type"] for span in spans]
        assert spans
        page.evaluate("document.querySelectorAll('#answer sub').forEach((sub) => sub.remove())")
        assert page.locator("#answer .text").first.text_content() == text


def test_an_answer_is_marked_in_its_context(look: Any, serve: Any, model_folder: Folders) -> None:
    with serve(str(model_folder("qa"))) as client:
        record = {"question": "Where does Anna live?", "context": "Anna lives in Paris"}
        page = look(client, *record.values())
        expected = client.post("predict", json=record).json()["predicted"]
        assert page.locator("#answer mark").all_inner_texts() == [expected]


def test_a_text_is_streamed_and_ends_as_predict_has_it(look: Any, serve: Any, model_folder: Folders) -> None:
    with serve(str(model_folder("gpt2")), overrides=["generation.max_new_tokens=20"]) as client:
        page = look(client, "the film")
        page.wait_for_function("!document.querySelector('#try button').disabled")
        expected = client.post("predict", json="the film").json()["predicted"]
        assert page.locator("#answer").text_content() == expected


def test_what_a_model_refuses_is_said(look: Any, serve: Any, model_folder: Folders) -> None:
    with serve(str(model_folder("gpt2"))) as client:
        page = look(client, "the film " * 200)
        assert "a prompt of" in page.locator("#answer.failed").inner_text()

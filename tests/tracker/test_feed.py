"""TensorBoard and W&B, which read what the journal has."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.errors import ConfigError
from runwright.tracker.feed import FedTracker
from runwright.types import RunInfo

MakeRun = Callable[..., RunInfo]
OPTIONS: Any = {"system_every_seconds": None, "upload_every_seconds": 0.05, "finish_timeout_seconds": 60.0}


def train(tracker: FedTracker, run: RunInfo, *, first: int, last: int, status: str) -> None:
    """Log a loss at each step and a metric at an earlier one, as that of the best weights is."""
    tracker.start(run)
    tracker.log_params({"optimizer": {"lr": 1e-5}})
    tracker.log_tags({"note": "a | b"})
    for step in range(first, last):
        tracker.log_metrics({"train/loss": 1 / step}, step=step)
    tracker.log_metrics({"best/validation/loss": 0.25}, step=4)
    tracker.finish(status)


def test_tensorboard_has_each_point_once_also_of_a_run_that_was_resumed(
    make_run: MakeRun, recorded: Callable[[Path], list[tuple[str, int, int, float]]]
) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from runwright.tracker.feed import TensorBoardTracker

    run = make_run()
    train(TensorBoardTracker(**OPTIONS), run, first=1, last=6, status="KILLED")
    train(TensorBoardTracker(**OPTIONS), run, first=4, last=9, status="FINISHED")
    events = accumulators.EventAccumulator(str(run.folder / "tensorboard")).Reload()
    points = [
        (name, event.step, round(event.wall_time * 1000), pytest.approx(event.value, rel=1e-6))
        for name in events.Tags()["scalars"]
        for event in events.Scalars(name)
    ]
    assert sorted(recorded(run.folder)) == sorted(points, key=lambda point: point[:2])
    assert len(points) == 9
    assert b"`1e-05`" in events.Tensors("params/text_summary")[-1].tensor_proto.string_val[0]


def offline_records(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows and the settings in the file that `wandb sync` uploads: a log of LevelDB's form."""
    wandb_internal_pb2: Any = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    content, rows, config, position = file.read_bytes(), [], {}, 7
    while position < len(content):  # less than one block of 32 KiB: every record is whole
        length = int.from_bytes(content[position + 4 : position + 6], "little")
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content[position + 7 : position + 7 + length])
        position += 7 + length
        items = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        rows += [items] if items else []
        updates = [*record.config.update, *record.run.config.update]
        config |= {item.key: json.loads(item.value_json) for item in updates}
    assert len(content) < 2**15
    return rows, config


@pytest.mark.slow
def test_wandb_keeps_each_point_once_over_its_own_step(
    make_run: MakeRun, recorded: Callable[[Path], list[tuple[str, int, int, float]]]
) -> None:
    pytest.importorskip("wandb")
    from runwright.tracker.feed import WandbTracker

    run = make_run()
    options = OPTIONS | {"project": None, "mode": "offline"}
    train(WandbTracker(**options), run, first=1, last=6, status="KILLED")
    train(WandbTracker(**options), run, first=4, last=9, status="FINISHED")
    rows, config = offline_records(run.folder)
    losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert losses == [(step, 1 / step) for step in range(1, 9)]
    assert [row["step"] for row in rows if "best/validation/loss" in row] == [4]
    assert config["optimizer.lr"] == "1e-05"
    times = [at for name, _, at, _ in recorded(run.folder) if name == "train/loss"]
    assert [round(1000 * row["_timestamp"]) for row in rows if "train/loss" in row] == times


def test_a_store_that_fails_does_not_stop_the_run(
    make_run: MakeRun, recorded: Callable[[Path], list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FedTracker):
        library, store_name = "tensorboard", "nowhere"

        def opened(self, run: RunInfo) -> Any:
            raise OSError("no room for token=hf_" + "a" * 34)

    run = make_run()
    train(Broken(**OPTIONS), run, first=1, last=4, status="FINISHED")
    assert len(recorded(run.folder)) == 4
    assert "does not take the run for now: OSError" in caplog.text
    assert "not everything is in nowhere yet (OSError" in caplog.text
    assert "hf_a" not in caplog.text


def test_a_library_that_is_missing_is_named_with_its_extra(make_run: MakeRun) -> None:
    class Missing(FedTracker):
        library = "no_such_package"

    with pytest.raises(ConfigError, match=r"pip install 'runwright\[no_such_package\]'"):
        Missing(**OPTIONS).start(make_run())


def test_a_store_that_is_away_for_days_is_tried_all_the_same(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runwright.tracker.feed.MAX_BACKOFF_SECONDS", 0.0)
    calls: list[int] = []

    class Away(FedTracker):
        library, store_name = "tensorboard", "nowhere"

        def feed(self) -> None:
            calls.append(0)
            if len(calls) < 1100:  # 2 to that power is no float
                raise OSError("away")

    tracker = Away(**OPTIONS)
    tracker.start(make_run())
    tracker.log_metrics({"loss": 1.0}, step=1)
    while tracker._thread is not None and tracker._thread.is_alive() and len(calls) < 1100:
        time.sleep(0.01)
    tracker.finish("FINISHED")
    assert len(calls) >= 1100

"""Data sets that a run reads are inputs of the MLflow run, each once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.errors import TrackingError
from runwright.tracker.mlflow.store import locate
from runwright.tracker.mlflow.tracker import MLflowTracker, sync
from runwright.types import RunInfo


def test_data_sets_are_inputs_with_their_digest_and_are_stored_once(
    make_run: Callable[..., RunInfo],
    make_tracker: Callable[..., MLflowTracker],
    query: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    run, tracker = make_run(), make_tracker()
    tracker.start(run)
    inputs = [
        {"name": f"csv/{split}", "digest": digest * 32, "source": ["a.csv"], "profile": {}, "context": split}
        for split, digest in (("train", "a"), ("test", "b"))
    ]
    tracker.log_inputs(inputs)
    tracker.log_inputs(inputs)  # as a resumed run does
    tracker.finish("FINISHED")
    (run.folder / "mlflow.json").write_text(
        (run.folder / "mlflow.json").read_text().replace('"offset":', '"ignored":')
    )
    assert sync(run.folder) > 0  # everything once more
    stored = query("SELECT name, digest, dataset_source FROM datasets ORDER BY name")
    assert stored == [("csv/test", "b" * 32, '["a.csv"]'), ("csv/train", "a" * 32, '["a.csv"]')]
    assert sorted(query("SELECT name, value FROM input_tags")) == [
        ("mlflow.data.context", "test"),
        ("mlflow.data.context", "train"),
    ]


def test_a_password_for_artifacts_is_refused_since_the_store_would_keep_it(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"artifact_uri .*redacted") as caught:
        locate(None, artifacts="ftp://ann:hunter2x@host/x", output_dir=tmp_path)
    assert "hunter2x" not in str(caught.value)

"""Runs as an MLflow store has them, in the same form as those read from folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.analysis.runs.rows import RunRow
from runwright.config.redaction import redact
from runwright.errors import TrackingError
from runwright.tracker.mlflow.store import client_settings, locate, require_store
from runwright.tracker.mlflow.upload import RUN_ID_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = 1000
TIMEOUT_SECONDS = 10
_UNENDED = {"SCHEDULED": "CREATED"}  # MLflow's word and ours


def read_store(uri: str | None, *, output_dir: Path) -> list[RunRow]:
    """All runs of a store, oldest first; raises TrackingError where it does not answer."""
    store = locate(uri, artifacts=None, output_dir=output_dir)
    require_store(store, timeout_seconds=TIMEOUT_SECONDS)
    with client_settings(timeout_seconds=60):
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            rows = [_row(run, names) for run, names in _all_runs(MlflowClient(store.uri))]
        except MlflowException as error:
            raise TrackingError(f"MLflow at {redact(store.uri)}: {redact(str(error))}") from error
    return sorted(rows, key=lambda row: row.start_time)


def _all_runs(client: Any) -> Any:
    names = {each.experiment_id: each.name for each in client.search_experiments(max_results=PAGE)}
    token = None
    while True:
        page = client.search_runs(list(names), max_results=PAGE, page_token=token)
        yield from ((run, names) for run in page)
        token = page.token
        if not token:
            return


def _row(run: Run, names: dict[str, str]) -> RunRow:
    tags, end = run.data.tags, run.info.end_time
    return RunRow(
        run_id=tags.get(RUN_ID_TAG, run.info.run_id),
        name=names[run.info.experiment_id],
        status=_UNENDED.get(run.info.status, run.info.status),
        start_time=(run.info.start_time or 0) / 1000,
        end_time=None if end is None else end / 1000,
        overrides=(),
        metrics={name: float(value) for name, value in run.data.metrics.items()},
        step=None,
        folder=None,
        reason=tags.get("runwright.ended", ""),
        record={"host": tags.get("runwright.host")},
        given_settings=dict(run.data.params),
    )

"""Carries a run's journal to MLflow: from where the last upload ended, in batches, nothing twice.

MLflow keeps a metric once for each (run, name, step, timestamp, value); the journal's timestamps never
change, so that sending a batch again after a crash adds nothing. The position reached is kept in
`mlflow.json` in the run folder, for each store apart.
"""

from __future__ import annotations

import getpass
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from runwright.config.redaction import redact
from runwright.errors import TrackingError
from runwright.store import write_json
from runwright.tracker.journal import FILE_NAME, read
from runwright.tracker.mlflow.batch import MAX_METRICS, MAX_PARAMS, MAX_TAGS, Batch
from runwright.tracker.mlflow.logged_model import send_model
from runwright.tracker.mlflow.names import MAX_TAG_LENGTH, mlflow_name, mlflow_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    from runwright.tracker.mlflow.store import Store

logger = logging.getLogger(__name__)

STATE_NAME = "mlflow.json"
# MLflow's limits for a data set that a run reads.
MAX_INPUT_NAME_LENGTH = 500
MAX_DIGEST_LENGTH = 36
MAX_SOURCE_LENGTH = 65_535
RUN_ID_TAG = "runwright.run_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Which MLflow run a journal belongs to."""

    run_id: str  # ours, a tag there
    run_name: str
    experiment: str


class Uploader:
    """One run's way into one store; used by one thread at a time.

    `upload` raises whatever MLflow raises when the store does not answer; the next call goes on from there.
    What MLflow refuses for good is left out with a warning and stays in the journal.
    """

    def __init__(self, folder: Path, *, store: Store, target: Target) -> None:
        self.folder = folder
        self.store = store
        self.target = target
        self.mlflow_run_id: str | None = None
        self.experiment_id: str | None = None
        self._client: MlflowClient | None = None
        # Not bound to a thread: taken in the uploading one, let go wherever the run ends.
        self._lock = FileLock(folder / "mlflow.lock", timeout=0, thread_local=False)
        self._offset = 0
        self._named: set[str] = set()

    def connect(self) -> None:
        """Find the run in the store, or create it; called by `upload` too."""
        if self._client is not None:
            return
        from mlflow.tracking import MlflowClient

        from runwright.tracker.mlflow.store import prepare

        try:
            self._lock.acquire()
        except Timeout as error:
            raise TrackingError(f"another process is uploading {self.folder}") from error
        prepare(self.store, timeout_seconds=60)
        client = MlflowClient(self.store.uri)
        state = read_state(self.folder).get(self._key, {})
        self.experiment_id = _experiment(client, self.target.experiment, self.store.artifacts)
        self.mlflow_run_id = self._find_run(client, state.get("mlflow_run_id"))
        if self.mlflow_run_id is None:
            self.mlflow_run_id, state = self._create_run(client), {}
        length = (self.folder / FILE_NAME).stat().st_size
        self._offset = state.get("offset", 0) if state.get("offset", 0) <= length else 0
        self._client = client
        self._save()

    def upload(self, *, go_on: Callable[[], bool] = lambda: True) -> int:
        """Send what the journal holds and the store lacks; the number of journal records sent."""
        self.connect()
        num_sent = 0
        while go_on():
            batch = self._next_batch()
            if batch.num_records == 0:
                break
            self._send(batch)
            self._offset = batch.offset
            self._save()
            num_sent += batch.num_records
        return num_sent

    @property
    def is_done(self) -> bool:
        """Whether the store has everything that the journal has."""
        return self._client is not None and self._offset == (self.folder / FILE_NAME).stat().st_size

    def close(self) -> None:
        """Let other processes upload."""
        self._lock.release(force=True)

    @property
    def _key(self) -> str:
        return redact(self.store.uri)

    def _save(self) -> None:
        states = read_state(self.folder)
        states[self._key] = {
            "mlflow_run_id": self.mlflow_run_id,
            "experiment_id": self.experiment_id,
            "offset": self._offset,
        }
        write_json(self.folder / STATE_NAME, states)

    def _find_run(self, client: MlflowClient, known: str | None) -> str | None:
        from mlflow.exceptions import MlflowException

        if known is not None:
            try:
                return client.get_run(known).info.run_id
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        assert self.experiment_id is not None
        query = f"tags.`{RUN_ID_TAG}` = '{self.target.run_id}'"
        found = client.search_runs([self.experiment_id], query, max_results=1)
        return found[0].info.run_id if found else None

    def _create_run(self, client: MlflowClient) -> str:
        first = next(read(self.folder / FILE_NAME), None)
        assert self.experiment_id is not None
        tags = {RUN_ID_TAG: self.target.run_id, "mlflow.source.type": "LOCAL", "mlflow.user": _user()}
        run = client.create_run(
            self.experiment_id,
            start_time=first[0]["t"] if first else None,
            tags=tags,
            run_name=mlflow_text(self.target.run_name, max_length=MAX_TAG_LENGTH),
        )
        return run.info.run_id

    def _next_batch(self) -> Batch:
        batch = Batch(offset=self._offset, named=self._named)
        for record, offset in read(self.folder / FILE_NAME, offset=self._offset):
            batch.take(record, offset=offset)
            if batch.is_full:
                break
        return batch

    def _send(self, batch: Batch) -> None:
        from mlflow.entities import Param, RunTag

        client, run_id = self._client, self.mlflow_run_id
        assert client is not None
        assert run_id is not None
        for metrics in _chunks(batch.metrics, MAX_METRICS):
            self._log(metrics, [], [])
        for params in _chunks([Param(*item) for item in batch.params.items()], MAX_PARAMS):
            self._log([], params, [])
        for tags in _chunks([RunTag(*item) for item in batch.tags.items()], MAX_TAGS):
            self._log([], [], tags)
        if batch.inputs:
            self._log_inputs(batch.inputs)
        for key, text in batch.long_texts.items():
            clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
            client.log_text(run_id, clean, f"long_values/{key}.txt")
        if "model" in batch.last:
            send_model(client, self.folder, batch.last, run_id=run_id, experiment_id=self.experiment_id)
        elif "artifact" in batch.last:
            self._send_artifact(batch.last)
        elif batch.last.get("status") == "RUNNING":
            client.update_run(run_id, status="RUNNING")
        elif batch.last:
            client.set_terminated(run_id, batch.last["status"], end_time=batch.last["t"])

    def _log(self, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> None:
        """One call; where MLflow refuses what is in it, halves of it, so that the rest arrives."""
        from mlflow.exceptions import MlflowException

        assert self._client is not None
        assert self.mlflow_run_id is not None
        try:
            self._client.log_batch(self.mlflow_run_id, metrics, params, tags, synchronous=True)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise
            run = self._client.get_run(self.mlflow_run_id)
            if run.info.lifecycle_stage == "deleted":
                raise TrackingError(
                    f"MLflow run {self.mlflow_run_id} was deleted; it is left alone"
                ) from error
            entries = [*metrics, *params, *tags]
            if len(entries) == 1:
                logger.warning("MLflow refuses %r: %s", entries[0].key, error)
                return
            for half in (slice(0, len(entries) // 2), slice(len(entries) // 2, None)):
                self._log(metrics[half], params[half], tags[half])

    def _log_inputs(self, inputs: list[dict[str, Any]]) -> None:
        """Data sets of the run; MLflow keeps each once."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        assert self._client is not None
        assert self.mlflow_run_id is not None
        datasets = [
            DatasetInput(
                Dataset(
                    name=mlflow_text(each["name"], max_length=MAX_INPUT_NAME_LENGTH),
                    digest=each["digest"][:MAX_DIGEST_LENGTH],
                    source_type="local",
                    source=mlflow_text(json.dumps(each["source"]), max_length=MAX_SOURCE_LENGTH),
                    schema=None,
                    profile=json.dumps(each["profile"]),
                ),
                [InputTag("mlflow.data.context", each["context"])],
            )
            for each in inputs
        ]
        try:
            self._client.log_inputs(self.mlflow_run_id, datasets=datasets)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "ENDPOINT_NOT_FOUND"):
                raise
            logger.warning("MLflow refuses the run's data sets: %s", error)

    def _send_artifact(self, record: dict[str, Any]) -> None:
        assert self._client is not None
        assert self.mlflow_run_id is not None
        path = self.folder / record["artifact"]  # an absolute path stays itself
        place = record["folder"] or None
        if path.is_dir():
            inside = f"{place}/{path.name}" if place else path.name
            self._client.log_artifacts(self.mlflow_run_id, str(path), inside)
        elif path.is_file():
            self._client.log_artifact(self.mlflow_run_id, str(path), place)
        else:
            logger.warning("artifact %s is gone and cannot be uploaded", path)


def read_state(folder: Path) -> dict[str, Any]:
    """What `mlflow.json` of a run folder says: for each store, which run there and how far it is."""
    try:
        return json.loads((folder / STATE_NAME).read_text())
    except (FileNotFoundError, ValueError):
        return {}  # uploading again from the start adds nothing twice


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is None:
        place = f"{artifacts.rstrip('/')}/{mlflow_name(name)}" if artifacts else None  # nothing to escape
        try:
            return client.create_experiment(name, artifact_location=place)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = client.get_experiment_by_name(name)  # another process was faster
        assert known is not None
    if known.lifecycle_stage == "deleted":
        logger.warning("experiment %r was deleted in MLflow; it is restored", name)
        client.restore_experiment(known.experiment_id)
    return known.experiment_id


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return "unknown"


def _chunks(entries: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]

"""Uploads journals to MLflow: from where the last upload ended, in batches, nothing twice.

MLflow keeps a metric once for each (run, name, step, timestamp, value); the journal's timestamps never
change, so that sending a batch again after a crash adds nothing. The position reached is kept in
`mlflow.json` in the run folder, for each store apart.

MLflow 3.17 takes names of letters, digits, `/ _ . - :` and spaces that are also plain relative paths, up to
250 characters; param values up to 6,000 characters and tag values up to 8,000; it stores an infinite metric
as ±1.797e308. What is changed here is kept whole in the journal, and the run carries a tag that says so.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import math
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from runwright.config.addresses import to_path
from runwright.config.redaction import redact
from runwright.errors import TrackingError
from runwright.store import cache_root, digest, read_json, write_json
from runwright.tracker.journal import FILE_NAME, read
from runwright.tracker.mlflow.logged_model import is_own, send_model
from runwright.tracker.mlflow.store import Store, prepare

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

# MLflow's limits for one log_batch call; it also refuses requests over 1 MB, which are then halved.
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_NAME_LENGTH = 250
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000

STATE_NAME = "mlflow.json"
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # of an entry for good
RUN_ID_TAG = "runwright.run_id"
VIEW_TAG = "mlflow.sharedViewState.runwright"  # as MLflow 3.17 keeps a view of an experiment
PARENT_TAG, SWEEP_TAG = "mlflow.parentRunId", "runwright.sweep"  # of a job; of the run above the jobs

_NOT_TAKEN = re.compile(r"[^/\w.\- :]")


@dataclass(kw_only=True, slots=True)
class Batch:
    """Entries for one or more calls of log_batch, and how far in the journal they reach."""

    offset: int
    num_records: int = 0
    metrics: list[Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)  # a record that must come after all others

    def take(self, record: dict[str, Any], *, offset: int) -> None:
        """Take in the journal record that ends at `offset`."""
        from mlflow.entities import Metric

        for name, value in record.get("m", {}).items():
            self.metrics.append(Metric(key := mlflow_name(name), float(value), record["t"], record["s"]))
            if math.isinf(float(value)):
                self._note(f"runwright.infinite.{key}", f"{value} at step {record['s']}; shown as ±1.8e308")
        for name, text in record.get("params", {}).items():
            self.params[mlflow_name(name)] = mlflow_text(text, max_length=MAX_PARAM_LENGTH)
        for name, text in record.get("tags", {}).items():
            self.tags[mlflow_name(name)] = mlflow_text(text, max_length=MAX_TAG_LENGTH)
        for name, (first, now) in record.get("changed", {}).items():
            self._note(f"runwright.changed.{name}", f"{first} → {now}")
        if "conflict" in record:
            self._note("runwright.replay_differs", f"step {record['s']}: {json.dumps(record['conflict'])}")
        if "artifact" in record or "status" in record or "model" in record:
            self.last = record
        self.offset = offset
        self.num_records += 1

    def _note(self, name: str, text: str) -> None:
        self.tags[mlflow_name(name)[:MAX_NAME_LENGTH]] = mlflow_text(text, max_length=MAX_TAG_LENGTH)


def mlflow_name(name: str) -> str:
    """The name itself where MLflow takes it, else a readable form of it; different names stay different."""
    is_path = posixpath.normpath(name) == name and name != "." and not name.startswith(("..", "/"))
    if is_path and len(name) <= MAX_NAME_LENGTH and not _NOT_TAKEN.search(name):
        return name
    readable = re.sub(r"_{2,}", "_", _NOT_TAKEN.sub("_", name))
    folders = (folder.lstrip(".") for folder in readable.split("/") if folder.strip(". "))
    # A hash of the original keeps `f1@10` and `f1(10)` apart, the same way in every process.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    start = "/".join(folders)[: MAX_NAME_LENGTH - 9]
    return f"{start}-{digest}" if start else digest


def mlflow_text(text: str, *, max_length: int) -> str:
    """The text itself where MLflow takes it, else its beginning and what became of the rest."""
    clean = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(clean) <= max_length:
        return clean
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    note = f" … [{len(text)} characters, sha256 {digest}; whole in the journal]"
    return clean[: max_length - len(note)] + note


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The MLflow run of a journal."""

    run_id: str  # ours, a tag there
    run_name: str
    experiment: str
    start_time: float | None = None  # seconds since 1970
    sweep: str | None = None  # identity of its multirun, which is the run above it
    metric: str | None = None  # the one that the best step is chosen by, as `split/name`
    less_is_better: bool = False  # of that metric


class Uploader:
    """Uploads the journal of one run to one store; used by one thread at a time.

    `upload` raises whatever MLflow raises when the store does not answer; the next call goes on from there.
    What MLflow refuses for good is left out with a warning and stays in the journal.
    """

    def __init__(self, folder: Path, *, store: Store, target: Target) -> None:
        self.folder, self.store, self.target = folder, store, target
        self.mlflow_run_id = self.experiment_id = ""  # until it is connected
        self._client: MlflowClient | None = None
        # Not bound to a thread: taken in the uploading one, let go wherever the run ends.
        self._lock = FileLock(folder / "mlflow.lock", timeout=0, thread_local=False)
        self._offset = 0

    def connect(self) -> MlflowClient:
        """Find the run in the store, or create it; called by `upload` too."""
        if self._client is not None:
            return self._client
        from mlflow.tracking import MlflowClient

        try:
            self._lock.acquire()
        except Timeout as error:
            raise TrackingError(f"another process is uploading {self.folder}") from error
        prepare(self.store, timeout_seconds=60)
        client = MlflowClient(self.store.uri)
        state = read_state(self.folder).get(redact(self.store.uri), {})
        self.experiment_id = _experiment(client, self.target.experiment, self.store.artifacts)
        if self.target.metric:
            self._describe_experiment(client, self.target.metric)
        if (run_id := self._search(client, self.target.run_id)) is None:
            tags = {PARENT_TAG: self._find_parent(client, self.target.sweep)} if self.target.sweep else {}
            run_id, state = self._create(client, self.target.run_id, self.target.run_name, tags), {}
        self.mlflow_run_id = run_id
        length = (self.folder / FILE_NAME).stat().st_size
        self._offset = state.get("offset", 0) if state.get("offset", 0) <= length else 0
        self._client = client
        self._save()
        return client

    def upload(self) -> int:
        """Send journal records that the store lacks; returns their number."""
        client, num_sent = self.connect(), 0
        while True:
            batch = Batch(offset=self._offset)
            for record, offset in read(self.folder / FILE_NAME, offset=self._offset):
                batch.take(record, offset=offset)
                if batch.last or len(batch.metrics) >= MAX_METRICS or len(batch.params) >= MAX_PARAMS:
                    break
            if batch.num_records == 0:
                return num_sent
            self._send(client, batch)
            self._offset = batch.offset
            self._save()
            num_sent += batch.num_records

    def close(self) -> None:
        """Release the lock, so that other processes may upload."""
        self._lock.release(force=True)

    def _save(self) -> None:
        states = read_state(self.folder)
        states[redact(self.store.uri)] = {
            "mlflow_run_id": self.mlflow_run_id,
            "experiment_id": self.experiment_id,
            "offset": self._offset,
        }
        write_json(self.folder / STATE_NAME, states)

    def _describe_experiment(self, client: MlflowClient, metric: str) -> None:
        """Name the metric that MLflow draws first, and a view of the main ones; what a user chose stays."""
        keys = (f"best/{metric}", f"test/{metric.partition('/')[2]}", "train/loss", metric)
        now = round(1000 * (self.target.start_time or 0))
        state = json.dumps({"selectedColumns": [f"metrics.`{mlflow_name(key)}`" for key in keys]})
        view = {"name": "Main metrics", "createdAt": now, "updatedAt": now, "state": state}
        tags = {"mlflow.experiment.primaryMetric.name": mlflow_name(metric), VIEW_TAG: json.dumps(view)}
        for key in tags.keys() - client.get_experiment(self.experiment_id).tags.keys():
            client.set_experiment_tag(self.experiment_id, key, tags[key])

    def _search(self, client: MlflowClient, our_id: str) -> str | None:
        """The run with our identity, one that was deleted in MLflow too."""
        from mlflow.entities import ViewType

        query = f"tags.`{RUN_ID_TAG}` = '{our_id}'"
        runs = client.search_runs([self.experiment_id], query, ViewType.ALL, max_results=1)
        return runs[0].info.run_id if runs else None

    def _find_parent(self, client: MlflowClient, sweep: str) -> str:
        """The run of the multirun, made by the first of its jobs that comes here."""
        our_id = digest(sweep)  # a folder's name may hold what a search does not take
        key = digest([redact(self.store.uri), self.experiment_id, our_id])
        lock = cache_root() / "mlflow" / f"{key}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        name, tags = f"{self.target.experiment} sweep {sweep.rpartition('-')[0]}", {SWEEP_TAG: sweep}
        with FileLock(lock, timeout=60):
            return self._search(client, our_id) or self._create(client, our_id, name, tags)

    def _create(self, client: MlflowClient, our_id: str, name: str, tags: dict[str, str]) -> str:
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a container's user need not have a name
            user = "unknown"
        tags |= {RUN_ID_TAG: our_id, "mlflow.source.type": "LOCAL", "mlflow.user": user}
        start = round(1000 * self.target.start_time) if self.target.start_time else None
        name = mlflow_text(name, max_length=MAX_TAG_LENGTH)
        return client.create_run(self.experiment_id, start, tags, run_name=name).info.run_id

    def _settle_parent(self, client: MlflowClient) -> None:
        """Give the run of the multirun the status of its jobs together; it ends while none of them runs."""
        parent = client.get_run(self.mlflow_run_id).data.tags.get(PARENT_TAG)
        if parent is None or client.get_run(parent).info.lifecycle_stage == "deleted":
            return
        query = f"tags.`{PARENT_TAG}` = '{parent}'"
        jobs = client.search_runs([self.experiment_id], query, order_by=["attributes.start_time DESC"])
        statuses = [job.info.status for job in jobs]
        # A job that was killed and made up for by a later one no longer counts.
        status = next((one for one in ("RUNNING", "FAILED") if one in statuses), statuses[0])
        self._log_best(client, parent, jobs)
        if status == "RUNNING":
            client.update_run(parent, status=status)
        else:
            client.set_terminated(parent, status, end_time=max(job.info.end_time or 0 for job in jobs))

    def _log_best(self, client: MlflowClient, parent: str, jobs: Sequence[Any]) -> None:
        """Draw the best metric so far over the jobs that ended, in the run above them."""
        from mlflow.entities import Metric

        key, best = mlflow_name(f"best/{self.target.metric}"), min if self.target.less_is_better else max
        done = [job for job in jobs if job.info.end_time and key in job.data.metrics]
        ended = sorted((job.info.end_time, job.data.metrics[key]) for job in done)
        values = accumulate((value for _, value in ended), best)
        curve = [Metric(key, v, end, n) for n, ((end, _), v) in enumerate(zip(ended, values, strict=True), 1)]
        if curve:
            client.log_batch(parent, metrics=curve[-MAX_METRICS:])

    def _send(self, client: MlflowClient, batch: Batch) -> None:
        from mlflow.entities import Param, RunTag

        run_id, last = self.mlflow_run_id, batch.last
        calls = (
            ("metrics", batch.metrics, MAX_METRICS),
            ("params", [Param(*item) for item in batch.params.items()], MAX_PARAMS),
            ("tags", [RunTag(*item) for item in batch.tags.items()], MAX_TAGS),
        )
        for kind, entries, limit in calls:
            for start in range(0, len(entries), limit):
                self._log(client, kind, entries[start : start + limit])
        if "model" in last:
            send_model(client, self.folder, last, run_id=run_id, experiment_id=self.experiment_id)
        elif "artifact" in last:
            path = self.folder / last["artifact"]
            if not is_own(path, folder=self.folder):
                logger.warning("artifact %s is left out: a link, or outside of the run's folder", path)
            elif path.is_dir():
                client.log_artifacts(run_id, str(path), last["artifact"])
            elif path.is_file():
                client.log_artifact(run_id, str(path), last["artifact"].rpartition("/")[0] or None)
            else:
                logger.warning("artifact %s is gone and cannot be uploaded", path)
        elif last.get("status") == "RUNNING":
            client.update_run(run_id, status="RUNNING")
            self._settle_parent(client)
        elif last:
            ended = "KILLED" if last["status"] == "PRUNED" else last["status"]  # MLflow has no such word
            client.set_terminated(run_id, ended, end_time=last["t"])
            self._settle_parent(client)

    def _log(self, client: MlflowClient, kind: str, entries: Sequence[Metric | Param | RunTag]) -> None:
        """Send metrics, params or tags in one call; in halves where MLflow refuses an entry of them."""
        from mlflow.exceptions import MlflowException

        try:
            options: dict[str, Any] = {kind: entries, "synchronous": True}
            client.log_batch(self.mlflow_run_id, **options)
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            if client.get_run(self.mlflow_run_id).info.lifecycle_stage == "deleted":
                raise TrackingError(
                    f"MLflow run {self.mlflow_run_id} was deleted; it is left alone"
                ) from error
            if len(entries) == 1:
                logger.warning("MLflow refuses %r: %s", entries[0].key, error)
                return
            middle = len(entries) // 2
            for half in (entries[:middle], entries[middle:]):
                self._log(client, kind, half)


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    address = f"{artifacts.rstrip('/')}/{mlflow_name(name)}" if artifacts else None  # nothing to escape
    if experiment is None:
        try:
            return client.create_experiment(name, artifact_location=address)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)  # another process was faster
        assert experiment is not None
    if experiment.lifecycle_stage == "deleted":
        logger.warning("experiment %r was deleted in MLflow; it is restored", name)
        client.restore_experiment(experiment.experiment_id)
    return experiment.experiment_id


def read_state(folder: Path) -> dict[str, Any]:
    """`mlflow.json` of a run folder: for each store, the run there and the position reached."""
    return read_json(folder / STATE_NAME)  # where it is broken, uploading again adds nothing twice


def unsent_bytes(folder: Path) -> dict[str, int]:
    """Bytes of a run's journal that each store lacks, by address; empty for a run that MLflow never saw."""
    file = folder / FILE_NAME
    length = file.stat().st_size if file.is_file() else 0
    # A file of a project that was moved since is no store any more.
    stores = {
        uri: state
        for uri, state in read_state(folder).items()
        if uri != "run" and ((file := to_path(uri)) is None or file.exists())
    }
    return {uri: max(0, length - int(state.get("offset", 0))) for uri, state in stores.items()}

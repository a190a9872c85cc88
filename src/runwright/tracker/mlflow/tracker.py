"""The tracker that shows runs in MLflow: journal first, a background thread for the rest.

`spool` lets a run start and go on without its store; what could not be sent is uploaded later by `sync`.
`fail` refuses to start without the store; a run that has started is never stopped by it.
"""

import contextlib
import logging
import os
import shlex
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from runwright.config.redaction import MASK, redact
from runwright.errors import RunwrightError, TrackingError
from runwright.store import write_json
from runwright.sweep import trial
from runwright.tracker.console import JournalTracker
from runwright.tracker.journal import FILE_NAME, read
from runwright.tracker.mlflow import store as stores
from runwright.tracker.mlflow.logged_model import at_alias, make_version
from runwright.tracker.mlflow.store import Store, client_settings, locate
from runwright.tracker.mlflow.upload import RUN_ID_TAG, STATE_NAME, Target, Uploader, read_state
from runwright.tracker.system import PREFIX
from runwright.trainer.options import USUAL
from runwright.types import PositiveFloat, RunInfo

logger = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 60.0


@dataclass(kw_only=True, eq=False)
class MLflowTracker(JournalTracker):
    """Records to the journal and uploads it to MLflow in a background thread."""

    uri: str | None
    experiment: str | None
    artifact_uri: str | None
    policy: Literal["spool", "fail"]
    start_timeout_seconds: PositiveFloat
    finish_timeout_seconds: PositiveFloat
    upload_every_seconds: PositiveFloat

    def __post_init__(self) -> None:
        super().__post_init__()
        self._uploader: Uploader | None = None
        self._thread: threading.Thread | None = None
        self._loaded = threading.Event()  # MLflow is imported, and its store made where there was none
        self._stop = threading.Event()
        self._trouble = ""
        self._settings = contextlib.ExitStack()

    @property
    def location(self) -> str:
        """Address of the run in MLflow, without passwords."""
        uploader = self._uploader
        if uploader is None:
            return ""
        uri = redact(uploader.store.uri)
        if uploader.store.scheme in ("http", "https") and uploader.mlflow_run_id:
            return f"{uri.rstrip('/')}/#/experiments/{uploader.experiment_id}/runs/{uploader.mlflow_run_id}"
        return uri

    def on_start(self, run: RunInfo) -> None:
        """Probe the store; the thread that uploads starts with the first metric, also where the probe failed.

        Importing MLflow and making a store would delay the first step.
        """
        output_dir = Path(str(run.config.get("output_dir") or run.folder.parent.parent)).expanduser()
        store = locate(self.uri, artifacts=self.artifact_uri, output_dir=output_dir)
        stores.require_driver(store)
        trainer = run.config.get("trainer", {})
        metric, split = trainer.get("best_metric"), trainer.get("best_split") or USUAL
        target = Target(
            run_id=run.run_id,
            run_name=f"{run.name}-{run.folder.name.rpartition('-')[2]}",
            experiment=redact(self.experiment or run.name),
            start_time=run.start_time,
            sweep=run.sweep,
            metric=f"{split}/{metric}" if metric else None,
            less_is_better=trainer.get("best_mode") == "min",
        )
        _remember(self._folder, store=store, target=target, output_dir=output_dir)
        self._trouble = stores.probe(store, timeout_seconds=self.start_timeout_seconds) or ""
        self._uploader = Uploader(self._folder, store=store, target=target)
        self._thread = threading.Thread(
            target=self._work, args=(self._uploader,), name="runwright-mlflow", daemon=True
        )
        if self.policy == "fail":
            if not self._trouble:
                self._load_mlflow(store)
                self._attempt(self._uploader)
            if self._trouble:
                self._uploader.close()
                self._settings.close()
                raise TrackingError(
                    f"MLflow at {redact(store.uri)} does not take the run ({self._trouble}) and "
                    f"tracker.policy is fail; start the server, or set tracker.policy=spool to upload later"
                )
        elif self._trouble:
            logger.warning("MLflow at %s: %s; the run goes on", redact(store.uri), self._trouble)

    def _load_mlflow(self, store: Store) -> None:
        """Import MLflow, and make the store where there is none; what goes wrong is tried again."""
        try:
            self._settings.enter_context(client_settings())
            if not self._trouble:
                stores.prepare(store, timeout_seconds=60)
        except Exception as error:  # noqa: BLE001 - nothing that MLflow does may stop the run
            self._note(error)
        finally:
            self._loaded.set()

    def on_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:  # noqa: ARG002 - the hook's
        """Begin to upload with the first metric that is not the machine's."""
        if not all(name.startswith(PREFIX) for name in metrics):
            self._start_uploading()

    def _start_uploading(self) -> None:
        if self._thread is not None and self._thread.ident is None:
            self._thread.start()

    def on_finish(self) -> None:
        """Upload the rest, within the time limit; the process of a trial gives its result first."""
        self._start_uploading()
        self._stop.set()
        trial.after_answer(self._wait)

    def _wait(self) -> None:
        thread, uploader = self._thread, self._uploader
        if thread is not None and uploader is not None:
            limit = self.finish_timeout_seconds
            # Importing MLflow and making a store have a limit of their own.
            if not self._loaded.wait(limit):
                self._trouble, limit = f"it was not ready in {limit:g} s", 0.0
            thread.join(limit)
            if thread.is_alive() or not uploader.is_done:
                logger.warning(
                    "not everything is in MLflow yet (%s); later: runwright sync %s",
                    self._trouble or "it was too slow",
                    shlex.quote(str(self._folder)),
                )
        self._thread = None
        self._settings.close()

    def _work(self, uploader: Uploader) -> None:
        if trial.later is not None:  # a trial may be shorter than the import and the first upload
            self._stop.wait(self.upload_every_seconds)
        if not self._loaded.is_set():
            self._load_mlflow(uploader.store)
        num_failures, stopping = 0, False
        while True:
            num_failures = 0 if self._attempt(uploader) else num_failures + 1
            if stopping:
                break
            # After the stop there is exactly one more attempt, for what was recorded last.
            stopping = self._stop.wait(min(self.upload_every_seconds * 2**num_failures, MAX_BACKOFF_SECONDS))
        uploader.close()

    def _attempt(self, uploader: Uploader) -> bool:
        try:
            uploader.upload()
        except Exception as error:  # noqa: BLE001 - nothing that MLflow does may stop the run
            self._note(error)
            return False
        if self._trouble:
            logger.info("MLflow takes the run again")
        self._trouble = ""
        return True

    def _note(self, error: Exception) -> None:
        trouble = _reason(error)
        if not self._trouble:
            logger.warning("MLflow does not take the run for now: %s; the run goes on", trouble)
        self._trouble = trouble
        logger.debug("upload failed", exc_info=error)


def sync(folder: Path, *, uri: str | None = None, output_dir: Path | None = None) -> int:
    """Upload what a run's store lacks; the number of journal records sent."""
    with connected(folder, uri=uri, output_dir=output_dir) as uploader:
        return uploader.upload()


@contextlib.contextmanager
def connected(folder: Path, *, uri: str | None, output_dir: Path | None) -> Iterator[Uploader]:
    """The uploader of a finished run, for what is asked of its store.

    `output_dir` is that of a run that was moved; None: where it was when the run was tracked.
    `uri` is needed where the run's own had a password, unless MLFLOW_TRACKING_URI has it.
    Raises TrackingError where the store does not take it or another process is uploading the run.
    """
    folder = folder.resolve()
    run = read_state(folder).get("run")
    if run is None:
        raise TrackingError(f"{folder} has no {STATE_NAME}: it is no run that was tracked with MLflow")
    address = uri or run["uri"]
    if address is not None and MASK in address:
        address = os.environ.get("MLFLOW_TRACKING_URI", address)
    if address is not None and MASK in address:
        raise TrackingError(f"the address {address} was kept without its password; set MLFLOW_TRACKING_URI")
    store = locate(address, artifacts=run["artifacts"], output_dir=output_dir or folder / run["output_dir"])
    trouble = stores.probe(store, timeout_seconds=10)
    if trouble:
        raise TrackingError(f"MLflow at {redact(store.uri)}: {trouble}")
    with client_settings(timeout_seconds=60):  # nothing but the user waits for it: a busy server has time
        uploader = Uploader(folder, store=store, target=Target(**run["target"]))
        try:
            yield uploader
        except RunwrightError:
            raise
        except Exception as error:
            raise TrackingError(f"MLflow at {redact(store.uri)}: {_reason(error)}") from error
        finally:
            uploader.close()


def register(uploader: Uploader, name: str, *, alias: str | None) -> str:
    """Make the best model of a run a version of a registered model, which the alias goes to; its number."""
    client = uploader.connect()
    uploader.upload()
    records = (record for record, _ in read(uploader.folder / FILE_NAME) if "model" in record)
    if (record := max(records, key=lambda record: record["t"], default=None)) is None:
        raise TrackingError(f"{uploader.folder} has recorded no best model")
    run, experiment = uploader.mlflow_run_id, uploader.experiment_id
    version = make_version(client, record, name, run_id=run, experiment_id=experiment)
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return version


def find_alias(uploader: Uploader, name: str, alias: str) -> str | None:
    """Our id of the run whose model an alias of a registered model is at; None where there is none yet."""
    client = uploader.connect()
    version = at_alias(client, name, alias)
    if version is None:
        return None
    tags = client.get_run(str(version.run_id)).data.tags
    if RUN_ID_TAG not in tags:
        raise TrackingError(f"models:/{name}@{alias} is at a model of another program")
    return tags[RUN_ID_TAG]


def _remember(folder: Path, *, store: Store, target: Target, output_dir: Path) -> None:
    """Write what `sync` needs later; paths are relative to the run, so that `outputs/` can be moved."""
    default = store.uri == stores.default_address(output_dir)
    states = read_state(folder)
    states["run"] = {
        "target": asdict(target),
        "uri": None if default else redact(store.uri),
        "artifacts": None if default else redact(store.artifacts),
        "output_dir": os.path.relpath(output_dir.resolve(), folder),
    }
    write_json(folder / STATE_NAME, states)


def _reason(error: Exception) -> str:
    """The error in one line, of MLflow's words the first, without secrets."""
    if isinstance(error, TrackingError):
        return redact(str(error))
    lines = redact(str(error)).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"

"""The tracker that shows runs in MLflow: journal first, a background thread for the rest.

`spool` lets a run start and go on without its store; what could not be sent is uploaded later by `sync`.
`fail` refuses to start without the store; a run that has started is never stopped by it.
"""

import contextlib
import logging
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from runwright.config.redaction import MASK, redact
from runwright.errors import ConfigError, RunwrightError, TrackingError, did_you_mean
from runwright.store import write_json
from runwright.tracker.feed import FedTracker, reason_of
from runwright.tracker.journal import FILE_NAME, read
from runwright.tracker.mlflow import store as stores
from runwright.tracker.mlflow.logged_model import make_version
from runwright.tracker.mlflow.store import Store, client_settings, locate
from runwright.tracker.mlflow.upload import RUN_ID_TAG, STATE_NAME, Target, Uploader, read_state
from runwright.trainer.options import VALIDATION
from runwright.types import PositiveFloat, RunInfo

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class MLflowTracker(FedTracker):
    """Records to the journal and uploads it to MLflow in a background thread."""

    uri: str | None
    experiment: str | None
    artifact_uri: str | None
    policy: Literal["spool", "fail"]
    start_timeout_seconds: PositiveFloat
    library: ClassVar[str] = "mlflow"
    store_name: ClassVar[str] = "MLflow"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._uploader: Uploader | None = None

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
        """Probe the store; the thread uploads also where the probe failed."""
        super().on_start(run)
        output_dir = Path(str(run.config.get("output_dir") or run.folder.parent.parent)).expanduser()
        store = locate(self.uri, artifacts=self.artifact_uri, output_dir=output_dir)
        trainer = run.config.get("trainer", {})
        metric = trainer.get("best_metric")
        target = Target(
            run_id=run.run_id,
            run_name=f"{run.name}-{run.folder.name.rpartition('-')[2]}",
            experiment=redact(self.experiment or run.name),
            start_time=run.start_time,
            sweep=run.sweep,
            metric=f"{VALIDATION}/{metric}" if metric else None,
            less_is_better=trainer.get("best_mode") == "min",
        )
        _remember(self._folder, store=store, target=target, output_dir=output_dir)
        self._trouble = stores.probe(store, timeout_seconds=self.start_timeout_seconds) or ""
        self._uploader = Uploader(self._folder, store=store, target=target)
        self._resources.callback(self._uploader.close)
        if self.policy == "fail":
            if self._trouble or not self._attempt(self.feed):
                self._resources.close()
                raise TrackingError(
                    f"MLflow at {redact(store.uri)} does not take the run ({self._trouble}) and "
                    f"tracker.policy is fail; start the server, or set tracker.policy=spool to upload later"
                )
        elif self._trouble:
            logger.warning("MLflow at %s: %s; the run goes on", redact(store.uri), self._trouble)

    def feed(self) -> None:
        """Upload what the store lacks; its import and a new store would delay the first step."""
        assert self._uploader is not None
        if not self._tried.is_set():
            self._resources.enter_context(client_settings())
        self._uploader.upload()

    def later(self) -> str:
        """The command that uploads the rest."""
        return f"later: runwright sync {shlex.quote(str(self._folder))}"


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
    address = uri or run["uri"] or ""
    if MASK in address and MASK in (address := os.environ.get("MLFLOW_TRACKING_URI", address)):
        raise TrackingError(f"the address {address} was kept without its password; set MLFLOW_TRACKING_URI")
    store = locate(address, artifacts=run["artifacts"], output_dir=output_dir or folder / run["output_dir"])
    if trouble := stores.probe(store, timeout_seconds=10):
        raise TrackingError(f"MLflow at {redact(store.uri)}: {trouble}")
    with client_settings(timeout_seconds=60):  # nothing but the user waits for it: a busy server has time
        uploader = Uploader(folder, store=store, target=Target(**run["target"]))
        try:
            yield uploader
        except RunwrightError:
            raise
        except Exception as error:
            raise TrackingError(f"MLflow at {redact(store.uri)}: {reason_of(error)}") from error
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
    """Our id of the run whose model an alias of a registered model is at; None where there is none yet.

    Raises ConfigError where no model has that name, but one that is like it.
    """
    from mlflow.exceptions import MlflowException

    client = uploader.connect()
    try:
        version = client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # model, alias
            raise
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            names = [model.name for model in client.search_registered_models(max_results=1000)]
            if hint := did_you_mean(name, names):
                hint = f"{hint} (a new one is made by `runwright register`)"
                raise ConfigError(f"--name: given {name!r}, which is no registered model; {hint}") from error
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

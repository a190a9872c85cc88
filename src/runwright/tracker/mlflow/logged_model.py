"""A run's best model as a logged model of MLflow: described and sent once.

`mlflow.pyfunc.save_model` describes a folder that a module of ours loads, no pickle. It would copy the
weights: they are linked in afterwards.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient


logger = logging.getLogger(__name__)

NAME = "best"
KEY_TAG = "runwright.model"
LOADER = "runwright.inference.served_model"
REQUIREMENTS = ("runwright", "mlflow", "torch", "transformers", "tokenizers", "safetensors", "pandas")
SETTINGS_FILES = ("config.yaml", "task.json")  # what `runwright predict` needs besides the weights


def send_model(
    client: MlflowClient, folder: Path, record: Mapping[str, Any], *, run_id: str, experiment_id: str
) -> None:
    """Bring the model of a journal record to MLflow, once; raises what MLflow raises."""
    from mlflow.entities import LoggedModelOutput

    path = folder / record["model"]
    if not path.is_dir() or not is_own(path, folder=folder):
        logger.warning("the model %s is gone, or has a link in it: it is not uploaded", path)
        return
    key = f"{run_id}/{record['t']}"
    model = _find_model(client, key, experiment_id) or client.create_logged_model(
        experiment_id,
        name=NAME,
        source_run_id=run_id,
        tags={KEY_TAG: key},
        model_type=record["about"]["problem"],
    )
    if str(model.status) != "READY":
        with _staged(folder, record, model) as staged:
            client.log_model_artifacts(model.model_id, str(staged))
        outputs = client.get_run(run_id).outputs
        if outputs is None or all(output.model_id != model.model_id for output in outputs.model_outputs):
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=record["about"]["step"])])
        client.finalize_logged_model(model.model_id, "READY")


def _find_model(client: MlflowClient, key: str, experiment_id: str) -> LoggedModel | None:
    query = f"tags.`{KEY_TAG}` = '{key}'"
    return next(iter(client.search_logged_models([experiment_id], query, max_results=1)), None)


def is_own(path: Path, *, folder: Path) -> bool:
    """Return True for a file or folder inside a run's folder that is and holds no link.

    A journal may come from somebody else, and name files of the one who uploads it.
    """
    paths = [path, *(path.rglob("*") if path.is_dir() else ())]
    return path.is_relative_to(folder) and all(
        each.resolve() == each and (each.is_file() or each.is_dir() or not each.exists()) for each in paths
    )


def make_version(
    client: MlflowClient, record: Mapping[str, Any], name: str, *, run_id: str, experiment_id: str
) -> str:
    """The version of a registered model that the model of a journal record is, made where there is none.

    Raises what MLflow raises, and TrackingError where the store has no logged model of that record.
    """
    from mlflow.exceptions import MlflowException

    key = f"{run_id}/{record['t']}"
    if (model := _find_model(client, key, experiment_id)) is None:
        raise TrackingError(
            "the store has no logged model of this run: it is too old, or the model was deleted"
        )
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    version = next((version for version in versions if version.tags.get(KEY_TAG) == key), None)
    # The path and not `models:/<id>`, which MLflow looks up in its global store and not in the client's.
    version = version or client.create_model_version(
        name, model.artifact_location, run_id, tags={KEY_TAG: key}, model_id=model.model_id
    )
    return str(version.version)


@contextmanager
def _staged(folder: Path, record: Mapping[str, Any], logged: LoggedModel) -> Iterator[Path]:
    """The model's folder as MLflow wants it; the weights are linked, not copied, where links are possible."""
    import pandas as pd
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    about: Mapping[str, Any] = record["about"]
    example: Any = pd.DataFrame(about["example"], columns=about["text_columns"]) if about["example"] else None
    with tempfile.TemporaryDirectory(prefix=".mlflow-model-", dir=folder) as name:
        staged, settings = Path(name) / "model", Path(name) / "run"
        settings.mkdir()  # empty: the files are linked in afterwards
        save_model(
            staged,
            loader_module=LOADER,
            data_path=str(settings),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            signature=_signature(about),
            input_example=example,
            # By name and not by path, which would be a path of this machine.
            mlflow_model=Model(artifact_path=NAME, run_id=logged.source_run_id, model_id=logged.model_id),
        )
        run = staged / "data" / "run"
        run.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / record["model"], run / "best", copy_function=_link)
        for file in SETTINGS_FILES:
            if (folder / file).is_file() and is_own(folder / file, folder=folder):
                _link(folder / file, run / file)
        model = Model.load(staged)
        model.model_size_bytes = sum(file.stat().st_size for file in staged.rglob("*"))
        model.save(staged / "MLmodel")
        yield staged


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy(source, target)


def _signature(about: Mapping[str, Any]) -> ModelSignature:
    """The input schema; a single text column has no name, so that MLflow takes a list of texts as well."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    text, columns = DataType.string, about["text_columns"]
    first = about["example"][0] if about["example"] else {}
    kinds = [Array(text) if isinstance(first.get(name), list) else text for name in columns]
    names = columns if len(columns) > 1 else [None]
    return ModelSignature(Schema([ColSpec(kind, name) for kind, name in zip(kinds, names, strict=True)]))

"""Runwright from Python: `run`, `evaluate`, `predict` with typed results, `pipeline`, and rows to run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.dataset.readers.files import keep_rows
from runwright.errors import ConfigError
from runwright.types import EvaluateResult, PredictResult, RunResult

if TYPE_CHECKING:
    from runwright.inference.pipeline import Pipeline


def run(
    overrides: Sequence[str] = (),
    *,
    data: Any = None,
    folder: Path | None = None,
    allow_packages: Sequence[str] = (),
) -> RunResult:
    """Compose, check and execute an experiment in this process.

    `data` are rows in place of files: a pandas DataFrame, a datasets.Dataset or a dictionary of these by
    split, see `keep_rows`; options of `dataset` hold for them. `folder` is where to look for the user's
    `conf/` (default: the current folder). Raises ConfigError with every mistake before anything is loaded.
    Called by all processes of accelerate's `notebook_launcher` or of torchrun, it is one run of them all.
    """
    from runwright.config.compose import compose_checked
    from runwright.config.permissions import grant
    from runwright.dataset.readers.addresses import require_files
    from runwright.launch.start import check_launch
    from runwright.runs.execute import execute, share_folder
    from runwright.runs.folder import create
    from runwright.runs.states import noting_the_end, run_lock
    from runwright.trainer.environment import join_launch, rank

    grant(packages=allow_packages)
    is_joined = join_launch("train")
    if rank():
        return execute(share_folder(None))
    composed = compose_checked([*_overrides_of(data), *_as_list(overrides)], folder=folder)
    require_files(composed.config["dataset"])
    if is_joined:
        check_launch(composed.config)
    created = create(
        composed.config,
        overrides=composed.overrides,
        command=["runwright.run"],
        unresolved=composed.unresolved,
    )
    with run_lock(created), noting_the_end(created):
        return execute(share_folder(created) if is_joined else created)


def _as_list(overrides: Sequence[str]) -> Sequence[str]:
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: given {overrides!r:.60}, expected a list: [{overrides!r:.60}]")
    return overrides


def _overrides_of(data: Any) -> list[str]:
    if data is None:
        return []
    from runwright.config.overrides import quoted

    files = {split: quoted(str(file)) for split, file in keep_rows(data).items()}
    return ["dataset=parquet", *(f"++dataset.source.files.{split}={file}" for split, file in files.items())]


def evaluate(
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    splits: Sequence[str] | None = None,
    task: str | None = None,
    logits: bool = False,
) -> list[EvaluateResult]:
    """Evaluate a run's best model on its own splits, or on other data chosen by overrides.

    `run` is a run folder, id or `latest`, or the name of a model with data from overrides; its `task` is by
    default the one of its architecture. `splits` defaults to all but train. `logits` keeps raw outputs.
    """
    from runwright.inference.evaluate import evaluate_run
    from runwright.inference.named import Named, find_model

    source = find_model(Named(name=str(run), task=task))
    return evaluate_run(source, _as_list(overrides), splits=splits, logits=logits)


def predict(
    run: str | Path,
    records: Iterable[str | Mapping[str, Any]],
    overrides: Sequence[str] = (),
    *,
    all_scores: bool = False,
    task: str | None = None,
) -> PredictResult:
    """Predict texts, or records with the columns that the run was trained on; `run` as in `evaluate`.

    Overrides such as `generation=sample` and `generation.temperature=0.8` change how texts are generated.
    Raises DataError for what is neither, or a record without its texts.
    """
    from runwright.inference.load import predict_records
    from runwright.inference.models import open_model
    from runwright.inference.named import Named, find_model
    from runwright.inference.records import as_records

    finished = open_model(find_model(Named(name=str(run), task=task)), overrides=_as_list(overrides))
    checked = as_records(records, finished.columns)
    predictions = list(predict_records(finished, checked, all_scores=all_scores))
    return PredictResult(predictions=predictions, speed=finished.speed)


def pipeline(
    name: str | Path = "", task: str | None = None, *, model: str | Path | None = None, **options: Any
) -> Pipeline:
    """A callable that answers as `transformers.pipeline` does, for a run or the name of a model.

    As there, `pipeline("sentiment-analysis", model=name)` and `pipeline(model=name)` may be written too.
    `options` are those of `inference.pipeline.Pipeline`, such as `aggregation_strategy="simple"`.
    """
    from runwright.inference.pipeline import Pipeline

    name, task = (name, task) if model is None else (model, task or str(name) or None)
    return Pipeline(str(name), task, **options)

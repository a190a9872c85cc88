"""Evaluate a run's best model on its own splits, or on other data; the run itself stays as it is."""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from runwright import build
from runwright.config.compose import compose_checked
from runwright.config.folders import GLOBAL_GROUPS
from runwright.config.redaction import Redactor, conceal, reveal
from runwright.dataset.checks import look_at, require_columns, warnings_of
from runwright.errors import ConfigError, DataError, Mistake, listed, raise_if_any
from runwright.inference.load import FinishedRun, choosing, examples_of, load_run, saved_config
from runwright.inference.logits import keeping_logits, require_logits
from runwright.inference.models import load_named
from runwright.inference.named import Named
from runwright.inference.parts import evaluate_in_parts
from runwright.inference.zero_shot import ZeroShot
from runwright.report.log import run_logging
from runwright.report.progress import Progress
from runwright.report.summary import print_metrics
from runwright.report.tables import strict
from runwright.report.terminal import duration
from runwright.runs import outputs
from runwright.runs.data_identity import DATA_FILE, evaluation_warnings
from runwright.runs.folder import claim_folder, seen_from_here
from runwright.runs.outputs import evaluate_split, judge
from runwright.runs.resume import override_key, recorded_overrides, with_overrides
from runwright.store import write_json
from runwright.types import EvaluateResult, Hypotheses

logger = logging.getLogger(__name__)

# Nothing is held out of other data, and none of its rows are left out.
WHOLE = {
    "dataset.holdout": "{validation:0,test:0}",
    "dataset.subset": "{train:null,validation:null,test:null}",
}
FILES = "dataset.source.files."
TAKEN = ("dataset", "metric", "generation")
# Options of tasks that change only how a model's scores become predictions, and how these are judged.
JUDGING = (
    *("threshold", "no_answer_threshold", "max_answer_length", "n_best"),
    *("normalization", "misplaced_answers", "positive_label"),
)


def evaluate_run(
    source: Path | Named,
    overrides: Sequence[str] = (),
    *,
    splits: Sequence[str] | None = None,
    device: str | None = None,
    hypotheses: Hypotheses | None = None,
    logits: bool = False,
    in_parts: bool = False,
) -> list[EvaluateResult]:
    """Evaluate the best model of a run, or one by name; one result for each split, all but train by default.

    Overrides, put on top of the run's own, choose other data, metrics or decoding, or how predictions are
    judged; others are refused, but for a model by name. Predictions, tables and metrics are written to
    evaluations/<time>-<id>/ of the run, of outputs/ where it is read-only, or of its output_dir. With
    hypotheses the classes are others. `logits` keeps the model's raw outputs. `in_parts` goes on from what an
    earlier start has left, and shares the work with the other processes, which have no result.
    """
    options: Any = {"logits": logits, "in_parts": in_parts}
    if isinstance(source, Named):
        if not any(_group(override_key(text)) in ("dataset", "experiment") for text in overrides):
            files = "dataset=csv dataset.source.files.test=FILE"
            raise ConfigError(f"runwright evaluate: {source.name} is no run and has no data; add {files}")
        run = load_named(source, on_top_of([], overrides), device=device)
        run, folder = choosing(run, hypotheses), Path(run.config["output_dir"]).expanduser()
        return _evaluate_splits(run, folder, splits, other=None, **options)
    config = _compose(source, overrides) if overrides else None
    run = choosing(load_run(source, device=device, config=config), hypotheses)
    other = any(_group(override_key(text)) == "dataset" for text in overrides)
    return _evaluate_splits(run, source, splits, other=other, **options)


def _evaluate_splits(
    run: FinishedRun,
    folder: Path,
    splits: Sequence[str] | None,
    *,
    other: bool | None,
    logits: bool,
    in_parts: bool,
) -> list[EvaluateResult]:
    """Evaluate splits of the configured data; `other`: not those of the run, None: there is no run."""
    if logits:
        require_logits(run.task)
    config, first = run.config, run.ranks.is_first
    is_closed = folder.is_dir() and not os.access(folder, os.W_OK)  # as in the image of a container
    evaluations = Path("outputs" if is_closed else folder, "evaluations")
    output = claim_folder(evaluations)[0] if first else evaluations / "other"
    concealed = conceal(config)  # before the log is opened: it masks the secrets that are in it
    with run_logging(output, first=first, redact=Redactor().text), Progress(enabled=first) as progress:
        data = build.load_data(config)
        names = splits or [split for split in data.splits if split != "train"] or [*data.splits]
        if unknown := [split for split in names if split not in data.splits]:
            expected = f"one of {', '.join(data.splits)}"
            raise ConfigError(f"--split, splits: given {unknown[0]!r}, expected {expected}")
        rows = {split: data.splits[split] for split in names}
        kinds, ways = build.column_kinds(run.task, rows), build.column_options(config)
        if other is not None:  # a run keeps its task
            ways = {column: f"++dataset.columns.{column}=…" for column in kinds}
        require_columns(rows, kinds, options=ways)
        if other is None and not isinstance(run.task, ZeroShot):
            _learn_form(run.task, rows)
        for note in data.notes:
            logger.info("data: %s", note)
        warnings = {} if other is None else evaluation_warnings(folder, config, data, names, own=not other)
        for split, text in warnings.items():
            logger.warning("%s: %s", split, text)
        run = replace(run, metrics=build.build_metrics(config, task=run.task), progress=progress)
        options: Any = {"folder": output, "logits": logits, "in_parts": in_parts}
        evaluated = [_evaluate(run, split, rows[split], **options) for split in names]
        if not first:
            return []
        results = [replace(one, warning=warnings.get(one.split, "")) for one in evaluated if one]
    write_json(output / "metrics.json", strict(_joined(result.metrics for result in results)))
    prints = {split: data.fingerprints[split] for split in names}
    write_json(output / DATA_FILE, {"fingerprints": prints, "sources": data.sources, "warnings": warnings})
    (output / "config.yaml").write_text(yaml.safe_dump(concealed, sort_keys=False), encoding="utf-8")
    return results


def _learn_form(task: Any, rows: Mapping[str, Any]) -> None:
    """Let the task of a model by name learn how labels are written; their names are the model's."""
    split, *_ = rows
    try:
        task.fit({"train": rows[split]})
    except DataError as error:
        where: Any = error.where | {"split": split}
        raise DataError(error.problem, **where) from error


def _evaluate(
    run: FinishedRun, split: str, rows: Any, *, folder: Path, logits: bool, in_parts: bool
) -> EvaluateResult | None:
    """Evaluate one split; the first rank writes predictions and tables, and has a result."""
    config, task = run.config, run.task
    examples = examples_of(run, rows, split)
    run = replace(run, speed=replace(run.speed, seconds=0.0, num_samples=0, num_steps=0, num_tokens=0))
    file = folder / "predictions" / f"{split}.npz" if logits else None
    if in_parts:
        about = config["task"], config.get("generation"), str(getattr(task, "hypotheses", ""))
        predictions = evaluate_in_parts(folder.parent / split, run, examples, rows._fingerprint, *about)
        if predictions is None:
            return None
        evaluation = judge(run, split, predictions, task=task, rows=rows)
    else:
        with keeping_logits(task, file):
            evaluation = evaluate_split(run, split, model=run.model, task=task, examples=examples, rows=rows)
    outputs.write_split(folder, split, rows=rows, task=task, evaluation=evaluation)
    options = {"group_names": task.group_names, "seed": config["seed"]}
    metrics = build.with_intervals(config, run.metrics)
    notes = [*task.label_notes({split: rows}), *build.metric_notes(config, task, {split: rows})]
    if not evaluation.metrics and not any("no metrics" in note for note in notes):
        notes.append(f"{split} has no labels: it gets no metrics")
    notes += warnings_of(look_at({split: rows}, text_columns=task.texts_in(rows.column_names)), task)
    return EvaluateResult(
        split=split,
        predictions=getattr(evaluation.predictions, "predicted", None),
        label_ids=getattr(evaluation.predictions, "expected", None),
        metrics={f"{split}/{name}": value for name, value in evaluation.metrics.items()},
        intervals=outputs.intervals(evaluation, split=split, metrics=metrics, **options),
        folder=folder,
        speed=run.speed,
        logits=file,
        notes=notes,
    )


def show_results(results: Sequence[EvaluateResult]) -> None:
    """Print the metrics of each split, and where everything is."""
    intervals = _joined(result.intervals for result in results)
    print_metrics(_joined(result.metrics for result in results), intervals)
    for result in results:
        if result.warning:
            print(f"\nwarning: {result.split}: {result.warning}")
    for note in dict.fromkeys(note for result in results for note in result.notes):
        print(f"\nnote: {note}")
    seconds = sum(result.speed.seconds for result in results)
    rate = sum(result.speed.num_samples for result in results) / max(seconds, 1e-9)
    print(f"\ntime: {duration(seconds)}, {rate:,.1f} samples/s")
    print(f"predictions and tables: {results[0].folder}")


def _joined(mappings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for mapping in mappings for name, value in mapping.items()}


def refuse_kept(overrides: Sequence[str], saved: Mapping[str, Any]) -> None:
    """Raise ConfigError for overrides of settings that the run keeps: they would change nothing.

    `saved` is the run's configuration. Names that are not in it are left to whoever composes.
    """
    allowed = [*TAKEN, *(f"task.{name}" for name in JUDGING if name in saved["task"])]
    groups = {*saved, *GLOBAL_GROUPS}.difference(TAKEN)
    refused = [key for key in map(override_key, overrides) if key not in allowed and _group(key) in groups]
    given, hint = "what an evaluation keeps as the run has it", "for another one train with it"
    raise_if_any([Mistake(key, given, f"a change of {listed(allowed)}", hint) for key in refused])


def _group(key: str) -> str:
    return re.split(r"[./@]", key)[0]


def _compose(folder: Path, overrides: Sequence[str]) -> Mapping[str, Any]:
    """The run's configuration with what these change; another data set is composed as the run's was."""
    saved, keys = saved_config(folder), [override_key(text) for text in overrides]
    refuse_kept(overrides, saved)
    if "dataset" in keys:  # nothing is tracked: the store's secrets are not needed
        recorded = [text for text in recorded_overrides(folder) if _group(override_key(text)) != "tracker"]
        composed = compose_checked(on_top_of(recorded, overrides)).config
    else:
        changed = with_overrides(folder, on_top_of([], overrides))
        composed = reveal(seen_from_here(folder, changed), but="tracker")
    judging = {name: composed["task"][name] for name in JUDGING if f"task.{name}" in keys}
    return {**saved, "task": {**saved["task"], **judging}, **{group: composed.get(group) for group in TAKEN}}


def on_top_of(recorded: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Overrides of an evaluation put on top of those that a run was composed with.

    Another data set replaces all that the run said about its own. Nothing is held out of it or of other
    files, none of their rows are left out, and they need no training split. Other metrics need not have the
    one that chose the best model.
    """
    keys = {override_key(text): text for text in overrides}
    has_files = any(key.startswith(FILES) for key in keys)
    train = f"{FILES}train"
    implied = {train: "null"} if has_files else {}
    if "dataset" in keys or (has_files and keys.get(train, "=null").endswith("=null")):
        implied |= WHOLE
    if any(key.partition(".")[0] == "metric" for key in keys):
        implied |= {"trainer.best_metric": "loss", "trainer.best_mode": "min"}
    replaced, others = {*keys, *implied}, ("dataset.",) if "dataset" in keys else ()
    named = [(text, override_key(text)) for text in recorded]
    remaining = [text for text, key in named if not (key in replaced or key.startswith(others))]
    implied = {key: value for key, value in implied.items() if not any(name.startswith(key) for name in keys)}
    return [*remaining, *(f"{key}={value}" for key, value in implied.items()), *overrides]

"""A run's best model on its own splits, or on other data; the run itself stays as it is."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from runwright import build
from runwright.config.compose import compose_checked
from runwright.config.folders import GLOBAL_GROUPS
from runwright.config.redaction import Redactor
from runwright.config.secrets import conceal
from runwright.dataset.checks import require_columns
from runwright.errors import ConfigError, Mistake, listed, raise_if_any
from runwright.inference.hypotheses import Hypotheses
from runwright.inference.load import load_run
from runwright.inference.zero_shot import ZeroShot
from runwright.report.log import run_logging
from runwright.report.progress import Progress
from runwright.report.record_writer import strict
from runwright.report.summary import print_metrics
from runwright.runs import outputs
from runwright.runs.data_identity import DATA_FILE, evaluation_warnings
from runwright.runs.evaluate import evaluate_split
from runwright.runs.folder import claim_folder, read_saved
from runwright.runs.results import EvaluateResult
from runwright.runs.resume import override_key, recorded_overrides
from runwright.store import cache_root, write_json
from runwright.trainer.evaluate import Evaluation
from runwright.types import Interval

logger = logging.getLogger(__name__)

# Nothing is held out of other data, and none of its rows are left out.
WHOLE = {
    "dataset.holdout": "{validation:0,test:0}",
    "dataset.subset": "{train:null,validation:null,test:null}",
}
TAKEN = ("dataset", "metric", "seed", "seeds.data")
# Options of tasks that change only what is made of a model's scores, and what they are compared with.
JUDGING = (
    *("threshold", "repair", "aggregation", "no_answer_threshold", "max_answer_length", "n_best"),
    *("normalization", "misplaced_answers"),
)


def evaluate_run(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    splits: Sequence[str] | None = None,
    device: str | None = None,
    allow_shadow: bool = False,
    hypotheses: Hypotheses | None = None,
) -> list[EvaluateResult]:
    """Evaluate the best model of the run in `folder`; one result for each split, all but train by default.

    Overrides, put on top of the run's own, choose other data or metrics, or how predictions are judged;
    others are refused. Predictions, tables and figures are written to evaluations/<time>-<id>/ of the run.
    With hypotheses the classes are others than the run's.
    """
    composed = _compose(folder, overrides, allow_shadow=allow_shadow) if overrides else {}
    judging = _judging(overrides, composed)
    run = load_run(folder, device=device, hypotheses=hypotheses, judging=judging)
    config = _config(run.config, composed, judging) if composed else run.config
    place, _, _ = claim_folder(folder / "evaluations")
    concealed = conceal(config)  # before the log is opened: it masks what was found
    with run_logging(place, first=True, redact=Redactor().text), Progress(enabled=True) as progress:
        data = build.load_data(config)
        chosen = _choose(list(data.splits), splits)
        require_columns({split: data.splits[split] for split in chosen}, build.column_kinds(run.task))
        if isinstance(run.task, ZeroShot):
            run.task.fit({split: data.splits[split] for split in chosen})
        own = not any(_group(override_key(text)) in ("dataset", "seed", "seeds") for text in overrides)
        warnings = evaluation_warnings(folder, config, data, chosen, own=own)
        for split, text in warnings.items():
            logger.warning("%s: %s", split, text)
        metrics, results = build.build_metrics(config), []
        for split in chosen:
            rows = data.splits[split]
            examples = build.encode_rows(
                run.config, rows, run.task, run.tokenizer,
                split=split, key={"rows": rows._fingerprint}, folder=cache_root() / "examples",
            )  # fmt: skip
            evaluation = evaluate_split(
                split, model=run.model, task=run.task, examples=examples, rows=rows, metrics=metrics,
                options=run.options, ranks=run.ranks, progress=progress,
            )  # fmt: skip
            intervals = outputs.intervals(
                evaluation, split=split, metrics=metrics,
                group_names=run.task.group_names, seed=config["seed"],
            )  # fmt: skip
            outputs.write_split(place, split, rows=rows, task=run.task, evaluation=evaluation)
            results.append(_result(split, evaluation, intervals, place, warnings.get(split, "")))
    figures = {name: value for result in results for name, value in result.metrics.items()}
    write_json(place / "metrics.json", strict(figures))
    prints = {split: data.fingerprints[split] for split in chosen}
    about = {"fingerprints": prints, "sources": data.sources, "warnings": warnings}
    write_json(place / DATA_FILE, about)
    (place / "config.yaml").write_text(yaml.safe_dump(concealed, sort_keys=False), encoding="utf-8")
    return results


def show_results(results: Sequence[EvaluateResult]) -> None:
    """Print the figures of each split, and where everything is."""
    print_metrics(
        {name: value for result in results for name, value in result.metrics.items()},
        {name: value for result in results for name, value in result.intervals.items()},
    )
    for result in results:
        if result.warning:
            print(f"\nwarning: {result.split}: {result.warning}")
    print(f"\npredictions and tables: {results[0].folder}")


def refuse_kept(overrides: Sequence[str], saved: Mapping[str, Any]) -> None:
    """Raise ConfigError for overrides of what the run keeps: they would change nothing.

    `saved` is the run's configuration. Names that are not in it are left to whoever composes.
    """
    taken = [*TAKEN, *(f"task.{name}" for name in JUDGING if name in saved["task"])]
    raise_if_any(
        [
            Mistake(
                key=override_key(text),
                given="what an evaluation keeps as the run has it",
                expected=f"a change of {listed(taken)}",
                hint="for another one train with it",
            )
            for text in overrides
            if (key := override_key(text)) not in taken
            and _group(key) not in taken
            and _group(key) in {*saved, *GLOBAL_GROUPS}
        ]
    )


def _group(key: str) -> str:
    return re.split(r"[./@]", key)[0]


def _judging(overrides: Sequence[str], composed: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the task that overrides give, by name."""
    keys = [override_key(text) for text in overrides]
    found = {name: composed["task"][name] for name in JUDGING if f"task.{name}" in keys}
    if tuned := [name for name, value in found.items() if value == "tune"]:
        raise ConfigError(f"task.{tuned[0]}: given tune, expected a number or null: only training tunes it")
    return found


def _config(
    saved: Mapping[str, Any], composed: Mapping[str, Any], judging: Mapping[str, Any]
) -> dict[str, Any]:
    """The run's configuration with what this evaluation does otherwise."""
    return {
        **saved,
        "dataset": composed["dataset"],
        "metric": composed.get("metric", {}),
        "seed": composed["seed"],
        "seeds": {**saved["seeds"], "data": composed["seeds"]["data"]},
        "task": {**saved["task"], **judging},
    }


def _compose(folder: Path, overrides: Sequence[str], *, allow_shadow: bool) -> Mapping[str, Any]:
    """The run's overrides with these on top."""
    refuse_kept(overrides, read_saved(folder))
    # Nothing is tracked here: the store's secrets are not needed.
    own = [text for text in recorded_overrides(folder) if not override_key(text).startswith("tracker.")]
    texts = on_top_of(own, overrides)
    return compose_checked(texts, allow_shadow=allow_shadow).config


def on_top_of(own: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Overrides of an evaluation put on top of a run's own.

    Another data set replaces all that the run said about its own. Nothing is held out of it or of other
    files, none of their rows are left out, and they need no training split. Other metrics need not have the
    one that chose the best model.
    """
    keys = [override_key(text) for text in overrides]
    kept = [text for text in own if override_key(text) not in keys]
    implied: dict[str, str] = {}
    if "dataset" in keys:
        kept = [text for text in kept if not override_key(text).startswith("dataset.")]
        implied |= WHOLE
    files = [text for text in overrides if override_key(text).startswith("dataset.source.files.")]
    if files:
        implied["dataset.source.files.train"] = "null"
    if files and not any(_names_training_files(text) for text in files):
        implied |= WHOLE
    if any(key.partition(".")[0] == "metric" for key in keys):
        implied |= {"trainer.best_metric": "loss", "trainer.best_mode": "min"}
    added = [
        f"{key}={value}" for key, value in implied.items() if not any(given.startswith(key) for given in keys)
    ]
    replaced = [text for text in kept if override_key(text) not in implied]
    return [*replaced, *added, *overrides]


def _names_training_files(override: str) -> bool:
    return override_key(override) == "dataset.source.files.train" and override.partition("=")[2] != "null"


def _choose(known: list[str], wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return [split for split in known if split != "train"] or known
    if unknown := [split for split in wanted if split not in known]:
        raise ConfigError(f"--split: given {unknown[0]!r}, expected one of {', '.join(known)}")
    return list(wanted)


def _result(
    split: str, evaluation: Evaluation, intervals: Mapping[str, Interval], folder: Path, warning: str
) -> EvaluateResult:
    return EvaluateResult(
        split=split,
        predictions=getattr(evaluation.predictions, "predicted", None),
        label_ids=getattr(evaluation.predictions, "expected", None),
        metrics={f"{split}/{name}": value for name, value in evaluation.figures.items()},
        intervals=dict(intervals),
        folder=folder,
        warning=warning,
    )

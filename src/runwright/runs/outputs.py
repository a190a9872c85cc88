"""What a run leaves in its folder, and shows its tracker: best model, predictions, tables, plots, summary."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runwright.metric.bootstrap import bootstrap_interval
from runwright.predictions import select
from runwright.report.plots import write_data_plots, write_prediction_plots, write_run_plots
from runwright.report.record_writer import RecordWriter
from runwright.report.tables import class_report, group_rows, write_table
from runwright.report.threshold_plots import THRESHOLD, plot_thresholds
from runwright.trainer.evaluate import Evaluation
from runwright.trainer.seeds import derive_seed
from runwright.types import Interval, Metric

logger = logging.getLogger(__name__)

NUM_WORST = 50  # rows in the table of worst examples: as many as a person reads
BEST = "best"


def export_best(folder: Path, model: Any, tokenizer: Any, *, task: Any) -> Path:
    """The model and its tokenizer as a folder that `from_pretrained` loads; appears whole or not at all.

    `model_files` of the task lie beside them. Warns where AutoTokenizer takes another tokenizer than the one
    saved.
    """
    from runwright.model.configuration import quiet_transformers
    from runwright.model.lora import merge_adapter
    from runwright.tokenizer.pretrained import other_class

    best, partial = folder / BEST, folder / f".{BEST}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    merged = merge_adapter(model)
    with quiet_transformers():
        merged.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    for path, text in task.model_files(merged).items():
        (partial / path).parent.mkdir(exist_ok=True)
        (partial / path).write_text(text, encoding="utf-8")
    if best.exists():
        shutil.rmtree(best)
    partial.replace(best)
    if (taken := other_class(best)) is not None:
        logger.warning(
            "beside this architecture AutoTokenizer takes a %s, which cuts texts otherwise; Runwright reads "
            "what was saved, and so does AutoTokenizer.from_pretrained(%r, config=PreTrainedConfig())",
            taken,
            str(best),
        )
    return best


def intervals(
    evaluation: Evaluation,
    *,
    split: str,
    metrics: Mapping[str, Metric],
    group_names: tuple[str, ...],
    seed: int,
) -> dict[str, Interval]:
    """95 % bootstrap intervals of the scalar metrics of one split and of its groups, by `split/name`."""
    predictions = evaluation.predictions
    if not predictions.labelled:
        return {}
    parts: dict[str, Any] = {"": predictions}
    if predictions.groups is not None:
        parts |= {
            f"/{name}": select(predictions, predictions.groups == index)
            for index, name in enumerate(group_names)
            if (predictions.groups == index).any()
        }
    return {
        f"{split}/{name}{suffix}": bootstrap_interval(
            metric, part, seed=derive_seed("bootstrap", seed, split, name)
        )
        for name, metric in metrics.items()
        if name not in evaluation.tables
        for suffix, part in parts.items()
    }


def write_predictions(
    folder: Path, split: str, *, rows: Any, task: Any, evaluation: Evaluation
) -> dict[str, Path]:
    """predictions/<split>.jsonl in the order of rows, and tables/worst_<split>.csv by falling loss."""
    predictions = evaluation.predictions
    if not task.predicts_rows:
        return {}
    written = {f"predictions/{split}": folder / "predictions" / f"{split}.jsonl"}
    everything = range(len(predictions.example_ids))
    _write(written[f"predictions/{split}"], _records(predictions, everything, rows, task))
    if predictions.losses is not None:
        order = np.argsort(-predictions.losses, kind="stable")[:NUM_WORST].tolist()
        written[f"tables/worst_{split}"] = folder / "tables" / f"worst_{split}.csv"
        _write(written[f"tables/worst_{split}"], _records(predictions, order, rows, task))
    return written


def write_tables(folder: Path, split: str, *, task: Any, evaluation: Evaluation) -> dict[str, Path]:
    """tables/classes_<split>.csv: precision, recall and F1 of each class; groups_<split>.csv: by group."""
    tables, compared = folder / "tables", task.comparison(evaluation.predictions)
    written: dict[str, Path] = {}
    if compared is not None and compared.labels:
        rows = class_report(compared.predicted, compared.expected, compared.labels)
        written[f"tables/classes_{split}"] = write_table(tables / f"classes_{split}.csv", rows)
    for name, own in task.tables(evaluation.predictions).items():
        written[f"tables/{name}_{split}"] = write_table(tables / f"{name}_{split}.csv", own)
    by_group = group_rows({f"{split}/{k}": v for k, v in evaluation.figures.items()}, split=split)
    if by_group:
        written[f"tables/groups_{split}"] = write_table(tables / f"groups_{split}.csv", by_group)
    return written


def write_plots(
    folder: Path, *, prepared: Any, evaluations: Mapping[str, Evaluation], curves: Any, best_step: int | None
) -> dict[str, Path]:
    """plots/*.png: curves, the data, and for each evaluated split predictions against labels."""
    plots, task = folder / "plots", prepared.task
    plots.mkdir(exist_ok=True)
    written = write_run_plots(plots, curves, best_step=best_step)
    written |= write_data_plots(
        plots,
        lengths={split: examples.column("full_length") for split, examples in prepared.examples.items()},
        max_length=task.max_length,
        class_counts=_class_counts(prepared),
        labels=task.label_names,
    )
    for split, evaluation in evaluations.items():
        for name, rows in task.tables(evaluation.predictions).items():
            if rows and THRESHOLD in rows[0]:
                path = plots / f"{name}_{split}.png"
                written[path.stem] = plot_thresholds(path, rows, subtitle=split)
        compared = task.comparison(evaluation.predictions)
        if compared is not None:
            written |= write_prediction_plots(
                plots,
                split=split,
                predicted=compared.predicted,
                expected=compared.expected,
                labels=compared.labels,
                groups=compared.groups,
                group_names=task.group_names,
            )
    return {f"plots/{name}": path for name, path in written.items()}


def _class_counts(prepared: Any) -> dict[str, list[int]]:
    found = {
        split: prepared.task.label_counts(rows, split=split) for split, rows in prepared.data.splits.items()
    }
    return {split: counts for split, counts in found.items() if counts is not None}


def _records(predictions: Any, chosen: Iterable[int], rows: Any, task: Any) -> Iterator[dict[str, Any]]:
    """Each chosen prediction with its row; the rows may be in any order."""
    places = {int(row_id): place for place, row_id in enumerate(rows["row_id"])}
    for index in chosen:
        row = rows[places[int(predictions.example_ids[index])]]
        record: dict[str, Any] = {"row_id": row["row_id"]}
        record |= {column: row[column] for column in task.columns}
        record |= task.describe(predictions, index, row=row, all_scores=False)
        if predictions.losses is not None:
            record["loss"] = float(predictions.losses[index])
        yield record


def _write(path: Path, records: Iterator[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = RecordWriter(stream, format_name="csv" if path.suffix == ".csv" else "jsonl")
        for record in records:
            writer.write(record)


STANDALONE = "runwright.task.sequence_classification.SequenceClassification"
NUM_EXAMPLES = 2
MAX_EXAMPLE_TEXT = 1000


def about_model(
    config: Mapping[str, Any], task: Any, splits: Mapping[str, Any], *, step: int
) -> dict[str, Any]:
    """How to use the best model, and some inputs as an example; plain values for the journal.

    `standalone`: the texts, the tokenizer and one forward pass are all there is to it.
    """
    # Not those of train, which may be a stream.
    rows = next((rows for name, rows in splits.items() if name != "train"), [])
    example = [_example(rows[place], task.text_columns) for place in range(min(NUM_EXAMPLES, len(rows)))]
    return {
        "problem": str(task.problem),
        "standalone": config["task"]["_target_"] == STANDALONE,
        "text_columns": list(task.text_columns),
        "label_names": list(task.label_names),
        "max_length": task.max_length,
        "threshold": task.threshold,
        "step": step,
        "example": example,
    }


def _example(row: Mapping[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: _short(row.get(name)) for name in columns}


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [str(word) for word in value[:MAX_EXAMPLE_TEXT]]
    return "" if value is None else str(value)[:MAX_EXAMPLE_TEXT]

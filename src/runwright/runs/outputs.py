"""Evaluations of a run, and the files that it leaves: best model, predictions, tables."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from runwright.dataset.checks import naming_rows
from runwright.dataset.examples import BATCH_ROWS
from runwright.errors import ConfigError, DataError, listed
from runwright.metric.bootstrap import bootstrap_interval
from runwright.predictions import select
from runwright.report.tables import Rows, class_report, group_rows, write_records
from runwright.store import folder_whole
from runwright.sweep.trial import after_answer
from runwright.task.text import positions_of
from runwright.trainer.batches import derive_seed
from runwright.trainer.evaluate import Evaluation, evaluate, predict
from runwright.trainer.options import TrainerOptions
from runwright.types import Examples, Interval, Metric

logger = logging.getLogger(__name__)

NUM_LOGGED = 2  # texts of an evaluation in the log
BEST = "best"
CHECKED_AT_ONCE = 256  # examples; mostly the first ones tell


def evaluate_splits(
    run: Any, prepared: Any, model: torch.nn.Module, names: Sequence[str]
) -> dict[str, Evaluation]:
    """Predictions and metrics by split."""
    task, examples, rows = prepared.task, prepared.examples, prepared.data.splits
    return {
        split: evaluate_split(run, split, model=model, task=task, examples=examples[split], rows=rows[split])
        for split in names
    }


def evaluate_split(
    run: Any, split: str, *, model: Any, task: Any, examples: Examples, rows: Any
) -> Evaluation:
    """Predictions and metrics of one split.

    `run` is a `Run`, or another record with `options`, `metrics`, `ranks`, `progress`, `stop` and `speed`.
    """
    with run.progress.counting(f"evaluate {split}", total=len(examples)) as on_progress:
        predictions = predict(
            model,
            task,
            examples,
            max_tokens=run.options.evaluate_tokens,
            ranks=run.ranks,
            on_progress=on_progress,
            stop=run.stop,
            speed=getattr(run, "speed", None),
        )
    return judge(run, split, predictions, task=task, rows=rows)


def judge(run: Any, split: str, predictions: Any, *, task: Any, rows: Any) -> Evaluation:
    """Predictions of one split as the task assembles them, with their metrics."""
    with naming_rows({split: rows}):
        assembled = task.assemble(predictions, rows)
    return evaluate(assembled, metrics=run.metrics, group_names=task.group_names)


def check_splits(options: TrainerOptions, splits: Sequence[str]) -> None:
    """Raise ConfigError where an option needs a validation split and there is none."""
    for name in ("early_stopping_patience", "evaluate_at_start"):
        if getattr(options, name) and not splits:
            raise ConfigError(f"trainer.{name} needs a validation split; set dataset.holdout.validation")


def check_examples(prepared: Any, splits: Sequence[str]) -> None:
    """Raise DataError where there is nothing to train on, or no label to choose the best step by."""
    task, train = prepared.task, prepared.examples.get("train")
    best = splits[0] if splits else "train"
    if train is None:
        return  # a stream, of which only the beginning is known
    starts = range(0, len(train), CHECKED_AT_ONCE)
    blocks = (range(start, min(start + CHECKED_AT_ONCE, len(train))) for start in starts)
    if not any(task.count(task.augment(train.fetch(block), seed=0, epoch=0)) for block in blocks):
        split, column = "train", None
        problem = "no word with a tag, no answer that is in its context, or no token to hide"
        problem = f"no example has anything to train on: {problem}"
    # Retrieval is judged without labels.
    elif task.problem != "retrieval" and not {*train.names} <= {*prepared.examples[best].names}:
        split, column = best, task.label_column
        problem = (
            "no labels, and the best step is chosen by trainer.best_metric on this split; give it labels, or "
            "take its file out: dataset.holdout.validation=0.1 chooses rows of train"
        )
    else:
        return
    files = prepared.data.sources.get(split, [])
    raise DataError(problem, file=files[0] if len(files) == 1 else None, split=split, column=column)


# --- files ------------------------------------------------------------------------------------------------


def export_best(folder: Path, model: Any, tokenizer: Any, *, task: Any) -> Path:
    """The model and its tokenizer as a folder that `from_pretrained` loads; appears whole or not at all.

    `model_files` of the task lie beside them. Warns where AutoTokenizer takes another tokenizer.
    """
    from runwright.model.lora import merge_adapter

    best, merged = folder / BEST, merge_adapter(model)
    with folder_whole(best) as unfinished:
        write_model(unfinished, merged, tokenizer, task=task)
    after_answer(partial(_warn_of_other_class, best))
    return best


def _warn_of_other_class(best: Path) -> None:
    from runwright.tokenizer.pretrained import other_class

    if (other := other_class(best)) is not None:
        logger.warning(
            "beside this architecture AutoTokenizer takes a %s, which cuts texts otherwise; Runwright reads "
            "what was saved, and so does AutoTokenizer.from_pretrained(%r, config=PreTrainedConfig())",
            other,
            str(best),
        )


def write_model(folder: Path, model: Any, tokenizer: Any, *, task: Any, weights: bool = True) -> None:
    """The model, or its settings alone, and its tokenizer, with `model_files` of the task."""
    from runwright.model.configuration import quiet_transformers

    with quiet_transformers():
        (model if weights else model.config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if task.strategy is not None:
        task.strategy.to_config(model, tokenizer).save_pretrained(folder)
    elif task.generates:
        model.generation_config.save_pretrained(folder)
    for path, text in task.model_files(model).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


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
    subsets: dict[str, Any] = {"": predictions}
    for index, name in enumerate(group_names if predictions.groups is not None else ()):
        if (in_group := predictions.groups == index).any():
            subsets[f"/{name}"] = select(predictions, in_group)
    return {
        f"{split}/{name}{suffix}": bootstrap_interval(
            metric, subset, seed=derive_seed("bootstrap", seed, split, name)
        )
        for name, metric in metrics.items()
        if name not in evaluation.tables
        for suffix, subset in subsets.items()
    }


def write_split(folder: Path, split: str, *, rows: Any, task: Any, evaluation: Evaluation) -> dict[str, Path]:
    """Write the predictions of a split and tables about them; the files by name.

    predictions/<split>.jsonl: all, in the order of rows; tables/classes_<split>.csv: precision, recall and
    F1 of each class; tables/groups_<split>.csv: metrics of each group.
    """
    predictions, tables = evaluation.predictions, folder / "tables"
    written: dict[str, Path] = {}
    if task.predicts_rows:
        file = folder / "predictions" / f"{split}.jsonl"
        written[f"predictions/{split}"] = write_records(file, _records(predictions, rows=rows, task=task))
    contents, compared = {}, task.comparison(predictions)
    if compared is not None and task.label_names:
        contents["classes"] = classes = class_report(compared[0], compared[1], task.label_names)
        count = len(compared[0]) if compared[0].ndim > 1 else sum(row["support"] for row in classes)
        _warn_of_one_answer(split, classes, count=count, threshold=task.threshold)
    contents |= task.tables(predictions)
    if by_group := group_rows(evaluation.metrics):
        contents["groups"] = by_group
    return written | {
        f"tables/{name}_{split}": write_records(tables / f"{name}_{split}.csv", content)
        for name, content in contents.items()
    }


def _warn_of_one_answer(split: str, classes: Rows, *, count: int, threshold: Any) -> None:
    """Warn where all `count` labelled items get the same classes though they have different ones."""
    is_varied = any(0 < row["support"] < count for row in classes)
    if is_varied and all(row["predicted"] in (0, count) for row in classes):
        names = listed(row["class"] for row in classes if row["predicted"])
        answer = names or f"below task.threshold={threshold}"
        logger.warning("%s: every prediction is %s; train longer or change optimizer.lr", split, answer)


def write_samples(folder: Path, step: int, samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Path]:
    """Write the texts of each split that an evaluation at this step shows; the files."""
    files = [
        write_records(folder / "samples" / f"{split}_step_{step:06}.csv", rows)
        for split, rows in samples.items()
        if rows
    ]
    for split, rows in samples.items():
        for row in rows[:NUM_LOGGED]:
            texts = (f"{name} {str(text)!r:.300}" for name, text in row.items() if name != "row_id")
            logger.info("%s, row %s: %s", split, row["row_id"], ", ".join(texts))
    return files


def _records(predictions: Any, *, rows: Any, task: Any) -> Iterator[dict[str, Any]]:
    ordered = rows.select(positions_of(predictions.example_ids, rows), keep_in_memory=True)
    tables = ordered.with_format("arrow").iter(BATCH_ROWS)
    for index, row in enumerate(chain.from_iterable(table.to_pylist() for table in tables)):
        record: dict[str, Any] = {"row_id": row["row_id"]}
        record |= {column: row[column] for column in task.columns_in(row)}
        record |= task.describe(predictions, index, row=row, all_scores=False)
        if task.problem == "multi_label":  # to the last digit: rounded ones have ties that move a ROC-AUC
            record["scores"] = dict(zip(task.label_names, predictions.scores[index].tolist(), strict=True))
        if predictions.losses is not None:
            record["loss"] = float(predictions.losses[index])
            if predictions.loss_counts is not None:  # of a sum over tokens or words
                record["loss_count"] = float(predictions.loss_counts[index])
        yield record


NUM_EXAMPLES = 2
MAX_EXAMPLE_TEXT = 1000


def about_model(task: Any, splits: Mapping[str, Any], *, step: int) -> dict[str, Any]:
    """Inputs and outputs of the best model, and some inputs as an example; plain values for the journal."""
    # Not those of train, which may be a stream.
    rows = next((rows for name, rows in splits.items() if name != "train"), [])
    examples = [rows[index] for index in range(min(NUM_EXAMPLES, len(rows)))]
    return {
        "problem": str(task.problem),
        "text_columns": list(task.text_columns),
        "step": step,
        "example": [{name: _short(row.get(name)) for name in task.text_columns} for row in examples],
    }


def _short(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = json.dumps(value, ensure_ascii=False)  # a chat
    if isinstance(value, list):
        return [str(word) for word in value[:MAX_EXAMPLE_TEXT]]
    return "" if value is None else str(value)[:MAX_EXAMPLE_TEXT]

"""Modules of the package `evaluate` as metrics: local scripts, and names of the hub at a commit.

Such a module is code: it runs only where the user has permitted code on the command line.
"""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from runwright.config.options import MODULE_METRIC, TARGET, metric_nodes
from runwright.config.rules.task import problem_of
from runwright.config.sources import module_source
from runwright.config.targets import instantiate
from runwright.errors import ConfigError, DataError, Mistake, listed, shown
from runwright.metric.bootstrap import UndefinedMetricError
from runwright.metric.means import computed_once, labels_of
from runwright.predictions import Ragged

Scripts = tuple[str, ...]
# Classes, where the data has not been read: two, or several.
UNKNOWN = [("O", "B-a"), ("O", "B-a", "I-a")]


def module_metric(
    predictions: Any,
    label_names: tuple[str, ...],
    *,
    path: str | list[str],
    revision: str | list[str] | None,
    config_name: str | None,
    key: str | list[str],
    feed: Literal["predicted", "scores"],
    argument: str,
    options: dict[str, Any],
) -> float:
    """One number of what a module, or several combined, compute from all examples; NaN for no example.

    A key with dots is of mappings inside one another. Several keys of the same predictions cost one call.
    """
    if not len(predictions.example_ids):
        return math.nan
    scripts, references = scripts_of(path, revision), labels_of(predictions)
    column = getattr(predictions, feed, None)
    if column is None:
        raise DataError(f"module {path} is fed what is {feed}, and these predictions have none")

    def compute() -> Any:
        modules = load_modules(scripts, config_name)
        judge = modules[0]
        try:
            if len(modules) > 1:
                from evaluate import combine

                judge = combine(modules)
            if argument not in (inputs := modules[0]._feature_names()):
                raise TypeError(f"it has no input {argument!r}, only {listed(inputs)}")
            columns = _columns(predictions, column, label_names, modules[0].features)
            return judge.compute(**dict(zip((argument, "references"), columns, strict=True)), **options)
        except (Exception, SystemExit) as error:  # of somebody's code
            load_modules.cache_clear()  # those that failed still hold these examples
            problem = f"cannot judge what this task predicts: {_in_a_line(error)}"
            raise UndefinedMetricError(f"module {path} {problem}") from error

    asked = (scripts, config_name, feed, argument, repr(options))
    result = computed_once(column, asked, references, compute)
    try:
        names = [key] if key in result else str(key).split(".")
        return float(reduce(lambda inner, name: inner[name], names, result))
    except (KeyError, IndexError, TypeError, ValueError):
        computed = listed(result) if isinstance(result, Mapping) else type(result).__name__
        computed = shown(result[key]) if key in computed.split(", ") else computed
        raise UndefinedMetricError(f"module {path} computes no number {key!r}, only {computed}") from None


def scripts_of(path: str | list[str], revision: str | list[str] | None) -> Scripts:
    """The script file of each module; one on the hub is fetched. Raises ConfigError."""
    paths = [path] if isinstance(path, str) else path
    revisions = revision if isinstance(revision, list) else [revision] * len(paths)
    return tuple(_script(*pair) for pair in zip(paths, revisions, strict=True))


def _script(path: str, revision: str | None) -> str:
    source = module_source(path, revision=revision, key="metric")
    if isinstance(source, Mistake):
        raise ConfigError(str(source))
    if source.endswith(".py"):
        return source
    from huggingface_hub import snapshot_download

    name = path if "/" in path else f"evaluate-metric/{path}"
    try:
        folder = snapshot_download(name, repo_type="space", revision=revision, allow_patterns="*.py")
    except Exception as error:  # unknown, private, offline: each has its own class
        raise ConfigError(f"the hub gives no {name} at {revision}: {_in_a_line(error)}") from error
    script = Path(folder) / f"{name.rpartition('/')[2]}.py"
    if not script.is_file():
        raise ConfigError(f"{name} at {revision} on the hub has no {script.name}")
    return str(script)


@lru_cache(maxsize=16)
def load_modules(scripts: Scripts, config_name: str | None) -> list[Any]:
    """The modules of `evaluate` in these files."""
    import evaluate

    # What `evaluate` writes while it computes stays in memory; it still wants a folder.
    folder = tempfile.mkdtemp(prefix="runwright-evaluate-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        options = {"cache_dir": folder, "keep_in_memory": True}
        return [evaluate.load(script, config_name, **options) for script in scripts]
    except (Exception, SystemExit) as error:  # a missing package, no metric, an error of its own
        raise ConfigError(f"module {listed(scripts)} cannot be loaded: {_in_a_line(error)}") from error


def _in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.300}"


def _columns(
    predictions: Any, column: Any, names: Sequence[str], features: Any
) -> tuple[list[Any], list[Any]]:
    """What is fed and the references, in the form that modules for this kind of task take."""
    expected, forms = predictions.expected, features if isinstance(features, list) else [features]
    if isinstance(column, Ragged):  # tags, as seqeval takes them
        rows = ([[names[tag] for tag in row] for row in side.rows()] for side in (column, expected))
        return next(rows), next(rows)
    if hasattr(predictions, "answerable"):  # as those of SQuAD take them
        ids = list(map(str, predictions.example_ids))
        answers = [{"id": i, "prediction_text": text} for i, text in zip(ids, column, strict=True)]
        if "no_answer_probability" in str(forms[0]):
            for answer, margin in zip(answers, predictions.margins, strict=True):
                answer["no_answer_probability"] = float(1 / (1 + np.exp(-np.clip(margin, -700, 700))))
        texts = [{"text": list(texts), "answer_start": [0] * len(texts)} for texts in expected]
        return answers, [{"id": i, "answers": answer} for i, answer in zip(ids, texts, strict=True)]
    if column.dtype == object:
        texts = [text if isinstance(text, str) else text[0] for text in column]
        are_single = all(hasattr(form["references"], "dtype") for form in forms)  # one text, not a list
        return texts, [row[0] if are_single else list(row) for row in expected]
    if column is not predictions.predicted:
        column = column[:, 1] if expected.ndim == 1 and column.shape[1] == 2 else column
    elif column.dtype == np.float64 and all("int" in str(form["references"]) for form in forms):
        raise TypeError("it takes classes, not numbers")
    return (column * 1).tolist(), (expected * 1).tolist()  # true is 1


def check_modules(metrics: Any, *, task: Mapping[str, Any], label_names: Sequence[str] = ()) -> None:
    """Let each module judge made examples of a task, given its options. Raises ConfigError if it cannot."""
    problem = problem_of(task.get("problem"), task[TARGET])
    names = tuple(label_names or task.get("label_names") or task.get("tag_names") or ())
    for name, node in metric_nodes(metrics).items():
        if node[TARGET] != MODULE_METRIC:
            continue
        errors: list[UndefinedMetricError] = []
        for classes in [names] if names else UNKNOWN:
            judge = instantiate(node, group="metric", key=f"metric.{name}")
            try:
                judge(_made_examples(problem, len(classes)), classes)
                break
            except UndefinedMetricError as error:
                errors.append(error)
        else:
            # The types of spans, of which PER.f1 has one, are not known before the tags are.
            if names or "." not in node["key"]:
                raise ConfigError(f"metric.{name}: {errors[0]}") from errors[0]


def _made_examples(problem: str | None, num_classes: int) -> Any:
    """Examples of a kind of task, of each class one, all predicted as expected."""
    classes, scores = np.arange(num_classes), np.eye(num_classes)
    columns: dict[str, Any] = {}
    match problem:
        case "tags":
            predicted = expected = Ragged.of([classes], dtype=np.int64)
        case "answers":
            predicted = np.array(["the answer"], dtype=object)
            expected = np.fromiter([("the answer",)], dtype=object)
            columns = {"answerable": np.array([True]), "margins": np.zeros(1)}
        case "texts":
            predicted = np.array(["one two three four five", "six"], dtype=object)
            expected = np.fromiter(([text] for text in predicted), dtype=object)
        case "regression" | "similarity":
            predicted = expected = np.array([0.0, 0.5, 1.0])
        case "single_label" | "multi_label":
            predicted = expected = scores > 0 if problem == "multi_label" else classes
            columns = {"scores": scores}
        case _:  # a task of the user's: nobody knows what it predicts
            predicted = expected = np.zeros(0)
    ids = np.arange(len(predicted))
    return SimpleNamespace(example_ids=ids, predicted=predicted, expected=expected, **columns)


def module_notes(metrics: Mapping[str, Any]) -> list[str]:
    """Lines on the code of each module, and on metrics without an interval."""
    notes = []
    for name, node in metrics.items():
        if node[TARGET] == MODULE_METRIC:
            scripts = map(Path, scripts_of(node["path"], node["revision"]))
            hashes = (f"{file.name}, sha256 {sha256(file.read_bytes()).hexdigest()[:16]}" for file in scripts)
            notes.append(f"{name}: {listed(hashes)}")
        if not node.get("interval", True):
            notes.append(f"{name} has no interval; computed for resamples too: metric.{name}.interval=true")
    return notes

"""Modules of the package `evaluate` as metrics (scripts, names of the hub at a commit), and ours as such.

A module is code: it runs only where the user has permitted code on the command line.
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from datasets import Features, List, Value

from runwright.config.folders import find_conf_folders
from runwright.config.options import MODULE_METRIC, TARGET, metric_nodes
from runwright.config.permissions import code_allowed
from runwright.config.rules.checks import problem_of
from runwright.config.tag_schemes import span_types
from runwright.config.targets import instantiate
from runwright.errors import ConfigError, DataError, did_you_mean, listed, shown
from runwright.metric.answers import text_exact_match, text_f1
from runwright.metric.bootstrap import UndefinedMetricError, make_metric
from runwright.metric.classification import spans_of
from runwright.metric.means import computed_once, labels_of
from runwright.predictions import Ragged
from runwright.store import file_sha256

# Classes, where the data has not been read: two, or several.
UNKNOWN = [("O", "B-a"), ("O", "B-a", "I-a")]


def module_metric(
    predictions: Any,
    label_names: tuple[str, ...],
    *,
    path: str,
    revision: str | None,
    config_name: str | None,
    key: str | list[str],
    options: dict[str, Any],
) -> float:
    """One number of what a module computes from all examples; NaN for no example.

    A key with dots is of mappings inside one another. Several keys of the same predictions cost one call.
    """
    if not len(predictions.example_ids):
        return math.nan
    references, script = labels_of(predictions), script_of(path, revision)
    if predictions.predicted is None:
        raise DataError(f"module {path} judges what is predicted, and nothing is")

    def compute() -> Any:
        module = load_module(script, config_name)
        try:
            return module.compute(**_inputs(predictions, label_names, module.features), **options)
        except (Exception, SystemExit) as error:  # of somebody's code
            load_module.cache_clear()  # one that failed still holds these examples
            problem = f"cannot judge what this task predicts: {_in_a_line(error)}"
            raise UndefinedMetricError(f"module {path} {problem}") from error

    asked = (script, config_name, repr(options))
    result = computed_once(predictions.predicted, asked, references, compute)
    try:
        names = [key] if key in result else str(key).split(".")
        return float(reduce(lambda inner, name: inner[name], names, result))
    except (KeyError, IndexError, TypeError, ValueError):
        computed = listed(result) if isinstance(result, Mapping) else type(result).__name__
        computed = shown(result[key]) if key in computed.split(", ") else computed
        raise UndefinedMetricError(f"module {path} computes no number {key!r}, only {computed}") from None


def script_of(path: str, revision: str | None) -> str:
    """The script file of a module; one on the hub is fetched. Raises ConfigError where no code may run."""
    folder = Path(path).expanduser()
    script = folder / f"{folder.resolve().name}.py" if folder.is_dir() else folder
    is_script = script.suffix == ".py" and script.is_file()
    if not is_script and (folder.exists() or not re.fullmatch(r"(?!.*\.py$)[\w-]+(/[\w-][\w.-]*)?", path)):
        others = f"a folder with a script of its name ({script} is not there), or a name on the hub"
        raise ConfigError(f"a module's path: given {path!r}, expected a .py file, {others}")
    if not is_script and not re.fullmatch(r"[0-9a-f]{40}", str(revision)):
        expected = f"the commit of {path} on the hub, 40 digits (a script of yours is path=./{path})"
        raise ConfigError(f"a module's revision: given {revision}, expected {expected}")
    if not code_allowed():
        raise ConfigError(f"module {path!r} is code, expected --trust-remote-code: only if you trust it")
    if is_script:
        return str(script.resolve())
    from huggingface_hub import snapshot_download

    name = path if "/" in path else f"evaluate-metric/{path}"
    try:
        hub_folder = snapshot_download(name, repo_type="space", revision=revision, allow_patterns="*.py")
    except Exception as error:  # unknown, private, offline: each has its own class
        raise ConfigError(f"the hub gives no {name} at {revision}: {_in_a_line(error)}") from error
    script = Path(hub_folder) / f"{name.rpartition('/')[2]}.py"
    if not script.is_file():
        raise ConfigError(f"{name} at {revision} on the hub has no {script.name}")
    return str(script)


@lru_cache(maxsize=16)
def load_module(script: str, config_name: str | None) -> Any:
    """The module of `evaluate` in a file."""
    import evaluate

    try:
        return evaluate.load(script, config_name, keep_in_memory=True)
    except (Exception, SystemExit) as error:  # a missing package, no metric, an error of its own
        raise ConfigError(f"module {script} cannot be loaded: {_in_a_line(error)}") from error


def _in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.300}"


def _inputs(predictions: Any, names: Sequence[str], features: Any) -> dict[str, Any]:
    """Predictions and references by name, in the form that modules for this kind of task take.

    One that takes floats is fed the probabilities of classes, of two classes those of class 1.
    """
    forms = features if isinstance(features, list) else [features]
    fed = min(forms[0], key=lambda name: (name == "references", name != "predictions"))
    column, expected = predictions.predicted, predictions.expected
    scores = getattr(predictions, "scores", None)
    if isinstance(column, Ragged):  # tags, as seqeval takes them
        sides = (column, expected)
        column, expected = ([[names[tag] for tag in row] for row in side.rows()] for side in sides)
    elif hasattr(predictions, "answerable"):  # as those of SQuAD take them
        ids = list(map(str, predictions.example_ids))
        answers = [{"id": i, "prediction_text": text} for i, text in zip(ids, column, strict=True)]
        if "no_answer_probability" in str(forms[0]):
            for answer, margin in zip(answers, predictions.margins, strict=True):
                answer["no_answer_probability"] = float(1 / (1 + np.exp(-np.clip(margin, -700, 700))))
        texts = [{"text": list(texts), "answer_start": [0] * len(texts)} for texts in expected]
        column, expected = answers, [{"id": i, "answers": text} for i, text in zip(ids, texts, strict=True)]
    elif column.dtype == object:
        column = [text if isinstance(text, str) else text[0] for text in column]
        are_single = all(hasattr(form["references"], "dtype") for form in forms)  # one text, not a list
        expected = [row[0] if are_single else list(row) for row in expected]
    else:
        if scores is not None and all("float" in str(form[fed]) for form in forms):
            column = scores[:, 1] if expected.ndim == 1 and scores.shape[1] == 2 else scores
        elif column.dtype == np.float64 and all("int" in str(form["references"]) for form in forms):
            raise TypeError("it takes classes, not numbers")
        column, expected = (column * 1).tolist(), (expected * 1).tolist()  # true is 1
    return {fed: column, "references": expected}


def check_modules(metrics: Any, *, task: Mapping[str, Any], label_names: Sequence[str] = ()) -> None:
    """Let each module judge made examples of a task, given its options. Raises ConfigError if it cannot."""
    problem = problem_of(task.get("problem"), task[TARGET])
    names = tuple(label_names or task.get("label_names") or task.get("tag_names") or ())
    for name, node in metric_nodes(metrics).items():
        if node[TARGET] != MODULE_METRIC or problem not in (*FORMS, "similarity"):
            continue  # of a task of the user's nobody knows what it predicts
        errors: list[UndefinedMetricError] = []
        for classes in [names] if names else UNKNOWN:
            judge = instantiate(node, group="metric", key=f"metric.{name}")
            try:
                judge(_made_examples(problem, classes), tuple(sorted(classes)))
                break
            except UndefinedMetricError as error:
                errors.append(error)
        else:
            # The types of spans, of which PER.f1 has one, are not known before the tags are.
            if names or "." not in node["key"]:
                raise ConfigError(f"metric.{name}: {errors[0]}") from errors[0]


def _made_examples(problem: str, names: Sequence[str]) -> Any:
    """Examples of a kind of task, of each class one, all predicted as expected."""
    classes, scores = list(range(len(names))), np.eye(len(names)).tolist()
    answer = {"id": "0", "answers": {"text": ["the answer"], "answer_start": [0]}}
    made: dict[str, Any] = {"tags": [names], "answers": [answer], "texts": ["one two three four five", "six"]}
    made |= {"single_label": classes, "multi_label": scores}
    inputs = dict.fromkeys(("predictions", "references"), made.get(problem, [0.0, 0.5, 1.0]))
    if problem == "answers":
        inputs["predictions"] = [{"id": "0", "prediction_text": "the answer"}]
    return _record(problem, inputs | ({"prediction_scores": scores} if problem in SCORES else {}))


def module_notes(metrics: Mapping[str, Any]) -> list[str]:
    """Lines on the code of each module, and on metrics without an interval."""
    notes = []
    for name, node in metrics.items():
        if node[TARGET] == MODULE_METRIC:
            file = Path(script_of(node["path"], node["revision"]))
            notes.append(f"{name}: {file.name}, sha256 {file_sha256(file)[:16]}")
        if not node.get("interval", True):
            notes.append(f"{name} has no interval; computed for resamples too: metric.{name}.interval=true")
    return notes


TEXT, CLASS, NUMBER = Value("string"), Value("int64"), Value("float64")
ANSWERS = {"text": List(TEXT), "answer_start": List(Value("int64"))}
# Forms of predictions and references by kind of problem; the first that fits the examples is taken.
FORMS: dict[str, list[tuple[Any, Any]]] = {
    "single_label": [(CLASS, CLASS)],
    "multi_label": [(List(CLASS), List(CLASS))],
    "regression": [(NUMBER, NUMBER)],
    "tags": [(List(TEXT), List(TEXT))],
    "texts": [(TEXT, List(TEXT)), (TEXT, TEXT)],
    "answers": [({"id": TEXT, "prediction_text": TEXT}, {"id": TEXT, "answers": ANSWERS})],
}
ONE_CLASS, ALL_CLASSES, ALL_LABELS = (NUMBER, CLASS), (List(NUMBER), CLASS), (List(NUMBER), List(CLASS))
SCORES = {"single_label": [ONE_CLASS, ALL_CLASSES], "multi_label": [ALL_LABELS]}
# Columns of metrics that are no comparison of predictions with references.
COLUMNS = {"bits_per_byte": ("losses", "num_bytes"), "token_accuracy": ("num_right", "loss_counts")}
COLUMNS |= {"perplexity": ("losses", "loss_counts"), "next_sentence_accuracy": ("next_right",)}
COLUMNS |= dict.fromkeys(("reciprocal_rank", "discounted_gain", "recall_at"), ("ranks",))


def as_evaluate(name: str, **options: Any) -> Any:
    """A shipped metric, such as "span_f1", as an `evaluate.Metric`: it can be added to, computed, combined.

    It takes what the module of that kind in `evaluate` takes: classes or sets of them, numbers,
    prediction_scores, tags of IOB2, texts with one or several references, or the answers of SQuAD; others
    take columns of their own, such as `ranks`.
    """
    import evaluate

    folder = find_conf_folders().shipped / "metric"
    names = sorted({file.stem for file in folder.glob("*.yaml")} - {"evaluate"})
    if name not in names:
        raise ConfigError(f"no metric {name!r}; {did_you_mean(name, names) or listed(names)}")
    node = {**yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")), **options}
    metric, function = make_metric(node, key=name), node[TARGET].rpartition(".")[2]
    by_kind, fed = (SCORES, "prediction_scores") if function == "roc_auc" else (FORMS, "predictions")
    forms = [form for kind in node["suits"] for form in by_kind.get(kind, ())]
    features = [Features({fed: form[0], "references": form[1]}) for form in forms]
    if function in COLUMNS:
        features = [Features(dict.fromkeys(COLUMNS[function], NUMBER))]

    class Shipped(evaluate.Metric):
        def _info(self) -> Any:
            about = {"description": name, "citation": "", "inputs_description": "", "features": features}
            return evaluate.MetricInfo(**about)

        def _compute(self, **columns: Any) -> dict[str, Any]:
            if unknown := columns.keys() - {*self._feature_names()}:
                raise TypeError(f"compute takes the examples, not {listed(unknown)}")
            record = _record(node["suits"][0], columns)
            return {name: metric(record, np.ones((1, len(record.example_ids))))[0].tolist()}

    Shipped.__name__ = name  # of which `evaluate` makes the prefix where names clash in a combination
    return Shipped(keep_in_memory=True)


def _record(kind: str, inputs: dict[str, Any]) -> Any:
    """The columns that a metric reads, from what `evaluate` collected; tags as in seqeval's default mode."""
    predicted: Any = inputs.get("predictions")
    expected: Any = inputs.get("references")
    columns: dict[str, Any] = {"scores": None, "predicted": predicted, "expected": expected}
    match kind:
        case "tags":
            names = sorted({tag for row in (*predicted, *expected) for tag in row})
            types = span_types(names, "bio")
            for side, prefix in (("predicted", ""), ("expected", "expected_")):
                rows = columns[side]
                columns[f"{prefix}spans"] = spans_of(rows, types, "bio")
                columns[side] = Ragged.of([list(map(names.index, row)) for row in rows], dtype=np.int64)
        case "answers":
            texts = {row["id"]: row["answers"]["text"] for row in expected}
            pairs = [(row["prediction_text"], texts[row["id"]]) for row in predicted]
            columns["answerable"] = np.array([bool(answers) for _, answers in pairs])
            columns["exact"] = np.array([text_exact_match(*pair, rules="squad") for pair in pairs])
            columns["f1"] = np.array([text_f1(*pair, rules="squad") for pair in pairs])
            columns["margins"] = np.zeros(len(pairs))
            columns["predicted"] = np.fromiter((text for text, _ in pairs), dtype=object)
            columns["expected"] = np.fromiter((answers for _, answers in pairs), dtype=object)
        case "texts":
            references = [[row] if isinstance(row, str) else row for row in expected]
            columns["predicted"] = np.array(predicted, dtype=object)
            columns["expected"] = np.fromiter(references, dtype=object)
        case "single_label" | "multi_label" | "regression" | "similarity":
            columns["expected"] = np.array(expected)
            columns["predicted"] = np.array(expected if predicted is None else predicted)
            if columns["expected"].ndim == 2:
                columns |= {side: columns[side] == 1 for side in ("predicted", "expected")}
            if (scores := np.array(inputs.get("prediction_scores", []))).size:
                columns["scores"] = scores if scores.ndim == 2 else np.stack([1 - scores, scores], axis=1)
        case _:
            columns = {name: np.array(values) for name, values in inputs.items()}
    return SimpleNamespace(example_ids=np.arange(len(next(iter(inputs.values())))), **columns)

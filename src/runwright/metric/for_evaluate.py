"""The shipped metrics as objects of the package `evaluate`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import evaluate
import numpy as np
import yaml
from datasets import Features, List, Value

from runwright.config.folders import find_conf_folders
from runwright.config.options import TARGET
from runwright.config.tag_schemes import Scheme, find_spans, span_types
from runwright.errors import ConfigError, did_you_mean, listed
from runwright.metric.answers import Rules, text_exact_match, text_f1
from runwright.metric.bootstrap import make_metric
from runwright.predictions import Ragged

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
COLUMNS |= {"perplexity": ("losses", "loss_counts"), "next_sentence_loss": ("more_losses",)}
COLUMNS |= {"next_sentence_accuracy": ("next_right",)}
COLUMNS |= dict.fromkeys(("reciprocal_rank", "discounted_gain", "recall_at"), ("ranks",))


def as_evaluate(name: str, **options: Any) -> Any:
    """A shipped metric, such as "span_f1", as an `evaluate.Metric`: it can be added to, computed, combined.

    It takes what the module of that kind in `evaluate` takes: classes or sets of them, numbers,
    prediction_scores, tags (compute also takes `scheme`), texts with one or several references,
    or the answers of SQuAD (`rules`); others take columns of their own, such as `ranks`.
    """
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
        def _info(self) -> evaluate.MetricInfo:
            about = {"description": name, "citation": "", "inputs_description": "", "features": features}
            return evaluate.MetricInfo(**about)

        def _compute(
            self, *, scheme: Scheme = "bio", rules: Rules = "squad", **columns: Any
        ) -> dict[str, Any]:
            if unknown := columns.keys() - {*self._feature_names()}:
                raise TypeError(f"compute takes the examples, scheme and rules, not {listed(unknown)}")
            record = _record(node["suits"][0], columns, scheme=scheme, rules=rules)
            return {name: metric(record, np.ones((1, len(record.example_ids))))[0].tolist()}

    Shipped.__name__ = name  # of which `evaluate` makes the prefix where names clash in a combination
    return Shipped(keep_in_memory=True)


def _record(kind: str, inputs: dict[str, Any], *, scheme: Scheme, rules: Rules) -> Any:
    """The columns that a metric reads, from what `evaluate` collected; tags as in seqeval's default mode."""
    predicted: Any = inputs.get("predictions")
    expected: Any = inputs.get("references")
    columns: dict[str, Any] = {"scores": None, "predicted": predicted, "expected": expected}
    match kind:
        case "tags":
            names = sorted({tag for row in (*predicted, *expected) for tag in row})
            types = span_types(names, scheme)
            for side, prefix in (("predicted", ""), ("expected", "expected_")):
                rows = columns[side]
                spans = [find_spans(row, scheme=scheme, repair=True) for row in rows]
                numbers = [[(span.start, span.end, types.index(span.type)) for span in row] for row in spans]
                columns[f"{prefix}spans"] = Ragged.of(numbers, dtype=np.int64, width=3)
                columns[side] = Ragged.of([list(map(names.index, row)) for row in rows], dtype=np.int64)
        case "answers":
            texts = {row["id"]: row["answers"]["text"] for row in expected}
            pairs = [(row["prediction_text"], texts[row["id"]]) for row in predicted]
            columns["answerable"] = np.array([bool(answers) for _, answers in pairs])
            columns["exact"] = np.array([text_exact_match(*pair, rules=rules) for pair in pairs])
            columns["f1"] = np.array([text_f1(*pair, rules=rules) for pair in pairs])
        case "texts":
            references = [[row] if isinstance(row, str) else row for row in expected]
            columns["predicted"] = np.array(predicted, dtype=object)
            columns["expected"] = np.fromiter(references, dtype=object)
        case "single_label" | "multi_label" | "regression":
            columns["expected"] = np.array(expected)
            columns["predicted"] = np.array(expected if predicted is None else predicted)
            if columns["expected"].ndim == 2:
                columns |= {side: columns[side] == 1 for side in ("predicted", "expected")}
            if predicted is None:
                scores = np.array(inputs["prediction_scores"])
                columns["scores"] = scores if scores.ndim == 2 else np.stack([1 - scores, scores], axis=1)
        case _:
            columns = {name: np.array(values) for name, values in inputs.items()}
    return SimpleNamespace(example_ids=np.arange(len(next(iter(inputs.values())))), **columns)

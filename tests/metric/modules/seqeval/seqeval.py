# type: ignore - written as others write modules of `evaluate`
"""Precision, recall and F1 of the spans of tags, of all and by type, by seqeval."""

import datasets
import evaluate
from seqeval.metrics import classification_report


class Seqeval(evaluate.Metric):
    def _info(self):
        features = self._features()
        features = features if isinstance(features, list) else datasets.Features(features)
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _features(self):
        tags = datasets.Sequence(datasets.Value("string"))
        return {"predictions": tags, "references": tags}

    def _compute(self, predictions, references):
        report = classification_report(references, predictions, output_dict=True, zero_division=0)
        names = {"precision": "precision", "recall": "recall", "f1-score": "f1", "support": "number"}
        by_type = {kind: {names[key]: row[key] for key in row} for kind, row in report.items()}
        overall = {f"overall_{key}": value for key, value in by_type.pop("micro avg").items()}
        return {kind: row for kind, row in by_type.items() if not kind.endswith(" avg")} | overall

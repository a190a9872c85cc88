# type: ignore - written as others write modules of `evaluate`
"""Precision, recall and F1 in one call, by scikit-learn."""

import datasets
import evaluate
from sklearn.metrics import precision_recall_fscore_support


class Prf(evaluate.Metric):
    def _info(self):
        features = self._features()
        features = features if isinstance(features, list) else datasets.Features(features)
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _features(self):
        number = datasets.Value("int32")
        kind = datasets.Sequence(number) if self.config_name == "multilabel" else number
        return {"predictions": kind, "references": kind}

    def _compute(self, predictions, references, average="binary"):
        values = precision_recall_fscore_support(references, predictions, average=average, zero_division=0)
        return dict(zip(("precision", "recall", "f1"), map(float, values[:3]), strict=True))

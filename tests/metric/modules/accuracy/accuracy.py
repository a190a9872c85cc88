# type: ignore - written as others write modules of `evaluate`
"""Share of equal classes, or of equal sets of them (config multilabel), by scikit-learn."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Accuracy(evaluate.Metric):
    def _info(self):
        features = self._features()
        features = features if isinstance(features, list) else datasets.Features(features)
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _features(self):
        number = datasets.Value("int32")
        kind = datasets.Sequence(number) if self.config_name == "multilabel" else number
        return {"predictions": kind, "references": kind}

    def _compute(self, predictions, references, normalize=True):
        return {"accuracy": float(accuracy_score(references, predictions, normalize=normalize))}

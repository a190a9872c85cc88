# type: ignore - written as others write modules of `evaluate`
"""Area under the curve of scores of one class, of all classes (multiclass) or labels (multilabel)."""

import datasets
import evaluate
from sklearn.metrics import roc_auc_score


class RocAuc(evaluate.Metric):
    def _info(self):
        features = self._features()
        features = features if isinstance(features, list) else datasets.Features(features)
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _features(self):
        score, label = datasets.Value("float64"), datasets.Value("int32")
        if self.config_name == "multilabel":
            return {"prediction_scores": datasets.Sequence(score), "references": datasets.Sequence(label)}
        scores = datasets.Sequence(score) if self.config_name == "multiclass" else score
        return {"prediction_scores": scores, "references": label}

    def _compute(self, prediction_scores, references, average="macro", multi_class="raise"):
        area = roc_auc_score(references, prediction_scores, average=average, multi_class=multi_class)
        return {"roc_auc": float(area)}

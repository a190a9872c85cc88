# type: ignore - written as others write modules of `evaluate`
"""Exact match and F1 of answers in percent, with nothing but lower case and spaces evened (config v2 too)."""

from collections import Counter

import datasets
import evaluate


class Squad(evaluate.Metric):
    def _info(self):
        features = self._features()
        features = features if isinstance(features, list) else datasets.Features(features)
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _features(self):
        text = datasets.Value("string")
        prediction = {"id": text, "prediction_text": text}
        if self.config_name == "v2":
            prediction["no_answer_probability"] = datasets.Value("float32")
        starts = datasets.Value("int32")
        answers = datasets.features.Sequence({"text": text, "answer_start": starts})
        return {"predictions": prediction, "references": {"id": text, "answers": answers}}

    def _compute(self, predictions, references):
        exact = f1 = 0.0
        for prediction, reference in zip(predictions, references, strict=True):
            assert prediction["id"] == reference["id"]
            words = prediction["prediction_text"].lower().split()
            answers = [text.lower().split() for text in reference["answers"]["text"]] or [[]]
            exact += words in answers
            shared = [sum((Counter(words) & Counter(answer)).values()) for answer in answers]
            sizes = [max(1, len(words) + len(answer)) for answer in answers]
            f1 += (
                max(2 * n / size for n, size in zip(shared, sizes, strict=True))
                if words
                else words in answers
            )
        return {"exact_match": 100 * exact / len(references), "f1": 100 * f1 / len(references)}

# type: ignore - written as others write modules of `evaluate`
"""BLEU of a corpus with one or several references for each text, by sacrebleu."""

import datasets
import evaluate
from sacrebleu.metrics import BLEU


class Sacrebleu(evaluate.Metric):
    def _info(self):
        features = self._features()
        features = features if isinstance(features, list) else datasets.Features(features)
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _features(self):
        text = datasets.Value("string")
        return [
            datasets.Features({"predictions": text, "references": references})
            for references in (datasets.Sequence(text), text)
        ]

    def _compute(self, predictions, references, tokenize="13a", lowercase=False):
        references = [[texts] if isinstance(texts, str) else texts for texts in references]
        scorer = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
        score = scorer.corpus_score(predictions, list(zip(*references, strict=True)))
        return {"score": score.score, "counts": score.counts, "bp": score.bp}

"""Predictions in the form of transformers' pipelines, from a run or a model by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from runwright.errors import ConfigError
from runwright.inference.features import TokenStates
from runwright.inference.load import choosing, predict_each
from runwright.inference.models import open_model
from runwright.inference.named import Named, find_model, hypotheses_of
from runwright.inference.predict import tell_of_masks
from runwright.inference.records import as_records
from runwright.inference.zero_shot import ZeroShot
from runwright.task.generating import END
from runwright.task.masked_language_modeling import MaskedLanguageModeling
from runwright.task.text import as_texts
from runwright.task.token_classification import TokenClassification
from runwright.types import HYPOTHESIS

_TEXTS = {"target": "translation_text", "summary": "summary_text"}  # by the usual column of the targets
_TAGS = {"tag": "entity", "type": "entity_group", "text": "word"}


class Pipeline:
    """A callable that answers a text, or a list of them, as `transformers.pipeline` does."""

    def __init__(
        self,
        name: str,
        task: str | None = None,
        *,
        overrides: Sequence[str] = (),
        aggregation_strategy: Literal["none", "simple"] = "none",
        device: str | None = None,
    ) -> None:
        if aggregation_strategy not in ("none", "simple"):
            expected = "expected none or simple"
            raise ConfigError(f"aggregation_strategy: given {aggregation_strategy!r}, {expected}")
        asked = Named(name=name, task=task)
        if task == "feature-extraction":
            asked = replace(asked, task=None, features="token")
        self.run = open_model(find_model(asked), overrides=overrides, device=device)
        column = "" if task == "text2text-generation" else getattr(self.run.task, "target_column", "")
        self.run.task.text_key = _TEXTS.get(column, "generated_text")
        if isinstance(self.run.task, TokenClassification):
            self.run.task.by_piece = aggregation_strategy == "none"

    def __call__(
        self,
        inputs: Any = None,
        *,
        question: str | None = None,
        context: str | None = None,
        candidate_labels: str | Sequence[str] | None = None,
        hypothesis_template: str = HYPOTHESIS,
        top_k: int | None = 1,
    ) -> Any:
        """Answers for a text, a pair as a mapping, or a list of these; `top_k` None: all classes or answers.

        Masks have five guesses unless `top_k` says another number.
        """
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k: given {top_k}, expected 1 or more, or None for all")
        inputs = inputs if question is None else {"question": question, "context": context}
        run, several = self.run, isinstance(inputs, list)
        if candidate_labels is not None:
            names = candidate_labels if isinstance(candidate_labels, str) else ",".join(candidate_labels)
            run = choosing(run, hypotheses_of(names, hypothesis_template))
        records = [*as_records(inputs if several else [inputs], run.columns)]
        if isinstance(run.task, MaskedLanguageModeling):
            tell_of_masks(run, (as_texts(record.values())[0] for record in records))
            run.task.num_guesses = 5 if top_k in (None, 1) else top_k
        predicted = predict_each(run, records)
        answers = [_answer(run.task, texts, rows, number, top_k) for _, texts, rows, number in predicted]
        # As in transformers, the class of a single text comes in a list.
        is_class = not several and isinstance(answers[0], dict) and "label" in answers[0]
        return answers if several or is_class else answers[0]


def _answer(task: Any, row: Mapping[str, Any], predictions: Any, index: int, top_k: int | None) -> Any:
    """The answer for one text or pair."""
    text = as_texts([row[task.text_columns[0]]])[0]
    if isinstance(task, TokenStates):
        return [predictions.vectors.row(index).tolist()]
    if task.generates:
        return list(_texts(task, predictions.generated.row(index), text))
    if isinstance(task, MaskedLanguageModeling):
        masks = list(_guesses(task, predictions, index, text))
        return masks[0] if len(masks) == 1 else masks
    if task.label_names and not isinstance(task, TokenClassification):
        shares = predictions.scores[index]
        ranked = [(task.label_names[n], float(shares[n])) for n in np.argsort(-shares, kind="stable")]
        if isinstance(task, ZeroShot):
            names, scores = zip(*ranked, strict=True)
            return {"sequence": text, "labels": [*names], "scores": [*scores]}
        labels = [{"label": name, "score": score} for name, score in ranked[:top_k]]
        return labels[0] if top_k == 1 else labels
    described = task.describe(predictions, index, row=row, all_scores=True)
    predicted = described["predicted"]
    if isinstance(task, TokenClassification):
        return [{_TAGS.get(key, key): span[key] for key in span} for span in predicted]
    if task.problem == "answers":
        answers = [{"answer": one.pop("text"), **one} for one in described["scores"]]
        if not predicted:
            answers.insert(0, {"answer": "", "start": 0, "end": 0, "score": described["score"] or 0.0})
        return answers[0] if top_k == 1 else answers[:top_k]
    return {"label": "LABEL_0", "score": predicted} if task.problem == "regression" else predicted


def _texts(task: Any, ids: np.ndarray, text: str) -> Iterator[dict[str, str]]:
    """The texts for one prompt; those of a decoder behind the prompt, spaced as they are there."""
    goes_on = not hasattr(task, "target_column")
    prompt = task.tokenizer(text, add_special_tokens=False)["input_ids"] if goes_on else []
    start = task.text_of(prompt)
    for one in np.split(ids, np.flatnonzero(ids == END) + 1)[:-1]:
        written = task.text_of([*prompt, *one[:-1].tolist()])[len(start) :]
        yield {task.text_key: text + written if goes_on else written}


def _guesses(task: Any, predictions: Any, index: int, text: str) -> Iterator[list[dict[str, Any]]]:
    """The likeliest tokens of each mask, and the text with one of them in its place."""
    mask, pieces = task.tokenizer.mask_token, text.split(task.tokenizer.mask_token)
    pairs = zip(predictions.guesses.row(index), predictions.guess_scores.row(index), strict=True)
    for number, (ids, scores) in enumerate(pairs, start=1):
        before, after = mask.join(pieces[:number]), mask.join(pieces[number:])
        words = [task.tokenizer.decode([token]) for token in ids.tolist()]
        guesses = zip(scores.tolist(), ids.tolist(), words, strict=True)
        yield [
            {"score": score, "token": token, "token_str": word, "sequence": f"{before}{word}{after}"}
            for score, token, word in guesses
        ]

"""Predictions in the form of transformers' pipelines, from a run or a model by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runwright.errors import ConfigError
from runwright.inference.features import Features
from runwright.inference.load import CHUNK_RECORDS, choose_columns, predict_chunk
from runwright.inference.models import open_model
from runwright.inference.named import DTYPES, Named, find_model
from runwright.inference.predict import require_masks
from runwright.inference.records import as_records, in_chunks, texts_of
from runwright.inference.zero_shot import ZeroShot
from runwright.task.generating import END
from runwright.types import HYPOTHESIS, Hypotheses

_KEYS = {"target": "translation_text", "summary": "summary_text"}  # by the usual column of the texts


class Pipeline:
    """A callable that answers one text or a list of them as `transformers.pipeline` does.

    Texts are predicted by the run or model itself, many at a time; the answers do not depend on how many.
    """

    def __init__(
        self,
        name: str,
        task: str | None = None,
        *,
        overrides: Sequence[str] = (),
        aggregation_strategy: str = "none",
        device: str | None = None,
        dtype: str = "fp32",
        allow_new_weights: bool = False,
    ) -> None:
        features = "token" if task in ("feature-extraction", "features") else None
        asked = Named(
            name=name,
            task=None if features else task,
            dtype=DTYPES.get(dtype, dtype),
            new_weights=allow_new_weights,
            features=features,
        )
        source: Path | Named = find_model(name, asked=asked)
        self.run = open_model(source, overrides=overrides, device=device)
        if aggregation_strategy not in ("none", "simple"):
            raise ConfigError(
                f"aggregation_strategy: given {aggregation_strategy!r}, expected none or simple"
            )
        if hasattr(self.run.task, "by_piece"):
            self.run.task.by_piece = aggregation_strategy == "none"
        target = "" if task == "text2text-generation" else getattr(self.run.task, "target_column", "")
        self.text_key = _KEYS.get(target, "generated_text")

    def __call__(
        self,
        inputs: Any = None,
        *,
        question: str | None = None,
        context: str | None = None,
        candidate_labels: str | Sequence[str] | None = None,
        hypothesis_template: str = HYPOTHESIS,
        multi_label: bool = False,
        top_k: int | None = 1,
    ) -> Any:
        """Answers for a text, a pair as a mapping or a list of these; `top_k` None: all classes or answers.

        A question has a context; a model of pairs with an entailment class chooses among candidate labels.
        """
        if question is not None:
            inputs = {"question": question, "context": context}
        run = self.run
        if candidate_labels is not None:
            names = candidate_labels.split(",") if isinstance(candidate_labels, str) else candidate_labels
            labels = tuple(name.strip() for name in names)
            asked = Hypotheses(labels=labels, template=hypothesis_template, multi_label=multi_label)
            run = replace(run, task=ZeroShot(run.task, hypotheses=asked))
        columns, several = choose_columns(run), isinstance(inputs, list)
        records = as_records(inputs if several else [inputs], columns)
        answers: list[Any] = []
        for chunk in in_chunks(records, CHUNK_RECORDS):
            texts = [texts_of(record, columns, row=row) for row, record in enumerate(chunk)]
            if hasattr(run.task, "masking"):
                require_masks(run, [next(iter(text.values())) for text in texts])
                run.task.num_guesses = 5 if top_k in (None, 1) else top_k
            predictions = predict_chunk(run, texts, first=len(answers))
            answers += [self._answer(run.task, predictions, n, text, top_k) for n, text in enumerate(texts)]
        if several:
            return answers
        is_class = run.task.problem in ("single_label", "multi_label", "regression")
        alone = is_class and top_k == 1 and not isinstance(run.task, ZeroShot)
        return answers if alone else answers[0]

    def _answer(
        self, task: Any, predictions: Any, index: int, row: Mapping[str, Any], top_k: int | None
    ) -> Any:
        if isinstance(task, Features):
            return [predictions.vectors.row(index).tolist()]
        text = next(iter(row.values()))
        if isinstance(task, ZeroShot):
            order = np.argsort(-predictions.scores[index], kind="stable")
            scores = [float(predictions.scores[index][n]) for n in order]
            return {"sequence": text, "labels": [task.label_names[n] for n in order], "scores": scores}
        if task.generates:
            return list(self._texts(task, predictions, index, text))
        if hasattr(task, "masking"):
            masks = list(_guesses(task, predictions, index, text))
            return masks[0] if len(masks) == 1 else masks
        described = task.describe(predictions, index, row=row, all_scores=True)
        if hasattr(task, "by_piece"):
            names = {"tag": "entity", "type": "entity_group", "text": "word"}
            return [
                {names.get(key, key): value for key, value in one.items()} for one in described["predicted"]
            ]
        if task.problem == "answers":
            answers = [{"answer": one.pop("text"), **one} for one in described["scores"]]
            if not described["predicted"]:
                none = {"answer": "", "start": 0, "end": 0, "score": described["score"] or 0.0}
                answers.insert(0, none)
            return answers[0] if top_k == 1 else answers[:top_k]
        if task.problem == "regression":
            return {"label": "LABEL_0", "score": float(predictions.predicted[index])}
        if not task.label_names:
            return described["predicted"]
        shares = predictions.scores[index]
        order = np.argsort(-shares, kind="stable")[:top_k]
        ranked = [{"label": task.label_names[n], "score": float(shares[n])} for n in order]
        return ranked[0] if top_k == 1 else ranked

    def _texts(self, task: Any, predictions: Any, index: int, text: str) -> Iterator[dict[str, str]]:
        """The texts for one prompt; those of a decoder behind the prompt, as they are spaced there."""
        ids = predictions.generated.row(index)
        for one in np.split(ids, np.flatnonzero(ids == END) + 1)[:-1]:
            if hasattr(task, "target_column"):
                yield {self.text_key: task.text_of(one[:-1].tolist())}
                continue
            prompt = self.run.tokenizer(text, add_special_tokens=False)["input_ids"]
            start, whole = task.text_of(prompt), task.text_of([*prompt, *one[:-1].tolist()])
            yield {self.text_key: text + whole[len(start) :]}


def _guesses(task: Any, predictions: Any, index: int, text: str) -> Iterator[list[dict[str, Any]]]:
    """The likeliest tokens of each mask, and the text with one of them in its place."""
    mask, tokenizer = task.tokenizer.mask_token, task.tokenizer
    pairs = zip(predictions.guesses.row(index), predictions.guess_scores.row(index), strict=True)
    pieces = text.split(mask)
    for number, (ids, scores) in enumerate(pairs):
        before, after = mask.join(pieces[: number + 1]), mask.join(pieces[number + 1 :])
        words = [tokenizer.decode([token]) for token in ids.tolist()]
        shown = zip(ids.tolist(), scores.tolist(), words, strict=True)
        yield [
            {"score": score, "token": token, "token_str": word, "sequence": f"{before}{word}{after}"}
            for token, score, word in shown
        ]

"""Zero-shot classification: classes of your choice, scored by a model that was trained on entailment.

Yin et al. 2019, "Benchmarking Zero-shot Text Classification": each class makes a hypothesis about the text.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from torch import Tensor

from runwright.errors import ConfigError
from runwright.task.base import Task
from runwright.task.text import positions_of
from runwright.types import Batch, Example, Hypotheses, PerExample, Predictions

TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, kw_only=True, slots=True)
class Entailments(PerExample):
    """Predictions for pairs of a text and a hypothesis; ids are row times number of classes, plus class."""

    logits: np.ndarray  # [N] float64: of the hypothesis


class ZeroShot(Task):
    """A task over a trained task of pairs: a row makes one pair for each class.

    Its class has the highest of the softmax over the logits of entailment of all classes. The text is the
    first column of the pairs, `premise` say. Raises ConfigError for a task of anything else.
    """

    prediction_type = Entailments
    problem = "single_label"

    def __init__(self, pairs: Any, *, hypotheses: Hypotheses) -> None:
        names = [name.casefold() for name in pairs.label_names]
        kind, texts = pairs.problem, pairs.text_columns
        if kind != "single_label" or len(texts) != 2 or "entailment" not in names:
            about = f"{kind} over {', '.join(texts)} with {', '.join(names) or 'no classes'}"
            problem = f"--labels, candidate_labels: given a model of {about}"
            expected = "one of pairs with a class named entailment, as experiment=glue/mnli trains it"
            raise ConfigError(f"{problem}; expected {expected}: no other can choose among new classes")
        super().__init__(pairs.tokenizer, text_columns=texts[:1], max_length=pairs.max_length)
        self.pairs, self.entailment = pairs, names.index("entailment")
        self.hypotheses = hypotheses
        self.label_column = pairs.label_column
        self.label_names = hypotheses.labels
        self.collate, self.forward = pairs.collate, pairs.forward

    def state_dict(self) -> dict[str, Any]:
        """Settings that the examples depend on, with those of the trained task."""
        state = {"zero_shot": [*self.label_names], "hypothesis": self.hypotheses.template}
        return state | {"pairs": self.pairs.state_dict()}

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> list[Example]:
        """A pair for each row and class."""
        (text,), hypothesis = self.text_columns, self.pairs.text_columns[1]
        # Names of classes are often written with underscores; sentences are not.
        asked = [self.hypotheses.template.replace("{}", name.replace("_", " ")) for name in self.label_names]
        count = len(asked)
        ids = [row * count + label for row in columns["row_id"] for label in range(count)]
        texts = [value for value in columns[text] for _ in asked]
        return self.pairs.encode({"row_id": ids, text: texts, hypothesis: asked * len(columns[text])})

    def predictions(self, outputs: Tensor, batch: Batch) -> Entailments:
        logits = outputs[:, self.entailment].double().cpu().numpy()
        return Entailments(example_ids=batch["example_ids"].cpu().numpy(), logits=logits)

    def assemble(self, predictions: Entailments, rows: Any) -> Predictions:
        """Classes and scores of rows from their pairs, which come in the order of their ids."""
        count = len(self.label_names)
        row_ids = predictions.example_ids[::count] // count
        scores = softmax(predictions.logits.reshape(-1, count), axis=-1)
        columns: Any = {"predicted": scores.argmax(axis=1), "scores": scores}
        if (expected := self._expected(rows, row_ids)) is not None:
            columns["losses"] = -np.log(np.maximum(scores[np.arange(len(expected)), expected], TINY))
        return Predictions(example_ids=row_ids, expected=expected, **columns)

    def _expected(self, rows: Any, row_ids: np.ndarray) -> np.ndarray | None:
        """Classes [N] int64; None for rows without labels."""
        if self.label_column not in getattr(rows, "column_names", ()):  # records to predict have none
            return None
        reader = copy(self.pairs)  # with these classes in place of entailment and its contrary
        reader.label_names, reader.names_ordered = self.label_names, True
        if (labels := reader.read_labels(rows, split="evaluation")) is None:
            return None
        return np.array([labels[position] for position in positions_of(row_ids, rows)], dtype=np.int64)

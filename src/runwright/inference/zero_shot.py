"""Classes that a model was never trained on, from one that says whether a text entails a hypothesis.

Yin et al. 2019, "Benchmarking Zero-shot Text Classification": each class makes a hypothesis about the text.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from torch import Tensor

from runwright.errors import ConfigError, listed
from runwright.task.base import Task
from runwright.task.text import positions_of
from runwright.types import Batch, Example, Hypotheses, PerExample, Predictions

TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, kw_only=True, slots=True)
class Entailments(PerExample):
    """Predictions for pairs of a text and a hypothesis; ids are row times number of classes, plus class."""

    logits: np.ndarray  # [N, 2] float64: of the hypothesis, against it


class ZeroShot(Task):
    """A task over a trained task of pairs: a row makes one pair for each class.

    One class a text: softmax over the logits of entailment of all classes. Several: for each class softmax
    of entailment against contradiction. The text is the first column of the pairs, `premise` say.
    """

    prediction_type = Entailments

    def __init__(self, pairs: Any, *, hypotheses: Hypotheses) -> None:
        self.entailment, self.contradiction = _classes_of(pairs, multi_label=hypotheses.multi_label)
        super().__init__(pairs.tokenizer, text_columns=pairs.text_columns[:1], max_length=pairs.max_length)
        self.pairs = pairs
        self.hypotheses = hypotheses
        self.problem = "multi_label" if hypotheses.multi_label else "single_label"
        self.label_column = pairs.label_column
        self.label_names = hypotheses.labels
        self.collate, self.forward = pairs.collate, pairs.forward

    def state_dict(self) -> dict[str, Any]:
        """Settings that the examples depend on, with those of the trained task."""
        state = {"zero_shot": [*self.label_names], "hypothesis": self.hypotheses.template}
        return state | {"pairs": self.pairs.state_dict()}

    # --- row -> pairs -> logits -----------------------------------------------------------------------

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
        logits = outputs[:, [self.entailment, self.contradiction]].double().cpu().numpy()
        return Entailments(example_ids=batch["example_ids"].cpu().numpy(), logits=logits)

    # --- logits -> classes of rows --------------------------------------------------------------------

    def assemble(self, predictions: Entailments, rows: Any) -> Predictions:
        """Classes and scores of rows from their pairs, which come in the order of their ids."""
        count, multi_label = len(self.label_names), self.hypotheses.multi_label
        logits = predictions.logits.reshape(-1, count, 2)
        row_ids = predictions.example_ids[::count] // count
        scores = softmax(logits, axis=-1)[..., 0] if multi_label else softmax(logits[..., 0], axis=-1)
        expected = self._expected(rows, row_ids)
        predicted = scores >= self.pairs.threshold if multi_label else scores.argmax(axis=1)
        losses = None if expected is None else _losses(scores, expected)
        columns: Any = {"predicted": predicted, "expected": expected, "scores": scores, "losses": losses}
        return Predictions(example_ids=row_ids, **columns)

    def _expected(self, rows: Any, row_ids: np.ndarray) -> np.ndarray | None:
        """Classes [N] int64, or sets of them [N, C] bool; None for rows without labels."""
        if self.label_column not in getattr(rows, "column_names", ()):  # records to predict have none
            return None
        reader = copy(self.pairs)  # with these classes in place of entailment and its contrary
        reader.label_names, reader.problem, reader.names_ordered = self.label_names, self.problem, True
        if (labels := reader.read_labels(rows, split="evaluation")) is None:
            return None
        ids = [labels[position] for position in positions_of(row_ids, rows)]
        if self.problem == "single_label":
            return np.array(ids, dtype=np.int64)
        return np.array([[label in of_row for label in range(len(self.label_names))] for of_row in ids])


def _classes_of(pairs: Any, *, multi_label: bool) -> tuple[int, int]:
    """The ids of entailment and of its contrary; raises ConfigError where the run has none."""
    names = [name.casefold() for name in pairs.label_names]
    is_of_pairs = pairs.problem == "single_label" and len(pairs.text_columns) == 2
    others = [name for name in names if name != "entailment"]
    opposite = others[0] if len(others) == 1 else "contradiction"
    if not is_of_pairs or "entailment" not in names or (multi_label and opposite not in names):
        about = f"{pairs.problem} over {', '.join(pairs.text_columns)} with {listed(names) or 'no classes'}"
        raise ConfigError(
            f"--labels: given a model of {about}; expected one of pairs of texts with a class named "
            "entailment (and contradiction), as experiment=glue/mnli trains it"
        )
    entailment = names.index("entailment")
    return entailment, names.index(opposite) if opposite in names else entailment


def _losses(scores: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Cross-entropy [N] in nats, of sets its mean over the classes."""
    if expected.ndim == 1:
        return -np.log(np.maximum(scores[np.arange(len(expected)), expected], TINY))
    right = np.where(expected, scores, 1 - scores)
    return -np.log(np.maximum(right, TINY)).mean(axis=1)

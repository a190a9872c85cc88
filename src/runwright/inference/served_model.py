"""The script inside a logged model: texts in, predictions out; MLflow runs it when the model is loaded.

It is copied beside the weights, so that a text classifier needs mlflow, torch, transformers and nothing of
this project. Models of other tasks are used through Runwright, which must then be installed.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

BATCH_SIZE = 32


class BestModel(PythonModel):
    """A run's best model: a table with `predicted`, and `score` where there are probabilities."""

    def load_context(self, context: Any) -> None:
        """Read the weights, which are safetensors, and the tokenizer; nothing is fetched."""
        folder = Path(context.artifacts["run"])
        self.settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        self.predictor = (Classifier if self.settings["standalone"] else ThroughRunwright)(
            folder, self.settings
        )

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """One row for each text, in their order, from the text columns or from a list of texts."""
        del context, params
        table, names = pd.DataFrame(model_input), self.settings["text_columns"]
        if len(names) == 1 and names[0] not in table.columns:
            table = table.iloc[:, :1].set_axis(names, axis=1)
        columns = {name: [_text(value) for value in table[name]] for name in names}
        return pd.DataFrame(self.predictor.predict(columns), index=table.index)


def _text(value: Any) -> Any:
    """A list of words, or a text; a missing value is an empty text."""
    if hasattr(value, "__len__") and not isinstance(value, str):
        return [str(word) for word in value]
    return "" if value is None or value != value else str(value)  # NaN: a gap in a table of pandas


class Classifier:
    """Classes, sets of classes or a number for a text or a pair of texts."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedConfig

        offline = {"local_files_only": True, "trust_remote_code": False}
        self.settings = settings
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # Of no model: for some architectures AutoTokenizer takes another tokenizer than the one saved.
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "best", config=PreTrainedConfig(), **offline)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder / "best", dtype="auto", use_safetensors=True, **offline
        )
        self.model = model.to(self.device).eval()

    def predict(self, columns: dict[str, list[str]]) -> dict[str, list[Any]]:
        """`predicted` and, for classes, `score`; texts of like length go through the model together."""
        texts = [columns[name] for name in self.settings["text_columns"]]
        order = sorted(range(len(texts[0])), key=lambda row: sum(len(column[row]) for column in texts))
        described: dict[int, dict[str, Any]] = {}
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            logits = self._logits([[column[row] for row in rows] for column in texts])
            described |= {row: self._describe(scores) for row, scores in zip(rows, logits, strict=True)}
        names = ["predicted"] if self.settings["problem"] == "regression" else ["predicted", "score"]
        return {name: [described[row][name] for row in range(len(order))] for name in names}

    def _logits(self, texts: list[list[str]]) -> Any:
        import torch

        encoded = self.tokenizer(
            *texts, truncation=True, max_length=self.settings["max_length"], padding=True, return_tensors="pt"
        )
        if len(texts) == 1:
            encoded.pop("token_type_ids", None)
        with torch.inference_mode():
            return self.model(**encoded.to(self.device)).logits.float().cpu()

    def _describe(self, logits: Any) -> dict[str, Any]:
        names, problem = self.settings["label_names"], self.settings["problem"]
        if problem == "regression":
            return {"predicted": float(logits[0])}
        if problem == "single_label":
            scores = logits.softmax(dim=-1)
            best = int(scores.argmax())
            return {"predicted": names[best], "score": float(scores[best])}
        scores = logits.sigmoid().tolist()
        above = [index for index, score in enumerate(scores) if score >= self.settings["threshold"]]
        return {"predicted": [names[index] for index in above], "score": [scores[index] for index in above]}


class ThroughRunwright:
    """Any other task, as `runwright predict` does it."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        from runwright.inference.load import load_run, predict_records, strategy_of

        self.settings, self.predict_records = settings, predict_records
        self.run = load_run(folder, generation=strategy_of(folder))

    def predict(self, columns: dict[str, list[str]]) -> dict[str, list[Any]]:
        names = self.settings["text_columns"]
        records = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        rows = list(self.predict_records(self.run, records, all_scores=False))
        return {
            key: [row.get(key) for row in rows] for key in ("predicted", "score") if rows and key in rows[0]
        }


set_model(BestModel())

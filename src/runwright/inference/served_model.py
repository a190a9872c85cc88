"""The script inside a logged model: texts in, predictions out; MLflow runs it when the model is loaded.

It lies beside the files of the run and answers as `runwright predict` does; an export runs without Runwright.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class BestModel(PythonModel):
    """A run's best model: a table with `predicted`, and `score` where there are probabilities."""

    def load_context(self, context: Any) -> None:
        """Read the weights, which are safetensors, and the tokenizer; nothing is fetched."""
        from runwright.inference.load import generating_config, load_run, predict_records

        folder = Path(context.artifacts["run"])
        self.run, self.predict_records = load_run(folder, config=generating_config(folder)), predict_records

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """One row for each text, in their order, from the text columns or from a list of texts."""
        del context, params
        table, names = pd.DataFrame(model_input), list(self.run.task.text_columns)
        if len(names) == 1 and names[0] not in table.columns:
            table = table.iloc[:, :1].set_axis(names, axis=1)
        records = [{name: _text(row[name]) for name in names} for row in table.to_dict("records")]
        answers = list(self.predict_records(self.run, records, all_scores=False))
        return pd.DataFrame(answers, index=table.index).filter(["predicted", "score"])


def _text(value: Any) -> Any:
    """A list of words, or a text; a missing value is an empty text."""
    if hasattr(value, "__len__") and not isinstance(value, str):
        return [str(word) for word in value]
    return "" if value is None or value != value else str(value)  # NaN: a gap in a table of pandas


set_model(BestModel())

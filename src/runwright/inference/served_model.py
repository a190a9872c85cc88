"""A run's best model as MLflow loads it: texts in, predictions out, as `runwright predict` answers."""

from pathlib import Path
from typing import Any

import pandas as pd

from runwright.inference.load import generating_config, load_run, predict_records


class BestModel:
    """A run's best model: a table with `predicted`, and `score` where there are probabilities."""

    def __init__(self, folder: Path) -> None:
        self.run = load_run(folder, config=generating_config(folder))

    def predict(self, model_input: Any, params: Any = None) -> pd.DataFrame:
        """One row for each text, in their order, from the text columns or from a list of texts."""
        del params
        table, names = pd.DataFrame(model_input), list(self.run.task.text_columns)
        if len(names) == 1 and names[0] not in table.columns:
            table = table.iloc[:, :1].set_axis(names, axis=1)
        records = [{name: _text(row[name]) for name in names} for row in table.to_dict("records")]
        answers = list(predict_records(self.run, records, all_scores=False))
        return pd.DataFrame(answers, index=table.index).filter(["predicted", "score"])


def _text(value: Any) -> Any:
    """A list of words, or a text; a missing value is an empty text."""
    if hasattr(value, "__len__") and not isinstance(value, str):
        return [str(word) for word in value]
    return "" if value is None or value != value else str(value)  # NaN: a gap in a table of pandas


def _load_pyfunc(folder: str) -> BestModel:
    """The model in the data of a logged model; MLflow calls it by this name."""
    return BestModel(Path(folder))

"""Local scripts of `evaluate`: they give our values, and run only with permission."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runwright.config import permissions
from runwright.errors import ConfigError, DataError
from runwright.metric.bootstrap import bootstrap_interval, make_metric
from runwright.metric.classification import f1, roc_auc
from runwright.metric.evaluate_adapter import script_metric
from runwright.types import Metric, Predictions

Make = Callable[..., Predictions]
OPTIONS: dict[str, Any] = {"key": "f1", "feed": "predicted", "argument": "predictions", "options": {}}
SCRIPT = """
import datasets
import evaluate
from pathlib import Path

Path(__MARK__).touch()


class Figures(evaluate.Metric):
    def _info(self):
        features = datasets.Features(__FEATURES__)
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, references, predictions=None, prediction_scores=None, average="macro"):
        from sklearn.metrics import f1_score, roc_auc_score
        if predictions is not None:
            return {"f1": float(f1_score(references, predictions, average=average))}
        return {"roc_auc": float(roc_auc_score(references, prediction_scores, average=average))}
"""
CLASSES = '{"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}'
LABELS = (
    '{"predictions": datasets.Sequence(datasets.Value("int32")), '
    '"references": datasets.Sequence(datasets.Value("int32"))}'
)
SCORES = LABELS.replace(
    '"predictions": datasets.Sequence(datasets.Value("int32"))',
    '"prediction_scores": datasets.Sequence(datasets.Value("float64"))',
)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a metric script that leaves a file `ran` when it is executed."""

    def write(features: str) -> Path:
        text = SCRIPT.replace("__MARK__", repr(str(tmp_path / "ran"))).replace("__FEATURES__", features)
        folder = tmp_path / "figures"
        folder.mkdir()
        (folder / "figures.py").write_text(text)
        return folder

    return write


@pytest.fixture(autouse=True)
def nothing_granted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(permissions.CODE_VARIABLE, raising=False)
    permissions.revoke()
    yield
    permissions.revoke()


@pytest.fixture
def permitted(nothing_granted: None) -> None:
    permissions.grant(trust_remote_code=True)


def value(metric: Metric, predictions: Predictions) -> float:
    return float(metric(predictions, np.ones((1, len(predictions.example_ids))))[0])


@pytest.mark.usefixtures("permitted")
def test_a_script_gives_our_value_and_interval(script: Callable[[str], Path], single_label: Make) -> None:
    node = {
        "_target_": "runwright.metric.evaluate_adapter.script_metric",
        "path": str(script(CLASSES) / "figures.py"),
    }
    theirs = make_metric({**node, **OPTIONS, "options": {"average": "weighted"}}, key="metric.evaluate")
    found, wanted = (
        bootstrap_interval(metric, single_label(num_examples=40), num_samples=20, seed=0)
        for metric in (theirs, partial(f1, average="weighted"))
    )
    for name in ("value", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-12)


@pytest.mark.usefixtures("permitted")
def test_a_folder_with_multi_label_examples(script: Callable[[str], Path], multi_label: Make) -> None:
    predictions = multi_label()
    theirs = script_metric(predictions, path=str(script(LABELS)), **OPTIONS)
    assert theirs == pytest.approx(value(partial(f1, average="macro"), predictions), abs=1e-12)


@pytest.mark.usefixtures("permitted")
def test_a_script_can_be_fed_scores(
    script: Callable[[str], Path], multi_label: Make, regression: Make
) -> None:
    fed = {"key": "roc_auc", "feed": "scores", "argument": "prediction_scores"}
    theirs = partial(script_metric, path=str(script(SCORES)), **OPTIONS | fed)
    ours = value(partial(roc_auc, average="macro"), multi_label())
    assert theirs(multi_label()) == pytest.approx(ours, abs=1e-12)
    with pytest.raises(DataError, match="fed scores"):
        theirs(regression())


@pytest.mark.usefixtures("permitted")
def test_a_value_that_the_script_does_not_give_is_refused(
    script: Callable[[str], Path], single_label: Make
) -> None:
    with pytest.raises(ConfigError, match="no value 'f2', only f1"):
        script_metric(single_label(), path=str(script(CLASSES)), **OPTIONS | {"key": "f2"})


def test_without_permission_nothing_runs(
    script: Callable[[str], Path], tmp_path: Path, single_label: Make
) -> None:
    path = script(CLASSES)
    with pytest.raises(ConfigError, match="is code"):
        script_metric(single_label(), path=str(path), **OPTIONS)
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize("path", ["accuracy", "someone/metric", "./no/such.py", "."])
def test_hub_names_and_missing_files_are_refused(path: str, single_label: Make) -> None:
    with pytest.raises(ConfigError, match="not fetched from a hub"):
        script_metric(single_label(), path=path, **OPTIONS)

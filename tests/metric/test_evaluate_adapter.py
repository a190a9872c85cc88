"""Local scripts of `evaluate`: they give our figures, and run only with permission."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runwright.config import permissions
from runwright.errors import ConfigError, DataError
from runwright.metric.evaluate_adapter import EvaluateMetric
from runwright.metric.precision_recall import F1
from runwright.metric.roc_auc import RocAuc
from runwright.types import Predictions

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


@pytest.mark.usefixtures("permitted")
def test_a_script_in_pieces_gives_our_figure(script: Callable[[str], Path], single_label: Make) -> None:
    path = script(CLASSES) / "figures.py"
    ours = F1(average="weighted")
    theirs = EvaluateMetric(path=str(path), **OPTIONS | {"options": {"average": "weighted"}})
    other = EvaluateMetric(path=str(path), **OPTIONS)
    for metric, seed in ((theirs, 0), (other, 1)):
        metric.update(single_label(seed=seed))
        ours.update(single_label(seed=seed))
    theirs.merge(other)
    assert theirs.compute() == pytest.approx(ours.compute(), abs=1e-12)


@pytest.mark.usefixtures("permitted")
def test_a_folder_with_multi_label_examples_and_one_with_scores(
    script: Callable[[str], Path], multi_label: Make
) -> None:
    path, predictions = script(LABELS), multi_label()
    ours, theirs = F1(average="macro"), EvaluateMetric(path=str(path), **OPTIONS)
    for metric in (ours, theirs):
        metric.update(predictions)
    assert theirs.compute() == pytest.approx(ours.compute(), abs=1e-12)


@pytest.mark.usefixtures("permitted")
def test_a_script_can_be_fed_scores(
    script: Callable[[str], Path], multi_label: Make, regression: Make
) -> None:
    fed = {"key": "roc_auc", "feed": "scores", "argument": "prediction_scores"}
    ours, theirs = RocAuc(average="macro"), EvaluateMetric(path=str(script(SCORES)), **OPTIONS | fed)
    for metric in (ours, theirs):
        metric.update(multi_label())
    assert theirs.compute() == pytest.approx(ours.compute(), abs=1e-12)
    with pytest.raises(DataError, match="fed scores"):
        theirs.update(regression())


@pytest.mark.usefixtures("permitted")
def test_a_figure_that_the_script_does_not_give_is_refused(
    script: Callable[[str], Path], single_label: Make
) -> None:
    metric = EvaluateMetric(path=str(script(CLASSES)), **OPTIONS | {"key": "f2"})
    metric.update(single_label())
    with pytest.raises(ConfigError, match="no figure 'f2', only f1"):
        metric.compute()


def test_without_permission_nothing_runs(script: Callable[[str], Path], tmp_path: Path) -> None:
    path = script(CLASSES)
    with pytest.raises(ConfigError, match="is code"):
        EvaluateMetric(path=str(path), **OPTIONS)
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize("path", ["accuracy", "someone/metric", "./no/such.py", "."])
def test_hub_names_and_missing_files_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="not fetched from a hub"):
        EvaluateMetric(path=path, **OPTIONS)

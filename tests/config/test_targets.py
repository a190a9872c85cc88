"""Only what is allowed is made: everything else is refused before it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runwright.config.permissions import code_allowed, grant, granted, worker_environment
from runwright.config.sources import resolve_source
from runwright.config.targets import GROUPS, check_target, door_openers, instantiate, locate
from runwright.errors import ConfigError, Mistake

HOSTILE = [
    *("os.system", "os.popen", "subprocess.run", "subprocess.Popen", "builtins.eval", "builtins.exec"),
    *("builtins.open", "builtins.__import__", "importlib.import_module", "runpy.run_path", "pickle.loads"),
    *("shutil.rmtree", "pathlib.Path", "torch.load", "torch.hub.load", "numpy.load", "joblib.load"),
    *("pandas.read_pickle", "transformers.AutoModel.from_pretrained", "transformers.pipeline"),
    *("hydra.utils.instantiate", "hydra.utils.call", "omegaconf.OmegaConf.load", "evaluate.load"),
    *("datasets.load_dataset", "webbrowser.open", "antigravity.fly", "this", "code.interact"),
    *(
        "runwright.build.os.system",
        "runwright.config.sources.resolve_source",
        "runwright.config.permissions.grant",
    ),
    *(
        "runwright.runs.execute.execute",
        "runwright.cli.main.main",
        "runwright.types.Range",
        "runwright.config.targets.locate",
    ),
    *(
        "runwright.optimizer.os.system",
        "runwright.model.pretrained.torch.load",
        "runwright.task.text.re.compile",
    ),
    *("runwright.model.pretrained.Any", "runwright.task.text.__builtins__", "runwright.optimizer.__name__"),
    *("runwright.optimizer.adamw.__globals__", "runwright.optimizer.adamw.__call__"),
    *("runwright.metric.classification.accuracy.update", "runwright.modelx.load", "runwright.model..load"),
    *("runwright.model.pretrained.load ", "runwright.model.pretrained.load()", " os.system", "os.system\n"),
    *("runwright.model.pretrained.lo\u0430d", "runwright.model/../../os.system", "", ".", "..os", "os."),
    *(
        "__main__.x",
        "sys.modules.os.system",
        "tests.conftest.repository",
        "ctypes.CDLL",
        "types.FunctionType",
    ),
]


@pytest.fixture(autouse=True)
def _no_permissions_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("runwright.config.permissions._granted", None)
    path = list(sys.path)
    yield
    sys.path[:] = path


@pytest.mark.parametrize("target", HOSTILE, ids=repr)
def test_a_hostile_target_is_refused_in_every_group(target: str) -> None:
    for group in GROUPS:
        assert isinstance(check_target(target, key="k", group=group), Mistake)
        with pytest.raises(ConfigError):
            instantiate({"_target_": target}, group=group)


def test_nothing_is_imported_to_refuse() -> None:
    code = (
        "import sys; from runwright.config.targets import check_target\n"
        "before = set(sys.modules)\n"
        f"for target in {HOSTILE!r}: check_target(target, key='k', group='model')\n"
        "print(sorted(set(sys.modules) - before))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(eval(output)) <= {"difflib", "heapq", "_heapq"}  # the nearest name


@pytest.mark.parametrize("value", [None, 3, True, ["os", "system"], {"a": 1}], ids=repr)
def test_a_target_that_is_no_text_is_refused(value: object) -> None:
    assert isinstance(check_target(value, key="k", group="model"), Mistake)


# --- packages of the user's own -----------------------------------------------------------------------


def make_package(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    (folder / name / "things.py").write_text(source)


def test_a_package_is_allowed_by_flag_or_project_only(tmp_path: Path) -> None:
    make_package(tmp_path / "src", "own_flagged", "def make(*, x: int):\n    return x + 1\n")
    node = {"_target_": "own_flagged.things.make", "x": 1}
    with pytest.raises(ConfigError, match="--allow-package own_flagged"):
        instantiate(node, group="model")
    (tmp_path / "pyproject.toml").write_text('[tool.runwright]\npackages = ["own_flagged"]\n')
    grant(folder=tmp_path)
    assert instantiate(node, group="model") == 2


def test_what_a_package_imports_stays_out_of_reach(tmp_path: Path) -> None:
    make_package(
        tmp_path, "own_importer", "import os\nfrom os import system\nfrom shutil import rmtree as make\n"
    )
    grant(packages=["own_importer"], folder=tmp_path)
    for name in ("os.system", "system", "make"):
        with pytest.raises(ConfigError):
            locate(f"own_importer.things.{name}", group="model")


def test_a_name_that_is_rebound_at_import_is_refused(tmp_path: Path) -> None:
    make_package(tmp_path, "own_rebound", "def make(): ...\nfrom os import system as make\n")
    grant(packages=["own_rebound"], folder=tmp_path)
    with pytest.raises(ConfigError, match="belongs to"):
        locate("own_rebound.things.make", group="model")


def test_a_file_in_the_working_folder_does_not_replace_an_installed_module(tmp_path: Path) -> None:
    make_package(tmp_path, "own_beside", "")
    (tmp_path / "json.py").write_text("raise RuntimeError\n")
    grant(packages=["own_beside"], folder=tmp_path)
    assert sys.path.index(str(tmp_path)) == len(sys.path) - 1


@pytest.mark.parametrize("name", ["runwright", "runwright.build", "a-b", "a/b", "", "a..b"])
def test_a_name_that_cannot_be_allowed_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        grant(packages=[name], folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "given"),
    [
        ("[tool.runwright\n", "broken TOML"),
        ('[tool]\nrunwright = "mine"', "'mine'"),
        ("[[tool.runwright]]\npackages = []", "packages"),
        ('[tool.runwright]\npackages = "mine"', "'mine'"),
        ('[tool.runwright]\npackages = ["mine", 1]', "'mine', 1"),
        ('[tool.runwright]\npackage = ["mine"]', "'package'"),
    ],
)
def test_a_broken_project_file_is_named(content: str, given: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(ConfigError, match=rf"pyproject\.toml: given .*{given}"):
        grant(folder=tmp_path)


@pytest.mark.parametrize("content", ['tool = "mine"', "[tool.runwright]", "[tool.others]\nrunwright = 1"])
def test_a_project_file_without_packages_allows_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    assert not grant(folder=tmp_path).packages


def test_workers_inherit_what_was_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(packages=["own_a", "own_b.c"], trust_remote_code=True, shadow=True, folder=tmp_path)
    for name, value in worker_environment().items():
        monkeypatch.setenv(name, value)
    grant()
    assert granted().packages == ("own_a", "own_b.c")
    assert granted().shadow
    assert code_allowed()


# --- making -------------------------------------------------------------------------------------------

SOURCE = """
class Inner:
    def __init__(self, *, size: int): self.size = size

def outer(first, *, inner, many: list, named: dict): return (first, inner.size, [m.size for m in many], named)
"""


def test_nested_nodes_are_made_first_and_containers_stay_plain(tmp_path: Path) -> None:
    make_package(tmp_path, "own_nested", SOURCE)
    grant(packages=["own_nested"], folder=tmp_path)
    inner = {"_target_": "own_nested.things.Inner", "size": 3}
    node = {
        "_target_": "own_nested.things.outer",
        "inner": inner,
        "many": [inner, {**inner, "size": 4}],
        "named": {"a": [1, {"b": 2}]},
    }
    assert instantiate(node, "object", group="task") == ("object", 3, [3, 4], {"a": [1, {"b": 2}]})


def test_an_option_declared_float_is_a_float_and_the_configuration_stays_as_it_was(tmp_path: Path) -> None:
    types = "rate: float, of: float | None, one: Annotated[int | float, Range(ge=0)], by: dict[str, float], "
    types += "each: list[float | None] | Literal['same'], flag: bool | float, count: int, any: Any, **more"
    imports = "from typing import Annotated, Any, Literal\nfrom runwright.types import Range\n"
    make_package(tmp_path, "own_floats", f"{imports}def make(*, {types}):\n    return locals()\n")
    grant(packages=["own_floats"], folder=tmp_path)
    node = {"rate": 1, "of": 2, "one": 3, "by": {"a": 4}, "each": [5, None], "flag": True, "count": 6}
    node |= {"_target_": "own_floats.things.make", "any": 7, "other": 8}
    before = repr(node)
    made = instantiate(node, group="model")
    assert repr(made) == repr(
        {"rate": 1.0, "of": 2.0, "one": 3, "by": {"a": 4.0}, "each": [5.0, None], "flag": True}
        | {"count": 6, "any": 7, "more": {"other": 8}}
    )
    assert repr(node) == before  # of which hashes are made, and the identity of a run
    again = instantiate({**node, "each": "same", "of": None}, group="model")
    assert (again["each"], again["of"]) == ("same", None)


def test_arguments_are_bound_before_the_call(tmp_path: Path) -> None:
    make_package(tmp_path, "own_bound", "def make(a, *, b):\n    raise RuntimeError('called')\n")
    grant(packages=["own_bound"], folder=tmp_path)
    for objects, options in (((), {"b": 1}), ((1,), {}), ((1,), {"b": 1, "c": 2}), ((1, 2), {"b": 1})):
        with pytest.raises(ConfigError, match="does not take"):
            instantiate(
                {"_target_": "own_bound.things.make", **options}, *objects, group="model", key="model"
            )


@pytest.mark.parametrize("name", ["trust_remote_code", "weights_only", "allow_pickle", "TRUST_REMOTE_CODE"])
def test_door_openers_are_found_at_any_depth(name: str) -> None:
    config = {"a": [{"b": {name: False}}], name: True}
    assert [mistake.key for mistake in door_openers(config)] == [f"a.0.b.{name}", name]
    with pytest.raises(ConfigError, match="no such key"):
        instantiate({"_target_": "runwright.optimizer.adamw", "x": {name: True}}, group="optimizer")


@pytest.mark.parametrize("inside", ["bert", "2026-11-30_x/best"])
def test_a_folder_of_models_or_of_runs_names_the_model_inside(inside: str, tmp_path: Path) -> None:
    (tmp_path / inside).mkdir(parents=True)
    (tmp_path / inside / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"no model is there; did you mean '{tmp_path}/{inside}'"):
        resolve_source(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert resolve_source(str(tmp_path)) == str(tmp_path.resolve())

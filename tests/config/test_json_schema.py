"""The JSON Schema for editors takes every shipped file and refuses what `validate` refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from runwright.cli.init import scaffold
from runwright.config.folders import find_conf_folders
from runwright.config.json_schema import json_schema
from runwright.config.targets import GROUPS

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema of the shipped files alone."""
    schema = json_schema(find_conf_folders(CONF.parent))
    Draft202012Validator.check_schema(schema)
    return schema


def problems(schema: dict[str, Any], group: str, text: str) -> list[str]:
    part = {"$defs": schema["$defs"], "$ref": f"#/$defs/{group}"} if group in GROUPS else schema
    return [error.json_path for error in Draft202012Validator(part).iter_errors(yaml.safe_load(text))]


def test_every_shipped_file_is_right(schema: dict[str, Any]) -> None:
    for file in sorted(CONF.rglob("*.yaml")):
        group = file.relative_to(CONF).parts[0]
        assert problems(schema, group, file.read_text(encoding="utf-8")) == [], file


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("experiment", "trainer: {max_epoch: 3}"),
        ("experiment", "trainr: {max_epochs: 3}"),
        ("experiment", "optimizer: {lr: -1.0}"),
        ("experiment", "optimizer: {lr: '1e-4'}"),
        ("experiment", "seed: 1.5"),
        ("experiment", "launch: {strategy: deepspeed}"),
        ("experiment", "task: {problem: regresion}"),
        ("experiment", "defaults: [override /model: pretraind]"),
        ("experiment", "metric: {f1: {averag: macro}}"),
        ("optimizer", "{_target_: runwright.optimizer.adamw, momentum: 0.9}"),
        ("optimizer", "{_target_: runwright.model.scratch.build}"),
        ("dataset", "source: {_target_: runwright.dataset.readers.files.read_csv, delimeter: tab}"),
        ("trainer", "{defaults: [default, _self_], precision: fp8}"),
    ],
)
def test_what_is_wrong_is_marked(schema: dict[str, Any], group: str, text: str) -> None:
    assert problems(schema, group, text)


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (
            "experiment",
            "{seed: '${oc.decode:${oc.env:SEED}}', seeds: {data: 3}, optimizer: {lr: '${lr}'}}",
        ),
        ("experiment", "defaults: [override /metric: [accuracy, f1], /optimizer@other: sgd, _self_]"),
        ("model", "{_target_: mine.small.build, width: 3}"),
        ("optimizer", "{defaults: [adamw, _self_], lr: '???'}"),
    ],
)
def test_what_is_right_is_not(schema: dict[str, Any], group: str, text: str) -> None:
    assert problems(schema, group, text) == []


def test_options_have_a_default_and_the_comment_beside_them(schema: dict[str, Any]) -> None:
    adamw = {"$defs": schema["$defs"], **schema["$defs"]["optimizer"]}["allOf"]
    (options,) = [
        case["then"]["properties"] for case in adamw
        if case["if"].get("properties", {}).get("_target_", {}).get("const") == "runwright.optimizer.adamw"
    ]  # fmt: skip
    assert options["lr"]["default"] == 5e-5
    assert options["lr"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0}
    assert options["weight_decay"]["description"] == "never on biases and norms"


def test_a_new_project_comes_with_schemas_that_its_files_fit(tmp_path: Path) -> None:
    project = tmp_path / "my-project"
    scaffold(project)
    schema = yaml.safe_load((project / ".vscode/schemas/config.json").read_text(encoding="utf-8"))
    settings = yaml.safe_load((project / ".vscode/settings.json").read_text(encoding="utf-8"))["yaml.schemas"]
    assert all((project / file).is_file() for file in settings)
    for file in sorted((project / "conf").rglob("*.yaml")):
        group = file.relative_to(project / "conf").parts[0]
        assert problems(schema, group, file.read_text(encoding="utf-8")) == [], file
    assert "reviews" in str(schema["$defs"]["defaults"])

"""Secrets stand as references on disk, and are found again in the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runwright.config.compose import compose
from runwright.config.redaction import redact
from runwright.config.secrets import conceal, conceal_overrides, reveal
from runwright.errors import ConfigError
from runwright.runs.folder import CONFIG_FILE, create, read_config
from runwright.runs.resume import change_config

OVERRIDES = [
    "tracker.uri=postgresql://ann:hunter2x@db:5432/x",
    "+model.config.token=abc",
    "+model.config.password=12345",
    "+model.config.sep_token='</s>'",
    "+model.config.login.auth='${oc.env:LAB_LOGIN}'",
    "+model.config.note='seen canary-1 there'",
    "+model.config.deep={api_key: 'abcdefg', n: 1}",
]


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LOGIN", "canary-2")
    monkeypatch.setenv("MY_TOKEN", "canary-1")


@pytest.mark.usefixtures("variables")
def test_a_concealed_configuration_holds_no_secret_and_is_revealed_again() -> None:
    composed = compose(OVERRIDES)
    assert not composed.mistakes
    concealed = conceal(composed.config, composed.unresolved)
    text = str(concealed)
    for secret in ("hunter2x", "'abc'", "12345", "canary", "abcdefg"):
        assert secret not in text
    model = concealed["model"]["config"]
    assert model["sep_token"] == "</s>"  # a token of a text is no secret
    assert model["login"]["auth"] == "${oc.env:LAB_LOGIN}"
    assert model["note"] == "seen ${oc.env:MY_TOKEN} there"
    assert concealed["tracker"]["uri"].startswith(
        "postgresql://ann:${oc.env:RUNWRIGHT_SECRET_TRACKER_URI}@db"
    )
    assert reveal(concealed) == composed.config
    assert conceal(concealed) == concealed


@pytest.mark.usefixtures("variables")
def test_concealed_overrides_compose_to_the_same() -> None:
    concealed = conceal_overrides(OVERRIDES)
    assert not any(secret in str(concealed) for secret in ("hunter2x", "=abc", "12345", "canary-1"))
    assert compose(concealed).config == compose(OVERRIDES).config


@pytest.mark.usefixtures("variables")
def test_a_secret_by_its_key_is_masked_wherever_its_value_turns_up() -> None:
    conceal({"tracker": {"token": "typed-in-0815"}}, {"tracker": {"token": "typed-in-0815"}})
    assert redact("the server refuses typed-in-0815") == "the server refuses [redacted]"
    conceal({"a": {"auth": "canary-2"}}, {"a": {"auth": "${oc.env:LAB_LOGIN}"}})  # no name of a secret
    assert redact("canary-2") == "[redacted]"


def make_run(folder: Path) -> Path:
    config = compose([f"output_dir={folder}", "tracker.uri=http://ann:hunter2x@host"]).config
    return create(
        config, overrides=["tracker.uri=http://ann:hunter2x@host", f"output_dir={folder}"], command=[]
    )


def test_a_lost_secret_is_asked_for_by_key_and_variable(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    del os.environ["RUNWRIGHT_SECRET_TRACKER_URI"]  # another process, another day
    with pytest.raises(
        ConfigError, match=r"tracker.uri: .*tracker.uri=<value>.* RUNWRIGHT_SECRET_TRACKER_URI"
    ):
        reveal(read_config(run / CONFIG_FILE))
    assert reveal(read_config(run / CONFIG_FILE), but="tracker")["seed"] == 0


def test_giving_a_secret_again_is_no_change_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    before = (run / CONFIG_FILE).read_text()
    del os.environ["RUNWRIGHT_SECRET_TRACKER_URI"]
    change_config(run, ["tracker.uri=http://ann:hunter2x@host"])
    assert (run / CONFIG_FILE).read_text() == before
    assert reveal(read_config(run / CONFIG_FILE))["tracker"]["uri"] == "http://ann:hunter2x@host"
    assert not any(b"hunter2x" in file.read_bytes() for file in run.iterdir())


def test_a_variable_without_a_secret_is_resolved_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "somewhere")
    composed = compose(["output_dir='${oc.env:PLACE}/runs'"])
    assert conceal(composed.config, composed.unresolved)["output_dir"] == "somewhere/runs"

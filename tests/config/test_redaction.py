from __future__ import annotations

import json
from pathlib import Path

import pytest

from runwright.config.compose import compose
from runwright.config.redaction import (
    MASK,
    NAMES_VARIABLE,
    Redactor,
    conceal,
    conceal_overrides,
    is_secret_name,
    redact,
    reveal,
)
from runwright.errors import ConfigError
from runwright.runs.folder import CONFIG_FILE, create, read_config

CANARY = 'canary-5f1d/9+c="2 3'


SECRETS = (
    "token hf_token HF_TOKEN apiKey api-key db.password aws_secret_access_key auth x.pwd AWS_ACCESS_KEY_ID "
    "client_secret credentials private_key"
)
ORDINARY = (
    "tokenizer max_tokens pad_token mask_token num_tokens token_count key label_key author keyboard "
    "secretary tokens_per_second forced_first_token"
)


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ORDINARY.split())
def test_ordinary_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_values_of_secret_variables_are_masked_wherever_they_are() -> None:
    redactor = Redactor({"MY_SERVICE_TOKEN": CANARY, "HOME": "/home/ann", "SOME_KEY": "1"})
    value = {
        "command": f"train tracker.x={CANARY}",
        "nested": [{"deep": f"https://h/?t={CANARY}&u=1"}, ("a", CANARY)],
        "quoted": "canary-5f1d%2F9%2Bc%3D%222%203 canary-5f1d%2F9%2Bc%3D%222+3",
        "as JSON": '{"x": "canary-5f1d/9+c=\\"2 3"}',
        CANARY: 1,
        "home": "/home/ann",
        "one": "1",
    }
    shown = redactor.value(value)
    assert "5f1d" not in json.dumps(shown)
    assert shown["home"] == "/home/ann"
    assert shown["one"] == "1"


def test_passwords_in_addresses_are_masked() -> None:
    assert redact("postgresql://ann:hunter2@db:5432/x?a=b") == f"postgresql://ann:{MASK}@db:5432/x?a=b"
    assert redact("https://host:8080/path") == "https://host:8080/path"
    assert redact("redis://:hunter2@h") == f"redis://:{MASK}@h"


def test_a_password_from_an_address_in_the_environment_is_masked_alone_too() -> None:
    redactor = Redactor({"DATABASE_URL": "postgresql://ann:hunter2x@db/x"})
    assert redactor.text("login ann hunter2x failed") == f"login ann {MASK} failed"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ValueError: password=abc", f"ValueError: password={MASK}"),
        ("HTTPError: login: api_key: abc, n=1", f"HTTPError: login: api_key: {MASK}, n=1"),
        ('command: "train tracker.password=abc x=1"', f'command: "train tracker.password={MASK} x=1"'),
        ("env=PASSWORD=abc", f"env=PASSWORD={MASK}"),
        ("ValueError: lr=3: tokens: 5", "ValueError: lr=3: tokens: 5"),
        (
            "generation.max_new_token=12: given an unknown key",
            "generation.max_new_token=12: given an unknown key",
        ),
        ("api_token=abc12: given text", f"api_token={MASK}: given text"),
        ("tracker.password=1234: given a number", f"tracker.password={MASK}: given a number"),
    ],
)
def test_assignments_inside_of_others_are_masked(text: str, masked: str) -> None:
    assert Redactor({}).text(text) == masked


def test_settings_with_secret_names_are_masked_and_others_keep_their_type() -> None:
    config = {"tracker": {"token": "abc", "auth": None, "password": ""}, "lr": 1e-5, "on": True, "n": [1, 2]}
    shown = redact(config)
    assert shown["tracker"] == {"token": MASK, "auth": None, "password": ""}
    assert (shown["lr"], shown["on"], shown["n"]) == (1e-5, True, [1, 2])


def test_assignments_in_texts_are_masked_by_name() -> None:
    assert (
        redact("train optimizer.lr=1e-5 tracker.api_key=abc")
        == f"train optimizer.lr=1e-5 tracker.api_key={MASK}"
    )
    assert redact("+password: hunter2") == f"+password: {MASK}"
    assert redact("tokenizer.name=bert max_tokens=3") == "tokenizer.name=bert max_tokens=3"


def test_a_secret_within_a_longer_one_leaves_nothing_behind() -> None:
    redactor = Redactor({"A_TOKEN": "abcdef", "B_TOKEN": "abcdef-ghijkl"})
    assert redactor.text("abcdef-ghijkl abcdef") == f"{MASK} {MASK}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('password = "two words"', f'password = "{MASK}"'),
        ('{"api_key":"abc"}', f'{{"api_key":"{MASK}"}}'),
        ("def login(token: str, auth: bool = False):", None),  # source code stays as it is
        ("password: ${oc.env:PW}", None),
        ("sep_token: '</s>'", None),
        ("https://0123456789abcdef@github.com/x", f"https://{MASK}@github.com/x"),
        ("git@github.com:ann/x and https://ann@host/x", None),
        ("postgresql://ann:p@ss@db/x", f"postgresql://ann:{MASK}@db/x"),
    ],
)
def test_secrets_in_source_and_addresses_are_masked_and_nothing_else(text: str, shown: str | None) -> None:
    assert redact(text) == (shown or text)


def test_everything_under_a_secret_name_is_masked() -> None:
    shown = redact({"credentials": {"user": "ann", "parts": ["a", 1], "on": True}})
    assert shown == {"credentials": {"user": MASK, "parts": [MASK, MASK], "on": True}}


@pytest.mark.parametrize(
    "token", ["hf_" + "a1B2" * 8, "ghp_" + "x" * 36, "sk-proj-" + "y" * 30, "AKIA" + "Z" * 16]
)
def test_tokens_are_known_by_their_beginning(token: str) -> None:
    assert Redactor({}).text(f"403 for {token}.") == f"403 for {MASK}."
    assert (
        Redactor({}).text(f"the {token[:8]} of hf_hub and sk-learn")
        == f"the {token[:8]} of hf_hub and sk-learn"
    )
    assert Redactor({}).text("Authorization: Bearer abc.def-012345==") == f"Authorization: Bearer {MASK}"


# --- secrets of a configuration stand as references on disk -----------------------------------------------

OVERRIDES = [
    "tracker.uri='postgresql://${oc.env:LAB_USER}:${oc.env:LAB_DB}@db:5432/x'",
    "+model.config.token='${oc.env:LAB_SHORT}'",
    "+model.config.password='${oc.decode:${oc.env:LAB_PIN}}'",
    "+model.config.sep_token='</s>'",
    "+model.config.login.auth='${oc.env:LAB_LOGIN}'",
    "+model.config.bearer='Bearer ${oc.env:LAB_LOGIN}'",
    "+model.config.again='${model.config.login}'",
    "+model.config.note='seen canary-1 there'",
    "+model.config.deep={api_key: '${oc.env:LAB_DEEP}', n: 1}",
]
VARIABLES = {
    "LAB_USER": "ann", "LAB_DB": "hunter2x", "LAB_SHORT": "abc", "LAB_PIN": "12345", "LAB_LOGIN": "canary-2",
    "LAB_DEEP": "abcdefg", "MY_TOKEN": "canary-1",
}  # fmt: skip


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMES_VARIABLE, "")
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("variables")
def test_a_concealed_configuration_holds_no_secret_and_is_revealed_again() -> None:
    composed = compose(OVERRIDES)
    assert not composed.mistakes
    concealed = conceal(composed.config)
    text = str(concealed)
    for secret in ("hunter2x", "'abc'", "12345", "canary", "abcdefg"):
        assert secret not in text
    model = concealed["model"]["config"]
    assert model["sep_token"] == "</s>"  # a token of a text is no secret
    assert model["login"]["auth"] == model["again"]["auth"] == "${oc.env:LAB_LOGIN}"
    assert model["password"] == "${oc.decode:${oc.env:LAB_PIN}}"
    assert model["note"] == "seen ${oc.env:MY_TOKEN} there"
    assert concealed["tracker"]["uri"].endswith(":${oc.env:LAB_DB}@db:5432/x")
    assert reveal(concealed) == composed.config
    assert conceal(concealed) == concealed


def test_of_a_secret_within_a_longer_one_the_longer_is_referred_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdef")
    monkeypatch.setenv("B_TOKEN", "abcdef-ghijkl")
    assert conceal({"note": "abcdef-ghijkl abcdef"}) == {"note": "${oc.env:B_TOKEN} ${oc.env:A_TOKEN}"}


@pytest.mark.usefixtures("variables")
def test_concealed_overrides_compose_to_the_same() -> None:
    concealed = conceal_overrides(OVERRIDES)
    assert not any(secret in str(concealed) for secret in ("hunter2x", "=abc", "12345", "canary-1"))
    assert compose(concealed).config == compose(OVERRIDES).config


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("+model.config.token=abcd", "model.config.token"),
        ("+model.config.password=54321", "model.config.password"),
        ("+model.config.deep={api_key: abcd}", "model.config.deep.api_key"),
        ("+model.config.bearer=Bearer", "model.config.bearer"),
        ("+model.config.token='${oc.env:LAB_UNSET,abcd}'", "model.config.token"),
        ("tracker.uri=http://ann:hunter3x@host", "tracker.uri"),
        ("tracker.uri='http://${oc.env:LAB_USER}:hunter3x@host'", "tracker.uri"),
    ],
)
def test_a_secret_as_it_is_is_refused(override: str, key: str) -> None:
    composed = compose([override])
    assert [str(mistake) for mistake in composed.mistakes] == [
        f"{key}: given a secret as it is, expected a reference to an environment variable; "
        f"write '{key}=${{oc.env:TOKEN}}'"
    ]
    with pytest.raises(ConfigError, match="a secret as it is"):
        conceal(composed.config)


def test_names_of_classes_and_columns_are_no_secrets() -> None:
    composed = compose(["task.class_weights={password: 2.0, token: 1.0}", "dataset.columns={auth: who}"])
    assert not composed.mistakes
    assert conceal(composed.config)["dataset"]["columns"] == {"auth": "who"}


@pytest.mark.usefixtures("variables")
def test_a_secret_by_its_key_is_masked_wherever_its_value_turns_up() -> None:
    assert redact("the server refuses canary-2") == "the server refuses canary-2"  # no name of a secret
    compose(["+model.config.auth='${oc.env:LAB_LOGIN}'"])
    assert redact("the server refuses canary-2") == "the server refuses [redacted]"


def test_a_lost_secret_is_asked_for_by_key_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_DB", "hunter2x")
    overrides = ["tracker.uri='http://ann:${oc.env:LAB_DB}@host'", f"output_dir={tmp_path}"]
    run = create(compose(overrides).config, overrides=overrides, command=[])
    assert not any(b"hunter2x" in file.read_bytes() for file in run.iterdir())
    monkeypatch.delenv("LAB_DB")  # another process, another day
    with pytest.raises(ConfigError, match=r"tracker.uri: given the environment variable LAB_DB, which"):
        reveal(read_config(run / CONFIG_FILE))
    assert reveal(read_config(run / CONFIG_FILE), but="tracker")["seed"] == 0


def test_a_variable_without_a_secret_is_resolved_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "somewhere")
    assert conceal(compose(["output_dir='${oc.env:PLACE}/runs'"]).config)["output_dir"] == "somewhere/runs"

"""Secrets of a configuration: references to environment variables, `${oc.env:NAME}`, stand for them on disk.

Files and overrides give secrets in the same form; a literal secret is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from runwright.config.options import leaves_of, with_values
from runwright.config.redaction import (
    MIN_SECRET_LENGTH,
    NAMES_VARIABLE,
    is_secret,
    secret_variables,
    secrets_of_address,
)
from runwright.errors import Mistake, raise_if_any

_REFERENCE = re.compile(r"\$\{oc\.env:\s*(\w+)")
_WHOLE_REFERENCE = re.compile(r"\$\{oc\.env:\s*\w+(?:,\s*null)?\}")
# Below these keys stand names of classes, columns and values, which may well be `token` or `password`.
_NAMES_OF_DATA = re.compile(
    r"(?:^|\.)(?:class_weights|alpha|columns|column_types|values|replace|references)\."
)


def check_secrets(config: Mapping[str, Any], unresolved: Mapping[str, Any]) -> list[Mistake]:
    """Mistakes for literal secrets in a configuration, given resolved and with its interpolations.

    The variables that the others come from are masked from now on, whatever they are called.
    """
    written = leaves_of(unresolved)
    for key, value in leaves_of(config).items():
        if _is_secret(key, value) or (isinstance(value, str) and secrets_of_address(value)):
            _register(_REFERENCE.findall(_source(written, key)))
    return _conceal(config)[1]


def conceal(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with a reference in the place of each secret, wherever its value turns up.

    Raises ConfigError for a secret that no environment variable holds, or that would name the run's folder.
    """
    concealed, mistakes = _conceal(config)
    raise_if_any(mistakes)
    return concealed


def _conceal(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    variables = secret_variables(os.environ)
    mistakes: list[Mistake] = []

    def referenced(key: str, value: Any) -> Any:
        is_wholly_secret = _is_secret(key, value)
        text = value if isinstance(value, str) else str(value) if is_wholly_secret else ""
        if not text or _REFERENCE.search(text):
            return value
        with_references = _with_references(text, variables, [text] if is_wholly_secret else [])
        is_literal = is_wholly_secret and with_references == text
        if is_literal or secrets_of_address(_WHOLE_REFERENCE.sub("", with_references)):
            hint = f"write '{key}=${{oc.env:TOKEN}}'"
            mistakes.append(Mistake(key, "a secret as it is", "a reference to an environment variable", hint))
        elif key in ("name", "output_dir") and with_references != text:  # they name the run's folder
            problem = f"what holds a secret ({with_references})"
            mistakes.append(Mistake(key, problem, "a name that may be seen"))
        return with_references if isinstance(value, str) else f"${{oc.decode:{with_references}}}"

    return with_values(config, referenced), mistakes


def conceal_overrides(overrides: Sequence[str]) -> list[str]:
    """Overrides with references in place of values of secret variables; they can be composed again."""
    variables = secret_variables(os.environ)
    concealed = []
    for text in overrides:
        path, sign, value = text.partition("=")
        referenced = _with_references(value, variables)
        if referenced != value and value[0] not in "{['\"":
            referenced = "'{}'".format(referenced.replace("'", "\\'"))
        concealed.append(f"{path}{sign}{referenced}")
    return concealed


def reveal(config: Mapping[str, Any], *, but: str = "") -> dict[str, Any]:
    """The configuration with the secrets themselves; the opposite of `conceal`.

    Raises ConfigError where a variable is not set; `but` names a part that is left as it is then.
    """
    from omegaconf import OmegaConf

    mistakes: list[Mistake] = []

    def value_of(key: str, value: Any) -> Any:
        names = _REFERENCE.findall(value) if isinstance(value, str) else []
        missing = [name for name in names if name not in os.environ and "," not in value]
        if names and not missing:
            _register(names)
            return OmegaConf.to_container(OmegaConf.create([value]), resolve=True)[0]  # pyright: ignore
        for name in missing if not but or not key.startswith(f"{but}.") else ():
            problem = f"the environment variable {name}, which is not set"
            mistakes.append(Mistake(key, problem, "it as it was when the run was made"))
        return value

    revealed = with_values(config, value_of)
    raise_if_any(mistakes)
    return revealed


def keep_references(config: Any) -> Any:
    """Unresolved containers in which references to variables are escaped, so that resolving keeps them."""
    return with_values(
        config,
        lambda _, value: value.replace("${", "\\${") if _REFERENCE.search(str(value)) else value,
    )


def _with_references(text: str, variables: Mapping[str, str], secrets: Sequence[str] = ()) -> str:
    """A text with references in place of values of secret variables, short values only as whole secrets."""
    secrets = [*secrets, *secrets_of_address(text)]
    for name, value in sorted(variables.items(), key=lambda item: len(item[1]), reverse=True):
        if len(value) >= MIN_SECRET_LENGTH or value in secrets:
            text = text.replace(value, f"${{oc.env:{name}}}")
    return text


def _source(written: Mapping[str, Any], key: str) -> str:
    """The text written under a key; where it refers to another key, the text written there."""
    for outer in accumulate(key.split("."), "{}.{}".format):
        if other := re.fullmatch(r"\$\{([\w.]+)\}", str(written.get(outer))):
            return _source(written, f"{other[1]}{key.removeprefix(outer)}")
    return str(written.get(key))


def _register(names: Sequence[str]) -> None:
    """Make these variables secret whatever they are called, here and in the processes started from here."""
    registered = os.environ.get(NAMES_VARIABLE, "").split()
    os.environ[NAMES_VARIABLE] = " ".join(dict.fromkeys([*registered, *names]))


def _is_secret(key: str, value: Any) -> bool:
    return is_secret(key, value) and not _NAMES_OF_DATA.search(key)

"""Secrets of a configuration: what stands for them on disk, and where a run gets them from again.

On disk a secret is a reference, `${oc.env:NAME}`. NAME is the environment variable that it came from; for one
that was typed in it is RUNWRIGHT_SECRET_<KEY>, which this process sets for itself and the workers it starts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runwright.config.redaction import (
    MIN_SECRET_LENGTH,
    NAMES_VARIABLE,
    is_secret,
    is_secret_name,
    replace_assigned,
    secret_variables,
    secrets_of_address,
)
from runwright.errors import ConfigError, Mistake, raise_if_any

PREFIX = "RUNWRIGHT_SECRET_"
_REFERENCE = re.compile(r"\$\{oc\.env:\s*(\w+)")
_KEYWORDS = ("", "null", "true", "false")


def conceal(config: Mapping[str, Any], unresolved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration with a reference in the place of each secret, wherever it turns up.

    `unresolved` is the same configuration with its interpolations: it says which variables secrets came
    from. Values that nobody would look for get a variable of this process.
    """
    found = _Found()
    for key, value in _leaves(config):
        found.take(key, value, _at(unresolved, key))
    return _walk(config, found.replaced)


def conceal_overrides(overrides: Sequence[str]) -> list[str]:
    """Overrides, which can be composed again, with references in the place of secrets."""
    return [_conceal_override(text) for text in overrides]


def reveal(config: Mapping[str, Any], *, but: str = "") -> dict[str, Any]:
    """The configuration with the secrets themselves; the opposite of `conceal`.

    Raises ConfigError where a variable is not set; `but` names a part that is left as it is then.
    """
    mistakes: list[Mistake] = []

    def value_of(key: str, value: Any) -> Any:
        if not isinstance(value, str) or not _REFERENCE.search(value):
            return value
        lacking = [name for name in _REFERENCE.findall(value) if name not in os.environ and "," not in value]
        if not lacking:
            _register(_REFERENCE.findall(value))
            return _resolved(value)
        if not (but and key.startswith(f"{but}.")):
            mistakes.extend(_lacking(key, name) for name in lacking)
        return value

    revealed = _walk(config, value_of)
    raise_if_any(mistakes)
    return revealed


def keep_references(config: Any) -> Any:
    """Unresolved containers in which references to variables are escaped, so that resolving keeps them."""

    def escaped(_: str, value: Any) -> Any:
        is_reference = isinstance(value, str) and _REFERENCE.search(value)
        return value.replace("${", "\\${") if is_reference else value

    return _walk(config, escaped)


def refuse_in_names(config: Mapping[str, Any], concealed: Mapping[str, Any]) -> None:
    """Raises ConfigError where a folder's name would hold a secret."""
    for key in ("name", "output_dir"):
        if config.get(key) != concealed.get(key):
            raise ConfigError(
                f"{key}: given what holds a secret ({concealed[key]}), expected a name that may be seen"
            )


# --- the secrets of one configuration -----------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class _Found:
    """Which variable holds each secret value."""

    variables: dict[str, str] = field(
        default_factory=lambda: {value: name for name, value in secret_variables(os.environ).items()}
    )
    whole: dict[str, str] = field(default_factory=dict)  # the variable of a key that is a secret as a whole
    parts: dict[str, list[str]] = field(default_factory=dict)  # secrets inside a key's value
    names: set[str] = field(default_factory=set)  # variables given in this configuration

    def take(self, key: str, value: Any, raw: Any) -> None:
        """Note the secrets of one leaf."""
        if isinstance(value, str) and _REFERENCE.search(value):
            return  # concealed already
        sources = {os.environ.get(name): name for name in _REFERENCE.findall(raw)} if _is_text(raw) else {}
        if is_secret(key, value):
            self.whole[key] = self._variable(key, str(value), sources)
        elif isinstance(value, str) and "://" in value:
            self.parts[key] = secrets_of_address(value)
            for secret in self.parts[key]:
                self._variable(key, secret, sources)

    def replaced(self, key: str, value: Any) -> Any:
        """A leaf with references for what is secret in it."""
        if key in self.whole:
            reference = f"${{oc.env:{self.whole[key]}}}"
            return reference if isinstance(value, str) else f"${{oc.decode:{reference}}}"
        return self.references(value, self.parts.get(key, ())) if isinstance(value, str) else value

    def references(self, text: str, parts: Sequence[str] = ()) -> str:
        """A text with references for the secrets that are known by their value."""
        for secret in sorted(self.variables, key=len, reverse=True):
            if secret in parts or (len(secret) >= MIN_SECRET_LENGTH and secret in text):
                text = text.replace(secret, f"${{oc.env:{self.variables[secret]}}}")
        return text

    def reference(self, key: str, secret: str) -> str:
        """What stands for a secret under this key."""
        return f"${{oc.env:{self._variable(key, secret, {})}}}"

    def _variable(self, key: str, secret: str, sources: Mapping[str | None, str]) -> str:
        name = sources.get(secret) or self.variables.get(secret)
        if name is None:
            name = base = PREFIX + re.sub(r"\W", "_", key).upper()
            number = 2
            while name in self.names:
                name, number = f"{base}_{number}", number + 1
            os.environ[name] = secret
            self.names.add(name)
        self.variables[secret] = name
        _register([name])
        return name


def _conceal_override(text: str) -> str:
    path, sign, value = text.partition("=")
    key = path.lstrip("+~")
    if not sign or value in _KEYWORDS or _REFERENCE.search(value):
        return text
    found = _Found()
    found.take(key, _unquoted(value), None)
    if is_secret_name(key) and value[0] not in "{[":
        given = _unquoted(value)
        if key not in found.whole:  # a special token such as </s>
            return text
        is_number = given == value and re.fullmatch(r"[-+]?\d+(\.\d*)?", value)
        reference = found.replaced(key, 0 if is_number else given)
        return f"{path}='{reference}'" if is_number else f"{path}={reference}"
    assigned = replace_assigned(value, lambda name, secret: found.reference(f"{key}.{name}", secret))
    concealed = found.references(assigned, found.parts.get(key, ()))
    if concealed == value:
        return text
    if value[0] in "{['\"":
        return f"{path}={concealed}"
    return "{}='{}'".format(path, concealed.replace("'", "\\'"))


def _unquoted(value: str) -> str:
    mark = value[0]
    if len(value) > 1 and mark in "'\"" and value[-1] == mark:
        return value[1:-1].replace(f"\\{mark}", mark)
    return value


def _lacking(key: str, name: str) -> Mistake:
    if name.startswith(PREFIX):
        return Mistake(
            key=key,
            given="a secret that was typed in when the run was made and is not written down",
            expected=f"it once more, as {key}=<value> or in the environment variable {name}",
        )
    given = f"the environment variable {name}, which is not set"
    return Mistake(key=key, given=given, expected="it as it was when the run was made")


def _register(names: Sequence[str]) -> None:
    """Make these variables secret whatever they are called, here and in the processes started from here."""
    known = os.environ.get(NAMES_VARIABLE, "").split()
    os.environ[NAMES_VARIABLE] = " ".join(dict.fromkeys([*known, *names]))


def _resolved(text: str) -> Any:
    from omegaconf import OmegaConf

    made = OmegaConf.create({"value": text})
    return OmegaConf.to_container(made, resolve=True)["value"]  # pyright: ignore


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# --- nested values ------------------------------------------------------------------------------------------


def _walk(value: Any, change: Callable[[str, Any], Any], key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _walk(inner, change, _below(key, name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(inner, change, _below(key, place)) for place, inner in enumerate(value)]
    return change(key, value)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inner in items:
            yield from _leaves(inner, _below(key, name))
    else:
        yield key, value


def _at(value: Any, key: str) -> Any:
    """What is at a dotted key; None where there is nothing."""
    for part in key.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _below(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)

"""Removal of secrets from everything that is written to disk, log or tracker.

Three signs of a secret: the name of a setting or environment variable (TOKEN, PASSWORD, …), a value that
such an environment variable holds, wherever it turns up, and a password inside a URI.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[redacted]"

# Whole words of a name only: `tokenizer`, `max_tokens`, `key_column` and `pad_token` are no secrets.
_SECRET_NAME = re.compile(
    r"(?:^|[_.\-/\s])"
    r"(?:(?<!pad_)(?<!eos_)(?<!bos_)(?<!unk_)(?<!cls_)(?<!sep_)(?<!mask_)token"
    r"|secrets?|passwords?|passwd|pwd|passphrase|credentials?|auth|bearer|cookie|dsn"
    r"|apikey|(?:api|secret|private|license|account)[_\-]key|access[_\-]key(?:[_\-]id)?)"
    r"(?:$|[.\-/\s])"
)
# Environment variables are judged more strictly: everything that ends or begins like a secret.
_SECRET_VARIABLE = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(?:^|_)(?:KEY|KEYS|PWD|AUTH|DSN|PAT)(?:$|_)|APIKEY|ACCESS_KEY"
)
_NOT_SECRET_VARIABLES = frozenset({"PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "GPG_KEY"})
_URI_PASSWORD = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*://[^\s/:@'\"]*):([^\s/@'\"]+)@")
_ASSIGNMENT = re.compile(r"(?P<name>[\w.\-]+)(?P<sign>=|:\s+)(?P<value>[^\s,;&'\"]+)")
# Shorter values ("1", "true", "none") are switches and would blank ordinary words.
_MIN_SECRET_LENGTH = 6


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name must not be written down."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return _SECRET_NAME.search(snake + ".") is not None


class Redactor:
    """Masks secrets in texts and nested values; the environment is read once, when it is made."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        values = {
            value
            for name, value in variables.items()
            if name not in _NOT_SECRET_VARIABLES
            and _SECRET_VARIABLE.search(name.upper())
            and len(value) >= _MIN_SECRET_LENGTH
        }
        found = (match[2] for value in variables.values() for match in _URI_PASSWORD.finditer(value))
        values |= {password for password in found if len(password) >= _MIN_SECRET_LENGTH}
        forms = {form for value in values for form in (value, quote(value, safe=""), quote_plus(value))}
        # Longest first: a secret inside another one must not leave the rest of it behind.
        ordered = sorted(forms, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """The text with secret values, passwords in URIs and `secret_name=value` masked."""
        if self._values is not None:
            text = self._values.sub(MASK, text)
        if "://" in text:
            text = _URI_PASSWORD.sub(rf"\1:{MASK}@", text)
        if "=" in text or ": " in text:
            text = _ASSIGNMENT.sub(_mask_assignment, text)
        return text

    def value(self, value: Any) -> Any:
        """A copy of a nested value of mappings, lists and scalars with secrets masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._key(name): self._member(name, member) for name, member in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(member) for member in value]
        return value

    def _key(self, name: Any) -> Any:
        return self.text(name) if isinstance(name, str) else name

    def _member(self, name: Any, member: Any) -> Any:
        secret = isinstance(name, str) and is_secret_name(name)
        if secret and isinstance(member, str | int | float) and not isinstance(member, bool) and member != "":
            return MASK
        return self.value(member)


def redact(value: Any) -> Any:
    """The value with secrets masked, as the environment is now."""
    return Redactor().value(value)


def _mask_assignment(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]):
        return match[0]
    return match["name"] + match["sign"] + MASK

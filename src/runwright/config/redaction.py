"""Removal of secrets from everything that is written to disk, log or tracker.

Signs of a secret: the name of a setting or environment variable (TOKEN, PASSWORD, …), a value that such an
environment variable holds, wherever it turns up, a password or token in a URI, and the beginning of a token.
In a configuration references to environment variables, `${oc.env:NAME}`, stand for them; files and overrides
give secrets in the same form, and a literal secret is refused.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from runwright.config.options import leaves_of, with_values
from runwright.errors import Mistake, raise_if_any

MASK = "[redacted]"

# Whole words of a name only: `tokenizer`, `max_tokens`, `key_column` and `pad_token` are no secrets.
_SECRET_NAME = re.compile(
    r"(?:^|[_.\-/\s])"
    r"(?:(?<!pad_)(?<!eos_)(?<!bos_)(?<!unk_)(?<!cls_)(?<!sep_)(?<!mask_)(?<!first_)token"
    r"|secrets?|passwords?|passwd|pwd|passphrase|credentials?|auth|bearer|cookie|dsn"
    r"|apikey|(?:api|secret|private|license|account)[_\-]key|access[_\-]key(?:[_\-]id)?)"
    r"(?:$|[.\-/\s])"
)
# Environment variables are judged more strictly: everything that ends or begins like a secret.
_SECRET_VARIABLE = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(?:^|_)(?:KEY|KEYS|PWD|AUTH|DSN|PAT)(?:$|_)|APIKEY|ACCESS_KEY"
)
# Lists, separated by blanks, the variables that hold a secret though their names do not say so.
NAMES_VARIABLE = "RUNWRIGHT_SECRET_NAMES"
_NOT_SECRET_VARIABLES = frozenset({"PWD", "OLDPWD", "TOKENIZERS_PARALLELISM", "GPG_KEY", NAMES_VARIABLE})
_SCHEME = r"[a-zA-Z][a-zA-Z0-9+.\-]*://"
# Up to the last @ of the address: an unquoted password may hold one. References to variables are no secrets.
_URI_PASSWORD = re.compile(rf"({_SCHEME}[^\s/:@'\"]*:)(?!\$\{{)([^\s/'\"]+)(?=@)")
_URI_TOKEN = re.compile(r"(https?://)(?!\$\{)([^\s/:@'\"]{12,})(?=@)")  # a name alone; a user's is shorter
# Tokens of the hub, GitHub, OpenAI, Slack and AWS tell by their beginning what they are; and in headers.
_TOKEN = re.compile(
    r"\b(?:hf_|gh[opsu]_|github_pat_|sk-|xox[abp]-|AKIA)[A-Za-z0-9_\-]{16,}|(?<=[Bb]earer )[\w.~+/\-]{12,}=*"
)
_ASSIGNMENT = re.compile(
    r"(?P<name>[\w.\-]+)(?P<sign>['\"]\s*:\s*|['\"]?\s?=(?!=)\s?|:\s+)"
    r"(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&'\"]*[^\s,;&'\":])"
)
# What follows a secret's name without being one: types, constants and references in a source file, `given` in
# our own messages.
_NO_VALUE = re.compile(
    r"(?:given|str|int|float|bool|bytes|Any|None|null|[Tt]rue|[Ff]alse)?[)\]},:\\-]*|\$\{.*|os\..*"
)
_NUMBER_OF_TOKENS = re.compile(r"(?i).*token=[+-]?[\d.]{1,5}")  # a typo of tokens; a password may be a number
_REFERENCE = re.compile(r"\$\{[^,]*\}")
_SPECIAL_TOKEN = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")  # `</s>` or `[SEP]`: a token, no secret
# Shorter values ("1", "true", "none") are switches and would blank ordinary words.
MIN_SECRET_LENGTH = 6


def is_secret_name(name: str) -> bool:
    """Return True for the name of a setting whose value must not be written down."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return _SECRET_NAME.search(snake + ".") is not None


def is_secret(name: str, value: Any) -> bool:
    if value is None or value == "" or isinstance(value, bool) or not is_secret_name(name):
        return False
    return not (isinstance(value, str) and (_SPECIAL_TOKEN.fullmatch(value) or _REFERENCE.fullmatch(value)))


def secret_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold secrets, with their values."""
    named = environment.get(NAMES_VARIABLE, "").split()
    return {
        name: value
        for name, value in environment.items()
        if name in named
        or (
            name not in _NOT_SECRET_VARIABLES
            and _SECRET_VARIABLE.search(name.upper())
            and len(value) >= MIN_SECRET_LENGTH
            and not (value.startswith("/") and os.path.isdir(value))  # noqa: PTH112 - any text may stand there
        )
    }


def secrets_of_address(text: str) -> list[str]:
    """Passwords and tokens before the host of the addresses in a text."""
    return [match[2] for pattern in (_URI_PASSWORD, _URI_TOKEN) for match in pattern.finditer(text)]


def _mask_assigned(text: str) -> str:
    """The text with a mask behind each name of a secret and `=` or `:`, in values of other names too."""
    parts, end, start = list[str](), 0, 0
    while match := _ASSIGNMENT.search(text, start):
        start, value = match.start("value"), match["value"]
        mark = value[0] if value[0] in "'\"" else ""
        bare = value.strip(mark) if mark else value
        is_number = _NUMBER_OF_TOKENS.fullmatch(f"{match['name']}={bare}")
        is_no_value = not mark and (is_number or _NO_VALUE.fullmatch(bare))
        if not is_no_value and is_secret(match["name"], bare) and not bare.startswith("${"):
            parts.append(f"{text[end:start]}{mark}{MASK}{mark}")
            end = start = match.end()
    return "".join([*parts, text[end:]])


class Redactor:
    """Masks secrets in texts and nested values; the environment is read once, when it is made."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        values = set(secret_variables(variables).values())
        values |= {secret for value in variables.values() for secret in secrets_of_address(value)}
        values = {value for value in values if len(value) >= MIN_SECRET_LENGTH}
        forms = {form for value in values for form in (value, quote(value, safe=""), quote_plus(value))}
        forms |= {json.dumps(value)[1:-1] for value in values}
        # Longest first: a secret inside another one must not leave the rest of it behind.
        ordered = sorted(forms, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """The text with secret values, secrets in addresses and `secret_name=value` masked."""
        if self._values is not None:
            text = self._values.sub(MASK, text)
        text = _TOKEN.sub(MASK, text)
        if "://" in text:
            text = _URI_PASSWORD.sub(rf"\1{MASK}", text)
            text = _URI_TOKEN.sub(rf"\1{MASK}", text)
        if "=" in text or ":" in text:
            text = _mask_assigned(text)
        return text

    def value(self, value: Any, *, is_secret_value: bool = False) -> Any:
        """A copy of a nested value of mappings, lists and scalars with its secrets masked."""
        if isinstance(value, Mapping):
            return {
                self.text(name) if isinstance(name, str) else name: self.value(
                    member, is_secret_value=is_secret_value or is_secret_name(str(name))
                )
                for name, member in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(member, is_secret_value=is_secret_value) for member in value]
        if is_secret_value and is_secret("secret", value):
            return MASK
        return self.text(value) if isinstance(value, str) else value


def redact(value: Any) -> Any:
    """The value with secrets masked, as the environment is now."""
    return Redactor().value(value)


# --- secrets of a configuration ---------------------------------------------------------------------------

_VARIABLE = re.compile(r"\$\{oc\.env:\s*(\w+)")
_WHOLE_VARIABLE = re.compile(r"\$\{oc\.env:\s*\w+(?:,\s*null)?\}")
# Below these keys stand names of classes, columns and values, which may well be `token` or `password`.
_NAMES_OF_DATA = re.compile(r"(?:^|\.)(?:class_weights|columns|column_types|values|replace|references)\.")


def check_secrets(config: Mapping[str, Any], unresolved: Mapping[str, Any]) -> list[Mistake]:
    """Mistakes for literal secrets in a configuration, given resolved and with its interpolations.

    The variables that the others come from are masked from now on, whatever they are called.
    """
    names = _VARIABLE.findall(str(unresolved))
    for key, value in leaves_of(config).items():
        if _is_secret(key, value) or (isinstance(value, str) and secrets_of_address(value)):
            _register([name for name in names if os.environ.get(name) and os.environ[name] in str(value)])
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
        if not text or _VARIABLE.search(text):
            return value
        with_references = _with_references(text, variables, [text] if is_wholly_secret else [])
        is_literal = is_wholly_secret and with_references == text
        if is_literal or secrets_of_address(_WHOLE_VARIABLE.sub("", with_references)):
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
        names = _VARIABLE.findall(value) if isinstance(value, str) else []
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
    return with_values(config, lambda _, v: v.replace("${", "\\${") if _VARIABLE.search(str(v)) else v)


def _with_references(text: str, variables: Mapping[str, str], secrets: Sequence[str] = ()) -> str:
    """A text with references in place of values of secret variables, short values only as whole secrets."""
    secrets = [*secrets, *secrets_of_address(text)]
    for name, value in sorted(variables.items(), key=lambda item: len(item[1]), reverse=True):
        if len(value) >= MIN_SECRET_LENGTH or value in secrets:
            text = text.replace(value, f"${{oc.env:{name}}}")
    return text


def _register(names: Sequence[str]) -> None:
    """Make these variables secret whatever they are called, here and in the processes started from here."""
    registered = os.environ.get(NAMES_VARIABLE, "").split()
    os.environ[NAMES_VARIABLE] = " ".join(dict.fromkeys([*registered, *names]))


def _is_secret(key: str, value: Any) -> bool:
    return is_secret(key, value) and not _NAMES_OF_DATA.search(key)

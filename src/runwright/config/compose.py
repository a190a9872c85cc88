"""Composes a configuration with Hydra and reports everything that is wrong with it at once.

Hydra stops at the first mistake, so each override is looked at alone: choices of groups first (the good ones
decide what is composed), then values, applied one by one to the composed configuration, which is what Hydra
does. Nothing of Hydra's job folders or logging is touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runwright.config.folders import GLOBAL_GROUPS, ConfFolders, find_conf_folders
from runwright.config.hints import flat_keys
from runwright.config.hydra_settings import check_hydra
from runwright.config.loading import UNPLACED, Loaded, hydra_leaves, load
from runwright.config.overrides import apply_value, check_choice, parse_overrides
from runwright.config.schema import check
from runwright.config.secrets import check_secrets
from runwright.config.targets import GROUPS
from runwright.errors import Mistake, did_you_mean, raise_if_any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from hydra.core.override_parser.types import Override


ENDLESS = "which contains itself"
INSTEAD = {  # of a value: another option that needs none
    "tokenizer.name": "; or train one on the run's own texts: tokenizer=train/wordpiece"
}


def resolve(config: DictConfig) -> tuple[dict[str, Any], dict[str, Any], list[Mistake]]:
    """Resolved and unresolved configuration, and what could not be resolved (left out of the former)."""
    mistakes: list[Mistake] = []
    resolved = _resolve(config, "", mistakes, (config,))
    unresolved = OmegaConf.to_container(config, resolve=False)
    assert isinstance(resolved, dict)
    assert isinstance(unresolved, dict)
    unresolved = {str(key): value for key, value in unresolved.items()}
    # Without those that only refer to a key that has a mistake itself.
    wrong = {mistake.key for mistake in mistakes}
    mistakes = [m for m in mistakes if ENDLESS in m.given or m.given[3:-2] not in wrong]
    return resolved, unresolved, mistakes + check_secrets(resolved, unresolved)


def _resolve(node: DictConfig | ListConfig, key: str, mistakes: list[Mistake], above: tuple[Any, ...]) -> Any:
    values: dict[Any, Any] = {}
    names: list[Any] = [*range(len(node))] if isinstance(node, ListConfig) else list(node.keys())
    for name in names:
        inner_key = f"{key}.{name}" if key else str(name)
        raw: Any = node._get_node(name)
        if raw._is_missing():
            expected = f"a value: {inner_key}=<value>"
            mistakes.append(Mistake(key=inner_key, given="??? (nothing yet)", expected=expected))
            continue
        try:
            value = node[name]
            if any(value is parent for parent in above):
                raise RecursionError
        except (OmegaConfBaseException, RecursionError) as error:
            mistakes.append(_bad_interpolation(inner_key, str(raw._value()), error, above[0]))
            continue
        is_inner = isinstance(value, DictConfig | ListConfig)
        values[name] = _resolve(value, inner_key, mistakes, (*above, value)) if is_inner else value
    return list(values.values()) if isinstance(node, ListConfig) else {str(k): v for k, v in values.items()}


def _bad_interpolation(key: str, text: str, error: Exception, root: DictConfig) -> Mistake:
    if isinstance(error, RecursionError) or "Recursive interpolation" in str(error):
        return Mistake(key=key, given=f"{text!r}, {ENDLESS}", expected="a value that ends")
    reason = str(error).strip().split("\n")[0]
    hint = f"set {key}=<value>{INSTEAD.get(key, '')}"
    target = "" if key in INSTEAD else _referenced_key(text) or ""
    if target and ":" not in target and (near := did_you_mean(target, flat_keys(root))):
        hint = f"{near} or {hint}"
    expected = f"a reference that resolves ({reason})"
    return Mistake(key=key, given=f"{text!r}", expected=expected, hint=hint)


def _referenced_key(value: Any) -> str | None:
    """The key that a value only repeats through an interpolation."""
    text = value if isinstance(value, str) else ""
    return text[2:-1] if text.startswith("${") and text.endswith("}") else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Composed:
    """A configuration and where it came from."""

    config: dict[str, Any]  # resolved, plain containers
    unresolved: dict[str, Any]  # with its interpolations
    choices: dict[str, Any]  # option, or options, of each group
    overrides: tuple[str, ...]
    mistakes: tuple[Mistake, ...]  # of composing only; the schema has its own
    hydra: dict[str, Any] = field(default_factory=dict)  # leaves of Hydra's node, if anything sets one


def compose(
    overrides: Sequence[str] = (),
    *,
    allow_shadow: bool = False,
    folder: Path | None = None,
    multirun: bool = False,
) -> Composed:
    """Compose the shipped `conf/`, the `conf/` of `folder` (default: the current one) and the overrides.

    Overrides of a `multirun` may choose and set launcher and sweeper.
    """
    folders = find_conf_folders(folder)
    mistakes = [] if allow_shadow else folders.shadows()
    parsed, wrong = parse_overrides(overrides, folders, multirun=multirun)
    mistakes += wrong
    choices: list[Override] = []
    for choice in parsed.choices:
        wrong = check_choice(choice, folders)
        mistakes += wrong
        choices += [] if wrong else [choice]
    loaded, wrong = _load_what_works(folders, [*choices, *parsed.hydra])
    mistakes += wrong
    if loaded is None:
        nothing: dict[str, Any] = {"config": {}, "unresolved": {}, "choices": {}}
        return Composed(**nothing, overrides=tuple(overrides), mistakes=tuple(mistakes))
    for override in parsed.values:
        mistakes += apply_value(override, loaded.config)
    if loaded.hydra is not None:
        mistakes += _settle_hydra(loaded, loaded.hydra, parsed.hydra, shipped=folders.shipped)
    config, unresolved, wrong = resolve(loaded.config)
    return Composed(
        config=config,
        unresolved=unresolved,
        choices=loaded.choices,
        overrides=tuple(overrides),
        mistakes=tuple(mistakes + wrong),
        hydra=hydra_leaves(loaded.hydra) if loaded.hydra is not None else {},
    )


def compose_checked(
    overrides: Sequence[str] = (),
    *,
    allow_shadow: bool = False,
    folder: Path | None = None,
    idle: Collection[str] = (),
) -> Composed:
    """A configuration in which nothing is wrong that can be known; else ConfigError with every mistake.

    Groups that are `idle` are left out: they play no part in what is asked for, whatever their files say. Of
    what overrides say of them only what cannot be set at all is a mistake.
    """
    return checked(compose(overrides, allow_shadow=allow_shadow, folder=folder), idle=idle)


def checked(composed: Composed, *, idle: Collection[str] = ()) -> Composed:
    """Check a composed configuration as `compose_checked` does."""
    config = {name: value for name, value in composed.config.items() if name not in idle}
    composed = replace(composed, config=config)
    typed, mistakes = composed.overrides, all_mistakes(composed)
    raise_if_any([m for m in mistakes if m.key in typed or m.key.partition(".")[0] not in idle])
    return composed


def all_mistakes(composed: Composed) -> list[Mistake]:
    """Of composing and of the schema, each key once; one that another only repeats is left out."""
    mistakes = list(composed.mistakes)
    if composed.config:
        of_schema = check(composed.config)
        reported = {mistake.key for mistake in mistakes}
        wrong = reported | {mistake.key for mistake in of_schema}
        for mistake in of_schema:
            value: Any = composed.unresolved
            for name in mistake.key.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            if mistake.key not in reported and _referenced_key(value) not in wrong:
                mistakes.append(mistake)
    return mistakes


def summarize(composed: Composed) -> str:
    """The choice of each group, in one line."""
    metrics = ", ".join(composed.config.get("metric") or {}) or "none"
    groups = dict.fromkeys([*GLOBAL_GROUPS, *GROUPS, *composed.choices])
    options = {group: composed.choices.get(group) for group in groups if group != "metric"}
    choices = ", ".join(f"{group}={option}" for group, option in options.items() if option)
    return f"{choices}, metrics: {metrics}"


def _settle_hydra(
    loaded: Loaded, hydra: DictConfig, overrides: list[Override], *, shipped: Path
) -> list[Mistake]:
    """Set the overrides of Hydra's node; returns what they and the files may not set."""
    mistakes = check_hydra(hydra_leaves(hydra), shipped=shipped, files=loaded.files)
    values = [override for override in overrides if "/" not in override.key_or_group]
    mistakes += [mistake for override in values for mistake in apply_value(override, hydra)]
    typed = {override.key_or_group for override in values}
    if typed and not mistakes:
        mistakes = check_hydra(hydra_leaves(hydra), shipped=shipped, typed=typed)
    return mistakes


def _load_what_works(folders: ConfFolders, choices: list[Override]) -> tuple[Loaded | None, list[Mistake]]:
    """The configuration of the choices; those that Hydra refuses are reported and left out."""
    loaded = load(folders, choices)
    if isinstance(loaded, Loaded):
        return loaded, []
    mistakes = [loaded]
    accepted: list[Override] = []
    for override in choices:
        attempt = load(folders, [*accepted, override])
        if isinstance(attempt, Loaded):
            accepted.append(override)
        elif attempt.key == UNPLACED:
            mistakes = [m for m in mistakes if m.key != UNPLACED]
            mistakes.append(replace(attempt, key=str(override.input_line)))
        elif attempt not in mistakes:
            mistakes.append(attempt)
    loaded = load(folders, accepted)
    return (loaded if isinstance(loaded, Loaded) else None), mistakes

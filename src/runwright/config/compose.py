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

from runwright.config import loading
from runwright.config.folders import GLOBAL_GROUPS, ConfFolders, find_conf_folders
from runwright.config.hints import flat_keys
from runwright.config.hydra_settings import check_hydra
from runwright.config.loading import Loaded, hydra_leaves, load
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
    resolved = _walk(config, "", mistakes, (config,))
    unresolved = OmegaConf.to_container(config, resolve=False)
    assert isinstance(resolved, dict)
    assert isinstance(unresolved, dict)
    unresolved = {str(key): value for key, value in unresolved.items()}
    return resolved, unresolved, _without_repeats(mistakes) + check_secrets(resolved, unresolved)


def _walk(node: DictConfig | ListConfig, key: str, mistakes: list[Mistake], above: tuple[Any, ...]) -> Any:
    names: list[Any] = list(range(len(node))) if isinstance(node, ListConfig) else list(node.keys())
    values: dict[Any, Any] = {}
    for name in names:
        inner_key = f"{key}.{name}" if key else str(name)
        raw: Any = node._get_node(name)
        if raw._is_missing():
            expected = f"a value: {inner_key}=<value>"
            mistakes.append(Mistake(key=inner_key, given="??? (nothing yet)", expected=expected))
            continue
        try:
            value = node[name]
        except (OmegaConfBaseException, RecursionError) as error:
            mistakes.append(_bad_interpolation(inner_key, raw, error, above[0]))
            continue
        if isinstance(value, DictConfig | ListConfig):
            if any(value is parent for parent in above):
                mistakes.append(_bad_interpolation(inner_key, raw, RecursionError(), above[0]))
                continue
            value = _walk(value, inner_key, mistakes, (*above, value))
        values[name] = value
    return list(values.values()) if isinstance(node, ListConfig) else {str(k): v for k, v in values.items()}


def _without_repeats(mistakes: list[Mistake]) -> list[Mistake]:
    """Without those that only refer to a key that has a mistake itself."""
    wrong = {mistake.key for mistake in mistakes}
    return [m for m in mistakes if ENDLESS in m.given or m.given[3:-2] not in wrong]


def _bad_interpolation(key: str, raw: Any, error: Exception, root: DictConfig) -> Mistake:
    text = str(raw._value())
    if isinstance(error, RecursionError) or "Recursive interpolation" in str(error):
        return Mistake(key=key, given=f"{text!r}, {ENDLESS}", expected="a value that ends")
    reason = str(error).strip().split("\n")[0]
    wanted = text[2:-1] if text.startswith("${") and text.endswith("}") else ""
    hint = f"set {key}=<value>"
    if key in INSTEAD:
        hint += INSTEAD[key]
    elif near := did_you_mean(wanted, flat_keys(root)) if wanted and ":" not in wanted else "":
        hint = f"{near} or {hint}"
    return Mistake(key=key, given=f"{text!r}", expected=f"a reference that resolves ({reason})", hint=hint)


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
    choices = _good_choices(parsed.choices, folders, mistakes)
    loaded, problems = _load_what_works(folders, [*choices, *parsed.hydra])
    mistakes += problems
    if loaded is None:
        return Composed(
            config={}, unresolved={}, choices={}, overrides=tuple(overrides), mistakes=tuple(mistakes)
        )
    for override in parsed.values:
        mistakes += apply_value(override, loaded.config)
    if loaded.hydra is not None:
        mistakes += _settle_hydra(loaded, parsed.hydra, shipped=folders.shipped)
    config, unresolved, problems = resolve(loaded.config)
    return Composed(
        config=config,
        unresolved=unresolved,
        choices=loaded.choices,
        overrides=tuple(overrides),
        mistakes=tuple(mistakes + problems),
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
    """What was composed, checked as by `compose_checked`."""
    config = {name: value for name, value in composed.config.items() if name not in idle}
    composed = replace(composed, config=config)
    typed, mistakes = composed.overrides, all_mistakes(composed)
    raise_if_any([m for m in mistakes if m.key in typed or m.key.partition(".")[0] not in idle])
    return composed


def all_mistakes(composed: Composed) -> list[Mistake]:
    """Of composing and of the schema, each key once."""
    mistakes = list(composed.mistakes)
    if composed.config:
        found = check(composed.config)
        known = {mistake.key for mistake in mistakes}
        wrong = known | {mistake.key for mistake in found}
        mistakes += [m for m in found if m.key not in known and _origin(composed, m.key) not in wrong]
    return mistakes


def summarize(composed: Composed) -> str:
    """The choice of each group, in one line."""
    metrics = ", ".join(composed.config.get("metric") or {}) or "none"
    names = [*GLOBAL_GROUPS, *GROUPS, *composed.choices]
    chosen = {name: composed.choices.get(name) for name in names if name != "metric"}
    choices = ", ".join(f"{name}={option}" for name, option in chosen.items() if option)
    return f"{choices}, metrics: {metrics}"


def _origin(composed: Composed, key: str) -> str | None:
    """The key that this one only repeats through an interpolation: one mistake is not reported twice."""
    value: Any = composed.unresolved
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    text = value if isinstance(value, str) else ""
    return text[2:-1] if text.startswith("${") and text.endswith("}") else None


def _good_choices(choices: list[Override], folders: ConfFolders, mistakes: list[Mistake]) -> list[Override]:
    good: list[Override] = []
    for override in choices:
        wrong = check_choice(override, folders)
        mistakes.extend(wrong)
        if not wrong:
            good.append(override)
    return good


def _settle_hydra(loaded: Loaded, overrides: list[Override], *, shipped: Path) -> list[Mistake]:
    """Set what overrides say of Hydra, and find what they and the files may not set."""
    assert loaded.hydra is not None
    mistakes = check_hydra(hydra_leaves(loaded.hydra), shipped=shipped, files=loaded.files)
    values = [override for override in overrides if "/" not in override.key_or_group]
    mistakes += [mistake for override in values for mistake in apply_value(override, loaded.hydra)]
    typed = {override.key_or_group for override in values}
    if typed and not mistakes:
        mistakes = check_hydra(hydra_leaves(loaded.hydra), shipped=shipped, typed=typed)
    return mistakes


def _load_what_works(folders: ConfFolders, choices: list[Override]) -> tuple[Loaded | None, list[Mistake]]:
    """The configuration of the choices; those that Hydra refuses are reported and left out."""
    loaded = load(folders, choices)
    if isinstance(loaded, Loaded):
        return loaded, []
    mistakes = [loaded]
    good: list[Override] = []
    result: Loaded | None = None
    for override in choices:
        attempt = load(folders, [*good, override])
        if isinstance(attempt, Loaded):
            good.append(override)
            result = attempt
        elif attempt.key == loading.UNPLACED:
            mistakes = [m for m in mistakes if m.key != loading.UNPLACED]
            mistakes.append(replace(attempt, key=str(override.input_line)))
        elif attempt not in mistakes:
            mistakes.append(attempt)
    if result is None:
        base = load(folders, [])
        result = base if isinstance(base, Loaded) else None
    return result, mistakes


__all__ = ["Composed", "all_mistakes", "checked", "compose", "compose_checked"]

"""Compose a configuration with Hydra and report all its mistakes at once.

Hydra stops at the first mistake, so each override is looked at alone: choices of groups first (the good ones
decide what is composed), then values, applied one by one to the composed configuration, which is what Hydra
does. Nothing of Hydra's job folders or logging is touched.
"""

import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runwright.config.folders import GLOBAL_GROUPS, find_conf_folders
from runwright.config.hydra_settings import check_hydra
from runwright.config.loading import hydra_leaves, load_what_works
from runwright.config.options import leaves_of
from runwright.config.overrides import apply_value, flat_keys, parse_overrides, quoted
from runwright.config.redaction import check_secrets
from runwright.config.rules.checks import as_dict, mode_of
from runwright.config.targets import GROUPS, check
from runwright.errors import Mistake, did_you_mean, raise_if_any, shown

ENDLESS = "which contains itself"
ENVIRONMENT = r"\$\{oc\.env:[^{}]*\}"


def resolve(config: DictConfig) -> tuple[dict[str, Any], dict[str, Any], list[Mistake]]:
    """Resolved and unresolved configuration, and a mistake for each value that cannot be resolved."""
    mistakes: list[Mistake] = []
    unresolved: Any = OmegaConf.to_container(config, resolve=False)
    resolved = _resolve(config, "", mistakes, (config,))
    # Without references to a key that has a mistake itself.
    wrong = {mistake.key for mistake in mistakes}
    mistakes = [m for m in mistakes if ENDLESS in m.given or _referenced_key(m.given.strip("'")) not in wrong]
    return resolved, unresolved, mistakes + check_secrets(resolved, unresolved)


def _resolve(node: Any, key: str, mistakes: list[Mistake], above: tuple[Any, ...]) -> Any:
    values: dict[Any, Any] = {}
    names: list[Any] = [*range(len(node))] if isinstance(node, ListConfig) else list(node.keys())
    for name in names:
        inner_key = f"{key}.{name}" if key else str(name)
        raw: Any = node._get_node(name)
        if raw._is_missing():
            mistakes.append(Mistake(inner_key, "??? (nothing yet)", f"a value: {inner_key}=<value>"))
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
    if isinstance(node, ListConfig):
        return list(values.values())
    return {name if isinstance(name, str) else shown(name): value for name, value in values.items()}


def _bad_interpolation(key: str, text: str, error: Exception, root: DictConfig) -> Mistake:
    if isinstance(error, RecursionError) or "Recursive interpolation" in str(error):
        return Mistake(key, f"{text!r}, {ENDLESS}", "a value that ends")
    reason = str(error).strip().split("\n")[0]
    hint = f"set {key}=<value>"
    variable = re.fullmatch(r"\$\{(?:env:)?(\w+)\}", text)
    if variable and variable[1] in os.environ:
        hint = f"${{oc.env:{variable[1]}}} is the environment variable"
    target = _referenced_key(text)
    if (key, target) == ("tokenizer.name", "model.name"):  # a model from scratch has none
        hint = f"tokenizer=train/wordpiece trains one, or {hint}"
    elif target and ":" not in target and (near := did_you_mean(target, flat_keys(root))):
        hint = f"{near} or {hint}"
    return Mistake(key, f"{text!r}", f"a reference that resolves ({reason})", hint)


def _referenced_key(value: Any) -> str:
    """The key that a value refers to if it is a single interpolation."""
    match = re.fullmatch(r"(?s)\$\{(.*)\}", str(value))
    return match[1] if match else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Composed:
    """A configuration and where it came from."""

    overrides: tuple[str, ...]
    mistakes: tuple[Mistake, ...]  # of composing only; the schema has its own
    config: dict[str, Any] = field(default_factory=dict)  # resolved, plain containers
    unresolved: dict[str, Any] = field(default_factory=dict)  # with its interpolations
    choices: dict[str, Any] = field(default_factory=dict)  # option, or options, of each group
    hydra: dict[str, Any] = field(default_factory=dict)  # leaves of Hydra's node, if anything sets one

    def __str__(self) -> str:
        """The options of all groups in one line."""
        groups = dict.fromkeys([*GLOBAL_GROUPS, *GROUPS, *self.choices])
        texts = [f"{g}={self.choices[g]}" for g in groups if self.choices.get(g) and g != "metric"]
        return f"{', '.join(texts)}, metrics: {', '.join(self.config.get('metric') or {}) or 'none'}"


def compose(
    overrides: Sequence[str] = (), *, folder: Path | None = None, multirun: bool = False, shadow: bool = False
) -> Composed:
    """Compose the shipped `conf/`, the `conf/` of `folder` (default: the current one) and the overrides.

    A `multirun` may choose and set launcher and sweeper. With `shadow` a project may replace shipped files.
    """
    folders = find_conf_folders(folder)
    mistakes = [] if shadow else folders.shadows()
    parsed, wrong = parse_overrides(overrides, folders, multirun=multirun)
    mistakes += wrong
    loaded, wrong = load_what_works(folders, [*parsed.choices, *parsed.hydra])
    mistakes += wrong
    if loaded is None:
        return Composed(overrides=tuple(overrides), mistakes=tuple(mistakes))
    composed = put_on_top(loaded.config, parsed.values)
    if (hydra := loaded.hydra) is not None:
        mistakes += check_hydra(hydra_leaves(hydra), shipped=folders.shipped)
        options = [override for override in parsed.hydra if "/" not in override.key_or_group]
        mistakes += [mistake for override in options for mistake in apply_value(override, hydra)]
    texts, leaves, mistakes = tuple(overrides), hydra_leaves(hydra), (*mistakes, *composed.mistakes)
    return replace(composed, choices=loaded.choices, overrides=texts, hydra=leaves, mistakes=mistakes)


def put_on_top(config: DictConfig, values: Sequence[Override]) -> Composed:
    """The configuration with these values set in it, which changes it."""
    wrong = [mistake for override in values for mistake in apply_value(override, config)]
    texts = tuple(str(override.input_line) for override in values)
    resolved, unresolved, unresolvable = resolve(config)
    trainer = as_dict(resolved.get("trainer"))
    if trainer.get("best_mode", "") is None:
        trainer["best_mode"] = mode_of(trainer.get("best_metric"), resolved.get("metric"))
    mistakes = (*wrong, *unresolvable)
    return Composed(config=resolved, unresolved=unresolved, overrides=texts, mistakes=mistakes)


def compose_checked(overrides: Sequence[str] = (), *, folder: Path | None = None) -> Composed:
    """Compose as `compose` does. Raises ConfigError with every mistake that can be known."""
    return checked(compose(overrides, folder=folder))


def checked(composed: Composed, *, idle: Collection[str] = ()) -> Composed:
    """Raise ConfigError with every mistake of a composed configuration; returns it without its idle groups.

    An idle group is not used, whatever its files say: only an override of it that cannot be set is a mistake.
    """
    config = {name: value for name, value in composed.config.items() if name not in idle}
    composed = replace(composed, config=config)
    typed, mistakes = composed.overrides, all_mistakes(composed)
    raise_if_any([m for m in mistakes if m.key in typed or m.key.partition(".")[0] not in idle])
    return composed


def all_mistakes(composed: Composed) -> list[Mistake]:
    """Mistakes of composing and of the schema, one for each key, without references to a wrong key.

    Where an option of a group is wrong, those of its keys would be about the option that is there instead.
    """
    keys = {mistake: mistake.key.lstrip("+~").partition("=")[0] for mistake in composed.mistakes}
    unread = {*keys.values()} & GROUPS.keys()
    mistakes = [m for m, key in keys.items() if key in unread or key.partition(".")[0] not in unread]
    if composed.config:
        of_schema, written = check(composed.config, unread=unread), leaves_of(composed.unresolved)
        reported = {mistake.key for mistake in mistakes}
        wrong = reported | {mistake.key for mistake in of_schema}
        typed = {text.lstrip("+").partition("=")[0]: text.partition("=")[2] for text in composed.overrides}
        for mistake in of_schema:
            value = written.get(mistake.key)
            if isinstance(value, str) and re.fullmatch(ENVIRONMENT, value):
                is_apt = mistake.hint and "quotes" not in mistake.hint
                hint = mistake.hint if is_apt else f"${{oc.decode:{value}}} reads its text as a value"
                mistake = replace(mistake, given=f"{mistake.given} from {value}", hint=hint)
            if "quotes, as" in mistake.hint and (text := typed.get(mistake.key)):  # 1e3 is 1000.0 by now
                hint = f"for text put it in quotes: {shlex.quote(f'{mistake.key}={quoted(text)}')}"
                mistake = replace(mistake, given=text, hint=hint)
            if mistake.key not in reported and _referenced_key(value) not in wrong:
                mistakes.append(mistake)
    return mistakes

"""A composed configuration as plain containers, with every bad interpolation and missing value reported."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runwright.mistakes import Mistake, did_you_mean
from runwright.suggestions import flat_keys

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
    return resolved, {str(key): value for key, value in unresolved.items()}, _without_repeats(mistakes)


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

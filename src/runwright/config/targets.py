"""Which classes and functions a configuration may name, and how they are made.

The boundary is a list in code: modules of the group's own package, and packages the user allowed. A name is
looked up in that module's source first, so that nothing a module merely imports (`os`, `torch`) can be
reached and nothing is imported before it is allowed.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from runwright.config.options import TARGET
from runwright.config.permissions import granted
from runwright.config.signature import Signature, read_signature, read_source
from runwright.errors import ConfigError, Mistake, did_you_mean, listed, raise_if_any, shown

if TYPE_CHECKING:
    from collections.abc import Mapping


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A group of the configuration: where its targets live and which objects they are passed."""

    module: str
    objects: tuple[str, ...] = ()
    only_if_needed: bool = False  # a target that needs no objects is passed none
    # Parameters of functions that are given their options at first and called by their group later.
    called_later: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()  # keys that describe a target and are not passed to it


GROUPS: dict[str, Group] = {
    "dataset": Group(module="runwright.dataset", objects=("seed",)),
    "tokenizer": Group(module="runwright.tokenizer", objects=("texts",), only_if_needed=True),
    # a loss is a function of the user's: the task calls it
    "task": Group(module="runwright.task", objects=("tokenizer",), called_later=(("logits", "labels"),)),
    "model": Group(module="runwright.model", objects=("head", "tokenizer")),
    "optimizer": Group(module="runwright.optimizer", objects=("model",)),
    "scheduler": Group(module="runwright.scheduler", objects=("optimizer", "num_training_steps")),
    "trainer": Group(module="runwright.trainer"),
    "metric": Group(
        module="runwright.metric",
        objects=("predictions", "weights"),
        called_later=(("predictions", "weights"), ("predictions",)),
        notes=("suits",),  # the kinds of problem that a metric can judge
    ),
    "tracker": Group(module="runwright.tracker"),
}

# A value of one of these runs code that is not in the configuration.
DOOR_OPENERS = {
    "trust_remote_code": "it lets a download run its own code; if you trust it: --trust-remote-code",
    "use_remote_code": "it lets a download run its own code; if you trust it: --trust-remote-code",
    "code_revision": "it chooses which remote code runs; if you trust it: --trust-remote-code",
    "custom_generate": "it names generation code to download and run",
    "weights_only": "anything but true unpickles, which runs code; Runwright reads safetensors only",
    "allow_pickle": "unpickling runs code",
    "pickle_module": "unpickling runs code",
    "pickle_load_args": "unpickling runs code",
    "unpickler": "unpickling runs code",
    "auto_map": "it names code to download and run",
}


def check_target(target: Any, *, key: str, group: str | None = None) -> Signature | Mistake:
    """The signature of a target that the group (default: any) may name, or what is wrong with it."""
    where = _describe(group)
    if not isinstance(target, str) or not _is_dotted_name(target):
        return Mistake(key=key, given=shown(target), expected=f"the dotted name of {where}")
    module, _, name = target.rpartition(".")
    if not _is_allowed(module, group):
        hint = _hint_for_module(module, group)
        return Mistake(key=key, given=shown(target), expected=where, hint=hint)
    try:
        source = read_source(module)
        signature = read_signature(module, name)
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}"
        return Mistake(key=key, given=shown(target), expected=f"a module that Python can read ({place})")
    if source is None:
        hint = _nearest_module(module)
        return Mistake(
            key=key, given=shown(target), expected=f"a module that exists: {module!r} does not", hint=hint
        )
    if signature is None or name.startswith("_"):
        public = [known for known in source.definitions if not known.startswith("_")]
        expected = f"a class or function defined in {module}: {listed(public)}"
        return Mistake(key=key, given=shown(target), expected=expected, hint=did_you_mean(name, public))
    return signature


def check_objects(signature: Signature, *, key: str, objects: tuple[str, ...]) -> list[Mistake]:
    """Whether the target takes the objects that it will be passed, and needs no others."""
    fits = signature.num_required_objects <= len(objects)
    fits = fits and (signature.accepts_any_object or len(objects) <= len(signature.objects))
    if fits:
        return []
    given = f"{signature.target}({', '.join(signature.objects)}, *, …)"
    expected = (
        f"the objects ({', '.join(objects)}) before the options" if objects else "options after '*' only"
    )
    return [Mistake(key=f"{key}.{TARGET}" if key else TARGET, given=given, expected=expected)]


def locate(target: str, *, group: str | None = None, key: str = TARGET) -> Any:
    """The class or function behind an allowed target, imported. Raises ConfigError."""
    signature = check_target(target, key=key, group=group)
    if isinstance(signature, Mistake):
        raise ConfigError(str(signature))
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(f"{key}: given {target!r}, which cannot be imported: {error}") from error
    if getattr(found, "__module__", None) != module:
        raise ConfigError(f"{key}: given {target!r}, which belongs to {getattr(found, '__module__', None)!r}")
    return found


def instantiate(node: Mapping[str, Any], *objects: Any, group: str | None = None, key: str = "") -> Any:
    """What a node describes: its target called with the objects and the node's options.

    Nested nodes are made first, with the same objects where they need any. `group` narrows the targets to
    those of one group.
    """
    opened = door_openers(dict(node), key)
    raise_if_any(opened)
    return _make(node, objects, objects, group, key)


def bind_options(node: Mapping[str, Any], *, group: str, key: str) -> Any:
    """The function that a node names with the node's options bound; its group calls it later."""
    raise_if_any(door_openers(dict(node), key))
    return _make(node, None, (), group, key)


def objects_of_nested(signature: Signature, objects: tuple[T, ...]) -> tuple[T, ...]:
    """The objects that a nested node is passed: those of its group where it needs any, else none."""
    return objects if signature.num_required_objects else ()


def is_called_later(signature: Signature, group: str | None) -> bool:
    """Whether a node is a function that its group calls itself, again and again."""
    return group is not None and signature.objects in GROUPS[group].called_later


def _make(
    node: Mapping[str, Any],
    own: tuple[Any, ...] | None,
    objects: tuple[Any, ...],
    group: str | None,
    key: str,
) -> Any:
    """A node's target called with its `own` objects (None: later); nodes inside it choose among `objects`."""
    found = locate(node.get(TARGET, ""), group=group, key=f"{key}.{TARGET}" if key else TARGET)
    options = {
        name: _make_nested(value, objects, group, f"{key}.{name}" if key else name)
        for name, value in node.items()
        if name != TARGET and not (group and name in GROUPS[group].notes)
    }
    if own is None:
        bind(found, positional(found), options, key=key)
        return partial(found, **options)
    bind(found, own, options, key=key)
    return found(*own, **options)


def positional(function: Any) -> tuple[str, ...]:
    """The parameters of a function that are not keyword-only."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD)


def bind(found: Any, objects: tuple[Any, ...], options: Mapping[str, Any], *, key: str) -> None:
    """Check the arguments against the real signature. Raises ConfigError."""
    try:
        inspect.signature(found).bind(*objects, **options)
    except TypeError as error:
        name = f"{found.__module__}.{found.__qualname__}"
        raise ConfigError(f"{key or name}: given arguments that {name} does not take: {error}") from error


def door_openers(value: Any, key: str = "") -> list[Mistake]:
    """Every place in a configuration where an argument would let foreign code run."""
    mistakes: list[Mistake] = []
    if isinstance(value, dict):
        for name, inner in value.items():
            inner_key = f"{key}.{name}" if key else str(name)
            if str(name).lower() in DOOR_OPENERS:
                reason = DOOR_OPENERS[str(name).lower()]
                mistakes.append(
                    Mistake(
                        key=inner_key, given=shown(inner), expected="no such key in a config", hint=reason
                    )
                )
            mistakes.extend(door_openers(inner, inner_key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            mistakes.extend(door_openers(inner, f"{key}.{place}"))
    return mistakes


def _make_nested(value: Any, objects: tuple[Any, ...], group: str | None, key: str) -> Any:
    if isinstance(value, dict):
        if TARGET in value:
            signature = check_target(value[TARGET], key=f"{key}.{TARGET}", group=group)
            if isinstance(signature, Mistake):
                raise ConfigError(str(signature))
            later = is_called_later(signature, group)
            own = None if later else objects_of_nested(signature, objects)
            return _make(value, own, objects, group, key)
        return {name: _make_nested(inner, objects, group, f"{key}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_make_nested(inner, objects, group, f"{key}.{place}") for place, inner in enumerate(value)]
    return value


def _modules(group: str | None) -> list[str]:
    return [GROUPS[group].module] if group else [known.module for known in GROUPS.values()]


def _is_allowed(module: str, group: str | None) -> bool:
    allowed = [*_modules(group), *granted().packages]
    return any(module == prefix or module.startswith(prefix + ".") for prefix in allowed)


def _is_dotted_name(target: str) -> bool:
    parts = target.split(".")
    return len(parts) > 1 and all(part.isidentifier() and part.isascii() for part in parts)


def _describe(group: str | None) -> str:
    own = " or ".join(f"{module}.…" for module in _modules(group)[:1]) if group else "runwright.<group>.…"
    packages = granted().packages
    return f"a class or function of {own}" + (f" or of your {listed(packages)}" if packages else "")


def _hint_for_module(module: str, group: str | None) -> str:
    top = module.split(".")[0]
    if top == "runwright":
        return did_you_mean(module, _modules(group))
    return f"a package of your own: --allow-package {top}, or packages in [tool.runwright] of pyproject.toml"


def _nearest_module(module: str) -> str:
    parent, _, _ = module.rpartition(".")
    from runwright.config.signature import find_file

    file = find_file(parent) if parent else None
    if file is None or file.name != "__init__.py":
        return ""
    names = [f"{parent}.{path.stem}" for path in file.parent.glob("*.py") if not path.stem.startswith("_")]
    names += [f"{parent}.{path.parent.name}" for path in file.parent.glob("*/__init__.py")]
    return did_you_mean(module, names)

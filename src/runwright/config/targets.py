"""Targets: classes and functions that a configuration may name, their instantiation, and the check of it all.

The boundary is a list in code: modules of the group's own package, and packages the user allowed. A name is
looked up in that module's source first, so that nothing a module merely imports (`os`, `torch`) can be
reached and nothing is imported before it is allowed. The check of every key, type, range and combination
takes the options of a node from there too (`signature.py`) and reports all mistakes at once.
"""

import inspect
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from runwright.config.folders import GLOBAL_GROUPS
from runwright.config.options import ANY, TARGET, as_declared, check_value, is_node, walk
from runwright.config.permissions import granted
from runwright.config.rules.table import RULES, check_rules
from runwright.config.signature import Signature, read_signature, read_source
from runwright.errors import ConfigError, Mistake, did_you_mean, listed, raise_if_any, shown
from runwright.version import __version__

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A group of the configuration: where its targets live and which objects they are passed."""

    module: str
    objects: tuple[str, ...] = ()
    only_if_needed: bool = False  # a target that needs no objects is passed none
    # Parameters of functions that are given their options at first and called by their group later.
    called_later: tuple[tuple[str, ...], ...] = ()
    optional: bool = False  # null is an option too
    shared: tuple[str, ...] = ()  # options of all its targets, not passed to them: `SHARED`


GROUPS: dict[str, Group] = {
    "dataset": Group(module="runwright.dataset", objects=("seed",), called_later=(("row",),)),
    "tokenizer": Group(module="runwright.tokenizer", objects=("texts",), only_if_needed=True),
    "task": Group(
        module="runwright.task",
        objects=("tokenizer",),
        # a loss is a function of the user's: the task calls it
        called_later=(("logits", "labels"), ("logits", "labels", "batch"), ("vectors", "labels")),
        shared=("loss", "pad_to"),
    ),
    "generation": Group(module="runwright.generation", optional=True),
    "model": Group(module="runwright.model", objects=("head", "tokenizer")),
    "optimizer": Group(module="runwright.optimizer", objects=("model",)),
    "scheduler": Group(module="runwright.scheduler", objects=("optimizer", "num_training_steps")),
    "trainer": Group(module="runwright.trainer"),
    "metric": Group(
        module="runwright.metric",
        objects=("predictions", "weights"),
        called_later=(("predictions", "weights"), ("predictions",), ("predictions", "label_names")),
        shared=("suits", "interval"),
    ),
    "tracker": Group(module="runwright.tracker"),
}

# A value of one of these runs code that is not in the configuration.
_IF_TRUSTED = "it lets a download run its own code; if you trust it: --trust-remote-code"
DOOR_OPENERS = {
    **dict.fromkeys(("trust_remote_code", "use_remote_code"), _IF_TRUSTED),
    "code_revision": "it chooses which remote code runs; if you trust it: --trust-remote-code",
    **dict.fromkeys(("custom_generate", "auto_map"), "it names code to download and run"),
    "weights_only": "anything but true unpickles, which runs code; Runwright reads safetensors only",
    **dict.fromkeys(
        ("allow_pickle", "pickle_module", "pickle_load_args", "unpickler"), "unpickling runs code"
    ),
}

ROOT_NODES = {"": "RootOptions", "seeds": "SeedOptions", "log": "LogOptions", "launch": "LaunchOptions"}
ROOT_NODES |= {"card": "CardOptions", "hub": "HubOptions"}
SINCE_BEGUN = ("card", "hub")  # runs from before there were these are still read
SHARED = {"task": "TaskOptions", "metric": "MetricOptions"}


def check_target(target: Any, *, key: str, group: str) -> Signature | Mistake:
    """The signature of a target that the group may name, or the mistake in it."""
    room, packages = GROUPS[group].module, granted().packages
    expected = f"a class or function of {room}.…{f' or of your {listed(packages)}' if packages else ''}"
    parts = target.split(".") if isinstance(target, str) and target.isascii() else []
    if len(parts) < 2 or not all(map(str.isidentifier, parts)):
        return Mistake(key, shown(target), f"the dotted name of {expected}")
    module, _, name = target.rpartition(".")
    if not any(f"{module}.".startswith(f"{allowed}.") for allowed in (room, *packages)):
        hint = did_you_mean(module, [room])
        if parts[0] != "runwright":
            always = "packages in [tool.runwright] of pyproject.toml"
            hint = f"a package of your own: --allow-package {parts[0]}, or {always}"
        return Mistake(key, shown(target), expected, hint)
    try:
        source = read_source(module)
        signature = read_signature(module, name)
    except SyntaxError as error:
        expected = f"a module that Python can read ({error.filename}, line {error.lineno})"
        return Mistake(key, shown(target), expected)
    if source is None:
        expected = f"a module that exists: {module!r} does not"
        return Mistake(key, shown(target), expected, _defined_elsewhere(target, room))
    if signature is None or name.startswith("_"):
        public = [public for public in source.definitions if not public.startswith("_")]
        expected = f"a class or function defined in {module}: {listed(public)}".removesuffix(": ")
        hint = did_you_mean(name, public) or _defined_elsewhere(target, room)
        return Mistake(key, shown(target), expected, hint)
    return signature


def _defined_elsewhere(target: str, room: str) -> str:
    """A question with the full name that a class or function of this room has in another module."""
    root, name = Path(__file__).parents[2], target.rpartition(".")[2]
    definition = re.compile(rf"^(class|def) (?!_){name}\b", re.MULTILINE)
    files = (root / room.replace(".", "/")).rglob("*.py")
    files = [file.relative_to(root) for file in files if definition.search(file.read_text(encoding="utf-8"))]
    return did_you_mean(target, [".".join([*file.with_suffix("").parts, name]) for file in files])


def objects_for(
    signature: Signature, group: str, objects: tuple[T, ...], *, nested: bool
) -> tuple[T, ...] | None:
    """The objects, of those of its group, that a node is passed; None where its group calls it later."""
    rules = GROUPS[group]
    if (nested or group == "metric") and signature.objects in rules.called_later:
        return None
    if nested or rules.only_if_needed:
        return objects if signature.num_required_objects else ()
    return objects


def options_of(node: Mapping[str, Any], group: str, *, nested: bool) -> dict[str, Any]:
    """The options of a node that its target is passed."""
    shared = () if nested else GROUPS[group].shared
    return {name: value for name, value in node.items() if name not in (TARGET, *shared)}


def locate(target: str, *, group: str, key: str = TARGET) -> Any:
    """The class or function behind an allowed target, imported. Raises ConfigError."""
    signature = check_target(target, key=key, group=group)
    if isinstance(signature, Mistake):
        raise ConfigError(str(signature))
    module, _, name = target.rpartition(".")
    try:
        definition = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(f"{key}: given {target!r}, which cannot be imported: {error}") from error
    if (home := getattr(definition, "__module__", None)) != module:
        raise ConfigError(f"{key}: given {target!r}, which belongs to {home!r}")
    return definition


def instantiate(node: Mapping[str, Any], *objects: Any, group: str, key: str = "") -> Any:
    """Call the target of a node with the objects and the node's options.

    Nested nodes are made first, with the same objects. A function that a group calls gets its options bound.
    """
    raise_if_any(door_openers(dict(node), key))
    return _make(node, objects, group, key, nested=False)


def _make(value: Any, objects: tuple[Any, ...], group: str, key: str, *, nested: bool = True) -> Any:
    def inner(name: Any, item: Any) -> Any:
        return _make(item, objects, group, f"{key}.{name}" if key else str(name))

    if isinstance(value, list):
        return [inner(position, item) for position, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    if nested and TARGET not in value:
        return {name: inner(name, item) for name, item in value.items()}
    function, arguments, options = import_node(value, objects, group=group, key=key, nested=nested)
    options = {name: inner(name, item) for name, item in options.items()}
    if arguments is None:
        return partial(function, **options)
    made = function(*arguments, **options)
    for name in GROUPS["task"].shared if group == "task" and not nested else ():
        if name in value:
            setattr(made, f"{name}_option", inner(name, value[name]))
    return made


def import_node(
    node: Mapping[str, Any], objects: tuple[Any, ...], *, group: str, key: str, nested: bool
) -> tuple[Any, tuple[Any, ...] | None, dict[str, Any]]:
    """The target of a node, the objects it is passed now (None: later), and its options; or ConfigError."""
    target = node.get(TARGET, "")
    function = locate(target, group=group, key=f"{key}.{TARGET}" if key else TARGET)
    signature = read_signature(*target.rsplit(".", 1))
    assert signature is not None
    types = {name: option.type for name, option in signature.options.items()}
    options = options_of(node, group, nested=nested).items()
    options = {name: as_declared(value, types.get(name, ANY)) for name, value in options}
    arguments = objects_for(signature, group, objects, nested=nested)
    try:
        inspect.signature(function).bind(*(signature.objects if arguments is None else arguments), **options)
    except TypeError as error:
        raise ConfigError(f"{key or target}: given arguments that {target} does not take: {error}") from error
    return function, arguments, options


def positional(function: Any) -> tuple[str, ...]:
    """Names of the parameters of a function that are not keyword-only."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)


def door_openers(config: Any, key: str = "") -> list[Mistake]:
    """Every argument in a configuration that would let foreign code run."""
    return [
        Mistake(inner, shown(value), "no such key in a config", why)
        for inner, value in walk(config, key)
        if (why := DOOR_OPENERS.get(inner.rpartition(".")[2].lower()))
    ]


@cache  # keyed by the object: a module that is reloaded makes a new one, whose sources are hashed anew
def code_of(target: Any, *, group: str) -> str:
    """A hash of the sources of a class, its bases, or a function, for the keys of caches of its results.

    It covers their packages: of Runwright the group, of one that a configuration may not name the module.
    """
    from runwright.store import sources_digest  # deferred, and below: a check needs no file locks

    paths = {_path_of(base.__module__) for base in getattr(target, "__mro__", (target,))}
    shipped = Path(__file__).parents[1] / group
    return sources_digest(*sorted({shipped, *paths} - {None}), also=__version__)


def _path_of(module: str) -> Path | None:
    """Folder or file whose sources define a module; None for the standard library."""
    parts = module.split(".")
    name = getattr(sys.modules.get(module), "__file__", None)
    if name is None or parts[0] in sys.stdlib_module_names:
        return None
    file = Path(name)
    if parts[0] == "runwright":
        return file.parent if len(parts) > 2 else file
    from runwright.store import sources_of

    is_allowed = parts[0] in {package.split(".")[0] for package in granted().packages}
    return sources_of(file, module) if is_allowed else file


# --- the check of a configuration -------------------------------------------------------------------------


def root_signature(key: str) -> Signature:
    """Options of the root (""), of `seeds`, `log` or `launch`, or those that all targets of a group have."""
    signature = read_signature("runwright.config.options", (ROOT_NODES | SHARED)[key])
    assert signature is not None
    return signature


def nodes_of(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """The key and value of each group, of each metric, and of each node inside one, which is nested."""
    for group in [group for group in GROUPS if group in config]:
        if GROUPS[group].optional and config[group] is None:
            continue
        outer = [f"metric.{name}" for name in config[group] or ()] if group == "metric" else [group]
        for key, value in walk(config[group], group):
            if key in outer or is_node(value):
                yield key, value, key not in outer


def check(config: dict[str, Any], *, unread: Collection[str] = ()) -> list[Mistake]:
    """Mistakes in a resolved configuration of plain containers, but for those of `unread` groups."""
    mistakes = [*door_openers(config), *_check_root(config)]
    metrics = config.get("metric") or {}  # null: the loss alone
    if not isinstance(metrics, dict) or TARGET in metrics:
        expected = "a mapping of metrics to nodes; a metric file starts with '# @package metric.<its name>'"
        mistakes.append(Mistake("metric", shown(metrics), expected))
        metrics = {}
    config = {**config, "metric": metrics}
    absent = [group for group in GROUPS if group not in config and not GROUPS[group].optional]
    mistakes += [Mistake(group, "nothing", f"one option of the group: {group}=<option>") for group in absent]
    for key, node, nested in nodes_of(config):
        mistakes += check_node(node, key=key, group=key.partition(".")[0], nested=nested)
    mistakes += check_rules(RULES, config, [*mistakes, *(Mistake(group, "", "") for group in unread)])
    return [mistake for mistake in mistakes if mistake.key.partition(".")[0] not in unread]


def check_node(node: Any, *, key: str, group: str, nested: bool = False) -> list[Mistake]:
    """Mistakes of a node that names a target, without those of the nodes inside it."""
    if not is_node(node):
        problem = shown(node) if not isinstance(node, dict) else f"a mapping without {TARGET}"
        return [Mistake(key, problem, f"a node with a {TARGET}: choose {group}=<option>")]
    signature = check_target(node[TARGET], key=f"{key}.{TARGET}", group=group)
    if isinstance(signature, Mistake):
        return [signature]
    objects = objects_for(signature, group, GROUPS[group].objects, nested=nested)
    objects = signature.objects if objects is None else objects
    mistakes: list[Mistake] = []
    takes_all = signature.accepts_any_object or len(objects) <= len(signature.objects)
    if not takes_all or signature.num_required_objects > len(objects):
        problem = f"{signature.target}({', '.join(signature.objects)}, *, …)"
        before = f"the objects ({', '.join(objects)}) before the options"
        mistakes.append(Mistake(f"{key}.{TARGET}", problem, before if objects else "options after '*' only"))
    options = options_of(node, group, nested=nested)
    if group in SHARED and not nested:
        shared = {name: value for name, value in node.items() if name in GROUPS[group].shared}
        mistakes += check_options(shared, root_signature(group), key=key)
    return mistakes + check_options(options, signature, key=key, others=GROUPS[group].shared)


def check_options(
    options: dict[str, Any], signature: Signature, *, key: str, others: Iterable[str] = ()
) -> list[Mistake]:
    """Unknown and missing keys, and every value against its annotation; `others` are keys for the message."""
    prefix = f"{key}." if key else ""
    mistakes: list[Mistake] = []
    for name, value in options.items():
        if option := signature.options.get(name):
            mistakes += check_value(value, option.type, f"{prefix}{name}")
        elif not signature.accepts_any_option:
            mistakes += _unknown_key(f"{prefix}{name}", sorted([*others, *signature.options]))
    for name, option in signature.options.items():
        if option.required and name not in options:
            mistakes.append(Mistake(f"{prefix}{name}", "nothing", str(option.type)))
    return mistakes


def _unknown_key(key: str, choices: list[str]) -> list[Mistake]:
    name = key.rpartition(".")[2]
    if name.lower() in DOOR_OPENERS:  # reported once, with the real reason
        return []
    expected = f"one of {listed(choices)}" if choices else "no options"
    hint = did_you_mean(name, choices)
    if key in GLOBAL_GROUPS:
        hint = f"a file in conf/{key}/ starts with '# @package _global_'"
    return [Mistake(key, "an unknown key", expected, hint)]


def _check_root(config: dict[str, Any]) -> list[Mistake]:
    nodes = [*GROUPS, *filter(None, ROOT_NODES)]
    options = {name: value for name, value in config.items() if name not in nodes}
    mistakes = check_options(options, root_signature(""), key="", others=nodes)
    for key in filter(None, ROOT_NODES):
        signature = root_signature(key)
        if isinstance(config.get(key), dict):
            mistakes += check_options(config[key], signature, key=key)
        elif key in config or key not in SINCE_BEGUN:
            expected = f"a mapping with {listed(signature.options)}"
            mistakes.append(Mistake(key, shown(config.get(key)), expected))
    return mistakes

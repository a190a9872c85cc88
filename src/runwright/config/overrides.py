"""Parse, check and apply overrides one by one, so that all their mistakes are reported."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runwright.config.folders import GLOBAL_GROUPS, ConfFolders, find_conf_folders
from runwright.config.hydra_settings import check_override
from runwright.config.loading import is_hydra
from runwright.config.options import SPLITS, TARGET, walk
from runwright.errors import Mistake, did_you_mean, listed, nearest, shown

# AssertionError is OmegaConf's, of a key below null.
WRONG_VALUE = (ValueError, TypeError, AttributeError, AssertionError, IndexError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """The overrides of a command line by their kind."""

    choices: list[Override] = field(default_factory=list)  # group=option
    values: list[Override] = field(default_factory=list)  # key=value
    sweeps: list[Override] = field(default_factory=list)  # of several values, for a multirun
    hydra: list[Override] = field(default_factory=list)  # settings of Hydra that a multirun may set


def parse_overrides(
    overrides: Sequence[str], folders: ConfFolders, *, multirun: bool = False
) -> tuple[Parsed, list[Mistake]]:
    """The valid overrides by their kind, and the mistakes in the others."""
    parser, groups, parsed = OverridesParser.create(), folders.groups(), Parsed()
    mistakes: list[Mistake] = []
    seen: dict[str, str] = {}
    for text in overrides:
        override = _parse(parser, text, folders)
        if isinstance(override, Mistake):
            mistakes.append(override)
            continue
        key, name = override.get_key_element(), override.key_or_group
        if is_hydra(override):
            hint = "with runwright train -m it sets the sweep"
            refused = Mistake(text, "a setting of Hydra", "a key of the configuration", hint)
            wrong = check_override(override, folders) if multirun else [refused]
            mistakes += wrong
            parsed.hydra.extend([] if wrong else [override])
        elif override.is_sweep_override():
            parsed.sweeps.append(override)
            if not multirun:
                value = text.partition("=")[2]
                hint = f"-m runs each of them; a list is {key}=[{value}]"
                if name not in groups:
                    hint = f"as one text: {shlex.quote(f'{key}={quoted(value)}')}; {hint}"
                mistakes.append(Mistake(text, "several values", "one value", hint))
        elif "/" in name or (name in groups and not isinstance(override.value(), dict)):
            # Hydra lets the last of two choices win without a word.
            if (before := seen.setdefault(key, text)) != text:
                expected = "one choice" + (f"; for several: {key}=[a,b]" if name == "metric" else "")
                mistakes.append(Mistake(text, f"a second choice after {before!r}", expected))
            wrong = _check_choice(override, folders, groups)
            mistakes += wrong
            parsed.choices.extend([] if wrong else [override])
        else:
            parsed.values.append(override)
    return parsed, mistakes


def _check_choice(override: Override, folders: ConfFolders, groups: Sequence[str]) -> list[Mistake]:
    text, group = str(override.input_line), override.key_or_group
    if override.is_force_add():
        return [Mistake(text, "'++' before a group", f"{group}=<option> or +{group}=<option>")]
    if group not in groups:
        hint = did_you_mean(group, groups)
        return [Mistake(text, f"an unknown group {group!r}", f"one of {listed(groups)}", hint)]
    if override.is_delete():  # Hydra cannot delete a choice of several options
        return [Mistake(text, "'~' before a list", "metric=[]")] if group == "metric" else []
    value, options = override.value(), folders.options(group)
    choices = value if isinstance(value, list) else [value]
    mistakes: list[Mistake] = []
    for option in choices:
        hint = f"leave it out, or write ~{group}"
        if isinstance(option, str):
            if option.removesuffix(".yaml") in options:
                continue
            hint = hint_for_option(option, options, group, folders)
        expected = f"one of the options {listed(options)}"
        mistakes.append(Mistake(text, f"{shown(option)} for group {group!r}", expected, hint))
    if len(set(map(str, choices))) < len(choices):
        mistakes.append(Mistake(text, "an option twice", "each option once"))
    return mistakes


def apply_value(override: Override, config: DictConfig) -> list[Mistake]:
    """Set one value in the composed configuration; returns a mistake if it cannot be set."""
    text, key = str(override.input_line), override.key_or_group
    if override.package is not None:
        return [Mistake(text, f"'@{override.package}' on a key", "a group before '@'")]
    if unknown := _check_key(override, config):
        return [unknown]
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], config)
    except (HydraException, OmegaConfBaseException, *WRONG_VALUE) as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        reason = f"the key is there, without a plus: {text[1:]}" if "already at" in reason else reason
        return [Mistake(text, shown(override.value()), f"a value for {key!r}", reason)]
    return []


def quoted(value: str) -> str:
    """The value of an override that Hydra takes for this very text."""
    return QuotedString(text=value, quote=Quote.double).with_quotes()


def _parse(parser: OverridesParser, text: str, folders: ConfFolders) -> Override | Mistake:
    expected = "key=value or group=option"
    if "=" not in text and not text.startswith("~"):
        option, options = _name_of(text, "experiment"), folders.options("experiment")
        usual = f"write experiment={option}" if option in options else "as in experiment=vader"
        hint = f"{usual}; options of the command start with --"
        return Mistake(text.strip() or "''", "no '='", expected, hint)
    try:
        override = parser.parse_override(text)
    except (HydraException, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split("\n")[0].split()).partition(" expecting")[0]
        key, _, value = text.partition("=")
        texts = re.fullmatch(r"\[([^\[\]{}'\"]+)\]", value)  # of a list each
        written = f"[{','.join(map(quoted, re.split(' *, *', texts[1])))}]" if texts else quoted(value)
        hint = f"text goes in quotes: {shlex.quote(f'{key}={written}')}" if key.isascii() else ""
        return Mistake(text, f"a form that Hydra cannot read ({reason})", expected, hint)
    return override if override.key_or_group else Mistake(text, "no key", expected)


def _check_key(override: Override, config: DictConfig) -> Mistake | None:
    """A mistake for a key that does not exist and is not added with '+'."""
    key, text = override.key_or_group, str(override.input_line)
    if override.is_add() or override.is_force_add():
        return None  # the schema knows whether it may be there
    parts, node = key.split("."), config
    for part in parts:  # mostly it is there, and to list all keys takes 1 ms
        node = node._get_node(part, validate_access=False) if isinstance(node, DictConfig) and node else None
    keys = {"", *flat_keys(config)} if node is None else {key}
    depth = max(depth for depth in range(len(parts) + 1) if ".".join(parts[:depth]) in keys)
    if depth == len(parts):
        return None
    where = ".".join(parts[:depth])
    node = OmegaConf.select(config, where) if where else config
    siblings = [str(name) for name in node if name != TARGET] if isinstance(node, DictConfig) else []
    siblings = siblings if where else [*GLOBAL_GROUPS, *siblings]
    expected = f"one of {listed(siblings)}" if siblings else "a key of the configuration"
    is_inner = not siblings or any(f"{'.'.join(parts[:size])}.{TARGET}" in keys for size in range(1, depth))
    is_free = isinstance(node, DictConfig) and TARGET not in node and is_inner
    hints = [f"a new key takes a plus: +{text}"] if is_free and parts[depth] not in SPLITS else []
    if not hints or nearest(parts[depth], siblings):
        hints.insert(0, hint_for_key(key, flat_keys(config), where=where, siblings=siblings))
    return Mistake(text, f"an unknown key {key!r}", expected, " ".join(hints))


# --- hints ------------------------------------------------------------------------------------------------


def hint_for_option(option: str, options: Sequence[str], group: str, folders: ConfFolders) -> str:
    """The option or override to write instead of an option that a group lacks."""
    near = did_you_mean(_name_of(option, group), options)
    if group in ("model", "tokenizer"):
        return f"{near} by its name on the hub, or a folder: {group}.name={option}".strip()
    return near or f"looked in ./conf and {folders.shipped}"


def _name_of(path: str, group: str) -> str:
    """`vader` of conf/experiment/vader.yaml; another text as it is."""
    return path.rpartition(f"conf/{group}/")[2].removesuffix(".yaml")


def hint_for_key(key: str, keys: Sequence[str], *, where: str = "", siblings: Sequence[str] = ()) -> str:
    """The nearest of the keys to one that is not there; `where`, with `siblings` below it, is."""
    rest, last = key.removeprefix(f"{where}."), key.rpartition(".")[2]
    usual = f"{where}.{SPLITS.get(last)}"
    if usual in keys:
        return f"did you mean {usual!r}?"
    folders = find_conf_folders().in_order if where else ()
    files = sorted(file for folder in folders for file in (folder / where).glob("*.yaml"))
    options = {file.stem: re.findall(r"^(\w+):", file.read_text(encoding="utf-8"), re.M) for file in files}
    known = {*chain(*options.values())} - {TARGET, "defaults"}
    near = rest if rest in known else None if nearest(rest, siblings) else nearest(rest, known)
    if having := listed(f"{where}={option}" for option, names in options.items() if near in names):
        return f"{'it is' if near == rest else f'did you mean {where}.{near},'} an option of {having}"
    ending = [other for other in keys if f".{other}".endswith(f".{key}")]
    match = min(ending, key=lambda key: key.count("."), default=None)
    if match is None and "." not in rest and (near := nearest(rest, siblings)):
        match = f"{where}.{near}" if where else near
    same_name = [other for other in keys if other.rpartition(".")[2] == last]
    others = [other for other in keys if not key.startswith(f"{other}.") and not other.endswith(TARGET)]
    match = match or nearest(key, same_name) or nearest(key, others)
    return f"did you mean {match!r}?" if match else ""


def flat_keys(config: DictConfig) -> list[str]:
    """Dotted names of all keys, those of mappings before the keys inside them."""
    return [key for key, _ in walk(OmegaConf.to_container(config, resolve=False)) if key]

"""A JSON Schema (draft 2020-12) of configuration files for editors, from the signatures that check them."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import yaml

from runwright.config.folders import ConfFolders
from runwright.config.options import OptionType, is_node, limits_of, walk
from runwright.config.rules.makers import signature_of
from runwright.config.schema import ROOT_NODES, root_signature
from runwright.config.signature import Signature
from runwright.config.targets import GROUPS

KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
TYPES = {"bool": "boolean", "int": "integer", "float": "number", "str": "string", "none": "null"}
DEFAULTS, REFERENCE = {"$ref": "#/$defs/defaults"}, {"$ref": "#/$defs/reference"}
CLOSED = {"additionalProperties": False}


def json_schema(folders: ConfFolders) -> dict[str, Any]:
    """The schema of an experiment file; `$defs` has that of a file of each group by the group's name."""
    text = (folders.shipped / "train.yaml").read_text(encoding="utf-8")
    root = yaml.safe_load(text)
    properties: dict[str, Any] = {"defaults": DEFAULTS, "hydra": {"type": "object"}}
    properties |= _options(root_signature(""), [root], text, group="")
    for key in filter(None, ROOT_NODES):
        options = _options(root_signature(key), [root[key]], text, group="")
        properties[key] = {"type": "object", "properties": options} | CLOSED
    properties |= {group: {"$ref": f"#/$defs/{group}"} for group in GROUPS}
    properties["generation"] = {"anyOf": [properties["generation"], {"type": "null"}]}
    properties["metric"] = {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/metric"}}
    choices: dict[str, Any] = {}
    for group in folders.groups():
        options = {"enum": [*folders.options(group), None]}
        choice = {"anyOf": [options, REFERENCE, {"type": "array", "items": options}]}
        choices |= {f"{start}{group}": choice for start in ("", "/", "override ", "override /")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Runwright configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": {
            # An interpolation, or a value that somebody has to give.
            "reference": {"type": "string", "pattern": r"\$\{|^\?\?\?$"},
            # A defaults list: its group keys with the options that are there.
            "defaults": {"type": "array", "items": {"type": ["string", "object"], "properties": choices}},
            **{group: _group(group, folders) for group in GROUPS},
        },
    }


def _group(group: str, folders: ConfFolders) -> dict[str, Any]:
    """A node of a group: the options of its target, or of any target in the group's files."""
    nodes: dict[str, list[dict[str, Any]]] = {}
    texts: defaultdict[str, str] = defaultdict(str)
    for file in [file for folder in folders.in_order for file in sorted((folder / group).rglob("*.yaml"))]:
        text = file.read_text(encoding="utf-8")
        for _, node in walk(yaml.safe_load(text)):
            if is_node(node) and isinstance(node["_target_"], str):
                nodes.setdefault(node["_target_"], []).append(node)
                texts[node["_target_"]] += text
    common: dict[str, Any] = {"defaults": DEFAULTS, "_target_": {"type": "string"}}
    common |= {key: {} for key in (*GROUPS[group].notes, *GROUPS[group].shared)}
    cases: list[dict[str, Any]] = []
    of_any: dict[str, list[Any]] = {}
    for target, of_target in nodes.items():
        signature = signature_of(of_target[0])
        if signature is None:
            continue
        options = _options(signature, of_target, texts[target], group=group)
        for name, schema in options.items():
            of_any.setdefault(name, []).append({"anyOf": schema["anyOf"]})
        is_target = {"properties": {"_target_": {"const": target}}, "required": ["_target_"]}
        cases.append({"if": is_target, "then": {"properties": common | options} | CLOSED})
    partial = common | {name: {"anyOf": schemas} for name, schemas in of_any.items()}
    cases.append({"if": {"not": {"required": ["_target_"]}}, "then": {"properties": partial} | CLOSED})
    other = rf"^(?!runwright\.)\w+\.|^{re.escape(GROUPS[group].module)}\b"  # your own, or not in any file
    named = {"anyOf": [{"enum": sorted(nodes)}, {"type": "string", "pattern": other}]}
    return {"type": "object", "properties": {"_target_": named}, "allOf": cases}


def _options(
    signature: Signature, nodes: list[dict[str, Any]], text: str, *, group: str
) -> dict[str, dict[str, Any]]:
    """The schema of each option, with the default that all files agree on and the comment beside it."""
    schemas: dict[str, dict[str, Any]] = {}
    for name, option in signature.options.items():
        schemas[name] = {"anyOf": [_schema_of(option.type, group), REFERENCE]}
        values = [node[name] for node in nodes if name in node]
        if values and all(value == values[0] for value in values):
            schemas[name]["default"] = values[0]
        if comment := re.search(rf"^\s*{re.escape(name)}:.*?\s#\s+(.+)$", text, re.MULTILINE):
            schemas[name]["description"] = comment[1]
    return schemas


def _schema_of(of: OptionType, group: str) -> dict[str, Any]:
    if of.kind == "any":  # a node inside another one is of the same group
        is_target = {"type": "object", "required": ["_target_"]}
        return {"if": is_target, "then": {"$ref": f"#/$defs/{group}"}} if group else {}
    if of.kind == "literal":
        return {"enum": list(of.choices)}
    items = [{"anyOf": [_schema_of(item, group), REFERENCE]} for item in of.items]
    if of.kind == "union":
        return {"anyOf": items}
    if of.kind == "list":
        return {"type": "array", "items": items[0] if items else {}}
    if of.kind == "dict":
        return {"type": "object", "additionalProperties": items[0] if items else {}}
    limits = {KEYWORDS[name]: limit for name, limit in limits_of(of.bounds).items()}
    return {"type": TYPES[of.kind]} | limits

"""Reads the annotation of an option from its source into an OptionType.

Understood: bool, int, float, str, None, Any, `X | None`, list[X], dict[str, X], Literal[...],
Annotated[X, Range(...)] and names for these, here or imported. What is not understood is left unchecked.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runwright.option_types import ANY, Bounds, OptionType, bounded

if TYPE_CHECKING:
    from collections.abc import Callable

SIMPLE = {name: OptionType(kind=name) for name in ("bool", "int", "float", "str")} | {
    "Any": ANY,
    "object": ANY,
    "list": OptionType(kind="list"),
    "Sequence": OptionType(kind="list"),
    "dict": OptionType(kind="dict"),
    "Mapping": OptionType(kind="dict"),
}
MAX_HOPS = 4  # an alias of an alias of an alias is enough


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """Names at the top of a module: aliases by their expression, imports by (module, name)."""

    aliases: dict[str, ast.expr]
    imports: dict[str, tuple[str, str]]

    @classmethod
    def of(cls, tree: ast.Module, module: str, *, is_package: bool) -> Names:
        """The names of a parsed module."""
        aliases: dict[str, ast.expr] = {}
        imports: dict[str, tuple[str, str]] = {}
        for node in _with_type_checking(tree.body):
            if isinstance(node, ast.ImportFrom):
                origin = _absolute(node, module, is_package=is_package)
                imports.update({name.asname or name.name: (origin, name.name) for name in node.names})
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                aliases[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                aliases[node.target.id] = node.value
        return cls(aliases=aliases, imports=imports)


def read_annotation(
    node: ast.expr | None, names: Names, names_of: Callable[[str], Names | None], hops: int = MAX_HOPS
) -> OptionType:
    """The type that an annotation stands for; `names_of` gives the names of another module."""

    def read(inner: ast.expr) -> OptionType:
        return read_annotation(inner, names, names_of, hops)

    match node:
        case ast.Constant(value=None):
            return OptionType(kind="none")
        case ast.Constant(value=str() as text):
            return read(ast.parse(text, mode="eval").body)
        case ast.Name(id=name):
            return _read_name(name, names, names_of, hops)
        case ast.Attribute(attr=name):  # typing.Any
            return SIMPLE.get(name, ANY)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _union([read(left), read(right)])
        case ast.Subscript(value=outer, slice=inner):
            return _read_subscript(ast.unparse(outer).split(".")[-1], inner, read)
    return ANY


def _read_name(name: str, names: Names, names_of: Callable[[str], Names | None], hops: int) -> OptionType:
    if name in names.aliases and hops:
        return read_annotation(names.aliases[name], names, names_of, hops - 1)
    if name in SIMPLE:
        return SIMPLE[name]
    if name in names.imports and hops:
        module, original = names.imports[name]
        other = names_of(module)
        return _read_name(original, other, names_of, hops - 1) if other else ANY
    return ANY


def _read_subscript(outer: str, inner: ast.expr, read: Callable[[ast.expr], OptionType]) -> OptionType:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    match outer:
        case "list" | "Sequence":
            return OptionType(kind="list", items=(read(parts[0]),))
        case "dict" | "Mapping":
            return OptionType(kind="dict", items=(read(parts[-1]),))
        case "Literal":
            return OptionType(kind="literal", choices=tuple(ast.literal_eval(part) for part in parts))
        case "Optional":
            return _union([read(parts[0]), OptionType(kind="none")])
        case "Union":
            return _union([read(part) for part in parts])
        case "Annotated":
            ranges = [part for part in parts[1:] if isinstance(part, ast.Call) and _is_range(part)]
            kind = read(parts[0])
            return bounded(kind, _bounds(ranges[0])) if ranges else kind
    return ANY


def _union(members: list[OptionType]) -> OptionType:
    flat = [item for member in members for item in (member.items if member.kind == "union" else (member,))]
    return ANY if ANY in flat else OptionType(kind="union", items=tuple(dict.fromkeys(flat)))


def _is_range(call: ast.Call) -> bool:
    return ast.unparse(call.func).split(".")[-1] == "Range"


def _bounds(call: ast.Call) -> Bounds:
    return Bounds(**{word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg})


def _with_type_checking(body: list[ast.stmt]) -> list[ast.stmt]:
    """The top-level statements and those that only type checkers see."""
    statements: list[ast.stmt] = []
    for node in body:
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        statements.extend(node.body if isinstance(node, ast.If) and guarded else [node])
    return statements


def _absolute(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    drop = node.level - 1 if is_package else node.level
    parent = module.split(".")[: len(module.split(".")) - drop]
    return ".".join([*parent, *([node.module] if node.module else [])])

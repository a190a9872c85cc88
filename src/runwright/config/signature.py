"""The options of a configuration target, read from its source: nothing is imported, no code runs.

Keyword-only parameters of a function, of a class's `__init__`, or the fields of a dataclass are its options;
positional parameters are the objects that `build` passes.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

from runwright.config.options import ANY, NULL, OptionType, bounded
from runwright.types import Range

Definition: TypeAlias = ast.FunctionDef | ast.ClassDef
SIMPLE = {name: OptionType(kind=name) for name in ("bool", "int", "float", "str")} | {
    "Any": ANY,
    "object": ANY,
    "list": OptionType(kind="list"),
    "Sequence": OptionType(kind="list"),
    "dict": OptionType(kind="dict"),
    "Mapping": OptionType(kind="dict"),
}
MAX_HOPS = 4  # an alias of an alias of an alias is enough
MAX_CLASSES = 6  # a class and its bases
NO_PARAMETERS = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One keyword-only parameter."""

    type: OptionType
    required: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """Parameters and class attributes of a target, read without importing it."""

    target: str
    objects: tuple[str, ...]  # positional parameters
    num_required_objects: int
    options: dict[str, Option]
    accepts_any_option: bool  # it takes **options
    accepts_any_object: bool  # it takes *objects
    literals: dict[str, Any]  # class attributes with a literal value, such as `problem`
    returns: dict[str, str]  # return annotations by name: of a function, or of a class's methods


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """The names at the top of one parsed module."""

    name: str
    definitions: dict[str, Definition]
    aliases: dict[str, ast.expr]
    imports: dict[str, tuple[str, str]]  # (module, name)


def find_file(module: str) -> Path | None:
    """The source file of a module. Unlike importlib.util.find_spec it does not import parent packages."""
    spec, locations = None, None
    for name in accumulate(module.split("."), "{}.{}".format):
        if name != module.split(".")[0] and locations is None:  # a module that is no package
            return None
        specs = (finder.find_spec(name, locations) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
        folders = spec.submodule_search_locations if spec else None
        locations = list(folders) if folders is not None else None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@lru_cache(maxsize=256)
def read_source(module: str) -> Source | None:
    """The parsed source of a module; None where there is no Python source. Raises SyntaxError."""
    if (file := find_file(module)) is None:
        return None
    tree = ast.parse(file.read_bytes(), filename=str(file))
    body = list(tree.body)
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            body += node.body
    imports: dict[str, tuple[str, str]] = {}
    for node in body:
        if isinstance(node, ast.ImportFrom):
            depth = module.count(".") + 1 - node.level + (file.name == "__init__.py")
            package = module.split(".")[:depth] if node.level else []
            origin = ".".join([*package, *filter(None, [node.module])])
            imports |= {name.asname or name.name: (origin, name.name) for name in node.names}
    definitions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    aliases = dict(_assignments(body))
    return Source(name=module, definitions=definitions, aliases=aliases, imports=imports)


def read_signature(module: str, name: str) -> Signature | None:
    """The signature of a top-level class or function; None where the module does not define it itself."""
    source = read_source(module)
    return _signature_of(source, name) if source and name in source.definitions else None


@lru_cache(maxsize=1024)
def _signature_of(source: Source, name: str) -> Signature:
    definition = source.definitions[name]
    if isinstance(definition, ast.FunctionDef):
        statements: list[ast.stmt] = [definition]
        parameters, options = definition.args, _keywords(source, definition.args)
        positional = [*parameters.posonlyargs, *parameters.args]
    else:
        classes = _with_bases(source, definition)
        statements = [statement for _, node in reversed(classes) for statement in node.body]
        parameters, options = _constructor(classes)
        positional = [*parameters.posonlyargs, *parameters.args][1:]  # without self
    functions = [node for node in statements if isinstance(node, ast.FunctionDef)]
    literals: dict[str, Any] = {}
    for attribute, value in _assignments(statements):
        with suppress(ValueError):  # no literal
            literals[attribute] = ast.literal_eval(value)
    return Signature(
        target=f"{source.name}.{name}",
        objects=tuple(argument.arg for argument in positional),
        num_required_objects=max(0, len(positional) - len(parameters.defaults)),
        options=options,
        accepts_any_option=parameters.kwarg is not None,
        accepts_any_object=parameters.vararg is not None,
        literals=literals,
        returns={node.name: ast.unparse(node.returns) for node in functions if node.returns},
    )


def read_annotation(node: ast.expr | None, source: Source, hops: int = MAX_HOPS) -> OptionType:
    """The type that an annotation stands for; aliases are followed, also into other modules."""
    match node:
        case ast.Constant(value=None):
            return NULL
        case ast.Constant(value=str() as text):
            return read_annotation(ast.parse(text, mode="eval").body, source, hops)
        case ast.Attribute(attr=name):  # typing.Any
            return SIMPLE.get(name, ANY)
        case ast.Name(id=name) if name in source.aliases and hops:
            return read_annotation(source.aliases[name], source, hops - 1)
        case ast.Name(id=name) if name in SIMPLE:
            return SIMPLE[name]
        case ast.Name(id=name) if name in source.imports and hops:
            module, original = source.imports[name]
            other = read_source(module)
            return read_annotation(ast.Name(id=original), other, hops - 1) if other else ANY
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _union(read_annotation(member, source, hops) for member in (left, right))
        case ast.Subscript(value=outer, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _read_generic(ast.unparse(outer).rpartition(".")[2], parts, source, hops)
    return ANY


def _read_generic(name: str, parts: list[ast.expr], source: Source, hops: int) -> OptionType:
    if name == "Literal":
        return OptionType(kind="literal", choices=tuple(map(ast.literal_eval, parts)))
    if name == "Annotated":
        of, *notes = parts
        kind = read_annotation(of, source, hops)
        for note in notes:
            if isinstance(note, ast.Call) and ast.unparse(note.func).rpartition(".")[2] == "Range":
                bounds = {word.arg: ast.literal_eval(word.value) for word in note.keywords if word.arg}
                return bounded(kind, Range(**bounds))
        return kind
    members = [read_annotation(member, source, hops) for member in parts]
    if name in ("Optional", "Union"):
        return _union([*members, NULL] if name == "Optional" else members)
    container = SIMPLE.get(name, ANY).kind
    return OptionType(kind=container, items=(members[-1],)) if container in ("list", "dict") else ANY


def _union(members: Iterable[OptionType]) -> OptionType:
    flat = [item for member in members for item in (member.items if member.kind == "union" else (member,))]
    return ANY if ANY in flat else OptionType(kind="union", items=tuple(dict.fromkeys(flat)))


def _keywords(source: Source, parameters: ast.arguments) -> dict[str, Option]:
    return {
        argument.arg: Option(type=read_annotation(argument.annotation, source), required=default is None)
        for argument, default in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True)
    }


def _with_bases(source: Source, definition: ast.ClassDef) -> list[tuple[Source, ast.ClassDef]]:
    """A class and its bases whose source can be read, nearest first."""
    classes = [(source, definition)]
    for owner, current in classes:
        for base in [b.id for b in current.bases if isinstance(b, ast.Name) and b.id != "TypedDict"]:
            module, name = owner.imports.get(base, (owner.name, base))
            home = read_source(module)
            inherited = home.definitions.get(name) if home else None
            if home and isinstance(inherited, ast.ClassDef) and len(classes) < MAX_CLASSES:
                classes.append((home, inherited))
    return classes


def _constructor(classes: list[tuple[Source, ast.ClassDef]]) -> tuple[ast.arguments, dict[str, Option]]:
    """The parameters of the nearest `__init__`, or the fields of the nearest dataclass or TypedDict."""
    for source, node in classes:
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                return method.args, _keywords(source, method.args)
        about = ", ".join(map(ast.unparse, (*node.bases, *node.keywords, *node.decorator_list)))
        if "dataclass" not in about and "TypedDict" not in about:
            continue
        options: dict[str, Option] = {}
        for owner, field in [(owner, field) for owner, base in reversed(classes) for field in base.body]:
            match field:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                    if "ClassVar" not in ast.unparse(annotation):
                        of = read_annotation(annotation, owner)
                        options[name] = Option(type=of, required=value is None and "total=" not in about)
        return NO_PARAMETERS, options
    return NO_PARAMETERS, {}


def _assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name), *_], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                yield name, value

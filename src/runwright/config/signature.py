"""The options of a configuration target, read from its source: nothing is imported, no code runs.

Keyword-only parameters of a function, of a class's `__init__`, or the fields of a dataclass are its options;
positional parameters are the objects that `build` passes.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runwright.config.options import ANY, Bounds, OptionType, bounded

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


Definition: TypeAlias = ast.FunctionDef | ast.ClassDef
MAX_BASES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One keyword-only parameter."""

    type: OptionType
    required: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What can be known of a target without importing it."""

    target: str
    file: Path
    line: int
    objects: tuple[str, ...]  # positional parameters
    num_required_objects: int
    options: dict[str, Option]
    accepts_any_option: bool  # it takes **options
    accepts_any_object: bool  # it takes *objects
    literals: dict[str, Any]  # class attributes with a literal value, such as `problem`
    returns: dict[str, str]  # return annotations by name: of a function, or of a class's methods


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One parsed module."""

    name: str
    file: Path
    definitions: dict[str, Definition]
    names: Names


def read_signature(module: str, name: str) -> Signature | None:
    """The signature of a top-level class or function; None where the module does not define it itself."""
    source = read_source(module)
    definition = source.definitions.get(name) if source else None
    if source is None or definition is None:
        return None
    return _of_definition(source, definition)


@lru_cache(maxsize=256)
def read_source(module: str) -> Source | None:
    """The parsed source of a module; None where there is no Python source. Raises SyntaxError."""
    file = find_file(module)
    if file is None:
        return None
    tree = ast.parse(file.read_bytes(), filename=str(file))
    definitions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    is_package = file.name == "__init__.py"
    return Source(
        name=module, file=file, definitions=definitions, names=Names.of(tree, module, is_package=is_package)
    )


def find_file(module: str) -> Path | None:
    """The source file of a module. Unlike importlib.util.find_spec it does not import parent packages."""
    locations: list[str] | None = None
    spec = None
    parts = module.split(".")
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        specs = (
            finder.find_spec(name, locations) for finder in sys.meta_path if hasattr(finder, "find_spec")
        )
        spec = next((found for found in specs if found is not None), None)
        if spec is None:
            return None
        if spec.submodule_search_locations is not None:
            locations = list(spec.submodule_search_locations)
        elif depth + 1 < len(parts):
            return None
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


def _of_definition(source: Source, definition: Definition) -> Signature:
    if isinstance(definition, ast.FunctionDef):
        returns = _returns([definition])
        return _of_arguments(source, definition, definition.args, literals={}, returns=returns)
    chain = _bases(source, definition)
    literals: dict[str, Any] = {}
    returns: dict[str, str] = {}
    for _, base in reversed(chain):
        literals |= _class_literals(base)
        returns |= _returns(base.body)
    known = {"literals": literals, "returns": returns}
    for owner, base in chain:
        init = next((n for n in base.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if init is not None:
            return _of_arguments(owner, definition, init.args, **known, is_method=True, home=source)
        if _is_dataclass(base):
            return _of_dataclass(source, definition, chain, **known)
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return _of_arguments(source, definition, nothing, **known)


def _bases(source: Source, definition: ast.ClassDef) -> list[tuple[Source, ast.ClassDef]]:
    """The class and the bases that can be found by name, nearest first."""
    chain = [(source, definition)]
    for owner, current in chain:
        for base in current.bases:
            found = _find_class(owner, base.id) if isinstance(base, ast.Name) else None
            if found is not None and len(chain) < MAX_BASES:
                chain.append(found)
    return chain


def _find_class(source: Source, name: str) -> tuple[Source, ast.ClassDef] | None:
    imported = source.names.imports.get(name)
    if imported is not None:
        module, name = imported
        other = read_source(module)
        if other is None:
            return None
        source = other
    definition = source.definitions.get(name)
    return (source, definition) if isinstance(definition, ast.ClassDef) else None


def _of_arguments(
    source: Source,
    definition: Definition,
    arguments: ast.arguments,
    *,
    literals: dict[str, Any],
    returns: dict[str, str],
    is_method: bool = False,
    home: Source | None = None,
) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args][1 if is_method else 0 :]
    options = {
        argument.arg: Option(
            type=read_annotation(argument.annotation, source.names, read_names), required=default is None
        )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    home = home or source
    return Signature(
        target=f"{home.name}.{definition.name}",
        file=home.file,
        line=definition.lineno,
        objects=tuple(argument.arg for argument in positional),
        num_required_objects=max(0, len(positional) - len(arguments.defaults)),
        options=options,
        accepts_any_option=arguments.kwarg is not None,
        accepts_any_object=arguments.vararg is not None,
        literals=literals,
        returns=returns,
    )


def _of_dataclass(
    source: Source,
    definition: ast.ClassDef,
    chain: list[tuple[Source, ast.ClassDef]],
    *,
    literals: dict[str, Any],
    returns: dict[str, str],
) -> Signature:
    options: dict[str, Option] = {}
    for owner, base in reversed(chain):
        for node in base.body:
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and not _is_class_var(node)
            ):
                kind = read_annotation(node.annotation, owner.names, read_names)
                options[node.target.id] = Option(type=kind, required=node.value is None)
    return Signature(
        target=f"{source.name}.{definition.name}",
        file=source.file,
        line=definition.lineno,
        objects=(),
        num_required_objects=0,
        options=options,
        accepts_any_option=False,
        accepts_any_object=False,
        literals=literals,
        returns=returns,
    )


def read_names(module: str) -> Names | None:
    """What the names at the top of another module mean, for an annotation imported from there."""
    source = read_source(module)
    return source.names if source else None


def _is_dataclass(definition: ast.ClassDef) -> bool:
    decorators = [node.func if isinstance(node, ast.Call) else node for node in definition.decorator_list]
    return any(ast.unparse(decorator).split(".")[-1] == "dataclass" for decorator in decorators)


def _is_class_var(node: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(node.annotation)


def _returns(body: list[ast.stmt]) -> dict[str, str]:
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.unparse(node.returns) for node in functions if node.returns}


def _class_literals(definition: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in definition.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if (
            isinstance(node, ast.Assign | ast.AnnAssign)
            and isinstance(target, ast.Name)
            and value is not None
        ):
            try:
                found[target.id] = ast.literal_eval(value)
            except ValueError:
                continue
    return found


__all__ = ["ANY", "Option", "Signature", "find_file", "read_signature", "read_source"]

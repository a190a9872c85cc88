"""Names of models and tokenizers: of a hub, a local folder, or one inside an installed package."""

import importlib.util
from pathlib import Path

from runwright.errors import ConfigError
from runwright.store import local_path

PACKAGE_PREFIX = "package:"
GGUF = ".gguf"  # one file with a whole model in it, which counts as a folder here


def resolve_source(name: str) -> str:
    """The local folder behind `name`, or `name` itself where it is a hub name.

    `package:NAME/sub/folder` is a folder that an installed package ships; the package is located, never
    imported. `./folder`, `../folder`, `~/folder` and `/folder` are local; any other name that exists as a
    folder here is local too. Raises ConfigError where a package or folder is not there.
    """
    root = None
    folder = local_path(name)
    if name.startswith(PACKAGE_PREFIX):
        package, _, inside = name.removeprefix(PACKAGE_PREFIX).partition("/")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                f"package {package!r} in {name!r} is not installed; "
                f"install it (for the built-in default: pip install 'runwright[demo]')"
            )
        root = Path(next(iter(spec.submodule_search_locations))).resolve()
        folder = root / inside
    where = folder.resolve()
    is_there = folder.is_dir() or (folder.suffix == GGUF and folder.is_file())
    if root is not None and not (is_there and where.is_relative_to(root)):
        raise ConfigError(f"{name!r} is no folder of that package (looked in {where})")
    if not is_there and (name.startswith((".", "/", "~")) or folder.suffix == GGUF):
        raise ConfigError(f"folder {name!r} does not exist (looked in {where})")
    if is_there and not any((where / file).is_file() for file in ("config.json", "tokenizer.json")):
        saved = [*where.glob("*/config.json"), *where.glob("*/best/config.json")]  # the latter: of runs
        if inner := sorted(str(file.parent.relative_to(where)) for file in saved):
            raise ConfigError(f"{name}: no model is there; did you mean '{name.rstrip('/')}/{inner[-1]}'?")
    return str(where) if is_there else name

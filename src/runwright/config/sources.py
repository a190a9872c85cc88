"""Names of models, tokenizers and metrics: of a hub, a local folder, or one inside an installed package."""

from __future__ import annotations

import importlib.util
import json
import re
from contextlib import suppress
from pathlib import Path

from runwright.config.permissions import code_allowed
from runwright.errors import ConfigError, Mistake, shown

PACKAGE_PREFIX = "package:"
GGUF = ".gguf"  # one file with a whole model in it, which counts as a folder here
# Classes of tokenizers that have no special tokens of their own.
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")


def resolve_source(name: str) -> str:
    """The local folder behind `name`, or `name` itself where it is a hub name.

    `package:NAME/sub/folder` is a folder that an installed package ships; the package is located, never
    imported. `./folder`, `../folder`, `~/folder` and `/folder` are local; any other name that exists as a
    folder here is local too. Raises ConfigError where a package or folder is not there.
    """
    if not name.startswith(PACKAGE_PREFIX):
        folder = Path(name).expanduser()
        is_there = folder.is_dir() or (folder.suffix == GGUF and folder.is_file())
        if not is_there and name.startswith((".", "/", "~")):
            raise ConfigError(f"folder {name!r} does not exist (looked in {folder.resolve()})")
        return _with_model(folder.resolve(), name) if is_there else name
    package, _, inside = name.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"package {package!r} in {name!r} is not installed; "
            f"install it (for the built-in default: pip install 'runwright[demo]')"
        )
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = (root / inside).resolve()
    is_there = folder.is_dir() or (folder.suffix == GGUF and folder.is_file())
    if not folder.is_relative_to(root) or not is_there:
        raise ConfigError(f"package {package!r} has no folder {inside!r}")
    return _with_model(folder, name)


def _with_model(folder: Path, name: str) -> str:
    """The folder; raises ConfigError where the files of a model are one level further down, as in a run."""
    inner = sorted(file.parent.name for file in folder.glob("*/config.json"))
    if inner and not any((folder / file).is_file() for file in ("config.json", "tokenizer.json")):
        raise ConfigError(f"{name}: no model is there; did you mean '{name.rstrip('/')}/{inner[0]}'?")
    return str(folder)


def module_source(path: str, *, revision: str | None, key: str) -> str | Mistake:
    """The script of a module of `evaluate`, or its name on the hub; a mistake where it may not run."""
    folder = Path(path).expanduser()
    script = folder / f"{folder.resolve().name}.py" if folder.is_dir() else folder
    is_script = script.suffix == ".py" and script.is_file()
    if not is_script and (folder.exists() or not re.fullmatch(r"[\w-]+(/[\w-][\w.-]*)?", path)):
        expected = f"a .py file, or a folder with a script of its name ({script} is not there)"
        return Mistake(f"{key}.path", shown(path), expected, "or the name of a module on the hub")
    if not is_script and not re.fullmatch(r"[0-9a-f]{40}", str(revision)):
        expected = f"the commit of {path} on the hub, 40 digits, so that the code stays the same"
        hint = f"a script of yours: {key}.path=./{path}"
        return Mistake(f"{key}.revision", shown(revision), expected, hint)
    if not code_allowed():
        return Mistake(f"{key}.path", f"{shown(path)}, which is code", "--trust-remote-code, if you trust it")
    return str(script.resolve()) if is_script else path


def saved_roles(name: str) -> set[str] | None:
    """Roles of special tokens, such as mask, that a local tokenizer was saved with.

    None where its files do not tell: of a hub, or of a class that has tokens of its own.
    """
    with suppress(ConfigError, OSError, ValueError):
        folder = Path(resolve_source(name))
        files = [folder / name for name in ("tokenizer_config.json", "special_tokens_map.json")]
        saved = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
        usual = None if (folder / "config.json").is_file() else GENERIC[0]  # else of the model's architecture
        settings = {key: value for content in saved for key, value in content.items()}
        if (folder / "tokenizer.json").is_file() and settings.get("tokenizer_class", usual) in GENERIC:
            return {key.removesuffix("_token") for key, value in settings.items() if value}
    return None

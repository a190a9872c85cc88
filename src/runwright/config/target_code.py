"""What the code of a target is: a hash of its source text, which caches of what it makes go by."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

from runwright.config.permissions import granted
from runwright.store import sources_digest
from runwright.version import __version__


@cache  # by the target itself: one that is loaded again is looked at again, and no sooner
def code_of(target: Any, *, group: str) -> str:
    """A hash of the sources of a class, its bases, or a function: of the whole packages they lie in.

    Of Runwright it is the group; of a package that configurations may not name, the module alone.
    """
    places = {_place(base.__module__) for base in getattr(target, "__mro__", (target,))}
    shipped = Path(__file__).parents[1] / group
    return sources_digest(*sorted({shipped, *places} - {None}), also=__version__)


def _place(module: str) -> Path | None:
    """The folder or file whose code counts for what is defined in a module; None for Python's own."""
    parts = module.split(".")
    name = getattr(sys.modules.get(module), "__file__", None)
    if name is None or parts[0] in sys.stdlib_module_names:
        return None
    file = Path(name)
    if parts[0] == "runwright":
        return file.parent if len(parts) > 2 else file
    levels = len(parts) - 2 + (file.name == "__init__.py")  # up to the package's own folder
    own = parts[0] in {package.split(".")[0] for package in granted().packages}
    return file.parents[levels] if own and levels >= 0 else file

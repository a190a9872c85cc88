"""The folders that a configuration is composed from: the shipped one, and the user's own `conf/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runwright.errors import Mistake

GLOBAL_GROUPS = ("experiment", "debug")  # merged over the whole configuration; none is chosen at first


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfFolders:
    """The folders that files are looked for in; the first match wins."""

    shipped: Path
    own: Path | None
    looked_in: Path  # where the user's own would be

    @property
    def in_order(self) -> list[Path]:
        """The user's own folder first: what it shadows is an error unless it was asked for."""
        return [self.own, self.shipped] if self.own else [self.shipped]

    def searched(self) -> str:
        """The folders as a message names them, with a word where there is none."""
        if self.looked_in == self.shipped:
            return str(self.shipped)
        own = "./conf" if self.looked_in == Path.cwd() / "conf" else str(self.looked_in)
        return f"{own}{'' if self.own else ' (not there)'} and {self.shipped}"

    def groups(self) -> list[str]:
        """Names of all groups, nested ones with a slash."""
        files = [(folder, path) for folder in self.in_order for path in folder.rglob("*.yaml")]
        names = {path.relative_to(folder).parent.as_posix() for folder, path in files}
        return sorted(name for name in names if name != "." and not name.startswith("hydra"))

    def options(self, group: str) -> list[str]:
        """Names of a group's files, nested ones with a slash; `_part.yaml` is not an option."""
        roots = [folder / group for folder in self.in_order]
        files = [(root, path) for root in roots for path in root.rglob("*.yaml")]
        names = {path.relative_to(root).with_suffix("").as_posix() for root, path in files}
        return sorted(name for name in names if not name.rpartition("/")[2].startswith("_"))

    def shadows(self) -> list[Mistake]:
        """Files of the user's folder that have the name of a shipped one."""
        if self.own is None:
            return []
        return [
            Mistake(
                key=str(path),
                given="a file with the name of a shipped one",
                expected=f"another name than {self.shipped / path.relative_to(self.own)}",
                hint="to replace the shipped one: --allow-shadow",
            )
            for path in sorted(self.own.rglob("*.yaml"))
            if (self.shipped / path.relative_to(self.own)).is_file()
        ]


def find_conf_folders(folder: Path | None = None) -> ConfFolders:
    """The shipped folder and the `conf/` in `folder` (default: the current one), where it is not the same."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"  # in a wheel; in a checkout the folder lies beside src/
    shipped = installed if installed.is_dir() else package.parents[1] / "conf"
    own = ((folder or Path.cwd()) / "conf").resolve()
    is_own = own.is_dir() and own != shipped
    return ConfFolders(shipped=shipped, own=own if is_own else None, looked_in=own)

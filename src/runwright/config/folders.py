"""Config folders: the shipped `conf/` and the `conf/` of the user's project."""

from dataclasses import dataclass
from pathlib import Path

from runwright.config.permissions import granted
from runwright.errors import Mistake

GLOBAL_GROUPS = ("experiment", "sweep", "debug")  # merged over the whole; none is chosen at first


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfFolders:
    """Search path of config files; the first match wins."""

    shipped: Path
    project: Path | None  # the `conf/` of the project of the user

    @property
    def in_order(self) -> list[Path]:
        """The project's folder first; --allow-shadow lets its files replace shipped ones."""
        return [self.project, self.shipped] if self.project else [self.shipped]

    def groups(self) -> list[str]:
        """Names of all groups, nested ones with a slash."""
        files = [(folder, path) for folder in self.in_order for path in _files(folder)]
        names = {path.relative_to(folder).parent.as_posix() for folder, path in files}
        return sorted(name for name in names if name != "." and not name.startswith("hydra"))

    def options(self, group: str) -> list[str]:
        """Names of a group's files, nested ones with a slash; `_part.yaml` is not an option."""
        roots = [folder / group for folder in self.in_order]
        files = [(root, path) for root in roots for path in _files(root)]
        names = {path.relative_to(root).with_suffix("").as_posix() for root, path in files}
        return sorted(name for name in names if not name.rpartition("/")[2].startswith("_"))

    def state(self) -> list[tuple[str, int, int]]:
        """Name, time and size of every file: another list where one was changed."""
        stats = [(str(path), path.stat()) for folder in self.in_order for path in _files(folder)]
        return [(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats]

    def find(self, name: str) -> Path | None:
        """The file of this name below the folders, the project's before the shipped one."""
        return next(filter(Path.is_file, (folder / name for folder in self.in_order)), None)

    def shadows(self) -> list[Mistake]:
        """Files of the user's folder that have the name of a shipped one without permission."""
        if self.project is None or granted().shadow:
            return []
        problem, hint = "a file with the name of a shipped one", "to replace the shipped one: --allow-shadow"
        mistakes: list[Mistake] = []
        # In a group; what lies above them, as export.yaml, is replaced by the project's.
        for file in sorted(self.project.rglob("*/*.yaml")):
            shipped = self.shipped / file.relative_to(self.project)
            if shipped.is_file():
                mistakes.append(Mistake(str(file), problem, f"another name than {shipped}", hint))
        return mistakes


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.yaml") if path.is_file()]


def shipped_folder(name: str) -> Path:
    """conf/ or scripts/: inside the package in a wheel, beside src/ in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return installed if (installed := package / name).is_dir() else package.parents[1] / name


def find_conf_folders(folder: Path | None = None) -> ConfFolders:
    """The shipped folder and the `conf/` in `folder` (default: the current one), where it is not the same."""
    shipped = shipped_folder("conf")
    project = ((folder or Path.cwd()) / "conf").resolve()
    is_other = project.is_dir() and project != shipped
    return ConfFolders(shipped=shipped, project=project if is_other else None)

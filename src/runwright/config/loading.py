"""Merge the selected config files with Hydra, and turn its exceptions into mistakes.

This uses Hydra's config loader without its application: no scan for plugins, no job settings, half the time.
Files and overrides that change a setting of Hydra (a launcher, a sweeper) take the full way, which knows the
plugins.
"""

import pickle
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from runwright.config.folders import GLOBAL_GROUPS, ConfFolders
from runwright.config.options import leaves_of, walk
from runwright.errors import Mistake, did_you_mean, listed, shown

WRONG_FILE = (OSError, ValueError, TypeError, AttributeError)
ROOT_NAME = "train"
HYDRA = "hydra"  # the key of Hydra's own settings, and the start of its groups
UNPLACED = "conf"  # the key of a mistake whose file Hydra does not name


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """The merged files, and the option of each group."""

    config: DictConfig
    choices: dict[str, Any]
    hydra: DictConfig | None  # Hydra's own node, below its name; None: as it is shipped


_loaded: dict[str, bytes] = {}  # by choices and files: a copy takes 1 ms, merging them 40 to 90


def load(folders: ConfFolders, choices: list[Override], *, full: bool = False) -> Loaded | Mistake:
    """The configuration that the root file and these choices make, before any value is overridden.

    `full`: with Hydra's own, whether or not anything changes it.
    """
    texts = [str(choice.input_line) for choice in choices]
    key = repr((folders, full, texts, folders.state()))
    if key in _loaded:
        return pickle.loads(_loaded[key])  # noqa: S301 - this process has made it
    loaded = _merge(folders, choices, full=full)
    if isinstance(loaded, Loaded):
        _loaded[key] = pickle.dumps(loaded)
    return loaded


def _merge(folders: ConfFolders, choices: list[Override], *, full: bool) -> Loaded | Mistake:
    project = folders.project
    replaces = project and ((project / HYDRA).is_dir() or (project / f"{ROOT_NAME}.yaml").is_file())
    full = full or bool(replaces) or any(is_hydra(choice) for choice in choices)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Hydra's own about its next version
            loaded = _load(folders, choices, full=full)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, *WRONG_FILE) as error:
        if full or not isinstance(error, HydraException) or f"{HYDRA}/" not in str(error):
            return explain(error, folders)
        loaded = None
    return _merge(folders, choices, full=True) if loaded is None else loaded


def load_what_works(folders: ConfFolders, choices: list[Override]) -> tuple[Loaded | None, list[Mistake]]:
    """The configuration of these options, without those that Hydra refuses, and their mistakes."""
    loaded = load(folders, choices)
    if isinstance(loaded, Loaded):
        return loaded, []
    mistakes, accepted = [] if choices else [loaded], list[Any]()
    for override in choices:
        attempt = load(folders, [*accepted, override])
        if isinstance(attempt, Loaded):
            accepted.append(override)
        else:
            is_unplaced = attempt.key == UNPLACED
            mistakes.append(replace(attempt, key=str(override.input_line)) if is_unplaced else attempt)
    loaded = load(folders, accepted)
    return (loaded if isinstance(loaded, Loaded) else None), list(dict.fromkeys(mistakes))


def is_hydra(override: Override) -> bool:
    return re.split("[./]", override.key_or_group)[0] == HYDRA


def hydra_leaves(config: Any) -> dict[str, Any]:
    """The leaves of Hydra's node in a configuration, with their interpolations."""
    content: Any = OmegaConf.to_container(config, resolve=False) if isinstance(config, DictConfig) else {}
    return leaves_of({key: value for key, value in content.items() if key == HYDRA})


def register_plugins() -> None:
    """Import the installed launchers and sweepers, which register their options.

    Their resolvers are removed: `ray_pkg_version` of Ray's launcher imports the module that a config names.
    """
    from hydra.core.plugins import Plugins

    before = set(BaseContainer._resolvers)
    Plugins.instance()
    for name in set(BaseContainer._resolvers) - before:
        OmegaConf.clear_resolver(name)


YAML_TAG = "tag:yaml.org,2002:"
PLAIN_SCALARS = {
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?(0|[1-9][0-9_]*)",
    "float": r"[-+]?((?=\.?\d)[\d_]*\.[\d_]*([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
    "null": "~|null|Null|NULL|",
    "merge": "<<",
}


class YamlLoader(get_yaml_loader()):
    """OmegaConf's loader with the plain scalars of YAML 1.2; keys are always text.

    YAML 1.1 reads `no`, `off` and `NO` as false, 010 as 8 and 1:30 as 90: class names and values of columns.
    """

    yaml_implicit_resolvers: ClassVar[dict[None, Any]] = {
        None: [(YAML_TAG + tag, re.compile(rf"({of})\Z", re.ASCII)) for tag, of in PLAIN_SCALARS.items()]
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{YAML_TAG}merge":
                key.tag = f"{YAML_TAG}str"
        return super().construct_mapping(node, deep=deep)


MAX_CHARACTERS, MAX_VALUES, MAX_DEPTH = 200_000, 20_000, 50  # of a file, its aliases expanded


class WrongFile(ValueError):  # noqa: N818 - caught where Hydra's own errors are
    """A file that is no configuration; its arguments are those of a Mistake."""


class YamlFiles(FileConfigSource):
    """The files of a config folder, read by `YamlLoader`."""

    def load_config(self, config_path: str) -> ConfigResult:
        path = Path(self.path, self._normalize_file_name(config_path))
        name, content = f"{Path(self.path).name}/{config_path.removesuffix('.yaml')}.yaml", None
        num_values = depth = MAX_VALUES + 1
        try:
            text = path.read_text(encoding="utf-8-sig")
            with suppress(RecursionError):
                if len(text) <= MAX_CHARACTERS:
                    content = from_yaml(text, str(path))
                    num_values, depth = _measure(content, {})
        except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
            raise WrongFile(name, f"a file that is not UTF-8 ({error})", "UTF-8 text") from error
        if num_values > MAX_VALUES or depth > MAX_DEPTH:
            limits = f"{MAX_CHARACTERS:,} characters and {MAX_VALUES:,} values, {MAX_DEPTH} deep"
            raise WrongFile(name, "a larger document, or a deeper one", f"at most {limits}")
        if not isinstance(content, dict):
            problem = "no values" if content is None else shown(content)
            raise WrongFile(name, problem, "a mapping of names to values")
        config, header = OmegaConf.create(content), self._get_header_dict(text[:512])
        return ConfigResult(config=config, path=f"file://{self.path}", provider=self.provider, header=header)


@lru_cache(maxsize=256)
def from_yaml(text: str, name: str) -> Any:
    """The content of a file of this name, as all of `conf/` is read; one object for the same text."""
    stream = StringIO(text)
    stream.name = name  # for PyYAML's messages
    return yaml.load(stream, Loader=YamlLoader)  # noqa: S506 - it is a safe one


def _measure(value: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Number of values and depth with aliases expanded; each node is looked at once."""
    if not isinstance(value, dict | list):
        return 1, 0
    if id(value) not in known:
        inner = [_measure(item, known) for item in (value.values() if isinstance(value, dict) else value)]
        known[id(value)] = 1 + sum(n for n, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    return known[id(value)]


class Loader(ConfigLoaderImpl):
    """Hydra's loader, by which no job of a multirun has other settings of Hydra than the multirun itself.

    Of a job's overrides it takes the texts alone: the job composes them as a single run does, so that nothing
    is run or set that a sweeper draws and no check has seen. Launchers pickle it into their processes.
    """

    def __init__(self, search_path: ConfigSearchPath) -> None:
        super().__init__(search_path)
        # By scheme: Hydra's scan for plugins loads the class of these sources a second time.
        self.repository.sources = [
            YamlFiles(source.provider, source.path) if source.scheme() == "file" else source
            for source in self.repository.sources
        ]

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        job = OmegaConf.masked_copy(master_config, HYDRA)  # Hydra copies it for each job five times more
        job.hydra.sweep.dir = str(master_config.hydra.sweep.dir)  # which may refer to the rest
        OmegaConf.copy_cache(master_config, job)  # ${now:…} is the time of the multirun
        job.hydra.overrides.task = list(sweep_overrides)
        return job


def config_loader(folders: ConfFolders, *, full: bool = False) -> Loader:
    """Hydra's loader of the folders; `full`: with Hydra's node, for which plugins must be registered."""
    version.setbase("1.3")
    for source in (FileConfigSource, StructuredConfigSource):
        if source.scheme() not in SourcesRegistry.instance().types:
            SourcesRegistry.instance().register(source)
    search_path = ConfigSearchPathImpl()
    if full:
        search_path.append("hydra", "pkg://hydra.conf")
    for folder in folders.in_order:
        provider = "main" if folder == folders.shipped else "own"
        search_path.append(provider, f"file://{folder}")
    search_path.append("schema", "structured://")
    return Loader(search_path)


def _load(folders: ConfFolders, choices: list[Override], *, full: bool) -> Loaded | None:
    """The merged files; None if they change a setting of Hydra, so that they must be loaded in full."""
    if full:
        register_plugins()
    loader = config_loader(folders, full=full)
    repository = CachingConfigRepository(loader.repository)
    try:
        defaults = create_defaults_list(
            repository, ROOT_NAME, choices, prepend_hydra=full, skip_missing=False
        )
    except RecursionError:
        file = f"conf/{[*repository.cache][-1].removeprefix('config_path=')}.yaml"  # of the circle
        raise WrongFile(file, "a defaults list that leads back to it", "files that name others") from None
    root = repository.load_config(ROOT_NAME)
    shipped = hydra_leaves(root.config) if root else {}  # before the files are merged into it
    try:
        config = loader._compose_config_from_defaults_list(defaults=defaults.defaults, repo=repository)
    except ConfigCompositionException:
        _check_kinds(loader, defaults.defaults)
        raise
    hydra = OmegaConf.masked_copy(config, HYDRA)
    if HYDRA in list(config.keys()):
        del config[HYDRA]
    of_all = defaults.overrides.known_choices
    options = {group: option for group, option in of_all.items() if HYDRA not in group}
    if not full and (len(options) < len(of_all) or hydra_leaves(hydra) != shipped):
        return None
    return Loaded(config=config, choices=options, hydra=hydra if full else None)


def _check_kinds(loader: Loader, defaults: list[ResultDefault]) -> None:
    """Raise WrongFile for a list where an earlier file has a mapping, or the reverse."""
    repository, kinds = CachingConfigRepository(loader.repository), dict[str, type]()
    for default in defaults:
        config = loader._load_single_config(default, repository).config
        for key, value in walk(OmegaConf.to_container(config, resolve=False)):
            kind = type(value)
            if kinds.setdefault(key, kind) is not kind and {kind, kinds[key]} == {list, dict}:
                names = {list: "a list", dict: "a mapping of names to values"}
                hint = "choose under defaults: - override /metric: [name, …]" if key == "metric" else ""
                problem = f"{names[kind]} in {default.config_path}.yaml"
                raise WrongFile(key, problem, names[kinds[key]], hint)


def explain(error: Exception, folders: ConfFolders) -> Mistake:
    """The innermost cause of an exception, with file and line if it has them."""
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and inner not in chain:
        chain.append(inner)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = re.match(r"In '([^']+)': ?(.*)", lines[0] if lines else "")
    file = f"{where[1]}.yaml" if where else UNPLACED
    for cause in chain:
        if isinstance(cause, yaml.MarkedYAMLError) and (mark := cause.problem_mark) is not None:
            key = f"{_relative(Path(mark.name), folders)}, line {mark.line + 1}, column {mark.column + 1}"
            return Mistake(key, f"broken YAML ({cause.problem})", "a YAML mapping of names to values")
        if isinstance(cause, WrongFile):
            return Mistake(*cause.args)
        if isinstance(cause, ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
            names = [str(name) for name in cause.parent_node if not str(name).startswith("_")]
            hint = did_you_mean(str(cause.key), names)
            expected = f"one of {listed(names)}" if names else f"+{cause.full_key}=…, which adds it"
            return Mistake(f"{file}, {cause.full_key}", "an unknown key", expected, hint)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = folders.options(group) if group else []
        hint = did_you_mean(option, options) if options else did_you_mean(group, folders.groups())
        if (inner := group.partition("/")[2]) in folders.groups():  # relative to the file's own folder
            hint = f"write: - override /{inner}: {option}"
        return Mistake(
            _find_choice(group, option, folders) or (file if where else str(error.missing_cfg_file)),
            f"{option!r} for group {group!r}" if group else f"{option!r}",
            f"one of the options {listed(options)}" if options else "a group that exists",
            hint,
        )
    reason = " ".join([where[2], *lines[1:]] if where else lines).strip()
    if group := re.match(r"Could not override '([\w/]+)'", reason):
        reason = f"{reason.rstrip('.')}; {did_you_mean(group[1], folders.groups())}".rstrip("; ")
    package = re.search(r"'[\w/]+@(\w+)[.\w]*'", reason)
    if package and package[1] in GLOBAL_GROUPS:
        reason = f"its first line must be '# @package _global_' ({reason})"
    return Mistake(file, "what cannot be composed", "a valid defaults list", reason)


def _find_choice(group: str, option: str, folders: ConfFolders) -> str | None:
    """File and line of a defaults list that select an option: Hydra names the file that it overrides."""
    pattern = re.compile(rf"^\s*-.*\b{re.escape(group)}\s*:.*\b{re.escape(option)}\b")
    for file in [file for folder in folders.in_order for file in sorted(folder.rglob("*.yaml"))]:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if pattern.match(line):
                return f"{_relative(file, folders)}, line {number}"
    return None


def _relative(path: Path, folders: ConfFolders) -> str:
    homes = [folder for folder in folders.in_order if path.is_relative_to(folder)]
    return f"{homes[0].name}/{path.relative_to(homes[0])}" if homes else str(path)

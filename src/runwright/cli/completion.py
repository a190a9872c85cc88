"""Tab completion: commands, flags and choices by argcomplete; runs, groups, keys and values here."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from argcomplete.finders import CompletionFinder
from argcomplete.packages._argparse import action_is_satisfied
from argcomplete.shell_integration import shellcode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from runwright.config.loading import Loaded

EXAMPLES = """examples:
  eval "$(runwright completion bash)"  in ~/.bashrc
  eval "$(runwright completion zsh)"  after compinit, in ~/.zshrc
  runwright completion fish > ~/.config/fish/completions/runwright.fish

then:
  runwright train opt<TAB>          optimizer= optimizer.
  runwright train optimizer=<TAB>   adamw sgd
  runwright evaluate lat<TAB>       latest"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")


def execute(args: argparse.Namespace) -> int:
    print(shellcode(["runwright"], shell=args.shell))
    return 0


OPTIONS: dict[str, Any] = {"always_complete_options": False, "default_completer": lambda **_: []}


class Finder(CompletionFinder):
    """Completes the line of a command, whose module alone is imported; files are left to the shell."""

    commands: Collection[str]
    parser_of: Callable[[str], argparse.ArgumentParser]
    words: list[str]  # the command and what follows it, up to the word that is completed

    def _get_completions(self, comp_words: list[str], *position: Any, **more: Any) -> list[str]:
        self.words = comp_words[1:]
        if self.words and self.words[0] not in self.commands:
            return []
        if self.words:
            self._parser = parser = self.parser_of(self.words[0])
        else:
            self._parser = parser = argparse.ArgumentParser()
            parser.add_argument("--version", action="store_true")
            parser.add_argument("command", choices=sorted(self.commands))
        for action in parser._actions:
            if action.dest in ("run", "resume"):
                action.completer = _runs  # pyright: ignore[reportAttributeAccessIssue] - argcomplete's way
        return super()._get_completions(self.words or comp_words, *position, **more)

    def collect_completions(self, active_parsers: Any, parsed_args: Any, cword_prefix: str) -> list[str]:
        """The candidates of argcomplete, and overrides where no flag or positional waits for its value."""
        candidates = super().collect_completions(active_parsers, parsed_args, cword_prefix)
        takes_overrides = "key=value" in (active_parsers[-1].usage or "") and cword_prefix[:1] != "-"
        if takes_overrides and all(map(action_is_satisfied, active_parsers[-1].active_actions)):
            candidates += complete_override(self.words[1:], cword_prefix)
        return sorted(candidates)

    def answer(self) -> None:
        """Write the candidates for the line in COMP_LINE to where the shell's function reads them."""
        self(argparse.ArgumentParser(), exit_method=lambda _: None, **OPTIONS)


def make_finder(commands: Collection[str], parser_of: Callable[[str], argparse.ArgumentParser]) -> Finder:
    finder = Finder(**OPTIONS)  # argcomplete calls its `__init__` once more, which therefore stays
    finder.commands, finder.parser_of = commands, parser_of
    return finder


def _runs(**_: Any) -> list[str]:
    from runwright.runs.folder import find_runs

    runs = find_runs()
    names = sorted({folder.parent.name for folder in runs})
    return ["latest", *(f"latest:{name}" for name in names), *(f.name.rpartition("-")[2] for f in runs)]


def complete_override(before: list[str], word: str) -> list[str]:
    """Candidates for `group=option` and `key=value`, in the configuration that the words before it make."""
    from runwright.config.folders import find_conf_folders
    from runwright.config.loading import load_what_works
    from runwright.config.overrides import parse_overrides

    folders = find_conf_folders()
    name, equals, value = word.lstrip("+~").partition("=")
    prefix = word[: len(word) - len(word.lstrip("+~"))]
    group = name.partition("@")[0]
    if equals and group in folders.groups():
        start = value.rfind(",") + 1 or int(value.startswith("["))
        head, last = value[:start], value[start:]
        options = [option for option in folders.options(group) if option not in head.strip("[,").split(",")]
        return [f"{prefix}{name}={head}{option}" for option in options if option.startswith(last)]
    texts = [text for text in before if "=" in text and not text.startswith("-")]
    loaded, _ = load_what_works(folders, parse_overrides(texts, folders, multirun=True)[0].choices)
    if loaded is None:
        return []
    if equals:
        return [f"{prefix}{name}={choice}" for choice in _values(loaded, name) if choice.startswith(value)]
    groups = [group for group in folders.groups() if group.startswith(name)]
    if prefix == "~" and "metric" in groups:  # of a list only `metric=[]` rids
        groups.remove("metric")
    from hydra.plugins.completion_plugin import CompletionPlugin

    keys = [*map(str, CompletionPlugin._get_matches(loaded.config, name))]
    endings = [f"{group}{'' if prefix == '~' else '='}" for group in groups if group not in keys]
    if not endings and len(keys) == 1 and keys[0].endswith("."):  # or the shell would end it with a space
        keys = [*map(str, CompletionPlugin._get_matches(loaded.config, keys[0]))]
    return [f"{prefix}{text}" for text in [*endings, *keys] if not text.endswith("_target_=")]


def _values(loaded: Loaded, key: str) -> list[str]:
    """Values that the type of an option lists; where it lists none, the value that the option has."""
    from omegaconf import DictConfig, OmegaConf

    from runwright.config.options import ANY, NULL
    from runwright.config.rules.checks import signature_of

    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(loaded.config, parent, throw_on_missing=False) if parent else loaded.config
    signature = signature_of(dict(node.items_ex(resolve=False))) if isinstance(node, DictConfig) else None
    of = signature.options[name].type if signature and name in signature.options else ANY
    members = of.items if of.kind == "union" else (of,)
    choices = [str(choice) for member in members for choice in member.choices]
    choices += ["true", "false"] if any(member.kind == "bool" for member in members) else []
    if choices:
        return [*choices, "null"] if NULL in members else choices
    now = OmegaConf.select(loaded.config, key, throw_on_missing=False, throw_on_resolution_failure=False)
    return [str(now)] if isinstance(now, str | int | float) else []

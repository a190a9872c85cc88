"""What the shell asks on every tab: commands, flags, runs, groups, options, keys and values.

The scripts pass the line up to the cursor; the answer is one candidate a line, each replacing the whole word.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

from runwright.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from runwright.config.folders import ConfFolders
    from runwright.config.loading import Loaded

    ParserOf = Callable[[str], argparse.ArgumentParser]  # of a command, by its name

TAKES_OVERRIDES = ("train", "validate", "config", "evaluate", "explore", "verify", "tokenizer")
# zsh hands over words that are not split at '='; bash's are, so the script cuts what is there already.
SCRIPTS = {
    "bash": r"""_runwright_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" reply=() candidate
    local word="${line##* }" typed="${COMP_WORDS[COMP_CWORD]}"
    [[ $typed == [=:] ]] && typed=""
    local before="${word%"$typed"}"
    while IFS= read -r candidate; do
        reply+=("${candidate#"$before"}")
    done < <("${COMP_WORDS[0]}" _complete "$line" 2>/dev/null)
    COMPREPLY=("${reply[@]}")
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} != *[=./,[] ]]; then
        COMPREPLY=("${COMPREPLY[0]} ")
    fi
}
complete -o nospace -o default -F _runwright_complete runwright""",
    "zsh": r"""#compdef runwright
_runwright_complete() {
    local -a reply
    reply=("${(@f)$("${words[1]}" _complete "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    reply=(${reply:#})
    if (( ${#reply} )); then
        compadd -Q -S '' -- "${reply[@]}"
    else
        _files
    fi
}
compdef _runwright_complete runwright""",
    "fish": r"""function __runwright_complete
    runwright _complete (commandline -cp | string collect) 2>/dev/null
end
complete -c runwright -f -a '(__runwright_complete)'""",
}


def answer(arguments: list[str], *, commands: Collection[str], parser_of: ParserOf) -> int:
    """Print the candidates for the last word of a line; never fails, never says anything else."""
    try:
        candidates = complete(arguments[0] if arguments else "", commands=commands, parser_of=parser_of)
    except Exception:  # noqa: BLE001 - a traceback in the middle of typing helps nobody
        return 0
    sys.stdout.writelines(f"{candidate}\n" for candidate in candidates)
    return 0


def complete(line: str, *, commands: Collection[str], parser_of: ParserOf) -> list[str]:
    """The candidates for the last word of a command line up to the cursor, sorted."""
    words = _words(line)
    word = words.pop() if words and not line.endswith((" ", "\t")) else ""
    words = words[1:]  # without the program
    if not words:
        return _matching(["--help", "--version"] if word.startswith("-") else commands, word)
    command, given = words[0], words[1:]
    if command not in commands:
        return []
    return sorted(dict.fromkeys(_complete_argument(command, parser_of(command), given, word)))


def _complete_argument(
    command: str, parser: argparse.ArgumentParser, given: list[str], word: str
) -> Iterable[str]:
    flags = {text: action for action in parser._actions for text in action.option_strings}
    if word.startswith("-"):
        return _matching([flag for flag in flags if flag.startswith("--") or len(word) == 1], word)
    if command == "search" and given == ["index"]:
        return _matching(_runs(), word)
    before = flags.get(given[-1]) if given else None
    if before is not None and before.nargs != 0:
        return _matching(_values_of_flag(before), word)
    positional = [action for action in parser._actions if not action.option_strings]
    num_given = sum(not text.startswith("-") and "=" not in text for text in given)
    if positional and positional[-1].nargs == "+":  # any number of them
        num_given = min(num_given, len(positional) - 1)
    if num_given < len(positional):
        action = positional[num_given]
        candidates = _runs() if action.dest == "run" else list(action.choices or [])
        if candidates:
            return _matching(candidates, word)
    return complete_override(given, word) if command in TAKES_OVERRIDES else []


def _values_of_flag(action: argparse.Action) -> list[str]:
    if action.dest in {"resume", "run"}:
        return _runs()
    return [str(choice) for choice in action.choices or []]


def _runs() -> list[str]:
    from runwright.runs.folder import find_runs

    runs = find_runs()
    names = sorted({folder.parent.name for folder in runs})
    return ["latest", *(f"latest:{name}" for name in names), *(f.name.rpartition("-")[2] for f in runs)]


def complete_override(given: list[str], word: str) -> list[str]:
    """Candidates for `group=option` and `key=value`, in the configuration that the words before it make."""
    from runwright.config.folders import find_conf_folders

    folders = find_conf_folders()
    prefix = word[: len(word) - len(word.lstrip("+~"))]
    name, equals, value = word[len(prefix) :].partition("=")
    if equals:
        if name.partition("@")[0] in folders.groups():
            return _options(folders, prefix + name, name, value)
        return [f"{prefix}{name}={choice}" for choice in _values(_load(folders, given), name, value)]
    groups = [group for group in folders.groups() if group.startswith(name)]
    if prefix == "~" and "metric" in groups:  # of a list only `metric=[]` rids
        groups.remove("metric")
    loaded = _load(folders, given)
    keys = _keys(loaded, name) if loaded else []
    endings = [f"{group}{'' if prefix == '~' else '='}" for group in groups if group not in keys]
    return [f"{prefix}{text}" for text in [*endings, *keys]]


def _options(folders: ConfFolders, start: str, group: str, value: str) -> list[str]:
    """Options of a group; inside brackets, those of the list that are not there yet."""
    options = folders.options(group.partition("@")[0])
    head, last = "", value
    if value.startswith("["):
        cut = max(value.rfind(","), 0) + 1
        head, last = value[:cut], value[cut:]
        options = [option for option in options if option not in head.strip("[,").split(",")]
    return [f"{start}={head}{option}" for option in options if option.startswith(last)]


def _load(folders: ConfFolders, given: list[str]) -> Loaded | None:
    """The configuration of the choices made so far, as far as they are right."""
    from runwright.config.loading import Loaded, load
    from runwright.config.overrides import check_choice, parse_overrides

    texts = [text for text in given if "=" in text and not text.startswith("-")]
    parsed, _ = parse_overrides(texts, folders, multirun=True)
    choices = [choice for choice in parsed.choices if not check_choice(choice, folders)]
    for attempt in (choices, []):
        loaded = load(folders, attempt)
        if isinstance(loaded, Loaded):
            return loaded
    return None


def _keys(loaded: Loaded, word: str) -> list[str]:
    from hydra.plugins.completion_plugin import CompletionPlugin

    matches = CompletionPlugin._get_matches(loaded.config, word)
    shown = [match for match in matches if not match.endswith("_target_=")]
    return [str(match) for match in shown]


def _values(loaded: Loaded | None, key: str, start: str) -> list[str]:
    """What an option may be, where it is one of a few; else what it is now."""
    if loaded is None:
        return []
    from omegaconf import OmegaConf

    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(loaded.config, parent, throw_on_missing=False) if parent else loaded.config
    choices = _choices(node, name)
    now = OmegaConf.select(loaded.config, key, throw_on_missing=False, throw_on_resolution_failure=False)
    if not choices and isinstance(now, str | int | float):
        choices = [str(now)]
    return [choice for choice in choices if choice.startswith(start)]


def _choices(node: Any, name: str) -> list[str]:
    from omegaconf import DictConfig

    from runwright.config.options import TARGET
    from runwright.config.signature import read_signature

    target = node.get(TARGET) if isinstance(node, DictConfig) else None
    if not isinstance(target, str):
        return []
    module, _, definition = target.rpartition(".")
    signature = read_signature(module, definition)
    option = signature.options.get(name) if signature else None
    return list(_fixed_values(option.type)) if option else []


def _fixed_values(of: Any) -> Iterable[str]:
    if of.kind == "literal":
        yield from (str(choice) for choice in of.choices)
    elif of.kind == "bool":
        yield from ("true", "false")
    elif of.kind == "union":
        inner = [value for item in of.items for value in _fixed_values(item)]
        yield from inner
        if inner and any(item.kind == "none" for item in of.items):
            yield "null"


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is still open
        return line.split()


def _matching(candidates: Iterable[str], word: str) -> list[str]:
    return [candidate for candidate in candidates if candidate.startswith(word)]


SUMMARY = "Print the tab completion for a shell: commands, flags, runs, groups, options, keys, values."
EXAMPLES = """examples:
  eval "$(runwright completion bash)"
      # in this shell; for all: add it to ~/.bashrc
  eval "$(runwright completion zsh)"  after compinit, in ~/.zshrc
  runwright completion fish > ~/.config/fish/completions/runwright.fish

then:
  runwright train opt<TAB>          optimizer= optimizer.
  runwright train optimizer=<TAB>   adafactor adamw sgd
  runwright evaluate lat<TAB>       latest"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.epilog = EXAMPLES
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")


def execute(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the script."""
    if overrides:
        raise ConfigError(f"runwright completion: given {overrides[0]!r} as well, expected one shell")
    print(SCRIPTS[args.shell])
    return 0

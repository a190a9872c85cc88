"""The command `runwright`: finds the sub-command and imports only that one.

Help, versions and mistakes in the command itself are answered without importing Hydra.
"""

import argparse
import errno
import gc
import os
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from runwright.cli.flags import add_permission_flags
from runwright.errors import ConfigError, RunwrightError, did_you_mean, first_line, plain, report
from runwright.report.log import guard_streams
from runwright.version import __version__

COMMANDS = {  # with what they do
    "train": "compose an experiment, check all of it, run it (-m: many of them)",
    "evaluate": "metrics of a run, or of any model, on any split or other data",
    "predict": "predictions of a run, or of any model, for texts, stdin or a file",
    "serve": "a model behind HTTP: predictions, a page to try it, counters",
    "export": "a model as ONNX or safetensors, once it gives the same answers",
    "search": "search a file by meaning with a run of task=sentence_embedding",
    "runs": "list runs, sort them by metrics and settings",
    "compare": "what differs between runs, and is one better than the other?",
    "table": "a table of runs for a paper: mean, spread, the best in bold",
    "sweep": "how a sweep stands, its best trial as an experiment, or its end",
    "report": "one HTML page of a run or a sweep: metrics, curves, errors, provenance",
    "ui": "MLflow's pages on the store, for this machine, until Ctrl-C",
    "doctor": "are packages, stores and runs as they should be?",
    "show": "the parameters of a model, layer by layer",
    "tokenizer": "train a tokenizer, show one, compare several on the same texts",
    "convert": "pickled weights of a model as safetensors, once",
    "push": "a model or a data set to the hub or into a folder, with its card",
    "register": "the best model of a run as a version in MLflow's registry",
    "promote": "give a registered model's alias to a run that is better than its own",
    "sync": "upload what MLflow has not yet got of runs; nothing is sent twice",
    "validate": "check every key, type, range and combination; runs nothing",
    "plan": "steps, tokens, memory, disk and time of a run or sweep, before it begins",
    "explore": "what is in the data: lengths, classes, duplicates, leaks, oddities",
    "reproduce": "run a finished run again and say whether it agrees",
    "verify": "do the numbers depend on how the experiment is executed?",
    "bench": "speed here, against transformers' Trainer, bare loops and the limit",
    "init": "start a project of your own: configs, data, model, metric, test",
    "completion": "print the tab completion for bash, zsh or fish",
}
CAUGHT_HERE = ("evaluate", "predict", "search", "export")  # signals of these
ALONE = (*CAUGHT_HERE, "reproduce", "verify", "serve")  # in one process, or in processes of their own
USAGE = """usage: runwright <command> [options] [group=option] [key=value]
       runwright --help | --version

Config-driven NLP experiments whose numbers do not depend on how they ran."""
EXAMPLES = """examples:
  runwright train experiment=vader     a first run, minutes on a CPU
  runwright train experiment=vader optimizer.lr=1e-4 trainer.max_epochs=2
  runwright train -m seed=1,2,3        three runs
  runwright validate experiment=vader  is everything right? (nothing is loaded)
  runwright evaluate latest            the newest run on validation and test
  runwright predict latest "What a film!"

runwright <command> --help says more about each."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process."""
    if argv is None:  # as a program, not from a test or another program
        guard_streams()
        sys.excepthook = _show_without_secrets
        if "_ARGCOMPLETE" in os.environ:  # the shell asks, on every tab
            from runwright.cli.completion import make_finder

            gc.disable()
            make_finder(COMMANDS, parser_of).answer()
            gc.freeze()
            return 0
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        Path.cwd()
    except FileNotFoundError:
        print("the current folder no longer exists; cd to another one", file=sys.stderr)
        return 2
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        commands = "\n".join(f"  {name:<10}  {summary}" for name, summary in COMMANDS.items())
        print(f"{USAGE}\n\ncommands:\n{commands}\n\n{EXAMPLES}")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"runwright {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        name = arguments[0]
        hint = f"did you mean 'runwright train {name}'?" if "=" in name else did_you_mean(name, COMMANDS)
        text = f"runwright: unknown command {name!r}; {hint} commands: {', '.join(COMMANDS)}"
        print(text.replace("  ", " "), file=sys.stderr)
        return 2
    is_check = arguments[0] == "validate" and "--deep" not in arguments
    is_short = argv is None and (is_check or "--cfg" in arguments)
    if is_short:  # collecting garbage takes a quarter of its time, part of it when the process ends
        gc.disable()
    code = _run(*arguments)
    if is_short:
        gc.freeze()  # which the end passes over
    return code


class Parser(argparse.ArgumentParser):
    """A parser that suggests the nearest of the choices of an argument."""

    def _check_value(self, action: argparse.Action, value: str) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            hint = did_you_mean(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f"{error.message}; {hint}".rstrip("; ")) from None


def parser_of(name: str) -> argparse.ArgumentParser:
    """The argument parser of one of COMMANDS; overrides are left over."""
    module = import_module(f"runwright.cli.{name}")
    parser = Parser(
        prog=f"runwright {name}",
        usage=getattr(module, "USAGE", None),
        description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}",
        epilog=module.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    if takes_overrides(parser):
        add_permission_flags(parser)
    return parser


def takes_overrides(parser: argparse.ArgumentParser) -> bool:
    return "key=value" in (parser.usage or "")


def _run(name: str, *arguments: str) -> int:
    parser = parser_of(name)
    if odd := re.search("\\S*[\ud800-\udfff]\\S*", " ".join(arguments)):
        encoding = sys.getfilesystemencoding()
        parser.error(f"given {odd[0]!r}, expected text in {encoding}; LC_ALL=C.UTF-8 reads UTF-8")
    args, words = parser.parse_known_intermixed_args(arguments)
    for word in words:
        if word.startswith("-"):
            _refuse_flag(parser, word)
    args.overrides = words
    stack = ExitStack()
    try:
        _refuse_empty(parser, args)
        if words and not takes_overrides(parser):
            usage = parser.format_usage().strip()
            raise ConfigError(f"{words[0]}: given an override or a word too many, expected neither; {usage}")
        if "allow_package" in args:
            from runwright.config.permissions import grant

            grant(
                packages=args.allow_package,
                trust_remote_code=args.trust_remote_code,
                changed_data=getattr(args, "allow_changed_data", False),  # train's
                shadow=args.allow_shadow,
            )
        if name in ALONE or getattr(args, "multirun", False):
            from runwright.trainer.environment import StopFlag, catch_signals, join_launch

            join_launch(f"{name} -m" if name == "train" else name)
            if name in CAUGHT_HERE:
                stack.enter_context(catch_signals(StopFlag(at_once=True)))
        return _execute(name, arguments, args)
    except KeyboardInterrupt as error:
        print(error if error.args else "interrupted", file=sys.stderr)
        return getattr(error, "code", 130)
    except Exception as error:
        from runwright.config.redaction import redact

        problem = report(error) if isinstance(error, RunwrightError) else _refused_by_disk(error)
        if not (problem := problem or _blamed_on_edits(error)):
            raise
        print(redact(plain(problem)), file=sys.stderr)
        return getattr(error, "exit_code", 1)
    finally:
        stack.close()


def _refused_by_disk(error: Exception) -> str:
    """One line on a place that cannot be written or is not there; empty for another error."""
    from runwright.store import DISK_REFUSES

    if not isinstance(error, OSError):
        return ""
    place, number = Path(error.filename or "the disk"), error.errno
    paths = (place, *place.parents)  # a Path raises where it cannot be looked at
    dead = [path for path in paths if os.path.islink(path) and not os.path.exists(path)]  # noqa: PTH110, PTH114
    if dead:  # `outputs` on a disk that is not there now
        return f"{dead[0]}: a link that leads nowhere; output_dir=PATH is another place"
    hints = dict.fromkeys(DISK_REFUSES | {errno.ENOTDIR}, "; choose another place")
    hints |= dict.fromkeys((errno.EACCES, errno.EPERM), "; choose another place, or a copy of your own")
    hints |= dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "; free some space there, or choose another place")
    hints |= {errno.ENAMETOOLONG: "; choose a shorter name"} | ({errno.ENOENT: ""} if error.filename else {})
    return f"{place!s:.300}: {error.strerror}{hints[number]}" if number in hints else ""


def _blamed_on_edits(error: Exception) -> str:
    """One line on files of a run that were changed since it ended; empty where there are none."""
    edited = getattr(sys.modules.get("runwright.runs.folder"), "edited", {})
    lines = (f"{folder}: {names} changed since the run ended; put back" for folder, names in edited.items())
    return "; ".join([*lines, f"{type(error).__name__}: {first_line(error):.200}"]) if edited else ""


def _execute(name: str, words: Sequence[str], args: argparse.Namespace) -> int:
    execute = partial(import_module(f"runwright.cli.{name}").execute, args)
    if (getattr(args, "num_processes", None) or 1) > 1:
        from runwright.launch.local import share_command

        execute = partial(share_command, execute, [name, *words], num_processes=args.num_processes)
    code = execute()
    sys.stdout.flush()  # a reader that is gone, or a full disk, shows here
    return code


def _refuse_empty(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """An empty text is what a shell makes of a variable that is not set."""
    for action in parser._actions:
        value = getattr(args, action.dest, None)
        is_named = (action.option_strings or action.dest == "run") and action.const != ""
        if is_named and "" in (value if isinstance(value, list) else [value]):
            raise ConfigError(f"{[*action.option_strings, 'RUN'][0]}: given '', expected {action.metavar}")


def _show_without_secrets(*error: Any) -> None:
    import traceback

    from runwright.config.redaction import redact

    sys.stderr.write(redact("".join(traceback.format_exception(*error))))


def _refuse_flag(parser: argparse.ArgumentParser, word: str) -> NoReturn:
    flag, _, value = word.partition("=")
    key = flag.lstrip("-").replace("-", "_")
    near = did_you_mean(key, [text.lstrip("-") for text in parser._option_string_actions])
    hint = near and did_you_mean(flag, parser._option_string_actions)
    if takes_overrides(parser) and not hint:
        hint = f"an override has no dashes: {key}={value or '<value>'}"
    parser.error(f"unknown option {word}; {hint}".rstrip("; "))

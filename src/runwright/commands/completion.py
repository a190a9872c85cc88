"""`runwright completion`: the script that lets a shell complete Runwright's command lines."""

from __future__ import annotations

import argparse

from runwright.errors import ConfigError

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
    from runwright.completion import SCRIPTS

    if overrides:
        raise ConfigError(f"runwright completion: given {overrides[0]!r} as well, expected one shell")
    print(SCRIPTS[args.shell])
    return 0

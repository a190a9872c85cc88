"""`runwright explore`: from overrides to tables on the terminal, a page and JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from runwright import build
from runwright.analysis.explore.explore import Exploration, choose_columns, explore
from runwright.analysis.explore.findings import find
from runwright.analysis.explore.page import page
from runwright.analysis.explore.show import print_exploration, to_json
from runwright.config.compose import compose_checked
from runwright.config.targets import GROUPS
from runwright.errors import ConfigError
from runwright.report.page.document import save
from runwright.report.terminal import WIDTH_OF_A_FILE

STREAMING = "streaming"
USED = {"dataset", "tokenizer", "task"}  # groups; a tokenizer may be the model's by its name


def explore_config(
    overrides: Sequence[str],
    *,
    output: Path | None,
    as_json: bool,
    with_tokens: bool,
    token_rows: int,
    allow_shadow: bool = False,
) -> None:
    """Explore what a run with these overrides would train on; print the findings and write the page."""
    composed = compose_checked(overrides, allow_shadow=allow_shadow, idle=GROUPS.keys() - USED)
    config = without_streams(composed.config)
    name = str(composed.choices.get("dataset") or "dataset")
    stream = sys.stderr if as_json else sys.stdout
    console = Console(highlight=False, file=stream, width=None if stream.isatty() else WIDTH_OF_A_FILE)
    with console.status("reading") as status:

        def on_progress(what: str, done: int, total: int) -> None:
            status.update(f"{what}: {done:,} of {total:,} rows")

        exploration = explore_data(
            config, name=name, with_tokens=with_tokens, token_rows=token_rows, on_progress=on_progress
        )
        findings = find(exploration)
        file = output or Path(config["output_dir"]) / "explore" / f"{name.replace('/', '-')}.html"
        save(page(exploration, findings), file)
    if as_json:
        print(to_json(exploration, findings))
    else:
        print_exploration(exploration, findings, console=console)
        console.print(f"\n page     {file}", soft_wrap=True)


def explore_data(
    config: Mapping[str, Any], *, name: str, with_tokens: bool, token_rows: int, on_progress: Any = None
) -> Exploration:
    """The exploration of the data of a resolved configuration."""
    if token_rows < 1:
        raise ConfigError(
            f"--sample-rows: given {token_rows}, expected at least 1; --no-tokens leaves them out"
        )
    data = build.load_data(config)
    tokenizer = build.build_tokenizer(config, data) if with_tokens else None
    return explore(
        data,
        name=name,
        columns=choose_columns(data, _task(config, tokenizer)),
        tokenizer=tokenizer,
        tokenizer_name=str(config["tokenizer"].get("name") or "the tokenizer") if tokenizer else None,
        max_length=config["task"].get("max_length"),
        token_rows=token_rows,
        on_progress=on_progress,
    )


def _task(config: Mapping[str, Any], tokenizer: Any | None) -> Any | None:
    """The task, of which only the columns are wanted; None where it cannot be made without a tokenizer."""
    try:
        return build.build_task(config, tokenizer)
    except (AttributeError, TypeError):
        if tokenizer is not None:
            raise
        return None


def without_streams(value: Any) -> Any:
    """The same configuration with every data set read as a whole: surveys want all rows."""
    if isinstance(value, Mapping):
        return {
            key: False if key == STREAMING and inner is True else without_streams(inner)
            for key, inner in value.items()
        }
    return [without_streams(inner) for inner in value] if isinstance(value, list) else value

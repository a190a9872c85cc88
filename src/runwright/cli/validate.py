"""`runwright validate`: report all mistakes in a configuration before loading anything."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runwright.config.options import MODULE_METRIC, TARGET, metric_nodes
from runwright.config.sources import resolve_source
from runwright.config.targets import GROUPS, import_node, instantiate, nodes_of
from runwright.errors import ConfigError, plain

USAGE = "runwright validate [options] [group=option] [key=value]"
EXAMPLES = """examples:
  runwright validate  the defaults
  runwright validate experiment=vader optimizer.lr=1e-4
  runwright validate --deep experiment=vader  reads the data as well
  runwright validate --deep --show-batch experiment=vader

All mistakes are shown at once (beyond nine, a count). Exit code 0: none; 2: a
mistake; 3: a file that is missing or, with --deep, data that cannot be used."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "import and bind every target to its real signature and read the data (seconds)"
    parser.add_argument("--deep", action="store_true", help=help_text)
    help_text = "with --deep: encode the data, and show the first batch with labels, masks and types"
    parser.add_argument("--show-batch", action="store_true", help=help_text)


def execute(args: argparse.Namespace) -> int:
    from runwright.config.compose import compose_checked
    from runwright.dataset.readers.addresses import require_files

    if args.show_batch and not args.deep:
        raise ConfigError("--show-batch: given without --deep, which reads the data; add it")
    composed = compose_checked(args.overrides)
    nodes = metric_nodes(composed.config["metric"]).values()
    if any(node[TARGET] == MODULE_METRIC for node in nodes):  # else nothing heavy is imported
        from runwright.metric.evaluate_adapter import check_modules

        check_modules(composed.config["metric"], task=composed.config["task"])
    if args.deep:
        for line in check_deeply(composed.config):
            print(line)
    require_files(composed.config)
    if args.show_batch:
        from runwright.analysis.models import first_batch

        for line in first_batch(composed.config):
            print(plain(line))
    if args.deep:
        print(f"right: {composed}")
    else:
        print(f"no mistake in the configuration: {composed}")
        print("rows and columns have not been looked at: runwright validate --deep reads them")
    return 0


def check_deeply(config: dict[str, Any]) -> Iterator[str]:
    """One line for each step that passes. Raises ConfigError or DataError at the first that fails."""
    mistakes: list[str] = []
    nodes = list(nodes_of(config))
    for key, node, nested in nodes:
        group = key.partition(".")[0]
        try:
            import_node(node, GROUPS[group].objects, group=group, key=key, nested=nested)
        except ConfigError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise ConfigError(*mistakes)
    yield f"targets: {len(nodes)} imported and bound"
    for group in ("tokenizer", "model"):
        name = config[group].get("name")
        if isinstance(name, str):
            source = resolve_source(name)
            location = source if Path(source).exists() else "a name on the hub, which was not looked up"
            yield f"{group}: {name} is {location}"
    from runwright.build import build_task, build_tokenizer, fit_task, load_data, look
    from runwright.dataset.checks import describe, naming_rows
    from runwright.tokenizer.trained import is_trained, stand_in

    data, node = load_data(config), config["tokenizer"]
    # What is not here yet is not fetched, nor converted, nor trained.
    source = Path(resolve_source(str(node.get("name"))))
    is_here = not is_trained(node) and any(source.glob("*.json"))
    task = build_task(config, build_tokenizer(config, data) if is_here else stand_in(node))
    fit_task(task, data, config)
    data.notes.extend(task.label_notes(data.splits))
    looks, options = look(data, task), config["dataset"].get("source") or {}
    yield from (f"data: warning: {text}" for text in data.warnings)
    yield from (f"data: {text}" for text in describe(data, task, looks, source=options, cut={}))
    for split, rows in data.splits.items() if is_here else ():  # a chat template, for one, may fail
        with naming_rows({split: rows}):
            task.encode(task.inputs_of(rows.select([0]), split=split)[:])
    # Without weights, a model shows whether its architecture is one for the task; not where it would have to
    # be fetched or converted first, nor by code of the user's.
    node = config["model"]
    names = [node[key] for key in ("name", "decoder") if isinstance(node.get(key), str)]
    is_here = all(any(Path(resolve_source(name)).glob("*.json")) for name in names)
    if is_here and node[TARGET].startswith("runwright."):
        import torch

        with torch.device("meta"):
            model = instantiate(node, task.head, task.tokenizer, group="model", key="model")
        yield f"model: {type(model).__name__} has what the task needs"
    rows = "rows" if data.stream is None else "first rows of the stream"
    yield f"task: the {rows} have the columns that it reads, and labels that it can use"

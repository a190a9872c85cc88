"""`runwright search`: an index over the texts of a file, and the texts nearest to a query."""

import argparse
import json
import sys
from pathlib import Path
from shlex import quote

from runwright.cli.flags import READING, add_reading_flags, refuse_idle, require_at_least
from runwright.errors import ConfigError

USAGE = "runwright search {index RUN FILE --output FOLDER | query FOLDER [TEXT ...] | plot FOLDER} [options]"
EXAMPLES = """examples:
  runwright search index latest:stsb_bi sentences.txt --output my-index
  runwright search index latest:stsb_bi articles.csv --text-column title \\
      --output titles
  runwright search query my-index "a man plays music"
  runwright search query my-index "first query" "second query" --k 3 --json
  runwright search query my-index < queries.txt
  runwright search plot my-index --colour section --output map.html

The score is the inner product of the vectors, the cosine where the task
normalises them. An index whose run has changed since is refused."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", choices=("index", "query", "plot"), help="what to do")
    add("words", nargs="*", metavar="WORD", help="index: RUN FILE; query: FOLDER TEXT …; plot: FOLDER")
    add("--output", metavar="PATH", type=Path, help="index, plot: the folder, the page to write")
    add("--colour", metavar="COLUMN", help="plot: column of the index's file whose values are colours")
    add_reading_flags(parser, of="index: ")
    add("--text-column", metavar="NAME", help="index: of FILE; default: as in training")
    add("--k", type=int, metavar="K", help="query: texts to find (default: 10)")
    add("--json", action="store_true", help="query: one JSON object a query")
    add("--run", metavar="RUN", help="query: the run that made the index, if it was moved out of outputs")
    add("--device", choices=("auto", "cpu", "cuda"), help="default: as in training")


def execute(args: argparse.Namespace) -> int:
    from runwright.runs.folder import resolve_run
    from runwright.store import PAGE, output_path

    action, words, needed = args.action, args.words, {"index": 2, "plot": 1}.get(args.action)
    if not words or needed not in (None, len(words)):
        expected = "RUN and FILE" if action == "index" else "the folder of an index"
        raise ConfigError(f"runwright search {action}: given {len(words)} words, expected {expected}")
    if needed and args.output is None:
        raise ConfigError("--output: given nothing, expected the folder or the page to write")
    require_at_least(args, k=1)
    of_index = dict.fromkeys((*READING, "text_column"), ("index",))
    refuse_idle(args, **of_index, output=("index", "plot"), colour=("plot",), device=("index", "query"))
    refuse_idle(args, **dict.fromkeys(("k", "json", "run"), ("query",)))
    from runwright.inference import search

    if action == "index":
        folder, output = resolve_run(words[0], needs_model=True), output_path(args.output, is_folder=True)
        reading = {name: getattr(args, name) for name in READING}
        options = {"text_column": args.text_column, "device": args.device}
        count = search.make_index(folder, words[1], output, reading=reading, **options)
        print(f"{args.output}: {count:,} texts; runwright search query {quote(str(args.output))} 'a text'")
        return 0
    index = search.Index(Path(words[0]))
    if action == "plot":
        search.write_map(index, output_path(args.output, endings=PAGE), colour=args.colour)
        print(args.output)
        return 0
    run = index.open_run(args.run and resolve_run(args.run, needs_model=True), device=args.device)
    for query in words[1:] or filter(None, map(str.strip, sys.stdin)):
        hits = index.query(search.embed(run, [query])[0], k=args.k or 10)
        if args.json:
            print(json.dumps({"query": query, "hits": hits}, ensure_ascii=False), flush=True)
            continue
        print(query)
        for hit in hits:
            print(f"  {hit['score']:7.4f}  {' '.join(hit['text'].split())}", flush=True)
    return 0

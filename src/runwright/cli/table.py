"""`runwright table`: a table of runs for a paper, as LaTeX, Markdown or CSV."""

import argparse

USAGE = "runwright table [options] [--columns METRIC,…] RUN[,RUN …]|SWEEP …"
EXAMPLES = """examples:
  runwright table name:small name:large --rows name --columns test/accuracy
  runwright table vader-lr_search --rows optimizer.lr \\
      --columns validation/pearson --format latex

RUN is a folder, an id, latest or latest:NAME; name:NAME all finished runs of an
experiment; SWEEP the name or folder of a sweep. Runs with the same values of
--rows are seeds of one row; the runs behind each cell stand in a comment."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", nargs="+", help="runs, several with commas, name:NAME or a sweep")
    add("--rows", default="name", metavar="KEY,…", help="settings; default: name")
    add("--columns", metavar="KEY,…", help="metrics, and settings that divide them; default: those of runs")
    add("--format", choices=("latex", "markdown", "csv"), default="markdown", help="default: markdown")
    add("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")


def execute(args: argparse.Namespace) -> int:
    from runwright.analysis.compare.sides import find_sides
    from runwright.analysis.runs import usual_metrics
    from runwright.analysis.table import make_table

    sides = find_sides(args.run, output_dir=args.output_dir)
    rows = {row.folder.resolve(): row for side in sides for row in side.rows}
    lists = (filter(None, map(str.strip, text.split(","))) for text in (args.rows, args.columns or ""))
    keys, columns = ([*dict.fromkeys(names)] for names in lists)
    runs = [*rows.values()]
    print(make_table(runs, keys, columns or usual_metrics(runs), form=args.format), end="")
    return 0

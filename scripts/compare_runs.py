"""Names the first step at which two runs differ in data, loss, other metrics or weights.

    python scripts/compare_runs.py A B            run folders, ids, latest or latest:NAME

Exit code 0: equal wherever both have something; 1: different; 2: no such run.
"""

from __future__ import annotations

import argparse
import sys

from runwright.analysis.steps import compare, comparison_table
from runwright.errors import RunwrightError
from runwright.report.terminal import print_table, result_console
from runwright.runs.folder import resolve_run


def main(arguments: list[str]) -> int:
    """Compare two runs and print a table; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("runs", metavar="RUN", nargs=2, help="run folder, id, latest or latest:NAME")
    parser.add_argument("--output-dir", default="outputs", help="where ids are looked for (default: outputs)")
    given = parser.parse_args(arguments)
    try:
        one, other = (resolve_run(run, output_dir=given.output_dir) for run in given.runs)
        comparisons = compare(one, other)
    except (RunwrightError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print_table(comparison_table(comparisons, names=(one.name, other.name)), console=result_console())
    return 0 if all(each.is_equal for each in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

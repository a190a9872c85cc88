"""`runwright train` as a file, which is what `accelerate launch` and `torchrun` start."""

import sys

from runwright.cli.main import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    raise SystemExit(main())

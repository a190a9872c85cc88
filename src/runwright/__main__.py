"""`python -m runwright` is the command `runwright`."""

from runwright.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())

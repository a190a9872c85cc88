"""`runwright ui`: MLflow's pages on the runs' store, for this machine only, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys

SUMMARY = "Show runs in MLflow's pages: a server on the store, for this machine only, until Ctrl-C."
EXAMPLES = """examples:
  runwright ui      the store of the runs in outputs/, on a free port
  runwright ui --port 5000
  runwright ui --uri sqlite:///elsewhere/mlflow.db

The server asks nobody for a password. It listens on 127.0.0.1 unless --host
says otherwise; from another
machine: ssh -L 5000:127.0.0.1:5000 THIS-MACHINE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.usage = "runwright ui [options]"
    parser.epilog = EXAMPLES
    parser.add_argument("--port", type=int, metavar="N", help="default: a free one")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--uri", help="the store; default: MLFLOW_TRACKING_URI, else the one in --output-dir")
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="default: outputs")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="of the server; default: 1")


def execute(args: argparse.Namespace, overrides: list[str]) -> int:
    """Start the server, say where it is, wait."""
    from pathlib import Path

    from runwright.config.redaction import redact
    from runwright.errors import ConfigError
    from runwright.tracker.mlflow.interface import check_port, free_port, require_store, serve
    from runwright.tracker.mlflow.store import locate

    if overrides:
        raise ConfigError(f"{overrides[0]}: given an override, expected none; --uri names another store")
    store = locate(args.uri, artifacts=None, output_dir=Path(args.output_dir).expanduser())
    if store.scheme in ("http", "https"):
        print(f"a server shows these runs already: {redact(store.uri)}")
        return 0
    require_store(store)
    if args.port is not None:
        check_port(args.port, args.host)
    port = args.port if args.port is not None else free_port(args.host)
    if args.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"warning: whoever reaches {args.host} can read and delete these runs", file=sys.stderr)
    signal.signal(signal.SIGTERM, _stop)
    try:
        with serve(store, host=args.host, port=port, num_workers=args.workers) as server:
            print(
                f"MLflow shows {redact(store.uri)} at http://{args.host}:{port} (Ctrl-C ends it)", flush=True
            )
            code = server.wait()
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)
        return 0
    print(f"MLflow's server ended by itself, with code {code}", file=sys.stderr)
    return 1


def _stop(number: int, _: object) -> None:
    sys.exit(128 + number)  # on the way out the server ends as well

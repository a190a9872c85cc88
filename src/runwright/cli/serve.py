"""`runwright serve`: a model behind HTTP, with a page to try it."""

import argparse
import os
from functools import partial
from importlib.util import find_spec

from runwright.cli import flags
from runwright.errors import ConfigError

TOKEN_VARIABLE = "RUNWRIGHT_SERVE_TOKEN"  # noqa: S105 - its name
SHORTEST_TOKEN = 16  # characters

USAGE = "runwright serve [options] RUN"
EXAMPLES = """examples:
  runwright serve latest               then open http://127.0.0.1:8000
  runwright serve owner/name --task token_classification --workers 2
  runwright serve latest:stories --generation sample --set temperature=0.8
  RUNWRIGHT_SERVE_TOKEN=… runwright serve latest --host 0.0.0.0
  runwright serve latest:chat --openai

  curl -d '["What a film!", "Never again."]' 127.0.0.1:8000/predict

Ctrl-C or SIGTERM ends it when all that was accepted is answered. Only this
machine is listened to, unless requests must bring the token in
RUNWRIGHT_SERVE_TOKEN."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, id, latest or latest:NAME; an export; or a model")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1; others need a token")
    add("--port", type=int, default=8000, metavar="N", help="default: 8000; 0: a free one")
    add("--workers", type=int, default=1, metavar="N", help="processes, each with the model (default: 1)")
    help_text = "until a request is given up with 504 (default: 60)"
    add("--timeout", type=int, default=60, metavar="SECONDS", help=help_text)
    add("--device", choices=("auto", "cpu", "cuda"), help="default: as in training")
    help_text = "chats and completions as OpenAI's, by transformers' server on the same model"
    add("--openai", action="store_true", help=help_text)
    flags.add_name_flags(parser)
    flags.add_strategy_flags(parser)


def execute(args: argparse.Namespace) -> int:
    flags.require_at_least(args, port=0, workers=1, timeout=1)
    flags.refuse_beside(args, "openai", "generation", "settings", "dtype", "allow_new_weights")
    if missing := [name for name in ("fastapi", "prometheus_client", "uvicorn") if find_spec(name) is None]:
        raise ConfigError(f"serve needs {missing[0]}: pip install 'runwright[serve]'")
    from runwright.inference.server.guard import LOCAL
    from runwright.inference.server.start import guarded, serve

    token = os.environ.get(TOKEN_VARIABLE)
    if token is not None and len(token := token.strip()) < SHORTEST_TOKEN:
        expected = f"at least {SHORTEST_TOKEN}; openssl rand -hex 16 makes one"
        raise ConfigError(f"{TOKEN_VARIABLE}: given {len(token)} characters, expected {expected}")
    if token is None and args.host not in LOCAL:
        expected = f"a token in {TOKEN_VARIABLE} as well: others can reach that address"
        raise ConfigError(f"--host: given {args.host}, expected {expected}")
    if args.openai:
        os.environ["HF_HUB_OFFLINE"] = "1"  # transformers' server would look there for more models
    options = {name: getattr(args, name) for name in ("device", "workers", "timeout", "openai")}
    overrides = flags.generation_overrides(args)
    app = partial(guarded, flags.source_of(args), overrides=overrides, token=token, **options)
    return serve(app, host=args.host, port=args.port, workers=args.workers, timeout=args.timeout)

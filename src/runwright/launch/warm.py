"""Warm-up of the server that trials are forked from: what a trial would import late, and its caches.

Nothing here starts a thread or computes with tensors, which would not survive the fork.
"""

import gc
import json
import os
import sys
from contextlib import suppress
from importlib import import_module

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from runwright.config.compose import checked, compose
from runwright.config.loading import register_plugins
from runwright.report.page.document import HERE, environment
from runwright.sweep.trial import FIRST_VARIABLE
from runwright.tracker.mlflow.store import client_settings
from runwright.tracker.provenance import installed_packages

with suppress(Exception):  # the trial meets it again, and says so
    register_plugins()
    checked(compose(json.loads(os.environ[FIRST_VARIABLE]), shadow=True))
    installed_packages()
    for name in (pages := environment(HERE)).list_templates(["html"]):
        pages.get_template(name)
    get_checkpoint_conversion_mapping("bert")  # makes that of all models
    if "runwright.tracker.mlflow.tracker" in sys.modules:
        with client_settings():
            import_module("mlflow.store.tracking.sqlalchemy_store")
gc.freeze()  # trials neither walk through what lives to their end, nor copy its pages

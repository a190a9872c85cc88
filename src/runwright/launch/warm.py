"""Imported last by the server that trials are forked from: what a trial imports late, and its caches.

Nothing here starts a thread or computes with tensors, which would not survive the fork.
"""

import gc
import sys
from contextlib import suppress
from importlib import import_module

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from runwright.config.folders import find_conf_folders
from runwright.config.hydra_settings import shipped_leaves
from runwright.config.loading import register_plugins
from runwright.tracker.mlflow.store import client_settings
from runwright.tracker.provenance import installed_packages

with suppress(Exception):  # the trial meets it again, and says so
    register_plugins()
    shipped_leaves(find_conf_folders().shipped, "basic", "runwright")
    installed_packages()
    get_checkpoint_conversion_mapping("bert")  # makes that of all models
    if "runwright.tracker.mlflow.tracker" in sys.modules:
        with client_settings():
            import_module("mlflow.store.tracking.sqlalchemy_store")
gc.freeze()  # trials neither walk through what lives to their end, nor copy its pages

"""Runs that died and were marked so: their true end reaches MLflow by the next run that reaches the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from runwright.config.redaction import redact
from runwright.tracker.journal import FILE_NAME
from runwright.tracker.mlflow.store import Store
from runwright.tracker.mlflow.upload import Target, Uploader, read_state

logger = logging.getLogger(__name__)


def settle_others(folders: Iterable[Path], *, store: Store, but: Path, go_on: Callable[[], bool]) -> None:
    """Upload what the store lacks of runs in these folders; what it refuses is left for `runwright sync`."""
    for folder, target in _unsent(folders, uri=redact(store.uri), but=but):
        if not go_on():
            return
        uploader = Uploader(folder, store=store, target=target)
        try:
            uploader.upload(go_on=go_on)
            logger.info("MLflow now has the end of %s, which died", folder)
        except Exception as error:  # noqa: BLE001 - another run's trouble is none of this one
            logger.debug("%s: %s", folder, redact(str(error)))
        finally:
            uploader.close()


def unsent_bytes(folder: Path) -> dict[str, int]:
    """How much of a run's journal each store lacks, by address; empty for a run that MLflow never saw."""
    file = folder / FILE_NAME
    length = file.stat().st_size if file.is_file() else 0
    stores = {uri: state for uri, state in read_state(folder).items() if uri != "run"}
    return {uri: max(0, length - int(state.get("offset", 0))) for uri, state in stores.items()}


def _unsent(folders: Iterable[Path], *, uri: str, but: Path) -> Iterator[tuple[Path, Target]]:
    for folder in folders:
        if folder == but or not unsent_bytes(folder).get(uri):
            continue
        try:
            yield folder, Target(**read_state(folder)["run"]["target"])
        except (OSError, ValueError, KeyError, TypeError):  # being made or removed at this moment
            continue

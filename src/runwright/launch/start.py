"""From a request to a run: its folder, made or resolved, held by a lock, executed here or by workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runwright.config.options import WHY_NOT_DEEPSPEED, LaunchOptions
from runwright.config.secrets import conceal, reveal
from runwright.errors import ConfigError
from runwright.launch.local import launch, needs_workers
from runwright.launch.worker import die_with_parent
from runwright.runs.folder import (
    CONFIG_FILE,
    RUN_FILE,
    create,
    read_config,
    read_saved,
    require_format,
    resolve_run,
)
from runwright.runs.lock import run_lock
from runwright.runs.resume import change_config, find_unfinished, resuming
from runwright.runs.states import noting_the_end
from runwright.trainer.environment import (
    STOP_VARIABLE,
    check_num_processes,
    is_restart,
    rank,
    started_from_outside,
)

AUTO = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a command line asks for."""

    overrides: Sequence[str]
    resume: str | None = None  # a run, or auto
    resolved: Path | None = None  # a resolved config.yaml
    allow_shadow: bool = False


def start(request: Request) -> int:
    """Begin a run, or resume one; the exit code of the process."""
    if started_from_outside():
        return _join_others(request)
    if os.environ.pop(STOP_VARIABLE, None):  # a job of a multirun
        die_with_parent(signal.SIGTERM)  # stopped in good order where that is killed
    folder, resumed = _choose_folder(request)
    with run_lock(folder) as lock, noting_the_end(folder), resuming(folder, resumed):
        config = reveal(read_saved(folder))
        options = LaunchOptions(**config["launch"])
        if needs_workers(options):
            return launch(folder, options, num_threads=config["trainer"]["num_threads"], lock=lock)
        from runwright.runs.execute import execute

        execute(folder)
    return 0


def _join_others(request: Request) -> int:
    """Execute as one of the processes of torchrun or `accelerate launch`; the first one composes."""
    die_with_parent(signal.SIGTERM)  # stopped in good order where the launcher is killed
    with ExitStack() as stack:
        folder = None
        if rank() == 0:
            folder, resumed = _choose_folder(request)
            for context in (run_lock(folder), noting_the_end(folder), resuming(folder, resumed)):
                stack.enter_context(context)
            # Before torch is imported: a wrong configuration costs nothing here either.
            options = reveal(read_saved(folder))["launch"]
            check_num_processes(options["num_processes"])
            check_strategy(options["strategy"])
        from runwright.runs.execute import execute, share_folder

        execute(share_folder(folder))
    return 0


def _choose_folder(request: Request) -> tuple[Path, dict[str, Any] | None]:
    """The folder of the run to begin or to resume; of one that is resumed the configuration from now on."""
    if request.resume and request.resume != AUTO:
        folder = resolve_run(request.resume)
        require_format(folder)
        if not request.overrides:
            return folder, read_config(folder / CONFIG_FILE)
        return folder, change_config(folder, request.overrides, allow_shadow=request.allow_shadow)
    if request.resolved:
        return _folder_of_resolved(request.resolved), None
    from runwright.config.compose import compose_checked

    overrides = [*request.overrides, *([f"resume={AUTO}"] if request.resume else [])]
    composed = compose_checked(overrides, allow_shadow=request.allow_shadow)
    if composed.config["resume"] == AUTO or is_restart():
        config = conceal(composed.config)
        if earlier := find_unfinished(config):
            print(f"going on with {earlier}", file=sys.stderr)
            return earlier, config
    return create(composed.config, overrides=composed.overrides, command=sys.argv), None


def _folder_of_resolved(file: Path) -> Path:
    """The run folder around the file; where there is none yet, a new one."""
    from runwright.config.schema import check
    from runwright.errors import raise_if_any

    config = read_config(file)
    raise_if_any(check(reveal(config)))
    if (file.parent / RUN_FILE).is_file():
        return file.parent.resolve()
    return create(config, overrides=(), command=sys.argv)


def check_strategy(strategy: str) -> None:
    """Raises ConfigError where `accelerate launch` was told to spread the model in another way."""
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        raise ConfigError(
            f"launch.strategy: given {strategy!r}, but `accelerate launch` was told to use DeepSpeed, "
            f"expected a launch without it; {WHY_NOT_DEEPSPEED}"
        )
    if not _is_set("ACCELERATE_USE_FSDP"):
        return
    if strategy != "fsdp":
        raise ConfigError(
            f"launch.strategy: given {strategy!r}, but `accelerate launch` was told to use FSDP, expected "
            "that both say the same: launch.strategy=fsdp, or a launch without --use_fsdp"
        )
    version = os.environ.get("FSDP_VERSION", "2")
    if version != "2":
        raise ConfigError(
            f"launch.strategy: given 'fsdp', which is FSDP2, but `accelerate launch` was told to use version "
            f"{version}, expected --fsdp_version 2 or no FSDP options at all"
        )


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}

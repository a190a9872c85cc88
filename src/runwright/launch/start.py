"""From a request to a run: its folder, made or resolved, held by a lock, executed here or by workers."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runwright.config.options import LaunchOptions
from runwright.config.redaction import conceal, reveal
from runwright.config.targets import check
from runwright.errors import ConfigError, TrackingError, raise_if_any
from runwright.launch.local import launch
from runwright.launch.worker import die_with_parent, import_execute
from runwright.runs.folder import (
    CONFIG_FILE,
    create,
    read_config,
    read_run,
    read_saved,
    require_format,
    resolve_run,
)
from runwright.runs.resume import change_config, find_unfinished, resuming, settled, why_finished
from runwright.runs.states import complete_journal, noting_the_end, run_lock
from runwright.tracker.mlflow.upload import read_state, unsent_bytes
from runwright.trainer.environment import (
    STOP_VARIABLE,
    StopFlag,
    catch_signals,
    check_num_processes,
    describe_launch,
    join_launch,
    rank,
    world_size,
)

AUTO = "auto"


def start(overrides: Sequence[str] = (), *, resume: str | None = None) -> int:
    """Begin or resume a run, or join the processes of torchrun or `accelerate launch`; returns the exit code.

    `resume` is a run, or auto; a run that was made but never started is started.
    """
    is_joined = join_launch("train")
    if is_joined or os.environ.pop(STOP_VARIABLE, None):  # or a job of a multirun
        die_with_parent(signal.SIGTERM)  # stopped in good order where that is killed
    if is_joined and world_size() > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:  # whose agent starts all
        text = f"environment: waiting for {world_size() - 1} other processes: {describe_launch()}"
        print(text, file=sys.stderr, flush=True)
    with ExitStack() as stack:
        folder, mode = None, "auto"
        if rank() == 0:
            folder, resumed = _choose_folder(overrides, resume)
            if world_size() == 1 and resumed and (reason := why_finished(folder, resumed)):
                return _settle(folder, reason)
            lock = stack.enter_context(run_lock(folder))
            stack.enter_context(noting_the_end(folder))
            stack.enter_context(resuming(folder, resumed))
            stack.enter_context(catch_signals(StopFlag(at_once=True)))
            # Before torch is imported: a wrong configuration costs nothing here either.
            config = reveal(read_saved(folder))
            options, mode = LaunchOptions(**config["launch"]), config["log"]["progress"]
            if is_joined:
                check_launch(config)
            else:
                noun = "process" if options.num_processes == 1 else "processes"
                print(f"run {folder}: starting {options.num_processes} {noun}", file=sys.stderr, flush=True)
                if options.num_processes > 1 or options.max_restarts > 0:
                    return launch(folder, options, num_threads=config["trainer"]["num_threads"], lock=lock)
        module = import_execute(mode=mode)
        module.execute(module.share_folder(folder) if is_joined else folder)
    return 0


def _settle(folder: Path, reason: str) -> int:
    """Say why nothing is left to do for a run, and send MLflow what it lacks of it."""
    print(reason, file=sys.stderr)
    complete_journal(folder)
    states = read_state(folder)
    if "run" in states and (len(states) == 1 or any(unsent_bytes(folder).values())):
        from runwright.tracker.mlflow.tracker import sync

        try:
            print(f"MLflow lacked {sync(folder)} records of it, which it has now", file=sys.stderr)
        except TrackingError as error:
            print(error, file=sys.stderr)
    with run_lock(folder):
        return 0  # and it is given back, if the process that finished the run could not


def _choose_folder(overrides: Sequence[str], resume: str | None) -> tuple[Path, dict[str, Any] | None]:
    """The folder of the run to begin or to resume; with the new configuration of a resumed one."""
    from runwright.dataset.readers.addresses import require_files

    if resume and resume != AUTO:
        folder = resolve_run(resume)
        require_format(folder)
        if overrides:
            return folder, change_config(folder, overrides)
        config = read_config(folder / CONFIG_FILE)
        if read_run(folder)["status"] != "CREATED":
            return folder, config
        raise_if_any(check(reveal(config)))  # it may have been changed by hand
        return folder, None
    from runwright.config.compose import compose_checked

    texts = [*overrides, f"resume={AUTO}"] if resume else list(overrides)
    composed = compose_checked(texts)
    if str(composed.hydra.get("hydra.mode")) == "RunMode.MULTIRUN":
        raise ConfigError("hydra.mode: given MULTIRUN without -m, expected runwright train -m …")
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0  # by torchrun, after a failure
    if composed.config["resume"] == AUTO or restarted:
        config = conceal(composed.config)
        if earlier := find_unfinished(config):
            config = settled(config, read_config(earlier / CONFIG_FILE))
            if not why_finished(earlier, config):
                print(f"resuming {earlier}", file=sys.stderr)
            return earlier, config
    config, unresolved = composed.config, composed.unresolved
    require_files(config["dataset"])
    return create(config, overrides=composed.overrides, command=sys.argv, unresolved=unresolved), None


# Settings of `accelerate launch` that are not read, since an option here says it, or none does.
NOT_READ = (
    *(f"ACCELERATE_USE_{name}" for name in ("DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")),
    *("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_TORCH_DEVICE"),
    *("FSDP_ACTIVATION_CHECKPOINTING", "FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD", "FSDP_IGNORED_MODULES"),
    "FSDP_OFFLOAD_PARAMS",
)
OFF, ON = ("", "0", "no", "false", "off"), ("1", "yes", "true", "on")


def check_launch(config: Mapping[str, Any]) -> None:
    """Raise ConfigError where a launcher started the processes otherwise than the configuration says.

    What `accelerate launch` sets without being told (precision `no`, no sharding) contradicts nothing.
    """
    check_num_processes(config["launch"]["num_processes"])
    strategy, trainer = config["launch"]["strategy"], config["trainer"]
    precision, device = trainer["precision"], trainer["device"]
    agreeing = {
        **dict.fromkeys(NOT_READ, (*OFF, "1")),
        **dict.fromkeys(("ACCELERATE_MIXED_PRECISION", "MIXED_PRECISION"), (*OFF, precision)),
        "ACCELERATE_USE_CPU": (*OFF, *ON) if device in ("auto", "cpu") else OFF,
        "ACCELERATE_USE_FSDP": (*OFF, *ON) if strategy == "fsdp" else OFF,
        "FSDP_VERSION": ("", "2"),
        "FSDP_RESHARD_AFTER_FORWARD": ("", "true", "full_shard"),
    }
    values = {name: os.environ.get(name, "") for name in agreeing}
    if wrong := [f"{name}={value}" for name, value in values.items() if value.lower() not in agreeing[name]]:
        raise ConfigError(
            f"launch.strategy: given {strategy!r}, but `accelerate launch` set {', '.join(wrong)}, expected "
            f"a launch without it: trainer.precision={precision}, trainer.device={device}, "
            "trainer.microbatch_size, trainer.gradient_checkpointing and launch.strategy=fsdp (version 2, "
            "resharded) say it here"
        )

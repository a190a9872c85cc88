"""Files of `accelerate config`, as accelerate puts them into the environment: honoured or refused by key."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

from runwright.errors import ConfigError
from runwright.launch.start import check_launch

CPU = {"distributed_type": "MULTI_CPU", "use_cpu": True, "num_processes": 2}
GPU = {"distributed_type": "MULTI_GPU", "num_processes": 2, "num_machines": 1, "main_process_port": 0}
FSDP = {**GPU, "distributed_type": "FSDP"}
SHARDED = {"strategy": "fsdp"}


def check(
    content: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> dict[str, str]:
    """Check the configuration in the environment that `accelerate launch` makes of a file."""
    file = folder / "accelerate.yaml"
    file.write_text(yaml.safe_dump({"compute_environment": "LOCAL_MACHINE", **content}))
    arguments = ["--config_file", str(file), "-m", "runwright", "train"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    simple = not (args.multi_gpu or args.use_fsdp or args.use_megatron_lm)
    environment = prepare_simple_launcher_cmd_env(args)[1] if simple else prepare_multi_gpu_env(args)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", str(args.num_processes))
    launch = {"num_processes": settings.get("num_processes", 1)}
    launch["strategy"] = settings.get("strategy", "replicated")
    trainer = {"precision": "fp32", "device": "auto"} | {
        name: settings[name] for name in ("precision", "device") if name in settings
    }
    check_launch({"launch": launch, "trainer": trainer})
    return environment


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (CPU, {}),
        (CPU, {"num_processes": 2, "device": "cpu"}),
        ({**CPU, "mixed_precision": "bf16"}, {"precision": "bf16"}),
        ({**GPU, "debug": True, "enable_cpu_affinity": True, "gpu_ids": "0,1"}, {}),
        (FSDP | {"fsdp_config": {"fsdp_version": 2, "fsdp_state_dict_type": "FULL_STATE_DICT"}}, SHARDED),
    ],
)
def test_what_agrees_is_honoured(
    content: dict[str, Any], settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = check(content, tmp_path, monkeypatch, **settings)
    assert environment.get("CUDA_VISIBLE_DEVICES", "") == content.get("gpu_ids", "")


@pytest.mark.parametrize(
    ("content", "settings", "named"),
    [
        (CPU, {"num_processes": 3}, "launch.num_processes: given 3, but the launcher started 2"),
        (CPU, {"device": "cuda"}, "ACCELERATE_USE_CPU=True.*trainer.device=cuda"),
        ({**CPU, "mixed_precision": "bf16"}, {}, "ACCELERATE_MIXED_PRECISION=bf16.*trainer.precision=fp32"),
        ({**CPU, "dynamo_config": {"dynamo_backend": "INDUCTOR"}}, {}, "ACCELERATE_DYNAMO_BACKEND=INDUCTOR"),
        ({**GPU, "distributed_type": "MEGATRON_LM"}, {}, "MEGATRON_LM=true.*launch.strategy=fsdp"),
        (FSDP | {"fsdp_config": {"fsdp_version": 2}}, {}, "replicated'.*_USE_FSDP=true.*strategy=fsdp"),
        (FSDP | {"fsdp_config": {"fsdp_version": 1}}, SHARDED, "FSDP_VERSION=1.*version 2"),
        (
            FSDP | {"fsdp_config": {"fsdp_version": 2, "fsdp_offload_params": True}},
            SHARDED,
            "_OFFLOAD_PARAMS=true",
        ),
        (
            FSDP | {"fsdp_config": {"fsdp_version": 2, "fsdp_activation_checkpointing": True}},
            SHARDED,
            "FSDP_ACTIVATION_CHECKPOINTING=true.*trainer.gradient_checkpointing",
        ),
        (
            FSDP | {"fsdp_config": {"fsdp_version": 2, "fsdp_reshard_after_forward": False}},
            SHARDED,
            "FSDP_RESHARD_AFTER_FORWARD=false.*resharded",
        ),
    ],
)
def test_what_contradicts_the_configuration_is_refused_by_name(
    content: dict[str, Any],
    settings: dict[str, Any],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match=named):
        check(content, tmp_path, monkeypatch, **settings)


def test_the_table_in_the_docs_has_every_key_of_this_version(repository: Path) -> None:
    text = (repository / "docs" / "training.md").read_text(encoding="utf-8")
    table = text.partition("| key of `accelerate config` |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert {field.name for field in dataclasses.fields(ClusterConfig)} <= named

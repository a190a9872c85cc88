"""What the machine offers: threads, GPU, memory, disk, limits, the cache of prepared data."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runwright.analysis.doctor.findings import Finding, size
from runwright.dataset.cache import MAX_CACHE_BYTES
from runwright.store import cache_root
from runwright.trainer.environment import share_of_cores

GIB = 2**30
LITTLE_DISK, ALMOST_NO_DISK = 5 * GIB, 1 * GIB  # a checkpoint of a small model is 0.3 GiB
LITTLE_MEMORY = 2 * GIB  # a fine-tuning of 23 million parameters took 1.5 GiB
FEW_FILES = 1024
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def check_machine(output_dir: Path) -> Iterator[Finding]:
    """All of it."""
    yield check_threads(share_of_cores(1), _cpu_quota(), dict(os.environ))
    yield check_torch()
    yield check_memory()
    places = {"runs": output_dir, "cache": cache_root(), "temporary files": Path(tempfile.gettempdir())}
    yield from (check_disk(what, place) for what, place in places.items())
    yield check_cache(cache_root())
    yield check_limits()


def check_threads(cores: int, quota: float | None, environment: dict[str, str]) -> Finding:
    """Whether computing threads and cores fit together."""
    given = {name: int(value) for name in THREADS if (value := environment.get(name, "")).isdigit()}
    text = f"{cores} cores" + (f", {quota:g} of them by the container's quota" if quota else "")
    text += "".join(f", {name}={value}" for name, value in given.items())
    usable = min(cores, quota or cores)
    if any(value > usable for value in given.values()):
        advice = f"unset it, or set it to {max(1, int(usable))}: more threads than cores wait for each other"
        return Finding(level="warning", what="threads", text=text, advice=advice)
    if quota and quota < cores and not given:
        advice = (
            f"set trainer.num_threads={max(1, int(quota))}: else as many threads start as there are cores"
        )
        return Finding(level="warning", what="threads", text=text, advice=advice)
    return Finding(level="ok", what="threads", text=text)


def check_torch() -> Finding:
    """Whether torch can be imported, and whether it sees the GPU that is there."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        reason = (str(error).splitlines() or [""])[0]
        advice = "install it anew: `make setup` in a checkout"
        return Finding(level="problem", what="torch", text=f"cannot be imported: {reason}", advice=advice)
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        names = ", ".join(f"{device.name} ({size(device.total_memory)})" for device in devices)
        return Finding(level="ok", what="torch", text=f"{torch.__version__}, GPU: {names}")
    if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi"):
        return Finding(
            level="warning",
            what="torch",
            text=f"{torch.__version__} does not see this machine's GPU",
            advice="install a build of torch for its CUDA driver (nvidia-smi shows the version)",
        )
    return Finding(level="ok", what="torch", text=f"{torch.__version__}, no GPU: runs use the CPU")


def check_memory() -> Finding:
    """Whether a small model fits."""
    import psutil

    available = psutil.virtual_memory().available
    if available < LITTLE_MEMORY:
        advice = "end other programs, or train with a smaller trainer.microbatch_size"
        return Finding(level="warning", what="memory", text=f"{size(available)} free", advice=advice)
    return Finding(level="ok", what="memory", text=f"{size(available)} free")


def check_disk(what: str, place: Path) -> Finding:
    """Whether files can be written to a place that may not be there yet, and how much of them."""
    where = f"disk, {what}"
    existing = next(folder for folder in (place, *place.absolute().parents) if folder.is_dir())
    if not os.access(existing, os.W_OK | os.X_OK):
        advice = "choose another folder, or ask its owner"
        return Finding(level="problem", what=where, text=f"{existing} cannot be written", advice=advice)
    free, inodes = shutil.disk_usage(existing).free, os.statvfs(existing)
    text = f"{size(free)} free at {place}"
    advice = "remove old runs' checkpoints (outputs/*/*/checkpoints) or choose another disk"
    if inodes.f_files and inodes.f_favail < 1000:
        return Finding(
            level="problem", what=where, text=f"{inodes.f_favail} files left at {place}", advice=advice
        )
    if free < ALMOST_NO_DISK:
        return Finding(level="problem", what=where, text=text, advice=advice)
    return Finding(
        level="warning" if free < LITTLE_DISK else "ok",
        what=where,
        text=text,
        advice=advice if free < LITTLE_DISK else "",
    )


def check_cache(folder: Path) -> Finding:
    """How much prepared data there is."""
    files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:  # removed by another process
            continue
    text = f"{size(total)} in {folder} (at most {size(MAX_CACHE_BYTES)} of each kind are kept)"
    free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.is_dir())).free
    if total > max(free, LITTLE_DISK):
        advice = f"more than what is free on that disk; it can be removed at any time: rm -r {folder}"
        return Finding(level="warning", what="prepared data", text=text, advice=advice)
    return Finding(level="ok", what="prepared data", text=text)


def check_limits() -> Finding:
    """Whether a run may open and write the files it needs."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest != resource.RLIM_INFINITY and largest < LITTLE_DISK:
        text = f"no file may be larger than {size(largest)}"
        return Finding(level="warning", what="limits", text=text, advice="ulimit -f unlimited")
    if files != resource.RLIM_INFINITY and files < FEW_FILES:
        text = f"{files} open files at a time"
        return Finding(level="warning", what="limits", text=text, advice=f"ulimit -n {FEW_FILES}")
    shown = "any number of" if files == resource.RLIM_INFINITY else f"{files:,}"
    return Finding(level="ok", what="limits", text=f"{shown} open files, files of any size")


def _cpu_quota() -> float | None:
    """The share of cores that a container gets, where its control group says one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)

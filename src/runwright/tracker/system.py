"""Samples of the machine's load while a run lasts: processor, memory, disk and GPUs."""

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from runwright.tracker.journal import SYSTEM as PREFIX


class SystemSampler:
    """Calls `log` with metrics of the machine and of this process every few seconds, in its own thread."""

    def __init__(
        self, log: Callable[[Mapping[str, float]], None], *, every_seconds: float, folder: Path
    ) -> None:
        self._log, self._every_seconds, self._folder = log, every_seconds, folder
        self._process = psutil.Process()
        self._stop = threading.Event()
        # Shares of time are those since the sample before.
        psutil.cpu_percent()
        self._process.cpu_percent()
        self._thread = threading.Thread(target=self._work, name="runwright-system", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after a last sample."""
        self._stop.set()
        self._thread.join(5.0)  # a hanging file system must not keep the run

    def _work(self) -> None:
        ended = False
        while not ended:
            ended = self._stop.wait(self._every_seconds)
            with contextlib.suppress(psutil.Error, OSError):
                self._log(self.sample())

    def sample(self) -> dict[str, float]:
        """Percentages, bytes and seconds of now, as the names say."""
        process, memory = self._process, psutil.virtual_memory()
        times = process.cpu_times()
        metrics = {
            "cpu_percent": psutil.cpu_percent(),  # of all cores together
            "memory_percent": memory.percent,
            "disk_free_bytes": float(psutil.disk_usage(str(self._folder)).free),
            "process_cpu_percent": process.cpu_percent(),  # 100: one core
            "process_cpu_seconds": times.user + times.system,
            "process_memory_bytes": float(process.memory_info().rss),
        }
        if hasattr(process, "io_counters"):  # not on macOS
            _, _, read, written, *_ = process.io_counters()
            metrics |= {"process_read_bytes": float(read), "process_written_bytes": float(written)}
        return {f"{PREFIX}{name}": value for name, value in (metrics | _gpus()).items()}


def _gpus() -> dict[str, float]:
    """Load and memory of the GPUs that torch uses; nothing is loaded or started for it."""
    torch = sys.modules.get("torch")
    metrics: dict[str, float] = {}
    if torch is None or not torch.cuda.is_initialized():
        return metrics
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        metrics[f"gpu{index}_memory_used_bytes"] = float(total - free)
        # Needs nvidia-ml-py, which torch does not bring, and has errors of its own: parts of a GPU (MIG) and
        # GPUs of virtual machines have no load or power to tell.
        with contextlib.suppress(Exception):
            metrics[f"gpu{index}_percent"] = float(torch.cuda.utilization(index))
            metrics[f"gpu{index}_watts"] = torch.cuda.power_draw(index) / 1000
    return metrics

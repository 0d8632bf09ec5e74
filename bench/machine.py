"""Where a run took place, and who else was there."""

import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import ours


def machine() -> dict[str, Any]:
    info: dict[str, Any] = {
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "affinity": affinity(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }
    if ours.Tileconv.available():
        from tileconv import _core

        info["tileconv"] = _core.config()
    return info


def affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


class ForeignLoad:
    """How much of this process's CPUs others take from now on: other processes, or the host of a virtual machine."""

    def __init__(self) -> None:
        self.wall, self.own, self.busy = time.monotonic(), time.process_time(), busy_seconds()

    def share(self) -> float | None:
        busy = busy_seconds()
        if busy is None or self.busy is None:
            return None
        taken = (busy - self.busy) - (time.process_time() - self.own)
        return max(0.0, taken / (time.monotonic() - self.wall) / len(affinity()))


def busy_seconds() -> float | None:
    """What the CPUs of this process have spent on anybody since boot; None where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    total = 0
    for line in stat.read_text().splitlines():
        name, *ticks = line.split()
        if name.removeprefix("cpu").isdigit() and int(name.removeprefix("cpu")) in affinity():
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            total += user + nice + system + irq + softirq + steal
    return total / os.sysconf("SC_CLK_TCK")

"""The machine: which device to run on, how many threads, how much memory."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylegan_core.errors import UsageError

if TYPE_CHECKING:
    import torch

ALLOWED_DEVICES = "auto, cpu, cuda, cuda:0, cuda:1, …, mps"


def resolve_device(name: str = "auto") -> torch.device:
    """'auto' → CUDA, else MPS, else the CPU; a device that this machine lacks is a UsageError that says what it has.

    A bare number means that CUDA device, as in `--devices 0,1`.
    """
    import torch

    kind, colon, index = str(name).strip().lower().partition(":")
    if kind.isdecimal() and not colon:
        kind, colon, index = "cuda", ":", kind
    if kind == "auto" and not colon:
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and index.isdecimal() and len(index) < 5)):
        raise UsageError(f"device {name!r}: {ALLOWED_DEVICES} are allowed")
    if kind == "cuda":
        return torch.device("cuda", _check_cuda(name, int(index) if colon else 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device {name!r}: this machine has no Metal device that torch can use; use --device cpu")
    return torch.device(kind)


def parse_devices(text: str) -> list[str]:
    """'0,1' → ['cuda:0', 'cuda:1']; 'cpu,cpu' → two workers on the CPU. Every device is checked."""
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise UsageError(f"devices {text!r}: write a list such as 0,1 or cuda:0,cuda:1 or cpu,cpu")
    return [str(resolve_device(name)) for name in names]


def available_cpus() -> int:
    """CPUs that this process may use: affinity and, under Linux, the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, round(int(quota) / int(period))))
    return max(1, count)


def set_threads(count: int | None) -> int:
    """How many threads torch uses inside an operation; None leaves the number alone. For programs, not libraries."""
    import torch

    if count is not None:
        if not 1 <= count <= 1024:
            raise UsageError(
                f"threads {count}: a whole number from 1 to 1024 is allowed; this machine has {available_cpus()} CPUs"
            )
        torch.set_num_threads(count)
    return torch.get_num_threads()


@dataclass(frozen=True)
class Memory:
    """Bytes; None where this system does not say."""

    total: int | None
    available: int | None


def main_memory() -> Memory:
    """Memory of the machine, or of the control group where that is less."""
    facts = _read_meminfo()
    total, available = facts.get("MemTotal"), facts.get("MemAvailable")
    if total is None:
        with suppress(ValueError, OSError, AttributeError):
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if total is not None and limit < total:
            total, available = limit, min(available or limit, limit - used)
    return Memory(total, available)


def device_memory(device: torch.device) -> Memory:
    """Memory of a CUDA device; of the machine for the others."""
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(total, free)
    return main_memory()


def device_name(device: torch.device) -> str:
    """What the report calls the device: 'cpu (AMD EPYC 7B13, 2 threads)', 'cuda:0 (NVIDIA H100)'."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return f"mps ({platform.processor() or platform.machine()})"
    threads = torch.get_num_threads()
    return f"cpu ({cpu_name()}, {threads} thread{'s' if threads > 1 else ''})"


def cpu_name() -> str:
    """The processor's name, or the architecture where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.lower().startswith(("model name", "cpu model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or sys.platform


def _check_cuda(name: str, index: int) -> int:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UsageError(
            f"device {name!r}: torch finds no CUDA device on this machine; use --device cpu (`invert doctor` says why)"
        )
    if index >= count:
        allowed = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UsageError(f"device {name!r}: this machine has {count} CUDA device(s); {allowed} can be used")
    return index


def _read_meminfo() -> dict[str, int]:
    facts = {}
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if value.endswith(" kB"):
                facts[key] = int(value[:-3]) * 1024
    return facts

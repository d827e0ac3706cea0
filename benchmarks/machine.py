"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch


def describe() -> str:
    """Processor, cores, memory, versions, and how busy the machine was, in one line."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {gib:.0f} GiB; {torch.get_num_threads()} threads; {libraries}, "
        f"Python {platform.python_version()}; {torch.backends.cpu.get_cpu_capability()}; load {load:.1f} at the start"
    )


def _processor() -> str:
    """The processor's name and model, as far as the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    family = "/".join(fields.get(key, "?") for key in ("cpu family", "model"))
    return f"{fields.get('model name', platform.machine())} (family/model {family})"

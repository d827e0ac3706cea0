"""Where models run, and how much memory their tensors may take there besides the weights."""

from __future__ import annotations

import re
from dataclasses import dataclass

from beb.errors import BadSpec

ALL_GPUS = "cuda:all"
DEVICES = "auto, cpu, cuda, cuda:N, cuda:all or mps"
SMALLEST_BUDGET = 64 * 2**20

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(all|\d{1,3}))?")
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([KMGT])(?:iB)?", re.IGNORECASE)
_POWERS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class Hardware:
    """Neither field changes what a run measures, beyond the rounding of its arithmetic.

    device: "auto" (a CUDA GPU, else Apple's, else the processor), "cpu", "cuda", "cuda:N", "mps", or "cuda:all" for a
    model spread over every GPU. memory_budget: bytes, at least 64 MiB, for everything besides the weights; None for
    2 GiB, or half of what a CUDA GPU has free beside the weights.
    """

    device: str = "auto"
    memory_budget: int | None = None

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise BadSpec(f"device {self.device!r} is none of {DEVICES}")
        if self.memory_budget is not None and self.memory_budget < SMALLEST_BUDGET:
            raise BadSpec(f"a memory budget of {_shown(self.memory_budget)} is too small; give at least 64MiB")

    @classmethod
    def given(cls, device: str | None, memory_budget: str | None) -> Hardware:
        """From what was typed, None for a default. memory_budget: for example "512MiB" or "1.5GiB".

        Raises: BadSpec.
        """
        return cls(
            "auto" if device is None else device.strip().lower(),
            None if memory_budget is None else parse_size(memory_budget),
        )


def parse_size(text: str) -> int:
    """Bytes of a size such as "512MiB" or "1.5GiB" (powers of 1024; K, M, G and T are short for KiB, MiB, GiB and TiB).

    Raises: BadSpec.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadSpec(
            f"memory budget {text!r} is no size; give a number and a unit, for example 512MiB or 2GiB, and at least "
            "64MiB"
        )
    return int(float(match[1]) * _POWERS[match[2].upper()])


def _shown(size: int) -> str:
    for unit, power in reversed(_POWERS.items()):
        if size >= power:
            return f"{size / power:.4g}{unit}iB"
    return f"{size} bytes"

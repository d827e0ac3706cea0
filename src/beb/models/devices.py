"""The device that a model is put on, and whether it can compute there as asked."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch

from beb.errors import BadSpec, NotAModel
from beb.models.hardware import ALL_GPUS, Hardware
from beb.models.memory import DEFAULT_BUDGET

_FREE_SHARE = 0.5
"""Of what a CUDA GPU has free beside the weights, where no budget is given."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a checkpoint is loaded to. device: of all weights, unless there is a map.

    device_map, max_memory: as transformers and accelerate take them; max_memory in bytes by GPU.
    """

    device: torch.device
    device_map: str | dict[str, Any] | None = None
    max_memory: dict[int, int] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `from_pretrained`.

        Source: transformers and accelerate, "Big Model Inference" (device_map, max_memory).
        """
        if self.device_map is None:
            return {}
        return {"device_map": self.device_map} | ({} if self.max_memory is None else {"max_memory": self.max_memory})


def place(hardware: Hardware, dtype: torch.dtype) -> Placement:
    """Where weights of a dtype go.

    Raises: BadSpec if the device is not there, or does not compute in that dtype.
    """
    if hardware.device == ALL_GPUS:
        _require_cuda(ALL_GPUS)
        _require_accelerate()
        return Placement(torch.device("cuda:0"), "auto", _shared_out(hardware))
    device = resolve_device(hardware.device)
    _require_arithmetic(device, dtype)
    return Placement(device)


def resolve_device(name: str) -> torch.device:
    """The device of a name as in `Hardware`, "cuda:all" left out.

    Raises: BadSpec if it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    if name.startswith("cuda"):
        _require_cuda(name)
        count = torch.cuda.device_count()
        if (torch.device(name).index or 0) >= count:
            raise BadSpec(f"--device {name}: torch finds {count} CUDA GPUs here, the last of them cuda:{count - 1}")
    if name == "mps" and not _has_mps():
        raise BadSpec("--device mps: torch finds no Apple GPU here; use --device auto or cpu")
    return torch.device(name)


def memory_budget(hardware: Hardware, device: torch.device) -> int:
    """Bytes for everything besides the weights, which are there already."""
    if hardware.memory_budget is not None:
        return hardware.memory_budget
    if device.type != "cuda":
        return DEFAULT_BUDGET
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * _FREE_SHARE)


def require_loaded(module: Any, name: str) -> None:
    """Refuse a model some of whose weights found no place on the GPUs.

    Raises: NotAModel.
    """
    places = getattr(module, "hf_device_map", None) or {}
    on_gpus = any(str(where) not in ("cpu", "disk") for where in places.values())
    elsewhere = [part for part, where in places.items() if str(where) == "disk" or (on_gpus and str(where) == "cpu")]
    if elsewhere or any(parameter.is_meta for parameter in module.parameters()):
        raise NotAModel(
            f"{name} does not fit into the GPUs ({len(elsewhere)} of {len(places)} parts left out); use --dtype bf16, "
            "a lower --memory-budget or more GPUs"
        )


def _has_mps() -> bool:
    return bool(torch.backends.mps.is_available())


def _require_cuda(name: str) -> None:
    if not torch.cuda.is_available():
        raise BadSpec(f"--device {name}: torch finds no CUDA GPU here; use --device auto or cpu")


def _require_accelerate() -> None:
    if importlib.util.find_spec("accelerate") is None:
        raise BadSpec(
            f"--device {ALL_GPUS} needs accelerate, which is not installed; install behavior-expectation-bounds[gpus]"
        )


def _shared_out(hardware: Hardware) -> dict[int, int]:
    """Bytes of weights for each GPU: what is free, less the memory budget."""
    free = {i: int(torch.cuda.mem_get_info(i)[0]) for i in range(torch.cuda.device_count())}
    budget = hardware.memory_budget
    return {i: max(0, n - budget) if budget is not None else int(n * (1 - _FREE_SHARE / 2)) for i, n in free.items()}


def _require_arithmetic(device: torch.device, dtype: torch.dtype) -> None:
    """Refuse a dtype in which the device has no matrix product or attention.

    Raises: BadSpec.
    """
    if dtype == torch.float32:
        return
    try:
        with torch.inference_mode():
            matrix = torch.ones((1, 1, 8, 8), dtype=dtype, device=device)
            torch.nn.functional.scaled_dot_product_attention(matrix @ matrix, matrix, matrix)
            torch.nn.functional.linear(matrix, matrix[0, 0]).softmax(-1)
    except (RuntimeError, TypeError) as error:
        short = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype, str(dtype))
        reason = " ".join(str(error).split())[:100]
        raise BadSpec(
            f"--dtype {short}: torch cannot compute in it on {device} ({reason}); use --dtype fp32"
        ) from error

"""Whether two models have the same weights, in whatever dtype they were loaded."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch

from beb.models.weights import Weights, WeightSwap

_SIDE = 64  # rows and columns read of a matrix, evenly spread
_COMPARABLE = (torch.float32, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class WeightsIdentity:
    """digest: equal for equal weights, None where it cannot be told. reason: why it cannot, or "".

    A checkpoint loaded as fp32 and as bf16 has the same digest; one trained further, or merged with an adapter, has
    another.
    """

    digest: str | None
    reason: str = ""


def weights_identity(weights: Weights, swap: WeightSwap | None) -> WeightsIdentity:
    """From evenly spread entries of every parameter, rounded to bf16, with the swap's tensors in their places.

    It cannot be told where the entries cannot be read (weights that are elsewhere) or were rounded otherwise (fp16:
    what is left of a number after that does not tell how bf16 would have rounded it).
    """
    replaced = swap.tensors if swap is not None else {}
    digest = hashlib.sha256()
    with weights.activated(None):
        for name, parameter in sorted(weights.module.named_parameters()):
            tensor = replaced.get(name, parameter.data)
            if tensor.is_meta:
                return WeightsIdentity(None, f"{name} is not in memory")
            if tensor.dtype not in _COMPARABLE:
                dtype = "fp16" if tensor.dtype == torch.float16 else str(tensor.dtype).removeprefix("torch.")
                return WeightsIdentity(
                    None, f"weights in {dtype} are rounded otherwise than in fp32 or bf16, so they cannot be compared"
                )
            entries = _spread(tensor).to("cpu", torch.bfloat16).contiguous()
            digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
            digest.update(entries.view(torch.int16).numpy().tobytes())
    return WeightsIdentity(digest.hexdigest())


def _spread(tensor: torch.Tensor) -> torch.Tensor:
    """Entries at even distances along the last two dimensions (all of the others), whatever the layout in memory."""
    side = _SIDE * _SIDE if tensor.dim() == 1 else _SIDE
    for axis in range(-min(tensor.dim(), 2), 0):
        steps = torch.arange(0, tensor.shape[axis], max(1, math.ceil(tensor.shape[axis] / side)), device=tensor.device)
        tensor = tensor.index_select(axis, steps)
    return tensor

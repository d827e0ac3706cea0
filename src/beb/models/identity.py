"""Whether two models have the same weights, in whatever dtype they were loaded."""

from __future__ import annotations

import hashlib
import math

import torch

from beb.models.weights import Weights, WeightSwap

_SIDE = 64  # rows and columns read of a matrix, evenly spread
_COMPARABLE = (torch.float32, torch.bfloat16)


def weights_identity(weights: Weights, swap: WeightSwap | None) -> str | None:
    """Hash of evenly spread entries of every parameter, rounded to bf16, with the swap's tensors in their places.

    A checkpoint loaded as fp32 and as bf16 has the same identity; one trained further, or merged with an adapter, has
    another. None where the entries cannot be read (weights that are elsewhere) or were rounded otherwise (fp16).
    """
    replaced = swap.tensors if swap is not None else {}
    digest = hashlib.sha256()
    with weights.activated(None):
        for name, parameter in sorted(weights.module.named_parameters()):
            tensor = replaced.get(name, parameter.data)
            if tensor.is_meta or tensor.dtype not in _COMPARABLE:
                return None
            entries = _spread(tensor).to("cpu", torch.bfloat16).contiguous()
            digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
            digest.update(entries.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def _spread(tensor: torch.Tensor) -> torch.Tensor:
    """Entries at even distances along the last two dimensions (all of the others), whatever the layout in memory."""
    side = _SIDE * _SIDE if tensor.dim() == 1 else _SIDE
    for axis in range(-min(tensor.dim(), 2), 0):
        steps = torch.arange(0, tensor.shape[axis], max(1, math.ceil(tensor.shape[axis] / side)), device=tensor.device)
        tensor = tensor.index_select(axis, steps)
    return tensor

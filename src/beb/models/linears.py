"""fp32 matrix products on a processor by oneDNN's kernels, about twice as fast on some makes as torch's default."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import Embedding, Linear, functional

FEW_COLUMNS = 1024
"""So many columns collide in the cache if they lie a multiple of FEW_APART apart, more already at MANY_APART."""
FEW_APART, MANY_APART = 1024, 256
_CHECK_TOLERANCE = 1e-4


def use_fast_linears(module: torch.nn.Module) -> None:
    """Let the fp32 linear layers of a module on the processor multiply by oneDNN, in the same precision.

    MKL, torch's default, chooses its kernels by the processor's maker; oneDNN by its instructions. The matrices are
    laid out by columns where `columns_pay`; their values and shapes stay. A replaced `weight.data` takes effect at
    once. The product has no derivative: passes that record gradients keep torch's.
    """
    if not _available():
        return
    embeddings = {id(layer.weight) for layer in module.modules() if isinstance(layer, Embedding)}
    for layer in module.modules():
        # A layer with a hook of accelerate's moves its inputs first, in a `forward` of its own.
        if type(layer) is not Linear or not _applies(layer.weight) or hasattr(layer, "_hf_hook"):
            continue
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
        # An embedding is read by rows.
        if id(layer.weight) not in embeddings and columns_pay(layer.in_features, layer.out_features):
            layer.weight.data = by_columns(layer.weight.data)


def columns_pay(n_in: int, n_out: int) -> bool:
    """Whether a matrix is stored by columns: `n_in` of them, `n_out` numbers apart.

    oneDNN's kernels then read it without rearranging it, but columns that lie a multiple of a large power of two apart
    fall on one another in the processor's cache. The rule is that of one processor; see docs/performance.md.
    """
    return n_out % (FEW_APART if n_in <= FEW_COLUMNS else MANY_APART) != 0


def by_columns(matrix: torch.Tensor) -> torch.Tensor:
    """The same matrix, stored column after column."""
    return matrix.t().contiguous().t()


def _applies(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu"


def _forward(layer: Linear, inputs: torch.Tensor) -> torch.Tensor:
    if torch.is_grad_enabled() or inputs.dtype != torch.float32 or not _applies(layer.weight):
        return functional.linear(inputs, layer.weight, layer.bias)
    return _product(inputs, layer.weight, layer.bias)


def _product(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product


def _available() -> bool:
    """Whether this build of torch has the operation, and it gives what `linear` gives, in either layout."""
    inputs = torch.arange(2 * 3 * 32, dtype=torch.float32).sin().view(2, 3, 32)
    weight = torch.arange(48 * 32, dtype=torch.float32).cos().view(48, 32)
    bias = weight[:, 0].contiguous()
    try:
        with torch.inference_mode():
            wanted = functional.linear(inputs, weight, bias)
            given = [_product(inputs, matrix, bias) for matrix in (weight, by_columns(weight))]
    except (RuntimeError, AttributeError, NotImplementedError, TypeError):
        return False
    return all(g.shape == wanted.shape and bool((g - wanted).abs().max() <= _CHECK_TOLERANCE) for g in given)

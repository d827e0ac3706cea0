"""Whether another way to run a model gives its next-token distributions, up to what the dtype's rounding makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from beb.models.weights import Weights

_TOLERANCE = 1e-3
_MOST_ROUNDINGS = 2.0
_ROUNDING_COPIES = 4


def check_texts(vocabulary_size: int) -> tuple[list[int], list[int]]:
    """Two texts that leave one another after three tokens."""
    first = [(5 * i + 2) % vocabulary_size for i in range(9)]
    return first, first[:3] + [(7 * i + 1) % vocabulary_size for i in range(3)]


def agree(weights: Weights, whole: torch.Tensor, other: torch.Tensor, token_ids: Sequence[int]) -> bool:
    """Whether logits made in another way are the model's own: in fp32 nearly equal, else within its own rounding.

    whole, other: (n, vocabulary). token_ids: a text on which the rounding of a half precision is measured.
    """
    if weights.dtype == torch.float32:
        return bool((other - whole).abs().max() <= _TOLERANCE)
    return _divergence(whole, other) <= _MOST_ROUNDINGS * _rounding(weights, token_ids)


def _rounding(weights: Weights, token_ids: Sequence[int]) -> float:
    """Mean divergence of next-token distributions, in nats, when the embeddings move by the dtype's spacing.

    That is how much of the model's own rounding one can see without a higher precision. Each entry of the embeddings
    moves up or down at random by at most twice what rounding does to it; the roundings of a pass are many, but smaller
    and carried on through fewer blocks. Correct rows differ from whole passes by 0.1 to 0.7 of this figure, rows one
    position off by 6 or more (six models, bf16 and fp16). Logits say less: where activations are large, those of rare
    tokens move by more than a tenth of the largest though the distribution stays.
    """
    copies = torch.tensor([list(token_ids)] * _ROUNDING_COPIES, device=weights.device)

    def move(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        signs = torch.randint(0, 2, output.shape, generator=torch.Generator().manual_seed(0)).to(output.device) * 2 - 1
        return (output.float() * (1 + torch.finfo(weights.dtype).eps * signs)).to(output.dtype)

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            output = weights.decoder(input_ids=copies, attention_mask=torch.ones_like(copies), use_cache=False)
            return weights.logits(output.last_hidden_state.flatten(0, 1))

    still = logits()
    handle = weights.module.get_input_embeddings().register_forward_hook(move)
    try:
        return _divergence(still, logits())
    finally:
        handle.remove()


def _divergence(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean KL of rows of logits, in nats."""
    log_p, log_q = first.double().log_softmax(-1), second.double().log_softmax(-1)
    return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())

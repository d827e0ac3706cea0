"""What the time in the network goes to: products with the weights, attention, and everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from beb.interfaces.language_model import TokenIds
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import CHUNK_ROWS
from beb.models.weights import Weights

_PRODUCTS = ("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise")
_ATTENTION = ("aten::_scaled_dot_product", "aten::bmm", "aten::baddbmm")


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds of one pass over some texts under a profiler, output matrix included. products: with the weights."""

    products: float
    attention: float
    other: float

    @property
    def total(self) -> float:
        return self.products + self.attention + self.other


def network_shares(model: HuggingFaceModel, texts: Sequence[TokenIds], *, repeats: int) -> Shares:
    """Of the quickest of some passes over texts after the model's start context."""
    contexts = [model.start_ids + tuple(ids[:-1]) for ids in texts]
    return min((profiled(model.weights, contexts) for _ in range(repeats)), key=lambda found: found.total)


def profiled(weights: Weights, contexts: Sequence[TokenIds]) -> Shares:
    """Of one pass over texts."""

    def work() -> None:
        states = torch.cat(weights.hidden_rows(contexts))
        for rows in torch.split(states, CHUNK_ROWS):
            weights.logits(rows)

    return divided(work)


def divided(work: Callable[[], object]) -> Shares:
    """Time of torch's operations in some work, divided by what they are."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        work()
    seconds = {"products": 0.0, "attention": 0.0, "other": 0.0}
    for event in recorded.key_averages():
        kind = "products" if event.key in _PRODUCTS else "attention" if event.key.startswith(_ATTENTION) else "other"
        seconds[kind] += event.self_cpu_time_total / 1e6
    return Shares(**seconds)

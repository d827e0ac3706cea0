"""The rate at which scoring multiplies, as a share of a plain matrix product's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import Linear, functional

from beb.interfaces.language_model import TokenIds
from beb.models.components import with_lead
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences
from beb.models.weights import Weights
from benchmarks.counting import Meter, timed
from benchmarks.rows import Row
from benchmarks.setting import say
from benchmarks.shares import Shares, network_shares

SIZES = (1024, 2048, 4096)
GOAL, MOST_PADDING = 0.85, 0.10
OTHER_LEAD = "This is what I think.\n"


@dataclass(frozen=True, slots=True)
class ScoringRate:
    """One scoring job. flops: that its matrix products need. seconds: of all of it. network_seconds: in the network.

    matrix_product: FLOP per second of a plain product. real, padded: tokens of the passes without and with padding.
    shares: of the network's time. weight_flops: of the products with the weights in the passes that these are of.
    """

    flops: float
    seconds: float
    network_seconds: float
    matrix_product: float
    real: int
    padded: int
    shares: Shares
    weight_flops: float


def forward_flops(weights: Weights, lengths: Sequence[int], scored: Sequence[int]) -> float:
    """Operations of the matrix products that a pass over texts needs: two for each product of two numbers.

    lengths: tokens of each text in the pass. scored: rows of each whose distribution over the vocabulary is made.
    Counted are the linear layers of the blocks, the two products of causal attention (each position with itself and
    those before it), and the output matrix on the scored rows. Not counted: padding, embeddings, norms, rotations,
    softmax, activations, and everything after the logits.
    """
    linear = sum(m.weight.numel() for m in weights.decoder.modules() if isinstance(m, Linear))
    vocabulary = weights.vocabulary_size * weights.module.config.get_text_config().hidden_size
    return float(2.0 * linear * sum(lengths) + attention_flops(weights, lengths) + 2.0 * vocabulary * sum(scored))


def attention_flops(weights: Weights, lengths: Sequence[int]) -> float:
    """Those of causal attention in all blocks."""
    config = weights.module.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_pair: float = 4.0 * config.num_hidden_layers * config.num_attention_heads * width
    return float(per_pair * sum(n * (n + 1) / 2 for n in lengths))


def matrix_product_rate(dtype: torch.dtype, *, repeats: int) -> float:
    """Operations per second of the quickest product of two large square matrices, by any of torch's kernels."""
    seconds = []
    with torch.inference_mode():
        for n in SIZES:
            a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
            for product in _products():
                try:
                    product(a, b)
                except (RuntimeError, NotImplementedError, AttributeError):
                    continue
                seconds.append(timed(partial(product, a, b), repeats=repeats + 1) / (2.0 * n**3))
    return 1 / min(seconds)


def _products() -> tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ...]:
    return (
        torch.mm,
        functional.linear,
        _onednn,
    )


def _onednn(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return product


def measure_scoring(model: HuggingFaceModel, texts: Sequence[TokenIds], *, repeats: int) -> ScoringRate:
    """A default-like job: texts under two components, with the exact divergence between them."""
    models = {"p": model, "q": with_lead(model, OTHER_LEAD)}
    lengths = [len(m.start_ids) + len(ids) - 1 for m in models.values() for ids in texts]
    flops = forward_flops(model.weights, lengths, [len(ids) for _ in models for ids in texts])

    def work() -> None:
        score_sequences(texts, models, divergences=[("p", "q")])

    score_sequences(texts[:2], models, divergences=[("p", "q")])
    rates = [matrix_product_rate(model.weights.dtype, repeats=repeats)]
    with Meter(model.weights) as meter:
        seconds = timed(work)
    network, padded = meter.network_seconds, meter.padded
    for _ in range(repeats - 1):
        with Meter(model.weights) as meter:
            again = timed(work)
        if again < seconds:
            seconds, network = again, meter.network_seconds
    rates.append(matrix_product_rate(model.weights.dtype, repeats=repeats))
    shares = network_shares(model, texts, repeats=repeats)
    own = [len(model.start_ids) + len(ids) - 1 for ids in texts]
    weight_flops = forward_flops(model.weights, own, own) - attention_flops(model.weights, own)
    return ScoringRate(flops, seconds, network, max(rates), sum(lengths), padded, shares, weight_flops)


def scoring_rows(found: dict[str, ScoringRate]) -> list[Row]:
    """Shares of a matrix product's rate, and padding. found: by dtype, or by dtype and what model if not the target."""
    rows: list[Row] = []
    for dtype, rate in found.items():
        peak, mark = rate.matrix_product / 1e9, "**3** " if not rows else ""
        for what, seconds, goal in (
            ("network alone", rate.network_seconds, True),
            ("all of it, divergences over the vocabulary included", rate.seconds, False),
        ):
            speed = rate.flops / seconds
            share = speed / rate.matrix_product
            rows.append(
                Row(
                    f"{mark}scoring, {dtype}: {what}, GFLOP/s",
                    f"{speed / 1e9:.0f}", f"{peak:.0f} (matrix product)", f"{share:.0%}",
                    "≥ 85 %" if goal else "", share >= GOAL if goal else None,
                )
            )  # fmt: skip
            mark = ""
        rows += _share_rows(dtype, rate)
        say(f"scoring, {dtype}: {rate.seconds:.2f} s")
    waste = max(1 - rate.real / rate.padded for rate in found.values())
    rows.append(Row("padding in the passes of these jobs", f"{waste:.1%}", "", "", "≤ 10 %", waste <= MOST_PADDING))
    return rows


def _share_rows(dtype: str, rate: ScoringRate) -> list[Row]:
    """What stands between the network and the goal, by a profiler."""
    shares, peak = rate.shares, rate.matrix_product / 1e9
    speed = rate.weight_flops / shares.products / 1e9
    told = (
        ("in products with the weights", shares.products),
        ("in attention", shares.attention),
        ("in norms, activations, rotations, sums and copies", shares.other),
    )
    return [
        Row(f"{dtype}, profile: products with the weights, GFLOP/s", f"{speed:.0f}", f"{peak:.0f} (matrix product)",
            f"{speed / peak:.0%}"),
        *(Row(f"{dtype}, profile: share of the network's time {what}", "", "", f"{part / shares.total:.0%}")
          for what, part in told),
    ]  # fmt: skip

"""The published way to a divergence curve: at every prefix anew, many short samples and two passes over each.

Source: Wolf et al. 2024 (arXiv 2304.11082) and its code: 64 samples of 8 tokens from P₋ after each prefix, the mean of
log P₋/P₊ of the sampled tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from beb.interfaces.language_model import TokenIds
from beb.models.huggingface import HuggingFaceModel
from benchmarks.counting import Meter
from benchmarks.prompts import WINDOW_TOKENS

SAMPLES = 64


@dataclass(frozen=True, slots=True)
class PrefixEstimate:
    """KL(P₋ ‖ P₊) of the next tokens after one prefix. variance: of one sample's log ratio. seconds, token_forwards."""

    kl_nats: float
    variance: float
    seconds: float
    token_forwards: int


def published_kl(
    negative: HuggingFaceModel,
    positive: HuggingFaceModel,
    prefix: TokenIds,
    *,
    seed: int,
    samples: int = SAMPLES,
    tokens: int = WINDOW_TOKENS,
) -> PrefixEstimate:
    """Monte Carlo estimate after one prefix (without start context); nothing is kept from one prefix to the next.

    The samples are one batch, with the library's own generation and its cache of keys and values; the two passes that
    score them run over prefix and sample in full, and make logits for the sampled tokens alone. A text that ends by
    itself counts up to its end.
    """
    started = time.perf_counter()
    with Meter(negative.weights, positive.weights) as meter, torch.inference_mode():
        drawn = _generate(negative, negative.start_ids + prefix, samples, tokens, seed)
        alive = _before_the_end(drawn, sorted(negative.rule.stops))
        log_ratio = torch.zeros(samples, dtype=torch.float64)
        for sign, model in ((1, negative), (-1, positive)):
            whole = torch.cat([_repeated(model.start_ids + prefix, samples), drawn], 1)
            log_probs = _log_probs(model, whole, drawn.shape[1])
            log_ratio += sign * (log_probs * alive).sum(1)
    values = np.asarray(log_ratio.numpy())
    return PrefixEstimate(
        float(values.mean()), float(values.var(ddof=1)), time.perf_counter() - started, meter.token_forwards
    )


def _repeated(ids: TokenIds, n: int) -> torch.Tensor:
    return torch.tensor([list(ids)]).expand(n, -1)


def _generate(model: HuggingFaceModel, context: TokenIds, samples: int, tokens: int, seed: int) -> torch.Tensor:
    """(samples, at most tokens) ids sampled at temperature 1 from the whole distribution."""
    from transformers import GenerationConfig

    stops = sorted(model.rule.stops)
    config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_beams=1, repetition_penalty=1.0,
        max_new_tokens=tokens, num_return_sequences=samples, use_cache=True,
        eos_token_id=stops or None, pad_token_id=stops[0] if stops else 0,
    )  # fmt: skip
    ids = torch.tensor([list(context)])
    with model.weights.activated(model.swap), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: Any = model.weights.module
        drawn: torch.Tensor = module.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    return drawn[:, len(context) :]


def _before_the_end(drawn: torch.Tensor, stops: Sequence[int]) -> torch.Tensor:
    """(samples, tokens) 1 up to a text's own end (inclusive), 0 after it."""
    ended = torch.isin(drawn, torch.tensor(list(stops), dtype=drawn.dtype))
    return (ended.cumsum(1) - ended.to(torch.int64) == 0).to(torch.float64)


def _log_probs(model: HuggingFaceModel, whole: torch.Tensor, tokens: int) -> torch.Tensor:
    """(samples, tokens) log-probabilities of the last tokens of each row."""
    with model.weights.activated(model.swap):
        logits = model.weights.module(input_ids=whole[:, :-1], use_cache=False, logits_to_keep=tokens).logits
    logs = torch.log_softmax(logits.float(), -1)
    return logs.gather(2, whole[:, -tokens:, None])[..., 0].double()

"""Sampling at temperature 1 from the whole next-token distribution, every request on its own stream of uniforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from beb.interfaces.language_model import Completion, Failure, SampleRequest
from beb.models.requests import no_room, refuse_unusable
from beb.models.sentences import SentenceRule, SentenceTracker
from beb.models.steppers import OwnCacheStepper, RowStepper, Stepper
from beb.models.weights import Weights, foreign_errors

_BLOCK = 256
_ROWS = 8


@dataclass(slots=True)
class _Growing:
    """A text being sampled."""

    request: SampleRequest
    tracker: SentenceTracker
    stream: np.random.Generator
    token_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.tracker.stopped or len(self.tracker.ends) >= self.request.n_sentences

    def take(self, token_id: int, log_prob: float) -> None:
        self.token_ids.append(token_id)
        self.log_probs.append(log_prob)
        self.tracker.add(token_id)

    def completion(self, decode: Callable[[Sequence[int]], str]) -> Completion:
        return Completion(
            tuple(self.token_ids),
            tuple(self.log_probs),
            tuple(self.tracker.ends),
            self.tracker.n_cut,
            decode(self.token_ids),
        )


def sample_requests(
    weights: Weights,
    requests: Sequence[SampleRequest],
    *,
    rule: SentenceRule,
    context_length: int,
    decode: Callable[[Sequence[int]], str],
    row_cache: bool,
) -> list[Completion | Failure]:
    """Sample every request; a text depends on its prefix and seed, not on the batch (up to floating-point rounding).

    row_cache: whether the model may use the shared-prefix cache (`rowcache.supports_rows`).
    Returns: in order; Failure("context-full") where the longest possible text would not fit, whatever is sampled.
    Raises: BadSpec, NumericalFailure, ModelError.
    """
    refuse_unusable(requests)
    results: list[Completion | Failure | None] = [no_room(request, context_length) for request in requests]
    waiting = [i for i, result in enumerate(results) if result is None]
    if waiting:
        growing = [_begin(requests[i], rule) for i in waiting]
        with foreign_errors(weights.name), torch.inference_mode():
            _run(weights, growing, row_cache)
        for i, text in zip(waiting, growing, strict=True):
            results[i] = text.completion(decode)
    return [result for result in results if result is not None]


def inverse_cdf(weights: Weights, logits: torch.Tensor, uniforms: torch.Tensor) -> tuple[list[int], list[float]]:
    """Token of each row at a uniform's place in the cumulative distribution, in id order, and its log-probability.

    logits: (n, vocabulary) fp32. uniforms: (n,) fp64 in [0, 1). A token of probability zero is never taken.
    Sums are fp64; they run over blocks of ids first, then inside the block that was hit.
    Raises: NumericalFailure.
    """
    tokens: list[int] = []
    log_probs: list[float] = []
    n, vocabulary = logits.shape
    n_blocks = -(-vocabulary // _BLOCK)
    rows = min(n, _ROWS) if logits.device.type == "cpu" else n
    buffer = torch.zeros((rows, n_blocks * _BLOCK), dtype=logits.dtype, device=logits.device)
    # A few rows at a time stay in a processor's cache from one operation to the next.
    for first in range(0, n, rows):
        part, uniform = logits[first : first + rows], uniforms[first : first + rows].to(logits.device)
        largest = part.amax(-1, keepdim=True)
        masses = buffer[: len(part)]
        torch.sub(part, largest, out=masses[:, :vocabulary]).exp_()
        blocks = masses.view(len(part), n_blocks, _BLOCK)
        sums = blocks.sum(-1, dtype=torch.float64)
        cumulative = sums.cumsum(-1)
        total = cumulative[:, -1:]
        weights.require_finite(largest + total.log())
        target = uniform[:, None] * total
        block = _first_above(cumulative, target)
        before = cumulative.gather(1, block) - sums.gather(1, block)
        inside = blocks[torch.arange(len(part), device=logits.device), block[:, 0]].double().cumsum(-1)
        token = block * _BLOCK + _first_above(inside, target - before)
        log_prob = (part.gather(1, token) - largest).double() - total.log()
        tokens += token[:, 0].tolist()
        log_probs += log_prob[:, 0].tolist()
    return tokens, log_probs


def _first_above(cumulative: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """First index whose cumulative sum exceeds the target; at the most the last index of positive mass."""
    hit = torch.searchsorted(cumulative, target.clamp(min=0), right=True)
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous(), right=False)
    return torch.minimum(hit, last)


def _begin(request: SampleRequest, rule: SentenceRule) -> _Growing:
    stream = np.random.Generator(np.random.Philox(request.seed))
    return _Growing(request, SentenceTracker(rule, request.max_sentence_tokens), stream)


def _run(weights: Weights, growing: list[_Growing], row_cache: bool) -> None:
    prefixes = [text.request.prefix for text in growing]
    to_come = max(text.request.n_sentences * text.request.max_sentence_tokens for text in growing)
    stepper: Stepper = RowStepper(weights, prefixes, to_come) if row_cache else OwnCacheStepper(weights, prefixes)
    slots: list[_Growing] = []
    while True:
        slots = _admit(weights, stepper, growing, slots)
        kept = [k for k, text in enumerate(slots) if not text.finished]
        if not kept:
            return
        if len(kept) < len(slots):
            slots = [slots[old] for old in stepper.compact(kept)]
        _draw(weights, stepper.step([text.token_ids[-1] for text in slots]), slots)


def _admit(weights: Weights, stepper: Stepper, growing: list[_Growing], slots: list[_Growing]) -> list[_Growing]:
    """Begin waiting requests, each with its first token, in slots that are free or whose text is finished."""
    slots = list(slots)
    while True:
        if all(text.finished for text in slots):
            slots = []
        holes = [k for k, text in enumerate(slots) if text.finished]
        free = holes + list(range(len(slots), stepper.max_rows))
        admission = stepper.admit(free)
        if admission is None:
            return slots
        texts = [growing[i] for i in admission.requests]
        for slot, text in zip(admission.slots, texts, strict=True):
            slots[slot : slot + 1] = [text]
        _draw(weights, admission.logits, texts)


def _draw(weights: Weights, logits: torch.Tensor, texts: Sequence[_Growing]) -> None:
    uniforms = torch.tensor([text.stream.random() for text in texts], dtype=torch.float64)
    for text, token_id, log_prob in zip(texts, *inverse_cdf(weights, logits, uniforms), strict=True):
        text.take(token_id, log_prob)

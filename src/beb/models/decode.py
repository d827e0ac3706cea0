"""Sampling at temperature 1 from the whole next-token distribution, every request on its own stream of uniforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from beb.errors import OutOfMemory
from beb.interfaces.language_model import Completion, Failure, SampleRequest, TokenIds
from beb.models import cells
from beb.models.memory import cached_rows, release
from beb.models.requests import no_room, refuse_unusable
from beb.models.sentences import SentenceRule, SentenceTracker
from beb.models.steppers import OwnCacheStepper, RowsOutgrown, RowStepper, Stepper
from beb.models.weights import Weights, foreign_errors

_BLOCK = 256


@dataclass(slots=True)
class _Growing:
    """A text being sampled. uniform: drawn for its next token, which has not been taken yet."""

    request: SampleRequest
    tracker: SentenceTracker
    stream: np.random.Generator
    token_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    uniform: float | None = None

    @property
    def finished(self) -> bool:
        return self.tracker.stopped or len(self.tracker.ends) >= self.request.n_sentences

    @property
    def so_far(self) -> TokenIds:
        return (*self.request.prefix, *self.token_ids)

    @property
    def to_come(self) -> int:
        return self.request.n_sentences * self.request.max_sentence_tokens - len(self.token_ids)

    def next_uniform(self) -> float:
        """The same until a token is taken: one whose logits did not fit into memory is drawn again."""
        if self.uniform is None:
            self.uniform = self.stream.random()
        return self.uniform

    def take(self, token_id: int, log_prob: float) -> None:
        self.uniform = None
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
    rows = min(n, cached_rows(vocabulary)) if logits.device.type == "cpu" else n
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
    """Sample all texts; where memory runs out, those not finished go on from where they are, half at a time."""
    max_rows = cells.MAX_ROWS
    while unfinished := [text for text in growing if not text.finished]:
        stepper: Stepper | None = None
        try:
            with foreign_errors(weights.name), torch.inference_mode():
                kind = RowStepper if row_cache else OwnCacheStepper
                stepper = kind(
                    weights,
                    [text.so_far for text in unfinished],
                    max(text.to_come for text in unfinished),
                    max_rows=max_rows,
                )
                _advance(weights, stepper, unfinished)
        except RowsOutgrown:
            pass
        except OutOfMemory:
            if not weights.memory.halve():
                raise
        else:
            return
        max_rows = max(1, (max_rows if stepper is None else stepper.max_rows) // 2)
        stepper = None
        release()


def _advance(weights: Weights, stepper: Stepper, growing: list[_Growing]) -> None:
    slots: list[_Growing] = []
    while True:
        slots = _admit(weights, stepper, growing, slots)
        kept = [k for k, text in enumerate(slots) if not text.finished]
        if not kept:
            return
        if len(kept) < len(slots):
            slots = [slots[old] for old in stepper.compact(kept)]
        states = stepper.step([text.token_ids[-1] for text in slots])
        _draw(weights, stepper, slots, states, range(len(slots)))


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
        _draw(weights, stepper, texts, admission.states, admission.state_of)


def _draw(
    weights: Weights, stepper: Stepper, texts: Sequence[_Growing], states: torch.Tensor, state_of: Sequence[int]
) -> None:
    """The next token of every text, as many at a time as have room for a row of the vocabulary each.

    state_of: ascending index of each text's state.
    """
    size = weights.rows_at_once(len(texts))
    for at in range(0, len(texts), size):
        part, index = texts[at : at + size], state_of[at : at + size]
        logits = stepper.logits(states[index[0] : index[-1] + 1])
        if len(logits) < len(part):
            logits = logits[torch.tensor([k - index[0] for k in index], device=logits.device)]
        uniforms = torch.tensor([text.next_uniform() for text in part], dtype=torch.float64)
        for text, token_id, log_prob in zip(part, *inverse_cdf(weights, logits, uniforms), strict=True):
            text.take(token_id, log_prob)

"""Worlds with a known truth, and the limit that every coverage test derives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from beb.core.estimate import Estimate
from intervals import most_misses

Array = NDArray[np.float64]
RUNS = 400
LEVEL = 0.9


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240721)


@pytest.fixture
def assert_covers() -> Callable[[Sequence[bool], float], None]:
    """Fail if more of the runs miss than chance allows once in a million."""

    def check(hits: Sequence[bool], level: float = LEVEL) -> None:
        assert len(hits) >= RUNS
        misses = len(hits) - int(np.sum(hits))
        assert misses <= most_misses(len(hits), level), f"{misses} misses in {len(hits)} runs at {level}"

    return check


@pytest.fixture
def holds() -> Callable[[Estimate, float], bool]:
    return lambda estimate, truth: estimate.low <= truth <= estimate.high


@dataclass(frozen=True)
class MixtureWorld:
    """An exact mixture of two Markov chains over three one-token sentences; everything known by enumeration."""

    start: Array  # (2, 3) first sentence under P₋ and P₊
    step: Array  # (2, 3, 3) next sentence given the last
    alpha: float
    n_sentences: int

    def log_probs(self, texts: NDArray[np.int64]) -> Array:
        """(2, n_texts, n_sentences) cumulative log probability under P₋ and P₊."""
        first = np.log(self.start)[:, texts[:, 0], None]
        rest = np.log(self.step)[:, texts[:, :-1], texts[:, 1:]]
        return np.cumsum(np.concatenate([first, rest], axis=2), axis=2)

    def log_ratio(self, texts: NDArray[np.int64]) -> Array:
        negative, positive = self.log_probs(texts)
        return negative - positive

    def evidence(self, texts: NDArray[np.int64]) -> Array:
        negative, positive = self.log_probs(texts)
        return negative - np.logaddexp(np.log(self.alpha) + negative, np.log1p(-self.alpha) + positive)

    def weight(self, texts: NDArray[np.int64]) -> Array:
        """(n_texts, n_sentences + 1) posterior weight from n = 0 on."""
        start = np.full((len(texts), 1), self.alpha)
        return np.hstack([start, self.alpha * np.exp(self.evidence(texts))])

    def kl_to_target(self, texts: NDArray[np.int64]) -> Array:
        """(n_texts, n_sentences) KL(P₋‖P) of the next sentence after n = 0, 1, ... sentences."""
        w = self.weight(texts)[:, :-1, None]
        rows = [
            np.concatenate([np.broadcast_to(s, (len(texts), 1, 3)), t[texts[:, :-1]]], axis=1)
            for s, t in zip(self.start, self.step, strict=True)
        ]
        return (rows[0] * np.log(rows[0] / (w * rows[0] + (1 - w) * rows[1]))).sum(axis=2)

    def every_text(self) -> tuple[NDArray[np.int64], Array]:
        """All texts and their probabilities under P₋."""
        texts = np.array(list(itertools.product(range(3), repeat=self.n_sentences)))
        return texts, np.exp(self.log_probs(texts)[0][:, -1])

    def sample(self, n_prompts: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n_prompts, n_sentences) texts from P₋."""
        texts = np.zeros((n_prompts, self.n_sentences), dtype=np.int64)
        texts[:, 0] = rng.choice(3, size=n_prompts, p=self.start[0])
        for t in range(1, self.n_sentences):
            cumulative = np.cumsum(self.step[0][texts[:, t - 1]], axis=1)
            texts[:, t] = (rng.random((n_prompts, 1)) > cumulative).sum(axis=1).clip(0, 2)
        return texts


@pytest.fixture
def mixture_world() -> Callable[[float, int], MixtureWorld]:
    start = np.array([[0.55, 0.3, 0.15], [0.2, 0.3, 0.5]])
    step = np.array(
        [
            [[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.45, 0.3, 0.25]],
            [[0.25, 0.3, 0.45], [0.2, 0.4, 0.4], [0.1, 0.3, 0.6]],
        ]
    )
    return lambda alpha, n_sentences: MixtureWorld(start, step, alpha, n_sentences)

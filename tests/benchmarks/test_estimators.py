"""The published and the one-pass estimator both estimate the divergence that enumeration gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from beb.models.huggingface import HuggingFaceModel
from benchmarks.comparison import (
    cost_ratio,
    curve_variance,
    growth_exponent,
    jackknife_ratio,
    mean_difference,
    mean_variance,
    variance_ratio,
)
from benchmarks.counting import Meter
from benchmarks.lengths import whole_cost
from benchmarks.one_pass import one_pass_kl
from benchmarks.prompts import WINDOW_TOKENS, Prompt, nested_requests, sample_prompts
from benchmarks.published import published_kl

TOKENS = 2
CHANCE = float(stats.norm.isf(1e-6))
"""Standard errors that a right estimate exceeds once in a million."""


def log_rows(model: HuggingFaceModel, contexts: list[tuple[int, ...]]) -> np.ndarray:
    """(n, vocabulary) fp64 log-probabilities after contexts of one length."""
    with torch.inference_mode():
        logits = model.weights.module(input_ids=torch.tensor([model.start_ids + c for c in contexts])).logits[:, -1]
    return torch.log_softmax(logits.double(), -1).numpy()


def exact_kl(negative: HuggingFaceModel, positive: HuggingFaceModel, prefix: tuple[int, ...]) -> float:
    """Divergence of the next two tokens, by enumeration; nothing follows a token that ends the text."""
    first, other = (log_rows(m, [prefix])[0] for m in (negative, positive))
    total = float((np.exp(first) * (first - other)).sum())
    going_on = [t for t in range(len(first)) if t not in negative.rule.stops]
    p, q = (log_rows(m, [(*prefix, t) for t in going_on]) for m in (negative, positive))
    return total + float((np.exp(first[going_on]) * (np.exp(p) * (p - q)).sum(1)).sum())


def test_the_published_estimator_has_the_exact_divergence_as_its_mean(pair) -> None:
    for prefix in ((), (7, 30, 5, 9)):
        found = published_kl(*pair, prefix, seed=3, samples=6000, tokens=TOKENS)
        assert abs(found.kl_nats - exact_kl(*pair, prefix)) < CHANCE * np.sqrt(found.variance / 6000)
        assert found.variance > 0


def test_the_one_pass_estimator_has_the_same_mean(pair) -> None:
    prompts = sample_prompts(pair[0], 1500, sentences=2, max_sentence_tokens=4)
    values = one_pass_kl(*pair, prompts, sentences=2, tokens=TOKENS)
    error = values[:, 0].std(ddof=1) / np.sqrt(len(prompts))
    assert error < 0.1 * values[:, 0].mean()
    assert abs(values[:, 0].mean() - exact_kl(*pair, ())) < CHANCE * error
    # After a sentence of its own each prompt has a divergence of its own; the two means agree all the same.
    some = [(row, p) for row, p in enumerate(prompts[:60]) if len(p.prefixes(2)) == 2]
    exact = np.array([exact_kl(*pair, p.token_ids[: p.prefixes(2)[1]]) for _, p in some])
    difference = values[[row for row, _ in some], 1] - exact
    assert abs(difference.mean()) < CHANCE * difference.std(ddof=1) / np.sqrt(len(some))


def test_token_forwards_are_those_of_the_published_algorithm(pair) -> None:
    length, samples = len(pair[0].start_ids) + 3, 5
    found = published_kl(*pair, (7, 30, 5), seed=0, samples=samples, tokens=4)
    generated = length + 3  # the beginning, and every sampled token but the last
    assert found.token_forwards == samples * (generated + 2 * (length + 3))


@pytest.mark.parametrize("packs", [True, False])
def test_token_forwards_leave_out_padding(packs: bool, pair, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pair[0]
    assert model.weights.packs
    monkeypatch.setattr(model.weights, "packs", packs)
    texts = [tuple(range(5, 5 + n)) for n in (40, 39, 37)]
    with Meter(model.weights) as meter:
        model.distributions(texts)
    assert meter.token_forwards == sum(len(model.start_ids) + len(ids) - 1 for ids in texts)
    assert meter.padded == meter.token_forwards if packs else meter.padded > meter.token_forwards
    assert 0 < meter.network_seconds < 60


def test_prefixes_and_windows_of_a_prompt() -> None:
    prompt = Prompt(tuple(range(30)), (4, 10, 15, 30), stopped=False)
    assert prompt.prefixes(3) == [0, 4, 10]
    assert len(prompt.scored(3)) == 10 + WINDOW_TOKENS
    assert len(prompt.first(2)) == 10
    assert Prompt((5, 6, 7, 2), (4,), stopped=True).prefixes(3) == [0]


def test_nested_requests_ask_after_every_prefix(pair) -> None:
    requests = nested_requests(pair[0], [tuple(range(5, 20)), tuple(range(30, 40))], [(4, 9), (6,)], responses=2)
    assert len(requests) == 2 * (3 + 2)
    assert len({request.seed for request in requests}) == len(requests)
    assert {len(request.prefix) - len(pair[0].start_ids) for request in requests} == {0, 4, 9, 6}


def test_ratios_at_equal_error() -> None:
    second = np.random.default_rng(0).normal(size=(12, 4)) + np.arange(12)[:, None]
    first = 2 * second
    ratio = variance_ratio(first, second)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((4, 4, 4))
    assert curve_variance(first) == pytest.approx(4 * np.var(second, axis=0, ddof=1).mean())
    # Half as precise, but a hundredth of the cost: equal precision costs a twenty-fifth.
    dear = np.full(12, 100.0)
    assert cost_ratio(second, dear, first, 1.0).value == pytest.approx(25)
    assert cost_ratio(second, dear, first, 1.0, variance=mean_variance).value == pytest.approx(25)
    assert mean_variance(second) == pytest.approx(np.var(second.mean(1), ddof=1))
    assert mean_difference(second + 0.5, second).value == pytest.approx(0.5)
    assert growth_exponent(np.array([2.0, 4, 8]), np.array([2.0, 4, 8]) ** 2) == pytest.approx(2)


@pytest.mark.parametrize("spread", [1.0, 1.5])
def test_the_jackknife_interval_covers(spread: float) -> None:
    runs, level, rng = 400, 0.95, np.random.default_rng(5)
    missed, widths = 0, []
    for _ in range(runs):
        shared = rng.normal(size=(10, 6))
        first, second = shared + spread * rng.normal(size=(10, 6)), shared + 0.1 * rng.normal(size=(10, 6))
        found = jackknife_ratio(10, ratio_of(first, second), level)
        missed += not found.low <= (1 + spread**2) / 1.01 <= found.high
        widths.append(found.high / found.low)
    assert missed <= stats.binom.isf(1e-6, runs, 1 - level)
    assert np.median(widths) < 6


def ratio_of(first: np.ndarray, second: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda kept: curve_variance(first[kept]) / curve_variance(second[kept])


def test_cost_between_measured_prefixes_is_linear_in_their_tokens() -> None:
    prompt = Prompt(tuple(range(100)), (10, 25, 31, 60, 100), stopped=False)
    seconds = [2 + 0.1 * n for n in (0, 31)]
    assert whole_cost(prompt, 4, (0, 3), seconds) == pytest.approx(4 * 2 + 0.1 * (0 + 10 + 25 + 31))
    assert np.isnan(whole_cost(prompt, 5, (0, 3), seconds))

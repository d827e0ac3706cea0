import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import binomtest, norm, t

from beb.errors import BadSpec, TooFewPrompts
from beb.estimate.weights import fit_weights, unexplained, weight_intervals
from intervals import assert_cannot_be_halved, half_holds, most_misses

# Three components over six sentences; texts are three independent sentences of one component.
SENTENCES = np.array(
    [[0.4, 0.3, 0.1, 0.1, 0.05, 0.05], [0.05, 0.1, 0.4, 0.3, 0.1, 0.05], [0.1, 0.05, 0.05, 0.1, 0.3, 0.4]]
)
LENGTH = 3


def texts(rng: np.random.Generator, weights: np.ndarray, n: int, sentences: np.ndarray = SENTENCES) -> np.ndarray:
    """(n, LENGTH) sentences of n texts from the mixture."""
    who = rng.choice(len(sentences), p=weights, size=n)
    return (rng.random((n, LENGTH, 1)) > np.cumsum(sentences, axis=1)[who][:, None, :-1]).sum(axis=2)


def log_probs(words: np.ndarray, sentences: np.ndarray = SENTENCES) -> np.ndarray:
    """(n, n_components) log Pᵢ of each text."""
    return np.log(sentences).T[words].sum(axis=1)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 80))
@settings(deadline=None, max_examples=60)
def test_the_certificate_is_met_and_true(seed: int, n_components: int, n_texts: int) -> None:
    rng = np.random.default_rng(seed)
    logs = rng.normal(scale=10 ** rng.uniform(-1, 2), size=(n_texts, n_components)) - 300
    fit = fit_weights(logs)
    assert fit.converged
    assert fit.weights.min() >= 0
    assert fit.weights.sum() == pytest.approx(1, abs=1e-12)
    mixture = logsumexp(logs + fit.log_weights, axis=1)
    assert fit.log_likelihood == pytest.approx(mixture.mean(), rel=1e-12)
    assert fit.certificate == pytest.approx(max(np.exp(logs - mixture[:, None]).mean(axis=0).max() - 1, 0), abs=1e-10)
    for _ in range(20):  # no other weights are better than the certificate allows
        other = np.log(rng.dirichlet(np.full(n_components, 0.3)) + 1e-300)
        assert logsumexp(logs + other, axis=1).mean() <= fit.log_likelihood + math.log1p(fit.certificate) + 1e-9


def test_the_optimum_by_hand() -> None:
    # Components without overlap: the weights are the shares of the texts.
    logs = np.log(np.repeat(np.eye(3), [5, 3, 2], axis=0), where=False, out=np.full((10, 3), -np.inf))
    logs[np.arange(10), [0] * 5 + [1] * 3 + [2] * 2] = -7.0
    fit = fit_weights(logs)
    assert fit.weights == pytest.approx([0.5, 0.3, 0.2], abs=1e-8)
    # Two texts, P₁ = (.8, .2), P₂ = (.5, .5) against equal shares: w = (0, 1) is optimal, on the boundary.
    fit = fit_weights(np.log([[0.8, 0.5], [0.2, 0.5]]))
    assert fit.weights.tolist() == pytest.approx([0.0, 1.0], abs=1e-8)
    assert fit.log_likelihood == pytest.approx(math.log(0.5), abs=1e-8)


def test_slow_em_problems_are_quick_and_certified() -> None:
    # Nearly equal components: EM alone would need some 1e5 steps.
    rng = np.random.default_rng(5)
    close = np.stack([SENTENCES[0], 0.99 * SENTENCES[0] + 0.01 * SENTENCES[1], SENTENCES[2]])
    fit = fit_weights(log_probs(texts(rng, np.array([0.5, 0.3, 0.2]), 4000, close), close), tolerance=1e-8)
    assert fit.converged
    assert fit.iterations < 60


def test_steps_stop_at_the_limit() -> None:
    rng = np.random.default_rng(6)
    fit = fit_weights(log_probs(texts(rng, np.array([0.7, 0.2, 0.1]), 200)), max_iterations=1)
    assert not fit.converged
    assert fit.certificate > 1e-8


def test_refusals() -> None:
    rng = np.random.default_rng(1)
    logs = log_probs(texts(rng, np.full(3, 1 / 3), 40))
    twin = np.column_stack([logs, logs[:, 1]])
    with pytest.raises(BadSpec, match="personas 1 and 3 are identical on all 40 texts"):
        fit_weights(twin)
    with pytest.raises(BadSpec, match="personas kind and gentle are identical"):
        fit_weights(twin, names=["rude", "kind", "sly", "gentle"])
    with pytest.raises(BadSpec, match="2 names for 3"):
        fit_weights(logs, names=["a", "b"])
    with pytest.raises(BadSpec, match="NaN"):
        fit_weights(np.where(logs < -8, np.nan, logs))
    with pytest.raises(BadSpec, match="inf"):
        fit_weights(np.full((3, 2), np.inf))
    with pytest.raises(BadSpec, match=r"text 1 \(of 1\) has probability 0 under every component"):
        fit_weights([[0.0, -1.0], [-np.inf, -np.inf]])
    with pytest.raises(BadSpec, match="shape"):
        fit_weights(logs[:, 0])
    with pytest.raises(TooFewPrompts):
        fit_weights(np.zeros((0, 2)))
    with pytest.raises(BadSpec, match="0 to 2"):
        weight_intervals(logs, level=0.9, components=[3])
    with pytest.raises(BadSpec, match="cross-fitting needs rng"):
        unexplained(logs[:, 0], logs, level=0.9)
    with pytest.raises(BadSpec, match="one finite number a text"):
        unexplained(logs[1:, 0], logs, level=0.9, rng=rng)
    with pytest.raises(BadSpec, match="some text probability 0"):
        unexplained([0.0, 0.0], [[-1.0, -np.inf], [-np.inf, -1.0]], [0.0, -np.inf], level=0.9)
    with pytest.raises(BadSpec, match="sum to 1"):
        unexplained(logs[:, 0], logs, [0.0, 0.0, 0.0], level=0.9)


def test_a_single_component_has_weight_one() -> None:
    rng = np.random.default_rng(2)
    (e,) = weight_intervals(log_probs(texts(rng, np.full(3, 1 / 3), 10))[:, :1], level=0.9)
    assert (e.value, e.exact) == (1.0, True)


DISTINCT = 0.97 * np.repeat(np.eye(3), 2, axis=1) / 2 + 0.005
INTERVAL_CASES = [
    ("overlapping", SENTENCES, (0.6, 0.3, 0.1)),
    ("one absent", SENTENCES, (0.65, 0.35, 0.0)),
    ("two absent", SENTENCES, (1.0, 0.0, 0.0)),
    ("rare, told apart without doubt", DISTINCT, (0.78, 0.2, 0.02)),
    ("absent, told apart without doubt", DISTINCT, (0.8, 0.2, 0.0)),
]


def best_widths(weights: np.ndarray, sentences: np.ndarray, n_texts: int, level: float) -> np.ndarray:
    """(3,) width of an efficient interval of each weight: from the Fisher information, or Clopper–Pearson's if larger.

    With w₃ = 1 − w₁ − w₂ the information of a text is E[g gᵀ], gᵢ = (Pᵢ − P₃)/P_w, by enumeration of all texts.
    """
    every = np.array(np.meshgrid(*[range(6)] * LENGTH)).reshape(LENGTH, -1).T
    likelihoods = np.exp(log_probs(every, sentences))
    mixture = likelihoods @ weights
    g = (likelihoods[:, :2] - likelihoods[:, 2:]) / mixture[:, None]
    covariance = np.linalg.inv((g * mixture[:, None]).T @ g) / n_texts
    to_three = np.array([[1, 0], [0, 1], [-1, -1]])
    wald = 2 * norm.isf((1 - level) / 2) * np.sqrt(np.diag(to_three @ covariance @ to_three.T))
    exact = [binomtest(round(n_texts * w), n_texts).proportion_ci(level, "exact") for w in weights]
    return np.maximum(wald, [e.high - e.low for e in exact])


@pytest.mark.parametrize(("case", "sentences", "weights"), INTERVAL_CASES, ids=[c[0] for c in INTERVAL_CASES])
def test_weight_intervals_cover(case: str, sentences: np.ndarray, weights: tuple[float, ...]) -> None:
    runs, level, n_texts = 100, 0.9, 100
    rng = np.random.default_rng(sum(map(ord, case)))
    missed, widths = np.zeros(3), []
    for _ in range(runs):
        words = texts(rng, np.array(weights), n_texts, sentences)
        intervals = weight_intervals(log_probs(words, sentences), level=level)
        missed += [not e.low <= truth <= e.high for e, truth in zip(intervals, weights, strict=True)]
        widths.append([e.width for e in intervals])
        for e, truth in zip(intervals, weights, strict=True):
            assert truth > 0 or e.value < 0.3
    assert (missed <= most_misses(runs, level)).all(), missed
    # At most as from half of the texts.
    assert (np.median(widths, axis=0) < math.sqrt(2) * best_widths(np.array(weights), sentences, n_texts, level)).all()


def test_more_texts_narrow_the_interval_of_an_absent_component() -> None:
    rng = np.random.default_rng(9)
    words = texts(rng, np.array([0.8, 0.2, 0.0]), 1600)
    widths = [weight_intervals(log_probs(words[:n]), level=0.95, components=[2])[0].high for n in (100, 400, 1600)]
    assert all(later < earlier for earlier, later in pairwise(widths))
    # No text of the third among n, told apart without doubt: Clopper–Pearson's upper limit.
    sure = np.full((50, 2), -900.0)
    sure[:, 0] = -3.0
    e = weight_intervals(sure, level=0.95, components=[1])[0]
    assert (e.value, e.low) == (0.0, 0.0)
    assert e.high == pytest.approx(1 - 0.025 ** (1 / 50), rel=1e-6)


def exact_divergence(target: np.ndarray, log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """log P of all texts under i.i.d. sentences of `target`, and KL(P ‖ mixture) per sentence, by enumeration."""
    words = np.array(np.meshgrid(*[range(6)] * LENGTH)).reshape(LENGTH, -1).T
    log_p = np.log(target)[words].sum(axis=1)
    mixture = logsumexp(log_probs(words) + log_weights, axis=1)
    return log_p, float(np.exp(log_p) @ (log_p - mixture)) / LENGTH


TARGET = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.5])  # outside the mixtures of the three


def test_unexplained_covers_the_exact_divergence_for_given_weights() -> None:
    runs, level, n_texts = 100, 0.9, 60
    rng = np.random.default_rng(31)
    log_weights = np.log([0.2, 0.3, 0.5])
    _, truth = exact_divergence(TARGET, log_weights)
    missed, halved = 0, []
    for _ in range(runs):
        words = rng.choice(6, p=TARGET, size=(n_texts, LENGTH))
        log_p = np.log(TARGET)[words].sum(axis=1)
        e = unexplained(log_p, log_probs(words), log_weights, level=level, sentences=LENGTH)
        missed += not e.low <= truth <= e.high
        halved.append(half_holds(e, truth))
    assert missed <= most_misses(runs, level)
    assert_cannot_be_halved(halved, level)


@pytest.mark.parametrize("outside", [True, False])
def test_cross_fitted_unexplained_covers_the_smallest_divergence(outside: bool) -> None:
    runs, level, n_texts = 50, 0.9, 80
    rng = np.random.default_rng(32 + outside)
    weights = np.array([0.5, 0.3, 0.2])
    if outside:  # the best weights from a population-sized sample: their divergence is the smallest up to 1e-4
        best = fit_weights(log_probs(rng.choice(6, p=TARGET, size=(60000, LENGTH))))
        _, truth = exact_divergence(TARGET, best.log_weights)
    else:
        truth = 0.0
    missed, widths = 0, []
    for _ in range(runs):
        if outside:
            words = rng.choice(6, p=TARGET, size=(n_texts, LENGTH))
            log_p = np.log(TARGET)[words].sum(axis=1)
        else:
            words = texts(rng, weights, n_texts)
            log_p = logsumexp(log_probs(words) + np.log(weights), axis=1)
        e = unexplained(log_p, log_probs(words), level=level, sentences=LENGTH, rng=rng, n_folds=5)
        missed += not e.low <= truth <= e.high
        widths.append(e.width)
        assert e.low >= 0
    assert missed <= most_misses(runs, level)
    # Two free weights: the fit gains d/2n nats a text in its own sample and loses as much on others (Wilks, Akaike), so
    # that the limits, one from each side, lie d/n further apart than those of known weights. The surprise of a text
    # varies by its own spread and, where that is 0, by the fit's: d/n in square. Twice that is still useful.
    d, spread = 2, 0.0
    if outside:
        words = rng.choice(6, p=TARGET, size=(60000, LENGTH))
        mixture = logsumexp(log_probs(words) + best.log_weights, axis=1)
        spread = float((np.log(TARGET)[words].sum(axis=1) - mixture).std())
    error = math.sqrt((spread**2 + d / n_texts) / n_texts)
    assert np.median(widths) < 2 * (d / n_texts + 2 * t.isf((1 - level) / 2, n_texts - 1) * error) / LENGTH


def test_unexplained_per_sentence_with_texts_of_different_lengths() -> None:
    # A ratio of sums: texts of n sentences that each lose n times 0.25 nats, give or take 0.01.
    rng = np.random.default_rng(8)
    n = rng.integers(1, 9, size=200)
    logs = -5.0 * n[:, None]
    log_p = logs[:, 0] + 0.25 * n + rng.choice([-0.01, 0.01], size=200)
    e = unexplained(log_p, logs, [0.0], level=0.95, sentences=n)
    assert e.low < 0.25 < e.high
    assert e.width < 0.001
    same = unexplained(logs[:, 0], logs, [0.0], level=0.95, sentences=n)
    assert (same.value, same.low, same.high) == (0.0, 0.0, math.inf)

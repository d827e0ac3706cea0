import math

import numpy as np
import pytest
from scipy.stats import chi2, t

from beb.errors import BadSpec, EstimateError, TooFewPrompts
from beb.estimate.law_fit import Bayesian, Frame, Law, Logistic, PowerLaw, Scale, solve
from beb.estimate.laws import LawComparison, compare_laws
from intervals import most_misses

LENGTHS = range(9)
N = np.arange(9.0)
NLL_LAWS: list[tuple[Law, list[float]]] = [
    (Logistic("nll"), [0.3, 4.0, 14.0, 24.0]),
    (PowerLaw("nll"), [12.0, 10.0, -0.3]),
    (Bayesian("nll", None), [10.0, 14.0, 1.2, 5.0]),
]
BEHAVIOR_LAWS: list[tuple[Law, list[float]]] = [
    (Logistic("behavior"), [-0.2, 3.5, -0.7, 0.7]),
    (PowerLaw("behavior"), [-0.8, 1.4, 0.0]),
    (Bayesian("behavior", 1.0), [0.1, 1.2, 2.5]),
]
CASES = [("nll", *case) for case in NLL_LAWS] + [("behavior", *case) for case in BEHAVIOR_LAWS]
NAMES = [f"{case[1].name}, {case[0]}" for case in CASES]


def curves(rng: np.random.Generator, law: Law, theta: list[float], scale: Scale, n_prompts: int) -> np.ndarray:
    """(n_prompts, 9) around the law; skewed with a shared prompt effect (nll), or means of 6 scores ±1 (behavior)."""
    mean = law.curve(np.array([theta]), N)[0]
    if scale == "nll":
        shared, own = rng.normal(size=(n_prompts, 1)), rng.gamma(4.0, 0.5, size=(n_prompts, 9)) - 2
        return mean + shared + own
    return 2 * (rng.random((n_prompts, 9, 6)) < (1 + mean[:, None]) / 2).mean(axis=2) - 1


@pytest.mark.parametrize(("scale", "law", "theta"), CASES, ids=NAMES)
def test_derivatives_and_exact_recovery(scale: Scale, law: Law, theta: list[float]) -> None:
    point = np.array([theta])
    jacobian = law.jacobian(point, N)[0]
    for i in range(len(theta)):
        step = 1e-6 * np.eye(len(theta))[[i]]
        numerical = (law.curve(point + step, N) - law.curve(point - step, N))[0] / 2e-6
        assert jacobian[:, i] == pytest.approx(numerical, abs=1e-6)
    exact = law.curve(point, N)
    frame = Frame(N, float(exact.min()), float(exact.max()), float(np.ptp(exact)))
    weights = np.random.default_rng(1).uniform(0.5, 2.0, size=(3, 9))
    found = solve(law, frame, np.repeat(exact, 3, axis=0), weights)
    assert np.abs(law.curve(found, N) - exact).max() < 1e-4 * np.ptp(exact)
    assert found[0] == pytest.approx(point[0], abs=0.02)


def test_steep_falls_of_the_bayesian_law_are_found() -> None:
    # 25 nats within 1.2 sentences: flat, straight down, flat.
    law, theta = Bayesian("nll", None), np.array([[20.0, 25.0, 3.0, 4.0]])
    exact = law.curve(theta, N)
    found = solve(law, Frame(N, float(exact.min()), float(exact.max()), 25.0), exact, np.ones((1, 9)))
    assert np.abs(law.curve(found, N) - exact).max() < 1e-3


def test_the_bayesian_law_is_bayes_rule() -> None:
    a, d, log_v, m = 0.3, 1.4, -0.2, 3.0
    p1, p0, k, log_odds = math.exp(-a), math.exp(-a - d), math.exp(log_v) / d, -math.exp(log_v) * m
    rho = 1 / (1 + math.exp(-log_odds))
    top = rho * p1 ** (k * N) * p1 + (1 - rho) * p0 ** (k * N) * p0
    by_hand = top / (rho * p1 ** (k * N) + (1 - rho) * p0 ** (k * N))
    theta = np.array([[a, d, log_v, m]])
    assert Bayesian("nll", None).curve(theta, N)[0] == pytest.approx(-np.log(by_hand), abs=1e-12)
    assert Bayesian("behavior", None).curve(theta, N)[0] == pytest.approx(1 - 2 * by_hand, abs=1e-12)
    assert Bayesian("nll", None).readable(theta[0]) == pytest.approx([a, a + d, log_odds, math.log(k)])
    # With K free and B = 1 − 2p it is the logistic: levels 1 − 2p₁ and 1 − 2p₀, slope Kd, the same midpoint.
    logistic = Logistic("behavior").curve(np.array([[log_v, m, 1 - 2 * p1, 1 - 2 * p0]]), N)
    assert logistic[0] == pytest.approx(1 - 2 * by_hand, abs=1e-12)
    fixed = Bayesian("nll", k)
    assert fixed.curve(np.array([[a, d, m]]), N)[0] == pytest.approx(-np.log(by_hand), abs=1e-12)


def verdicts(comparison: LawComparison, law: Law) -> list[str]:
    return [d.verdict for d in comparison.differences if law.name in (d.first, d.second)]


@pytest.mark.parametrize(("scale", "law", "theta"), CASES[:4], ids=NAMES[:4])
def test_the_generating_law_is_not_beaten_and_its_parameters_are_covered(
    scale: Scale, law: Law, theta: list[float]
) -> None:
    runs, level = 20, 0.9
    rng = np.random.default_rng(NAMES.index(f"{law.name}, {scale}"))
    truth = law.readable(np.array(theta))
    links = [link for _, _, link in law.labels("")]
    truth = np.array([t if link == "identity" else math.exp(t) for t, link in zip(truth, links, strict=True)])
    beaten, missed = 0, np.zeros(truth.size)
    for _ in range(runs):
        y = curves(rng, law, theta, scale, 24)
        comparison = compare_laws(y, LENGTHS, scale=scale, level=level, rng=rng)
        beaten += any(verdict not in (law.name, "undecided") for verdict in verdicts(comparison, law))
        (fit,) = [fit for fit in comparison.laws if fit.name == law.name]
        missed += [not p.estimate.low <= t <= p.estimate.high for p, t in zip(fit.parameters, truth, strict=True)]
    limit = most_misses(runs, level)
    assert beaten <= limit
    assert (missed <= limit).all()


@pytest.mark.parametrize(("scale", "law", "theta"), CASES, ids=NAMES)
def test_the_generating_law_wins_with_enough_prompts(scale: Scale, law: Law, theta: list[float]) -> None:
    rng = np.random.default_rng(11)
    comparison = compare_laws(curves(rng, law, theta, scale, 500), LENGTHS, scale=scale, level=0.95, rng=rng)
    # On the behavior scale the Bayesian law is a special case of the logistic: both hold.
    special = law.name == "Bayesian" and scale == "behavior"
    assert verdicts(comparison, law) == ["undecided" if special else law.name, law.name]
    (fit,) = [fit for fit in comparison.laws if fit.name == law.name]
    assert fit.note == ""
    assert np.abs(np.array(fit.fitted) - law.curve(np.array([theta]), N)[0]).max() < 0.3
    assert all(math.isfinite(p.estimate.width) for p in fit.parameters)


def test_laws_that_hold_equally_are_undecided_at_the_nominal_rate() -> None:
    # A falling straight line: the logistic (its middle) and the Bayesian law (its ramp) both hold it, four parameters
    # each, so that neither predicts better.
    runs, level = 30, 0.9
    rng = np.random.default_rng(21)
    outside, values, widths = 0, [], []
    for _ in range(runs):
        own = rng.gamma(4.0, 0.5, size=(24, 9)) - 2
        y = 20 - 0.5 * N + rng.normal(size=(24, 1)) + own
        comparison = compare_laws(y, LENGTHS, scale="nll", level=level, rng=rng)
        (d,) = [d for d in comparison.differences if {d.first, d.second} == {"logistic", "Bayesian"}]
        outside += not d.difference.low <= 0 <= d.difference.high
        assert (d.verdict == "undecided") == (d.difference.low <= 0 <= d.difference.high)
        values.append(d.difference.value)
        widths.append(d.difference.width)
    assert outside <= most_misses(runs, level)
    # As wide as the docstring says and no wider: Student's t at a Bonferroni share of three pairs, times √(1 + 5/4) for
    # the training prompts that five folds share, times the actual spread of the estimate. The spread of 30 values is
    # below its truth by no more than √(χ²/29) with probability 1 − 1e-6.
    spread = np.std(values, ddof=1) / math.sqrt(chi2.ppf(1e-6, runs - 1) / (runs - 1))
    assert np.median(widths) < 2 * t.isf((1 - level) / 3 / 2, 24 - 1) * math.sqrt(1 + 5 / 4) * spread


def test_a_known_efficiency_is_one_parameter_less_and_predicts_as_well() -> None:
    y = curves(np.random.default_rng(3), *NLL_LAWS[2], "nll", 60)
    free, known = (
        compare_laws(y, LENGTHS, scale="nll", level=0.9, rng=np.random.default_rng(1), efficiency=efficiency)
        for efficiency in (None, math.exp(1.2) / 14)
    )
    assert [p.name for p in free.laws[2].parameters[:-1]] == [p.name for p in known.laws[2].parameters]
    assert free.laws[:2] == known.laws[:2]
    assert free.laws[2].held_out_log_likelihood.value == pytest.approx(
        known.laws[2].held_out_log_likelihood.value, abs=0.1
    )


def test_the_order_of_the_prompts_does_not_matter() -> None:
    y = curves(np.random.default_rng(5), *NLL_LAWS[0], "nll", 20)
    one, other = (
        compare_laws(rows, LENGTHS, scale="nll", level=0.9, rng=np.random.default_rng(0)) for rows in (y, y[::-1])
    )
    assert one == other


def test_saturated_lengths_are_not_certain() -> None:
    # All prompts score −1 from the fifth sentence on: no spread there, and no infinite likelihood.
    rng = np.random.default_rng(6)
    y = np.where(N < 5, curves(rng, *BEHAVIOR_LAWS[0], "behavior", 20), -1.0)
    comparison = compare_laws(y, LENGTHS, scale="behavior", level=0.9, rng=rng)
    assert all(abs(fit.held_out_log_likelihood.value) < 100 for fit in comparison.laws)


def test_a_level_at_its_limit_has_no_error_and_leaves_the_others_theirs() -> None:
    # The truth's lower level is B = −1 itself.
    y = curves(np.random.default_rng(4), Logistic("behavior"), [1.0, 2.5, -1.0, 0.6], "behavior", 40)
    comparison = compare_laws(y, LENGTHS, scale="behavior", level=0.95, rng=np.random.default_rng(0))
    after, before, beta, midpoint = (p.estimate for p in comparison.laws[0].parameters)
    assert after.value == -1.0
    assert math.isinf(after.width)
    assert comparison.laws[0].note == "the curve does not determine the logistic law's level after many sentences"
    assert before.low < 0.6 < before.high
    assert beta.low < math.e < beta.high < 3 * beta.low
    assert midpoint.low < 2.5 < midpoint.high < midpoint.low + 0.5


def test_a_flat_curve_determines_no_shape() -> None:
    rng = np.random.default_rng(7)
    y = np.tile(rng.normal(size=(20, 1)), (1, 9)) + 15
    comparison = compare_laws(y, LENGTHS, scale="nll", level=0.9, rng=rng)
    for fit in comparison.laws:
        assert "does not determine" in fit.note
        assert all(math.isinf(p.estimate.width) for p in fit.parameters)
    assert {d.verdict for d in comparison.differences} == {"undecided"}


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    y = curves(rng, *NLL_LAWS[0], "nll", 12)
    with pytest.raises(TooFewPrompts, match="has 8 prompts and needs at least 10"):
        compare_laws(y[:8], LENGTHS, scale="nll", level=0.9, rng=rng)
    with pytest.raises(BadSpec, match="at least 5"):
        compare_laws(y[:, :4], range(4), scale="nll", level=0.9, rng=rng)
    with pytest.raises(EstimateError, match="outside its bounds"):
        compare_laws(y, LENGTHS, scale="behavior", level=0.9, rng=rng)
    with pytest.raises(EstimateError, match="all 12 prompts agree"):
        compare_laws(np.tile(y[:1], (12, 1)), LENGTHS, scale="nll", level=0.9, rng=rng)
    with pytest.raises(BadSpec, match="efficiency > 0"):
        compare_laws(y, LENGTHS, scale="nll", level=0.9, rng=rng, efficiency=0.0)


def test_levels_that_only_make_up_for_an_exponent_are_not_determined() -> None:
    """A straight fall is a power law of any small exponent: its floor and height trade off against it."""
    rng = np.random.default_rng(8)
    y = curves(rng, PowerLaw("nll"), [-400.0, 430.0, math.log(0.02)], "nll", 40)
    (law,) = [fit for fit in compare_laws(y, LENGTHS, scale="nll", level=0.9, rng=rng).laws if fit.name == "power law"]
    assert all(math.isinf(p.estimate.width) for p in law.parameters)
    assert law.note == "the curve does not determine the power law's floor K, height C, exponent a"


def test_the_floor_of_behavior_lies_where_behavior_can_be() -> None:
    rng = np.random.default_rng(9)
    falls = np.clip(0.6 - 0.17 * N + rng.normal(0, 0.15, (40, 9)), -1, 1)
    comparison = compare_laws(falls, LENGTHS, scale="behavior", level=0.9, rng=rng)
    floor, height, _ = (p.estimate for p in comparison.laws[1].parameters)
    assert floor.value == pytest.approx(-1.0)
    assert 0 < height.value <= 2

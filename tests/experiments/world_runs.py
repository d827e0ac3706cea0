"""Whole measurements of random exact worlds, and what each printed number should have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit

from beb.core.bounds import converse, random_prompt, single_prompt
from beb.core.logspace import log_odds
from beb.errors import GateFailed
from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.measurement import Measurement
from beb.experiments.spec import MeasureSpec
from beb.experiments.subjects import world_subjects
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, Scorer, ScorerInfo
from beb.worlds.exact import Truth, truth
from beb.worlds.scorer import WorldScorer
from beb.worlds.text_world import text_world
from beb.worlds.world import World
from run_coverage import Shown, Verdicts, judged, run_folder

SENTENCES = 5
PROMPTS = (8, 20, 40)  # few, more, and the default


def spec_for(seed: int) -> MeasureSpec:
    prompts = PROMPTS[seed % len(PROMPTS)]
    return MeasureSpec(model="world:random", prompts=prompts, sentences=SENTENCES, formats=("plain",), seed=seed)


class FallibleScorer(Scorer):
    """Takes one class for another at fixed rates, which are known from 150 texts of each class, as a probe's are."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._exact, self._rng = WorldScorer(world), rng
        stay = rng.uniform(0.75, 0.95, 3)
        slip = rng.uniform(0.2, 0.8, 3)
        self._rates = np.array([
            [stay[0], (1 - stay[0]) * slip[0], (1 - stay[0]) * (1 - slip[0])],
            [(1 - stay[1]) * slip[1], stay[1], (1 - stay[1]) * (1 - slip[1])],
            [(1 - stay[2]) * slip[2], (1 - stay[2]) * (1 - slip[2]), stay[2]],
        ])  # fmt: skip
        counts = tuple(tuple(int(c) for c in rng.multinomial(150, rates)) for rates in self._rates)
        self.info = ScorerInfo("fallible", "test", "", counts, exact=False, brier=None, calibration_error=None)

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        found: list[Score | Failure] = []
        for score in self._exact.score(texts):
            assert isinstance(score, Score)
            taken = self._rng.choice(3, p=self._rates[score.predicted])
            found.append(Score(*(float(i == taken) for i in range(3))))
        return found


def measure_world(seed: int, *, fallible: bool) -> tuple[World, Measurement]:
    """fallible: with a scorer that errs, on a world whose B is -1, 0 or 1."""
    spec, rng = spec_for(seed), np.random.default_rng(seed)
    world = text_world(rng, n_words=2 if fallible else 3)
    subjects = world_subjects(spec, world)
    if fallible:
        scorer = FallibleScorer(world, rng)
        known = {**subjects.fingerprints, "scorer": {"confusion": [list(row) for row in scorer.info.confusion or ()]}}
        subjects = replace(subjects, scorer=scorer, fingerprints=known)
    with run_folder() as folder:
        return world, run_with_subjects(MEASURE, spec, subjects, folder)


def verdicts(seed: int, *, fallible: bool = False) -> Verdicts | None:
    """Per printed interval: does it hold the truth, and how wide is it? None if the gate refused the world."""
    try:
        world, measured = measure_world(seed, fallible=fallible)
    except GateFailed:
        return None
    exact = truth(world, SENTENCES)
    shown = corrected_pairs if fallible else pairs
    return judged(shown(measured, exact, world))


def fallible_verdicts(seed: int) -> Verdicts | None:
    return verdicts(seed, fallible=True)


def corrected_pairs(m: Measurement, exact: Truth, world: World) -> Shown:
    """What the scorer's errors enter: its correction must give back the truth."""
    curves = {curve.condition: curve for curve in (*m.behavior, *m.components)}
    truths = {
        "negative": exact.behavior_negative, "positive": exact.behavior_positive, "shuffled": exact.behavior_shuffled,
        "P₋ itself": exact.negative_behavior[:-1], "P₊ itself": exact.positive_behavior[:-1],
    }  # fmt: skip
    shown: Shown = {"gamma": (m.gamma, max(exact.negative_behavior[:-1]))}
    for name, true in truths.items():
        band = curves[name].corrected
        if band is not None:
            shown[f"B corrected, {name}"] = (band, true)
    return shown | {name: pair for name, pair in pairs(m, exact, world).items() if name.startswith("Theorem")}


def pairs(m: Measurement, exact: Truth, world: World) -> Shown:
    """Every printed interval with its true value."""
    n = np.arange(1, SENTENCES + 1)
    window = n >= m.alpha.plateau.first
    kappa, rest = np.polyfit(n[window], exact.evidence_curve[window], 1)
    slope, intercept = np.polyfit(np.arange(3), exact.kl_to_target_curve[:3], 1)
    curves = {curve.condition: curve for curve in m.behavior}
    shown = {
        "gate": (m.gate.accuracy, _accuracy(world)),
        "beta": (m.beta, exact.beta),
        "beta curve": (m.beta_curve, exact.beta_curve),
        "beta_prime": (m.beta_prime, exact.beta_prime),
        "beta_prime curve": (m.beta_prime_curve, exact.beta_prime_curve),
        "beta_prime, top of the curve": (m.beta_prime_top, exact.beta_prime_paper_reading),
        "sigma2": (m.sigma2, exact.sigma2_negative),
        "sigma2 curve": (m.sigma2_curve, exact.log_ratio_variance_negative / n),
        "sigma2 positive": (m.sigma2_positive, exact.sigma2_positive),
        "sigma2 positive curve": (m.sigma2_positive_curve, exact.log_ratio_variance_positive / n),
        "evidence": (m.evidence_curve, exact.evidence_curve),
        "KL to target": (m.kl_to_target_curve, exact.kl_to_target_curve),
        "plateau, the line's intercept": (m.alpha.plateau.log_inverse_alpha, rest),
        "kappa": (m.alpha.plateau.kappa, kappa),
        "line log 1/alpha": (m.alpha.line.log_inverse_alpha, intercept),
        "line beta": (m.alpha.line.beta, -slope),
        "gamma": (m.gamma, max(exact.negative_behavior[:-1])),
        "B after P₋ prompts": (curves["negative"].raw, exact.behavior_negative),
        "B after P₊ prompts": (curves["positive"].raw, exact.behavior_positive),
        "B after shuffled prompts": (curves["shuffled"].raw, exact.behavior_shuffled),
        "B of P₋": (m.components[0].raw, exact.negative_behavior[:-1]),
        "B of P₊": (m.components[1].raw, exact.positive_behavior[:-1]),
    }
    if m.alpha.line.ratio is not None and slope < 0:
        shown["line ratio"] = (m.alpha.line.ratio, intercept / -slope)
    for i, cap in enumerate(m.alpha.cap):
        shown[f"cap {i + 1}"] = (cap, world.log_inverse_alpha)
    fit = m.alpha.behavior["plain"]
    midpoint, steepness = projected_logistic(exact)
    shown["logistic midpoint"] = (fit.midpoint, midpoint)
    shown["logistic slope"] = (fit.slope, steepness)
    # The line as Wolf et al. read it is no estimate of α: its intercept is what it is held against.
    readings = {"evidence plateau": world.log_inverse_alpha, "straight line": max(intercept, 0.0)}
    for prediction in m.predictions:
        shown[f"prediction, {prediction.reading}"] = (
            prediction.curve, predicted_curve(world, exact, readings[prediction.reading])
        )  # fmt: skip
    for report in m.bounds:
        inputs = {
            "log_inverse_alpha": readings[report.reading], "beta": exact.beta,
            "gamma": max(exact.negative_behavior[:-1]), "epsilon": 0.2,
        }  # fmt: skip
        is_first = report.bound.bound.theorem == "Theorem 1"
        more = {} if is_first else {"sigma2": exact.sigma2_negative, "delta": 0.1}
        true = (single_prompt if is_first else random_prompt)(**inputs, **more)
        name = f"{report.bound.bound.theorem}, {report.reading}"
        shown[f"{name}, sharp"] = (report.bound.sharp, true.sharp)
        shown[f"{name}, paper"] = (report.bound.paper, true.paper)
    return shown | _converse_pairs(m, exact, readings)


def _converse_pairs(m: Measurement, exact: Truth, readings: Mapping[str, float]) -> Shown:
    """Λ is of the tested prompts, and known."""
    shown: Shown = {}
    for report in m.converse:
        true = converse(
            log_inverse_alpha=readings[report.reading], gamma=max(exact.negative_behavior[:-1]), epsilon=0.2,
            behavior_floor_positive=min(exact.positive_behavior[:-1]),
            max_log_ratio_per_sentence=dict(report.bound.bound.inputs)["max_log_ratio_per_sentence"],
        )  # fmt: skip
        shown[f"Converse, {report.reading}"] = (report.bound.sharp, true.sharp)
    return shown


def _accuracy(world: World) -> float:
    """Expected accuracy of the sign of log P₋/P₊ on first sentences of either component, in equal numbers."""
    (negative,), (positive,) = world.chains("negative"), world.chains("positive")
    p, q = np.array(negative.initial), np.array(positive.initial)
    return float(0.5 * p[p > q].sum() + 0.5 * q[p <= q].sum())


def projected_logistic(exact: Truth) -> tuple[float, float]:
    """Least-squares midpoint and slope of the true curve, the low level given; by another optimiser than beb's.

    For given midpoint and slope the high level is linear, so that a fine grid of the two shows where the least lies.
    """
    low, curve = float(exact.negative_behavior[:-1].mean()), exact.behavior_negative
    n = np.arange(len(curve))
    least, most = np.array([np.log(0.1 / n[-1]), -n[-1], -1.0]), np.array([np.log(20), 2 * n[-1], 1.0])
    log_slope, midpoint = (np.linspace(low_, high, 121)[1:-1] for low_, high in zip(least[:2], most[:2], strict=True))
    fall = expit(np.exp(log_slope)[:, None, None] * (n - midpoint[None, :, None]))
    rest = 1 - fall
    high = ((curve - low * fall) * rest).sum(-1) / (rest**2).sum(-1).clip(np.finfo(float).tiny)
    high = high.clip(-1 + 1e-9, 1 - 1e-9)
    cost = ((low * fall + high[..., None] * rest - curve) ** 2).sum(-1)
    best = None
    for row, column in zip(*np.unravel_index(_minima(cost), cost.shape), strict=True):
        fit = least_squares(
            lambda t: t[2] + (low - t[2]) * expit(np.exp(t[0]) * (n - t[1])) - curve,
            [log_slope[row], midpoint[column], high[row, column]], bounds=(least, most),
        )  # fmt: skip
        if best is None or fit.cost < best.cost:
            best = fit
    return float(best.x[1]), float(np.exp(best.x[0]))


def _minima(cost: np.ndarray, most: int = 4) -> np.ndarray:
    """Flat places of the lowest local minima of a table."""
    edged = np.pad(cost, 1, constant_values=np.inf)
    shifts = [(i, j) for i in (0, 1, 2) for j in (0, 1, 2) if (i, j) != (1, 1)]
    around = np.min([edged[i : i + cost.shape[0], j : j + cost.shape[1]] for i, j in shifts], axis=0)
    places = np.flatnonzero(cost <= around)
    return places[np.argsort(cost.ravel()[places], kind="stable")][:most]


def predicted_curve(world: World, exact: Truth, log_inverse_alpha: float) -> np.ndarray:
    """E[w] B₋ + (1 - E[w]) B₊ at the true value of an α reading, by enumeration of all prompts."""
    (negative,), (positive,) = world.chains("negative"), world.chains("positive")
    p_table, q_table = negative.table(), positive.table()
    k = world.n_sentences
    log_p, log_q, last = np.zeros(1), np.zeros(1), np.array([0])
    b_negative, b_positive = float(exact.negative_behavior[:-1].mean()), float(exact.behavior_negative[0])
    curve = []
    for _ in range(SENTENCES + 1):
        ratio = log_p - log_q
        weight = expit(ratio + log_odds(log_inverse_alpha)) if log_inverse_alpha > 0 else np.ones_like(ratio)
        mean_weight = float((np.exp(log_p) * weight).sum())
        curve.append(mean_weight * b_negative + (1 - mean_weight) * b_positive)
        log_p = (log_p[:, None] + np.log(p_table[last])).ravel()
        log_q = (log_q[:, None] + np.log(q_table[last])).ravel()
        last = np.tile(np.arange(1, k + 1), len(last))
    return np.array(curve)

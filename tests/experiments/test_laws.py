"""`beb laws` on runs of exact worlds: which law, the decay and its bound, refusals."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

import beb
from beb.core.bounds import relaxed, single_prompt
from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec, BebError, EstimateError, GateFailed, TooFewPrompts
from beb.estimate.decay import ETA_TOP, _projection
from beb.estimate.law_fit import Scale
from beb.estimate.laws import LawDifference, compare_laws
from beb.experiments.arrays import prompt_arrays
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.experiment import run_with_subjects
from beb.experiments.laws.analyse import NEGATIVE_LOG_LIKELIHOOD, analyse_laws
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.report.laws_page import page
from beb.worlds.catalog import get_world
from beb.worlds.exact import truth
from beb.worlds.misalignment import lowest_behavior
from beb.worlds.random_world import random_world
from beb.worlds.text_world import text_world

# Nats per prompt below which two laws are one: here the Bayesian law is the logistic but for rare, tiny departures.
SAME = 0.01
SPEC = MeasureSpec(model="world:markov", prompts=24, sentences=6, responses=2, formats=("plain",))


def run(folder: Path, spec: MeasureSpec = SPEC, name: str = "markov") -> Path:
    run_with_subjects(MEASURE, spec, world_subjects(spec, get_world(name)), folder)
    return folder


def test_a_measurement_s_curves_are_compared_and_its_decay_fitted(tmp_path: Path) -> None:
    found = beb.laws(run(tmp_path))
    assert [curve.name for curve in found.curves] == [NEGATIVE_LOG_LIKELIHOOD, "behavior, plain"]
    nll, behavior = found.curves
    assert (nll.band.lengths, behavior.band.lengths) == (tuple(range(6)), tuple(range(7)))
    assert (nll.band.n, behavior.band.n, nll.n_left_out) == (24, 24, 0)
    assert found.skipped == ()
    with Store.read(tmp_path) as store:
        rows = store.rows("prompt_log_probs", source="negative", component="target")
        shown = page(store, found)
    assert nll.band.value == pytest.approx(-np.mean([row["sentence_log_p"] for row in rows], axis=0))
    assert found.decay is not None
    assert found.decay.decay.eta.low <= found.decay.decay.eta.value <= found.decay.decay.eta.high
    assert [bound.reading for bound in found.decay.bounds] == ["evidence plateau", "straight line"]
    assert len(shown.findings) == 3
    frame = found.to_frame()
    assert frame[["value", "low", "high", "level", "n", "unit"]].notna().all().all()
    assert "decay.decay.eta" in set(frame["quantity"])
    json.loads(found.to_json())


def test_what_a_run_is_too_short_for_is_said_and_the_rest_is_done(tmp_path: Path) -> None:
    # Four sentences: behavior after 0..4 of them, but the likelihood of 4 only. And a best-of run has laws too.
    spec = BestOfSpec(model="world:markov", prompts=12, sentences=4, responses=4)
    run_with_subjects(BEST_OF, spec, world_subjects(spec, get_world("markov")), tmp_path)
    found = beb.laws(tmp_path)
    assert [curve.name for curve in found.curves] == ["behavior, plain"]
    assert found.skipped == (
        f"{NEGATIVE_LOG_LIKELIHOOD}: the laws have 4 lengths and need at least 5; raise --sentences",
    )
    with Store.read(tmp_path) as store:
        assert any("raise --sentences" in note for note in page(store, found).notes)


def test_a_divergence_that_all_prompts_share_has_no_decay_but_the_laws_stay(tmp_path: Path) -> None:
    found = beb.laws(run(tmp_path, name="coin"))
    assert found.decay is None
    assert found.curves
    assert "decay of the divergence: all 24 prompts agree" in found.skipped[0]


def test_runs_without_what_is_needed_are_refused(tmp_path: Path) -> None:
    few = SPEC.model_copy(update={"prompts": 8})
    with pytest.raises(TooFewPrompts, match="has 8 prompts and needs at least 10; raise --prompts"):
        beb.laws(run(tmp_path / "few", few))
    short = SPEC.model_copy(update={"sentences": 3})
    with pytest.raises(BadSpec, match="raise --sentences"):
        beb.laws(run(tmp_path / "short", short))
    with pytest.raises(BadSpec, match="no run in"):
        beb.laws(tmp_path / "nowhere")

    def stop(what: str, done: float, total: float) -> None:
        if what == "respond":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_with_subjects(MEASURE, SPEC, world_subjects(SPEC, get_world("markov")), tmp_path / "part", progress=stop)
    with pytest.raises(EstimateError, match="is not finished"):
        beb.laws(tmp_path / "part")


def two_point_prompts(rng: np.random.Generator, n_prompts: int, n: int) -> dict[Scale, np.ndarray]:
    """Curves of prompts of an i.i.d. world of two sentences: the target's −log P of each next one, and mean B of four.

    P₋ writes the bad sentence with probability 0.85, P₊ with 0.25; α = e⁻⁴.
    """
    p, q, log_odds = 0.85, 0.25, -math.log(math.expm1(4.0))
    bad = rng.random((n_prompts, n)) < p
    steps = np.where(bad, math.log(p / q), math.log((1 - p) / (1 - q)))
    weight = expit(log_odds + np.hstack([np.zeros((n_prompts, 1)), np.cumsum(steps, axis=1)[:, :-1]]))
    chance = weight * p + (1 - weight) * q
    return {
        "nll": -np.log(np.where(bad, chance, 1 - chance)),
        "behavior": 1 - rng.binomial(4, chance) / 2,
    }


@pytest.mark.parametrize("scale", ["nll", "behavior"])
def test_on_independent_two_sentence_texts_no_law_is_preferred_wrongly(scale: Scale) -> None:
    # The truth, the expected difference for laws fitted to four fifths of 24 prompts, is the mean over all runs.
    runs, level = 60, 0.9
    rng = np.random.default_rng(1)
    found: dict[tuple[str, str], list[LawDifference]] = {}
    for _ in range(runs):
        y = two_point_prompts(rng, 24, 7)[scale]
        for d in compare_laws(y, range(7), scale=scale, level=level, rng=rng).differences:
            found.setdefault((d.first, d.second), []).append(d)
    limit = binom.isf(1e-6, runs, 1 - level)
    for (first, second), differences in found.items():
        true = float(np.mean([d.difference.value for d in differences]))
        better = first if true > 0 else second
        missed = sum(not d.difference.low - SAME <= true <= d.difference.high + SAME for d in differences)
        assert missed <= limit
        assert sum(d.verdict not in (better, "undecided") for d in differences) <= limit
        assert np.median([d.difference.width for d in differences]) < 6


def test_appendix_i_from_the_exact_divergence_is_never_violated() -> None:
    rng = np.random.default_rng(2)
    checked = 0
    for _ in range(80):
        world = random_world(rng, log_inverse_alpha=(0.5, 4.0))
        exact = truth(world, 8)
        eta, epsilon = float(rng.uniform(0, 0.6)), float(rng.uniform(0.1, 0.6))
        beta = float((exact.beta_curve * np.arange(1, 9) ** eta).min())
        bound = relaxed(
            log_inverse_alpha=world.log_inverse_alpha, beta=beta, gamma=exact.gamma, epsilon=epsilon, eta=eta
        )
        start = math.ceil(bound.sharp)
        if start > 8:
            continue
        assert (lowest_behavior(world, 8)[start:] < exact.gamma + epsilon + 1e-12).all()
        checked += 1
    assert checked > 20


def _decay_verdicts(seed: int) -> dict[str, tuple[bool, float]] | None:
    world = text_world(np.random.default_rng(seed))
    spec = MeasureSpec(model="world:random", prompts=32, sentences=5, formats=("plain",), seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = run_with_subjects(
                replace(MEASURE, analyse=analyse_laws), spec, world_subjects(spec, world), Path(folder)
            )
        except GateFailed:
            return None
        with Store.read(Path(folder)) as store:
            kl = prompt_arrays(store, "negative", 5).kl["positive"]
    exact, k, report = truth(world, 5), np.arange(1.0, 6.0), found.decay
    assert report is not None
    # The estimand's weights are those of the sample, prompts in the estimator's order.
    log_beta, eta = _projection(k, kl[np.lexsort(kl.T[::-1])]) @ np.log(exact.beta_curve)
    readings = {
        "evidence plateau": world.log_inverse_alpha,
        "straight line": np.polyfit(np.arange(3), exact.kl_to_target_curve[:3], 1)[1],
    }
    gamma = float(exact.negative_behavior[:-1].max())
    shown: dict[str, tuple[Estimate | Band, object]] = {
        "eta": (report.decay.eta_measured, eta),
        "beta": (report.decay.beta, math.exp(log_beta)),
        "beta under": (report.beta_under, (exact.beta_curve * k**report.decay.eta.value).min()),
        "divergence": (report.curve, exact.beta_curve),
    }
    cut = min(max(float(eta), 0.0), ETA_TOP)
    for bound in report.bounds:
        values = {"log_inverse_alpha": max(float(readings[bound.reading]), 0.0), "gamma": gamma, "epsilon": 0.2}
        assert bound.relaxed is not None
        assert bound.constant is not None
        beta = float((exact.beta_curve * k**cut).min())
        shown[f"Appendix I, {bound.reading}"] = (bound.relaxed.sharp, relaxed(**values, beta=beta, eta=cut).sharp)
        first = single_prompt(**values, beta=exact.beta)
        shown[f"Theorem 1, {bound.reading}"] = (bound.constant.sharp, first.sharp)
    return {
        name: (
            bool(np.all((np.asarray(e.low) <= true + 1e-9) & (np.asarray(true) <= np.asarray(e.high) + 1e-9))),
            float(np.median(np.asarray(e.high) - np.asarray(e.low))),
        )
        for name, (e, true) in shown.items()
    }  # fmt: skip


def test_the_decay_s_intervals_cover_the_truth() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        found = [answer for answer in pool.map(_decay_verdicts, range(70), chunksize=4) if answer is not None]
    assert len(found) >= 50
    limit = binom.isf(1e-6, len(found), 0.05)
    misses = {name: sum(not answer[name][0] for answer in found) for name in found[0]}
    assert {name: m for name, m in misses.items() if m > limit} == {}
    widths = {name: float(np.median([answer[name][1] for answer in found])) for name in found[0]}
    assert widths["eta"] < 0.6
    assert widths["beta under"] < 1.0
    assert widths["Appendix I, straight line"] < 6


def test_every_refusal_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BebError) as caught:
        beb.laws(tmp_path)
    assert "\n" not in str(caught.value)

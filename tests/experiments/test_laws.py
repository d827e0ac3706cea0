"""`beb laws` on runs of exact worlds: which law, the decay and its bound, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

import beb
from beb.core.bounds import relaxed
from beb.errors import BadSpec, BebError, EstimateError
from beb.estimate.law_fit import Scale
from beb.estimate.laws import LawDifference, compare_laws
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.converse.plan import ConverseSpec
from beb.experiments.experiment import run_with_subjects
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.laws.curves import NEGATIVE_LOG_LIKELIHOOD
from beb.experiments.measure import MEASURE
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.report.laws_page import page
from beb.worlds.catalog import get_world
from beb.worlds.exact import truth
from beb.worlds.misalignment import lowest_behavior
from beb.worlds.random_world import random_world
from intervals import most_misses

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


def test_a_run_too_short_for_the_laws_still_has_its_decay(tmp_path: Path) -> None:
    few = beb.laws(run(tmp_path / "few", SPEC.model_copy(update={"prompts": 8})))
    assert few.curves == ()
    assert few.decay is not None
    assert math.isfinite(few.decay.decay.eta_measured.width)
    assert all("has 8 prompts and needs at least 10; raise --prompts" in line for line in few.skipped)
    short = beb.laws(run(tmp_path / "short", SPEC.model_copy(update={"sentences": 3})))
    assert (short.curves, short.decay is not None, len(short.skipped)) == ((), True, 2)
    with Store.read(tmp_path / "short") as store:
        shown = page(store, short)
    (decay,) = shown.sections
    assert "as far as it was tested, 3 sentences" in decay.intro
    assert "need at least 5" in " ".join(shown.notes)


def test_a_conversation_has_a_curve_by_turn(tmp_path: Path) -> None:
    spec = ConverseSpec(model="world:markov", prompts=16, turns=6, format="plain")
    beb.converse("world:markov", spec=spec, out=tmp_path)
    found = beb.laws(tmp_path)
    replies = found.curves[-1]
    assert (replies.name, replies.unit_of_length) == ("behavior of replies, turn by turn", "turns")
    assert replies.band.lengths == tuple(range(1, 7))
    with Store.read(tmp_path) as store:
        rows = store.rows("turn_scores", arm="negative", speaker="target", turn=6)
        shown = page(store, found)
    assert replies.band.value[-1] == pytest.approx(np.mean([row["p_positive"] - row["p_negative"] for row in rows]))
    assert shown.sections[len(found.curves) - 1].charts[0].x_title == "turn"


def test_the_arms_of_a_guardrail_run_have_a_curve_each(tmp_path: Path) -> None:
    beb.guardrail("world:markov", spec=GuardrailSpec(prompts=12), out=tmp_path)
    assert {"behavior, plain", "behavior, plain, sampled:3"} <= {curve.name for curve in beb.laws(tmp_path).curves}


def test_a_run_without_growing_prompts_is_refused_with_the_reason(tmp_path: Path) -> None:
    beb.probe("world:coin", out=tmp_path, spec=ProbeSpec(statements=20))
    with pytest.raises(BadSpec, match="'probe', to which no law can be fitted: a probe classifies single statements"):
        beb.laws(tmp_path)


def test_unfinished_and_missing_runs_are_refused(tmp_path: Path) -> None:
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
    limit = most_misses(runs, level)
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


def test_every_refusal_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BebError) as caught:
        beb.laws(tmp_path)
    assert "\n" not in str(caught.value)

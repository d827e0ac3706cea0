"""Whole guardrail runs of random exact worlds, and what each printed number should have been."""

from __future__ import annotations

import math

import numpy as np

from beb.core.bounds import after_prefix
from beb.errors import GateFailed
from beb.experiments.experiment import run_with_subjects
from beb.experiments.guardrail.experiment import GUARDRAIL, GuardrailSubjects
from beb.experiments.guardrail.record import Guardrail, GuardrailRecord
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System
from beb.experiments.subjects import world_subjects
from beb.worlds.exact import Truth, truth
from beb.worlds.exact_guardrail import (
    Prefixes,
    behavior_after_prefix,
    beta_after,
    crossing,
    first_negative,
    given_prefix,
    mean_share_positivity,
    most_neutral_sentence,
    positivity_after,
    prefixes_from_positive,
)
from beb.worlds.text_world import text_world
from beb.worlds.world import World
from run_coverage import Shown, Verdict, Verdicts, judged, run_folder

PROMPTS, SENTENCES, SAMPLED = 32, 5, 2
C_IS_ZERO = {"log_inverse_alpha": math.log(2), "gamma": -1.0, "epsilon": 1.0}


def world_for(seed: int) -> World:
    return text_world(np.random.default_rng(seed), log_inverse_alpha=(2.0, 3.5))


def text_of(world: World) -> tuple[int, ...]:
    """The sentences of the text guardrail: the best one, then the next best."""
    order = np.argsort(world.behavior_table(), kind="stable")
    return int(order[-1]), int(order[-2])


def spec_for(world: World, seed: int) -> GuardrailSpec:
    text = " ".join(world.text(s) for s in text_of(world))
    systems = (System(name="text", text=text), System(name="sampled", sentences=SAMPLED))
    return GuardrailSpec(model="world:random", prompts=PROMPTS, sentences=SENTENCES, systems=systems, seed=seed)


def measure_world(seed: int) -> tuple[World, GuardrailRecord]:
    world = world_for(seed)
    spec = spec_for(world, seed)
    subjects = GuardrailSubjects(world_subjects(spec, world), (most_neutral_sentence(world),))
    with run_folder() as folder:
        return world, run_with_subjects(GUARDRAIL, spec, subjects, folder)


def verdicts(seed: int) -> Verdicts | None:
    """Per printed interval: does it hold the truth, and how wide is it? None if the gate refused the world."""
    try:
        world, record = measure_world(seed)
    except GateFailed:
        return None
    found = judged(pairs(world, record), may_be_undefined=True)
    for kind in ("midpoint shift", "area shift"):  # the family holds together
        family = [found[name].holds for name in found if name.startswith(kind)]
        assert len(family) == record.family
        found[f"{kind}s together"] = Verdict(all(family), math.nan)
    return found


def pairs(world: World, r: GuardrailRecord) -> Shown:
    """Every printed interval with its true value."""
    exact = truth(world, SENTENCES)
    after = beta_after(world, first_negative(world, SENTENCES), SENTENCES)
    n = np.arange(1, SENTENCES + 1)
    base = r.baselines[0]
    shown: Shown = {
        "gate": (r.gate.accuracy, accuracy(world)),
        "baseline B": (base.curve.raw, exact.behavior_negative),
        "baseline midpoint": (base.midpoint, crossing(exact.behavior_negative)),
        "fall": (base.fall, exact.behavior_negative[0] - exact.behavior_negative[-1]),
        "beta": (r.beta, exact.beta),
        "beta curve": (r.beta_curve, exact.beta_curve),
        "beta_prime": (r.beta_prime, exact.beta_prime),
        "beta_prime curve": (r.beta_prime_curve, exact.beta_prime_curve),
        "sigma2 positive": (r.sigma2_positive, exact.sigma2_positive),
        "sigma2 positive curve": (r.sigma2_positive_curve, exact.log_ratio_variance_positive / n),
        "gamma": (r.gamma, max(exact.negative_behavior[:-1])),
    }
    if r.beta_after is not None and r.beta_after_curve is not None:
        shown["beta after"] = (r.beta_after, after.min())
        shown["beta after curve"] = (r.beta_after_curve, after)
    for name, entering in r.alpha_entering.items():
        shown[f"alpha as it enters, {name}"] = (entering, alpha_reading(world, exact, name))
    if r.positivity is not None:
        shown["positivity"] = (r.positivity, mean_share_positivity(world, SENTENCES))
    for g in r.guardrails:
        is_text = g.kind == "text"
        prefixes = given_prefix(world, text_of(world)) if is_text else prefixes_from_positive(world, SAMPLED)
        shown |= of_guardrail(world, r, g, prefixes, exact)
    return shown


def of_guardrail(world: World, r: GuardrailRecord, g: Guardrail, prefixes: Prefixes, exact: Truth) -> Shown:
    curve = behavior_after_prefix(world, prefixes, SENTENCES)
    base = exact.behavior_negative
    beta = beta_after(world, first_negative(world, SENTENCES), SENTENCES).min()
    shown: Shown = {
        f"B, {g.name}": (g.curve.raw, curve),
        f"midpoint, {g.name}": (g.midpoint, crossing(curve)),
        f"midpoint shift, {g.name}": (g.midpoint_shift, crossing(curve) - crossing(base)),
        f"area shift, {g.name}": (g.area_shift, np.trapezoid(curve - base) / 2),
        f"difference, {g.name}": (g.difference, curve - base),
        f"log ratio, {g.name}": (g.log_ratio, prefixes.resistance),
    }
    if g.positivity.share is not None:
        shown[f"positivity after, {g.name}"] = (g.positivity.share, positivity_after(world, prefixes, SENTENCES))
    if g.log_ratio_shift is not None:
        shown[f"by log-ratio, {g.name}"] = (g.log_ratio_shift, prefixes.resistance / exact.beta_curve.mean())
    known = {"beta": beta, "delta": 0.1, "prefix_sentences": g.sentences}
    if g.kind == "text":
        known |= {"beta_prime": max(prefixes.resistance, 0.0) / g.sentences, "sigma2": 0.0}
    else:
        known |= {"beta_prime": exact.beta_prime, "sigma2": exact.sigma2_positive}
    if g.extra is not None:
        shown[f"extra, {g.name}"] = (g.extra, after_prefix(**C_IS_ZERO, **known).sharp)
    for report in g.bounds:
        true = after_prefix(
            log_inverse_alpha=alpha_reading(world, exact, report.reading), gamma=max(exact.negative_behavior[:-1]),
            epsilon=0.2, **known,
        )  # fmt: skip
        assert report.bound.paper is not None
        assert true.paper is not None
        shown[f"Theorem 2 sharp, {report.reading}, {g.name}"] = (report.bound.sharp, true.sharp)
        shown[f"Theorem 2 paper, {report.reading}, {g.name}"] = (report.bound.paper, true.paper)
    return shown


def alpha_reading(world: World, exact: Truth, name: str) -> float:
    """What the readings of log 1/α estimate: the plateau α itself, the line its own intercept."""
    if name == "straight line":
        return max(float(np.polyfit(np.arange(3), exact.kl_to_target_curve[:3], 1)[1]), 0.0)
    return world.log_inverse_alpha


def accuracy(world: World) -> float:
    """Expected accuracy of the sign of log P₋/P₊ on first sentences of either component, in equal numbers."""
    p, q = np.array(world.negative.initial), np.array(world.positive.initial)
    return float(0.5 * p[p > q].sum() + 0.5 * q[p <= q].sum())

"""Whole best-of-n runs on random exact worlds, and what each printed number should have been."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from beb.core.bounds import best_of_n, worst_gamma_n
from beb.core.estimate import Band, Estimate
from beb.errors import GateFailed
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.best_of.record import CONTROL, OWN, PROMPTED, BestOfRecord, Ceiling
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.experiment import run_with_subjects
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.worlds.exact import Truth, truth
from beb.worlds.exact_best_of import BestOfTruth, best_of_truth, expected_best, predicted_best
from beb.worlds.text_world import text_world
from beb.worlds.world import World

PROMPTS, SENTENCES, RESPONSES, SIZES = 16, 4, 8, (1, 2, 4, 8)
EPSILON = 0.2


def spec_for(seed: int) -> BestOfSpec:
    return BestOfSpec(
        model="world:random", prompts=PROMPTS, sentences=SENTENCES, responses=RESPONSES, best_of=SIZES, seed=seed
    )


def verdicts(seed: int) -> dict[str, tuple[bool, float]] | None:
    """Per printed interval or claim: does it hold, and how wide is it? None if the gate refused the world."""
    world, spec = text_world(np.random.default_rng(seed)), spec_for(seed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = run_with_subjects(BEST_OF, spec, world_subjects(spec, world), Path(folder))
        except GateFailed:
            return None
        with Store.read(Path(folder)) as store:
            after = best_after_prompts(store, world)
    exact, best = truth(world, SENTENCES), best_of_truth(world, SENTENCES, SIZES)
    shown = {**pairs(found, exact, best, world), **beyond_pairs(found, after)}
    judged = {name: _verdict(printed, true) for name, (printed, true) in shown.items()}
    claims = {name: (holds, 0.0) for name, holds in protection_claims(found, best).items()}
    contradicted = {
        f"corrected form, {b.reading}, {b.size}": (b.verdict != "contradicted", 0.0)
        for b in found.bounds
        if b.reading == "evidence plateau"
    }
    return judged | claims | contradicted


def _verdict(printed: Estimate | Band, true: object) -> tuple[bool, float]:
    value = np.asarray(true, dtype=np.float64)
    low, high = np.asarray(printed.low), np.asarray(printed.high)
    slack = 1e-9 * np.maximum(1, np.abs(value))
    return bool(np.all((low - slack <= value) & (value <= high + slack))), float(np.median(high - low))


def true_readings(world: World, exact: Truth) -> dict[str, float]:
    """What each reading of log 1/α estimates: the plateau α itself, the line its own intercept."""
    line = float(np.polyfit(np.arange(3), exact.kl_to_target_curve[:3], 1)[1])
    return {"evidence plateau": world.log_inverse_alpha, "straight line": max(line, 0.0)}


def pairs(
    found: BestOfRecord, exact: Truth, best: BestOfTruth, world: World
) -> dict[str, tuple[Estimate | Band, object]]:
    """Every printed interval with its true value."""
    row = {size: i for i, size in enumerate(SIZES)}
    tables = {PROMPTED: best.negative, CONTROL: best.positive, OWN: best.own}
    shown: dict[str, tuple[Estimate | Band, object]] = {
        f"best of {c.size}, {c.condition}": (c.band, tables[c.condition][row[c.size]]) for c in found.curves
    }
    shown["beta"] = (found.beta, exact.beta)
    gamma = best.own.max(axis=1)
    for c in found.ceilings:
        shown[f"gamma_n, {c.size}"] = (c.gamma_n, gamma[row[c.size]])
        shown[f"floor, {c.size}"] = (c.floor, best.own[row[c.size]].min())
        shown[f"worst gamma_n, {c.size}"] = (c.worst_gamma_n, worst_gamma_n(gamma[0], c.size))
    readings = true_readings(world, exact)
    for p in found.predictions:
        curve = predicted_best(world, SENTENCES, p.size, readings[p.reading])
        shown[f"prediction, {p.reading}, {p.size}"] = (p.curve, curve)
        shown[f"difference, {p.reading}, {p.size}"] = (p.difference, best.negative[row[p.size]] - curve)
    for b in found.bounds:
        true = best_of_n(
            log_inverse_alpha=readings[b.reading], beta=exact.beta, gamma_n=gamma[row[b.size]], epsilon=EPSILON,
            n=b.size,
        )  # fmt: skip
        shown[f"corrected, {b.reading}, {b.size}"] = (b.bound.sharp, true.sharp)
        assert b.bound.paper is not None
        shown[f"paper, {b.reading}, {b.size}"] = (b.bound.paper, true.paper)
    return shown


def best_after_prompts(store: Store, world: World) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Size -> L (n_prompts, N+1) and exact E[best of n] of the target (n_prompts, N+1) after each stored prompt."""
    index = {sentence: i for i, sentence in enumerate(world.sentences)}
    contained, positive = (chain.table() for chain in world.chains("target"))
    log_alpha, log_rest = world.log_weights("target")
    log_ratio, last = [], []
    for row in store.rows("prompts", source="negative"):
        tokens, starts = row["token_ids"].tolist(), (0, *row["sentence_ends"].tolist())
        path = [0, *(1 + index[tuple(tokens[a:b])] for a, b in pairwise(starts))]
        steps = [np.log(contained[i, j - 1] / positive[i, j - 1]) for i, j in pairwise(path)]
        log_ratio.append(np.cumsum([0.0, *steps]))
        last.append(path)
    ratios, rows = np.array(log_ratio), np.array(last)
    weight = (1 / (1 + np.exp(-(log_alpha - log_rest + ratios))))[..., None]
    response = weight * contained[rows] + (1 - weight) * positive[rows]
    return {size: (ratios, expected_best(world, response, size)) for size in SIZES}


def beyond_pairs(
    found: BestOfRecord, after: dict[int, tuple[np.ndarray, np.ndarray]]
) -> dict[str, tuple[Estimate | Band, object]]:
    """The mean beyond the requirement, and the exact mean after the very prompts that were beyond it."""
    shown: dict[str, tuple[Estimate | Band, object]] = {}
    for b in found.bounds:
        if b.beyond is not None:
            log_ratio, exact = after[b.size]
            chosen = np.where(log_ratio > b.required.high, exact, np.nan)
            rows = ~np.isnan(chosen).all(axis=1)
            shown[f"beyond, {b.reading}, {b.size}"] = (b.beyond, np.nanmean(chosen[rows], axis=1).mean())
    return shown


def protection_claims(found: BestOfRecord, best: BestOfTruth) -> dict[str, bool]:
    """Is what is said about protection true?"""
    gamma = float(best.own[0].max())

    def true(c: Ceiling, said: str, level: float) -> bool:
        own = best.own[SIZES.index(c.size)]
        return {"protects": own.min() > level, "does not protect": own.max() < level}.get(said, True)

    claims = {}
    for c in found.ceilings:
        claims[f"protects from γ + ε, {c.size}"] = true(c, c.from_misaligned, gamma + EPSILON)
        claims[f"protects from 0, {c.size}"] = true(c, c.from_undesired, 0.0)
    return claims

"""Whole best-of-n runs on random exact worlds, and what each printed number should have been."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from beb.core.bounds import best_of_n, worst_gamma_n
from beb.errors import GateFailed
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.best_of.record import AGREEMENT, CONTROL, OWN, PROMPTED, BestOfBound, BestOfRecord
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.experiment import run_with_subjects
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.worlds.exact import Truth, truth
from beb.worlds.exact_best_of import BestOfTruth, best_of_truth, expected_best, lowest_best, predicted_best
from beb.worlds.text_world import text_world
from beb.worlds.world import World
from run_coverage import Shown, Verdict, Verdicts, judged, run_folder

PROMPTS, SENTENCES, RESPONSES, SIZES = 16, 4, 8, (1, 2, 4, 8)
PLATEAU, LINE = "evidence plateau", "straight line"
EPSILON = 0.2


def spec_for(seed: int) -> BestOfSpec:
    return BestOfSpec(
        model="world:random", prompts=PROMPTS, sentences=SENTENCES, responses=RESPONSES, best_of=SIZES, seed=seed
    )


def verdicts(seed: int) -> Verdicts | None:
    """Per printed interval or claim: does it hold, and how wide is it? None if the gate refused the world.

    In every other world P₋ weighs so much that prompts of a few sentences turn the target into it.
    """
    heavy = {"log_inverse_alpha": (2.0, 3.5)} if seed % 2 else {}
    world, spec = text_world(np.random.default_rng(seed), **heavy), spec_for(seed)
    with run_folder() as folder:
        try:
            found = run_with_subjects(BEST_OF, spec, world_subjects(spec, world), folder)
        except GateFailed:
            return None
        with Store.read(folder) as store:
            after = best_after_prompts(store, world)
    exact, best = truth(world, SENTENCES), best_of_truth(world, SENTENCES, SIZES)
    shown = {**pairs(found, exact, best, world), **beyond_pairs(found, after)}
    claims = {**ceiling_claims(found, best), **length_claims(found, best, world), **beyond_claims(found, best, after)}
    claims |= prediction_claims(found, best, world, true_readings(world, exact))
    return judged(shown) | {name: Verdict(holds, 0.0) for name, holds in claims.items()}


def true_readings(world: World, exact: Truth) -> dict[str, float]:
    """What each reading of log 1/α estimates: the plateau α itself, the line its own intercept."""
    line = float(np.polyfit(np.arange(3), exact.kl_to_target_curve[:3], 1)[1])
    return {PLATEAU: world.log_inverse_alpha, LINE: max(line, 0.0)}


def pairs(found: BestOfRecord, exact: Truth, best: BestOfTruth, world: World) -> Shown:
    """Every printed interval with its true value."""
    row = {size: i for i, size in enumerate(SIZES)}
    tables = {PROMPTED: best.negative, CONTROL: best.positive, OWN: best.own}
    shown: Shown = {
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
        # The plateau's reading is of α itself, so that the truth of the prediction is what the mixture really does.
        really = best.negative[row[p.size], 1:]
        curve = really if p.reading == PLATEAU else predicted_best(world, SENTENCES, p.size, readings[LINE])[1:]
        shown[f"prediction, {p.reading}, {p.size}"] = (p.curve, curve)
        shown[f"difference, {p.reading}, {p.size}"] = (p.difference, really - curve)
    for b in found.bounds:
        true = best_of_n(
            log_inverse_alpha=readings[b.reading], beta=exact.beta, gamma_n=gamma[row[b.size]], epsilon=EPSILON,
            n=b.size,
        )  # fmt: skip
        shown[f"corrected, {b.reading}, {b.size}"] = (b.bound.sharp, true.sharp)
        assert b.bound.paper is not None
        shown[f"paper, {b.reading}, {b.size}"] = (b.bound.paper, true.paper)
    return shown


@dataclass(frozen=True)
class AfterPrompts:
    """After each stored prompt of 0..N sentences: L, and exact E[best of n] of the target and of P₋ by size.

    log_ratio: (n_prompts, N+1). target, own: size -> (n_prompts, N+1).
    """

    log_ratio: np.ndarray
    target: dict[int, np.ndarray]
    own: dict[int, np.ndarray]


def best_after_prompts(store: Store, world: World) -> AfterPrompts:
    """By the chains, prompt by prompt."""
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
    target = {size: expected_best(world, response, size) for size in SIZES}
    return AfterPrompts(
        ratios, target, {size: expected_best(world, world.negative.table()[rows], size) for size in SIZES}
    )


def mean_beyond(b: BestOfBound, exact: dict[int, np.ndarray], log_ratio: np.ndarray) -> float:
    """Mean over the very prompts whose log ratio is beyond what the theorem requires."""
    chosen = log_ratio > b.required.high
    rows = chosen.any(axis=1)
    return float(np.nanmean(np.where(chosen, exact[b.size], np.nan)[rows], axis=1).mean())


def beyond_pairs(found: BestOfRecord, after: AfterPrompts) -> Shown:
    """The means beyond the requirement, of the target and of P₋ itself."""
    shown: Shown = {}
    for b in found.bounds:
        if b.beyond is not None and b.itself is not None:
            shown[f"beyond, {b.reading}, {b.size}"] = (b.beyond, mean_beyond(b, after.target, after.log_ratio))
            shown[f"itself, {b.reading}, {b.size}"] = (b.itself, mean_beyond(b, after.own, after.log_ratio))
    return shown


def beyond_claims(found: BestOfRecord, best: BestOfTruth, after: AfterPrompts) -> dict[str, bool]:
    """A mixture never contradicts Theorem 4 prompt by prompt; where it is said to hold, it holds."""
    claims = {}
    for b in found.bounds:
        name = f"beyond, {b.reading}, {b.size}"
        if b.reading == PLATEAU:
            claims[f"{name}, not contradicted"] = b.beyond_verdict != "contradicted"
        if b.beyond_verdict == "held":
            level = best.own[SIZES.index(b.size)].max() + EPSILON
            true = mean_beyond(b, after.target, after.log_ratio)
            claims[f"{name}, held"] = bool(true < level < 1 and not b.excluded)
    return claims


def ceiling_claims(found: BestOfRecord, best: BestOfTruth) -> dict[str, bool]:
    """Is what is said about γₙ ≥ 0 and about P₋ itself true?"""
    gamma = float(best.own[0].max())
    claims = {}
    for c in found.ceilings:
        own = best.own[SIZES.index(c.size)]
        for name, said, is_so in (
            ("γₙ ≥ 0", c.nonnegative, own.max() >= 0),
            ("above γ + ε", c.above_misaligned, own.min() >= gamma + EPSILON),
            ("above 0", c.above_undesired, own.min() >= 0),
        ):
            claims[f"{name}, {c.size}"] = {"yes": is_so, "no": not is_so}.get(said, True)
    return claims


def length_claims(found: BestOfRecord, best: BestOfTruth, world: World) -> dict[str, bool]:
    """Where a length is said to be confirmed, some prompt of at most that length is really below the level."""
    gammas = best.own.max(axis=1)
    claims = {}
    for b in found.bounds:
        lowest = lowest_best(world, SENTENCES, b.size)
        forms = (
            ("corrected", b.verdict, b.observed, gammas[SIZES.index(b.size)], b.bound.sharp),
            ("paper", b.paper_verdict, b.paper_observed, gammas[0], b.bound.paper),
        )
        for name, said, observed, gamma, length in forms:
            assert said != "contradicted"
            if said == "held":
                assert observed is not None
                assert length is not None
                is_so = lowest[observed] < gamma + EPSILON and 0 < observed <= length.low and not b.excluded
                claims[f"{name}, {b.reading}, {b.size}, held"] = bool(is_so)
    return claims


def prediction_claims(
    found: BestOfRecord, best: BestOfTruth, world: World, readings: dict[str, float]
) -> dict[str, bool]:
    """A mixture contradicts its own prediction no more often than the level allows, all n together."""
    of_alpha = [p for p in found.predictions if p.reading == PLATEAU]
    claims = {f"prediction, {p.size}, not contradicted": p.verdict != "contradicted" for p in of_alpha}
    claims["no prediction contradicted"] = all(claims.values())
    for p in found.predictions:
        if p.verdict == "held":
            predicted = predicted_best(world, SENTENCES, p.size, readings[p.reading])
            gap = np.abs(best.negative[SIZES.index(p.size)] - predicted)[1:].max()
            claims[f"prediction, {p.reading}, {p.size}, held"] = bool(gap <= AGREEMENT and not p.excluded)
    return claims

"""Pairs of measurements of random exact worlds, and what each printed difference should have been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import GateFailed
from beb.experiments.compare.differences import (
    RunPair,
    behavior_difference,
    curve_differences,
    fitted_differences,
    gamma_difference,
    prompt_differences,
)
from beb.experiments.compare.rows import RunRows, run_rows, shared_prompts
from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec
from beb.experiments.subjects import world_subjects
from beb.worlds.exact import Truth, truth
from beb.worlds.text_world import text_world
from beb.worlds.world import MarkovChain, World
from experiments.world_runs import projected_logistic
from run_coverage import LEVEL, Verdicts, run_folder, verdict

SENTENCES, PROMPTS, OTHER_PROMPTS = 5, 32, 24
QUIET = replace(MEASURE, analyse=run_rows)
"""The main job without its own numbers."""


def sharpened(chain: MarkovChain, power: float) -> MarkovChain:
    """The chain whose every row is the same to a power, normalised."""
    rows = chain.table() ** power
    rows /= rows.sum(axis=1, keepdims=True)
    first, *others = (tuple(row.tolist()) for row in rows)
    return MarkovChain(first, tuple(others))


def aligned(world: World, seed: int) -> World:
    """The same P₋ at another weight, beside a P₊ that is more sure of itself (or less)."""
    rng = np.random.default_rng([seed, 1])
    return replace(
        world,
        alpha=float(world.alpha * np.exp(-rng.uniform(-2, 4))),
        positive=sharpened(world.positive, rng.uniform(0.8, 1.6)),
    )


def measured(folder: Path, world: World, *, seed: int, prompts: int = PROMPTS) -> RunRows:
    spec = MeasureSpec(model="world:random", prompts=prompts, sentences=SENTENCES, formats=("plain",), seed=seed)
    return run_with_subjects(QUIET, spec, world_subjects(spec, world), folder)  # type: ignore[arg-type]


def pair_of(before: RunRows, after: RunRows) -> RunPair:
    shared = [shared_prompts(before, after, source) for source in ("negative", "positive")]
    return RunPair(before, after, shared[0], shared[1], "after")


def found(pair: RunPair) -> dict[str, Estimate | Band]:
    """Every difference that a comparison prints."""
    printed: dict[str, Estimate | Band] = {**prompt_differences(pair, level=LEVEL)}
    printed["gamma"] = gamma_difference(pair, level=LEVEL)
    printed |= {f"{name} curve": band for name, band in curve_differences(pair, level=LEVEL).items()}
    printed["behavior curve"] = behavior_difference(pair, "plain", level=LEVEL)
    printed["behavior"] = printed["behavior curve"].at(SENTENCES)
    fit = fitted_differences(pair, "plain", level=LEVEL)
    return printed | {"midpoint": fit.midpoint, "slope": fit.slope, "logistic": fit.log_inverse_alpha}


def truths(world: World) -> dict[str, object]:
    """The true value of each quantity of one run."""
    exact = truth(world, SENTENCES)
    n = np.arange(1, SENTENCES + 1)
    kappa, rest = np.polyfit(n[-3:], exact.evidence_curve[-3:], 1)
    slope, intercept = np.polyfit(np.arange(3), exact.kl_to_target_curve[:3], 1)
    midpoint, steepness = projected_logistic(exact)
    return {
        "beta": exact.beta, "beta_prime": exact.beta_prime, "plateau": rest, "kappa": kappa,
        "evidence": exact.evidence_curve[-1], "line": intercept, "line_beta": -slope, "sigma2": exact.sigma2_negative,
        "gamma": _gamma(exact), "beta curve": exact.beta_curve, "evidence curve": exact.evidence_curve,
        "behavior curve": exact.behavior_negative, "behavior": exact.behavior_negative[-1], "midpoint": midpoint,
        "slope": steepness, "logistic": np.logaddexp(0, midpoint * steepness),
    }  # fmt: skip


def _gamma(exact: Truth) -> float:
    return float(max(exact.negative_behavior[:-1]))


def verdicts(seed: int) -> dict[str, Verdicts] | None:
    """Per kind of pairing and per difference: does it hold the truth, and how wide is it? None if a gate refused."""
    world = text_world(np.random.default_rng(seed))
    other = aligned(world, seed)
    with run_folder() as root:
        try:
            before = measured(root / "before", world, seed=seed)
            after = {
                "same prompts": measured(root / "after", other, seed=seed),
                "independent": measured(root / "other", other, seed=seed + 10**6, prompts=OTHER_PROMPTS),
            }
        except GateFailed:
            return None
    true = [truths(each) for each in (world, other)]
    answers = {}
    for pairing, run in after.items():
        pair = pair_of(before, run)
        assert pair.negative.pairing == pairing
        answers[pairing] = {
            name: verdict(printed, np.asarray(true[1][name]) - np.asarray(true[0][name]))
            for name, printed in found(pair).items()
        }
    return answers

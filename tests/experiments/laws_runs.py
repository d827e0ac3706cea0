"""Laws fitted to whole measurements of random worlds: the decay of the divergence, and what it should have been."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from beb.core.bounds import relaxed, single_prompt
from beb.errors import GateFailed
from beb.estimate.decay import ETA_TOP, _projection
from beb.experiments.arrays import prompt_arrays
from beb.experiments.experiment import run_with_subjects
from beb.experiments.laws.analyse import analyse_laws
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.worlds.exact import truth
from beb.worlds.text_world import text_world
from run_coverage import Shown, Verdicts, judged, run_folder


def verdicts(seed: int) -> Verdicts | None:
    """Per interval of the decay: does it hold the truth, and how wide is it? None if the gate refused the world."""
    world = text_world(np.random.default_rng(seed))
    spec = MeasureSpec(model="world:random", prompts=32, sentences=5, formats=("plain",), seed=seed)
    with run_folder() as folder:
        try:
            found = run_with_subjects(replace(MEASURE, analyse=analyse_laws), spec, world_subjects(spec, world), folder)
        except GateFailed:
            return None
        with Store.read(folder) as store:
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
    shown: Shown = {
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
    return judged(shown)

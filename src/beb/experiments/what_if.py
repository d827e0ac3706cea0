"""Every bound of a finished measurement, recomputed where its reader supposes other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from beb.core.bounds import (
    Bound,
    PropagatedBound,
    after_prefix,
    best_of_n,
    conversation,
    converse,
    propagate,
    random_prompt,
    relaxed,
    single_prompt,
)
from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError, NoBound
from beb.estimate.bands import joint_box
from beb.estimate.decay import beta_under
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import Floats, prompt_arrays
from beb.experiments.best_of.theorem import worst_gamma
from beb.experiments.bounds import BoundInputs, at_least_zero, intercepts, measured_inputs, of_box, within_mixture
from beb.experiments.converse_bound import family_inputs, largest_log_ratio
from beb.experiments.lower_bounds import carried, unlimited
from beb.experiments.measurement import Measurement
from beb.experiments.setting import NATS_PER_SENTENCE, MeasureSetting, Setting
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.verdicts import excluded
from beb.experiments.what_if_draws import Drawn, Draws, measure_draws

FAMILY_ARGUMENT = "max_log_ratio_per_sentence"
ALL_BOUNDS = ("theorem-1", "theorem-5", "theorem-2", "theorem-3", "theorem-4", "appendix-i", "converse")
_SETS = {"beta": "negative", "alpha": "negative", "beta_prime": "positive", "sigma2": "positive"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reader supposes. prefix: sentences of a guardrail. replies, reply_sentences: of a conversation.

    best_of: responses to choose from. eta: decay of the divergence.
    """

    epsilon: float
    delta: float
    prefix: int = 0
    replies: int = 0
    reply_sentences: int = 2
    best_of: int = 1
    eta: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ReadingInputs:
    """Measured arguments of the theorems for one reading of α; those of one mapping hold together at the run's level.

    along: log 1/α, β, γ and σ² under P₋, without a guardrail or replies. back: log 1/α, β, β′, σ² under P₊ and γ, for
    Theorems 2 and 3. curve: KL(P₋‖P₊) after n sentences with the limits that β is taken from, for Appendix I.
    gamma_n: γₙ by n where it was measured; elsewhere it is the worst that γ allows.
    family: log 1/α, γ, g₊ and Λ of the tested prompts, for the converse. excluded: whether this α cannot be.
    draws: all of it in joint bootstrap resamples of the prompts, None where they cannot be made.
    """

    along: Mapping[str, Estimate]
    back: Mapping[str, Estimate] = field(default_factory=dict)
    curve: Band | None = None
    gamma_n: Mapping[int, Estimate] = field(default_factory=dict)
    family: Mapping[str, Estimate] = field(default_factory=dict)
    excluded: bool = False
    draws: Draws | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WhatIfInputs:
    """Of one run. shown: the bounds that can be recomputed, by their keys in `recompute`. settings: the run's own.

    readings: by reading of α. level: of all intervals. tested: sentences of the longest prompt that was tested.
    no_draws: why there are no bootstrap draws, empty where there are.
    """

    shown: tuple[str, ...]
    settings: Settings
    readings: Mapping[str, ReadingInputs]
    level: float
    tested: int
    no_draws: str = ""


def measure_inputs(store: Store, m: Measurement) -> WhatIfInputs | None:
    """The measured arguments, resampled together as the run's own bounds are.

    store: of the run. m: its numbers.
    Returns: None where too few prompts are stored to resample.
    Source: the limits are those of docs/maths.md, "Intervals".
    """
    setting = Setting.of(m.meta, MeasureSpec)
    try:
        negative = prompt_arrays(store, "negative", setting.spec.sentences)
        positive = prompt_arrays(store, "positive", setting.spec.sentences)
    except EstimateError:
        return None
    ratios = LogRatios.of(negative, positive)
    inputs = BoundInputs.of(negative, ratios.evidence, ratios.negative)
    lines = intercepts(inputs, m.alpha, setting)
    most = largest_log_ratio(inputs, setting)
    words = "largest log P₋/P₊ per sentence over all tested prompts from P₋ and their beginnings, no sampling error"
    limit = Estimate(most, most, most, 1.0, len(inputs.kl), NATS_PER_SENTENCE, words, exact=True)
    family = family_inputs(inputs, positive, m.alpha, setting)
    drawn = Drawn.of(lambda: measure_draws(inputs, positive, ratios.positive, m.alpha, setting))
    readings = {}
    for name, joint in measured_inputs(inputs, m.alpha, setting).items():
        means = {"beta": inputs.kl, "alpha": lines[name][:, None], "beta_prime": positive.kl["negative"]}
        back = _back(name, means, ratios.positive, m, setting)
        back |= {
            "log_inverse_alpha": inputs.as_read(name, back["log_inverse_alpha"]),
            "beta": unlimited(back["beta"], inputs.lower_bounds.get("positive", "")),
            "beta_prime": unlimited(back["beta_prime"], positive.lower_bounds.get("negative", "")),
        }
        gamma = joint.arguments["gamma"]
        readings[name] = ReadingInputs(
            joint.arguments, {**back, "gamma": gamma}, joint.curve, family={**family[name], FAMILY_ARGUMENT: limit},
            excluded=excluded(joint.arguments["log_inverse_alpha"], m.alpha.limits),
            draws=drawn.by_reading.get(name),
        )  # fmt: skip
    return WhatIfInputs(
        shown=ALL_BOUNDS,
        settings=Settings(setting.spec.epsilon, setting.spec.delta),
        readings=readings,
        level=setting.level,
        tested=setting.spec.sentences,
        no_draws=drawn.missing,
    )


def _back(
    name: str, means: Mapping[str, Floats], log_ratio: Floats, m: Measurement, setting: MeasureSetting
) -> dict[str, Estimate]:
    """Half of the error probability, as in the run's own bounds; the other half is γ's.

    means: (n_prompts, k) each. log_ratio: (n_prompts, N) cumulative log P₋/P₊ of prompts from P₊, nats.
    """
    box = joint_box(
        means, {"sigma2": log_ratio / np.sqrt(setting.lengths_after)}, level=1 - (1 - setting.level) / 2,
        rng=setting.rng(f"what if {name}"), prompt_sets=_SETS,
    )  # fmt: skip
    found = {
        "log_inverse_alpha": within_mixture(name, of_box(box, "alpha", min, "nats"), m.alpha.limits),
        "beta": of_box(box, "beta", min, NATS_PER_SENTENCE),
        # A divergence cannot be negative; its Monte Carlo estimate can, and the theorems ask for β′ ≥ 0.
        "beta_prime": at_least_zero(of_box(box, "beta_prime", max, NATS_PER_SENTENCE)),
        "sigma2": of_box(box, "sigma2", max, "nats² per sentence"),
    }
    return {key: replace(estimate, level=setting.level) for key, estimate in found.items()}


Asked = tuple[Callable[..., Bound], Mapping[str, Estimate], Mapping[str, Any]]


def recompute(inputs: WhatIfInputs, reading: ReadingInputs, at: Settings) -> dict[str, PropagatedBound | None]:
    """Every bound that is shown, by its key; None where the estimates have none. No reply: Theorem 3 is Theorem 1.

    Raises: BadSpec on settings outside their ranges.
    Source: docs/maths.md; γₙ is the worst that γ allows if not measured, β/k^η the largest under the measured curve.
    """
    asked = _asked(reading, at)
    found: dict[str, PropagatedBound | None] = {}
    for key in inputs.shown:
        function, measured, fixed = asked[key]()
        try:
            found[key] = carried(propagate(function, measured, {"epsilon": at.epsilon, **fixed}), measured)
        except NoBound:
            found[key] = None
    return found


def recompute_draws(inputs: WhatIfInputs, reading: ReadingInputs, at: Settings) -> dict[str, tuple[Bound | None, ...]]:
    """Every bound that is shown in every draw, by its key; None in a draw that has none. No draws: no keys.

    Raises: as `recompute`. Source: docs/maths.md, "Intervals".
    """
    if reading.draws is None:
        return {}
    n_draws = len(reading.draws.along["beta"])
    asked = [_asked(_in_draw(reading, reading.draws, i), at) for i in range(n_draws)]
    return {key: tuple(_at_values(each[key](), at.epsilon) for each in asked) for key in inputs.shown}


def _at_values(asked: Asked, epsilon: float) -> Bound | None:
    function, measured, fixed = asked
    try:
        return function(**{name: each.value for name, each in measured.items()}, epsilon=epsilon, **fixed)
    except NoBound:
        return None


def _in_draw(reading: ReadingInputs, draws: Draws, i: int) -> ReadingInputs:
    """The arguments of one draw as if they were known; those without draws are known exactly."""

    def points(estimates: Mapping[Any, Estimate], drawn: Mapping[Any, Floats]) -> dict[Any, Estimate]:
        return {
            name: _point(each, float(drawn[name][i])) if name in drawn else each for name, each in estimates.items()
        }

    curve = None
    if reading.curve is not None and draws.curve is not None:
        kl = tuple(map(float, draws.curve[i]))
        curve = replace(reading.curve, value=kl, pointwise_low=kl, pointwise_high=kl, low=kl, high=kl)
    return replace(
        reading,
        along=points(reading.along, draws.along),
        back=points(reading.back, draws.back),
        curve=curve,
        gamma_n=points(reading.gamma_n, draws.gamma_n),
        family=points(reading.family, draws.family),
    )


def _point(estimate: Estimate, value: float) -> Estimate:
    return replace(estimate, value=value, low=value, high=value, exact=True)


def _asked(reading: ReadingInputs, at: Settings) -> dict[str, Callable[[], Asked]]:
    """Function, measured and fixed arguments of every bound, ε left out."""
    along, back, curve = reading.along, reading.back, reading.curve
    model = {name: along[name] for name in ("log_inverse_alpha", "beta", "gamma")}
    alpha = {"log_inverse_alpha": along["log_inverse_alpha"]}
    replies = (at.reply_sentences,) * at.replies

    def best_of_n_asked() -> Asked:
        gamma_n = reading.gamma_n.get(at.best_of) or worst_gamma(along["gamma"], at.best_of)
        return best_of_n, {**alpha, "beta": along["beta"], "gamma_n": gamma_n}, {"n": at.best_of}

    def relaxed_asked() -> Asked:
        assert curve is not None
        return relaxed, {**model, "beta": beta_under(curve, at.eta)}, {"eta": at.eta}

    return {
        "theorem-1": lambda: (single_prompt, model, {}),
        "theorem-5": lambda: (random_prompt, {**model, "sigma2": along["sigma2"]}, {"delta": at.delta}),
        "theorem-2": lambda: (after_prefix, back, {"delta": at.delta, "prefix_sentences": at.prefix}),
        "theorem-3": lambda: (
            (conversation, back, {"delta": at.delta, "replies": replies}) if replies else (single_prompt, model, {})
        ),
        "theorem-4": best_of_n_asked,
        "appendix-i": relaxed_asked,
        "converse": lambda: (converse, reading.family, {"behavior_floor_negative": -1.0}),
    }

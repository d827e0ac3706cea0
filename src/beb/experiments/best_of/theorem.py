"""Theorem 4 on this model: lengths for every n, beside what the best of n did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from beb.core.bounds import (
    Assumption,
    Status,
    assess,
    best_of_n,
    propagate,
    required_log_ratio_best_of_n,
    worst_gamma_n,
)
from beb.core.estimate import Band, Estimate
from beb.estimate.bands import joint_box
from beb.estimate.diagnostics import first_length_below
from beb.estimate.distinguishability import largest
from beb.estimate.families import mean_bands
from beb.estimate.means import cluster_mean
from beb.estimate.mixture_limits import MixtureLimits
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import Floats, PromptArrays
from beb.experiments.best_of.ordered import ordered
from beb.experiments.best_of.record import BestOfBound, Ceiling
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.bounds import BoundInputs, intercepts, mixture_premise, of_box, text, within_mixture
from beb.experiments.measurement import AlphaReadings
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, NATS_PER_SENTENCE, Setting
from beb.experiments.spec import MIN_PROMPTS
from beb.experiments.verdicts import excluded, length_verdict


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What the theorem needs and is compared with.

    best, bands: of the target after prompts from P₋, by size. own: size -> (n_prompts, k) best of n of P₋ itself.
    limits: what single texts say for certain about log 1/α.
    """

    negative: PromptArrays
    ratios: LogRatios
    best: Mapping[int, Floats]
    bands: Mapping[int, Band]
    own: Mapping[int, Floats]
    limits: MixtureLimits


def assumptions(
    beta: Estimate, alpha: AlphaReadings, ceilings: tuple[Ceiling, ...], setting: Setting[BestOfSpec]
) -> tuple[Assumption, ...]:
    """The premises of Theorem 4 with what was measured for each."""
    tested = f"n ≤ {setting.spec.sentences}"
    last = ceilings[-1]
    bounded = (
        "a supremum over all prompts cannot be measured; over tested prompts "
        f"γₙ = {text(last.gamma_n)} for n = {last.size}"
    )
    distinct = f"β = {text(beta)} nats per sentence, over {tested} from prompts of P₋"
    return (
        mixture_premise(alpha, tested),
        assess("distinguishable", "held" if beta.low > 0 else "not measured", distinct),
        assess("bounded best of n", "not measured", bounded),
        assess("independent draws", "held", "by design: every response has random numbers of its own"),
    )


def theorem_4(seen: Observed, alpha: AlphaReadings, setting: Setting[BestOfSpec]) -> tuple[BestOfBound, ...]:
    """Paper and corrected length for every n and reading of α.

    Half of the error probability goes to the joint limits of α and β, half to γₙ of all n together, so that for each
    reading the lengths of all n hold together with probability `setting.level`. None where β is not positive.
    """
    found = theorem_inputs(seen.negative, seen.ratios, seen.own, alpha, setting)
    return tuple(
        _report((name, size), seen, measured, found.gammas, setting)
        for name, measured in found.by_reading.items()
        if measured["beta"].value > 0
        for size in setting.spec.sizes
    )


@dataclass(frozen=True, slots=True, eq=False)
class TheoremInputs:
    """by_reading: log 1/α and β for each reading of α. gammas: γₙ by n, and whether it was measured."""

    by_reading: Mapping[str, Mapping[str, Estimate]]
    gammas: Mapping[int, tuple[Estimate, bool]]


def theorem_inputs(
    negative: PromptArrays,
    ratios: LogRatios,
    own: Mapping[int, Floats],
    alpha: AlphaReadings,
    setting: Setting[BestOfSpec],
) -> TheoremInputs:
    """The measured arguments of Theorem 4; for each reading of α all of them hold together at the run's level.

    own: size -> (n_prompts, k) best of n of P₋ itself.
    """
    half = 1 - (1 - setting.level) / 2
    inputs = BoundInputs.of(negative, ratios.evidence, ratios.negative)
    found = {}
    for name, intercept in intercepts(inputs, alpha, setting).items():
        box = joint_box(
            {"beta": inputs.kl, "alpha": intercept[:, None]}, {}, level=half, rng=setting.rng(f"theorem 4 {name}")
        )
        measured = {
            "log_inverse_alpha": within_mixture(name, of_box(box, "alpha", min, "nats"), alpha.limits),
            "beta": of_box(box, "beta", min, NATS_PER_SENTENCE),
        }
        found[name] = {key: replace(each, level=setting.level) for key, each in measured.items()}
    return TheoremInputs(found, _gammas(own, half, setting))


def worst_gamma(gamma: Estimate, size: int) -> Estimate:
    """The largest γₙ that γ allows, whatever the behavior's distribution; its limits are those of γ carried over."""
    value, low, high = (worst_gamma_n(min(max(x, -1.0), 1.0), size) for x in (gamma.value, gamma.low, gamma.high))
    words = f"worst γₙ that γ allows; {gamma.method}"
    return Estimate(value, low, high, gamma.level, gamma.n, gamma.unit, words, exact=low == high)


def _gammas(own: Mapping[int, Floats], level: float, setting: Setting[BestOfSpec]) -> dict[int, tuple[Estimate, bool]]:
    """γₙ for every size, and whether it was measured; else the worst that γ allows."""
    bands = mean_bands(
        own, setting.lengths, level=level, rng=setting.rng("theorem 4 gamma"), unit=BEHAVIOR_UNIT,
        bounds=BEHAVIOR_LIMITS, name="γₙ",
    )  # fmt: skip
    bands = ordered(bands, complete=not any(np.isnan(best).any() for best in own.values()))
    found = {
        size: (replace(largest(band, name=f"γ of the best of {size}, over tested prompts"), level=setting.level), True)
        for size, band in bands.items()
    }
    return {size: found.get(size) or (worst_gamma(found[1][0], size), False) for size in setting.spec.sizes}


def _report(
    at: tuple[str, int],
    seen: Observed,
    measured: Mapping[str, Estimate],
    gammas: Mapping[int, tuple[Estimate, bool]],
    setting: Setting[BestOfSpec],
) -> BestOfBound:
    """at: the reading of α, and n."""
    epsilon, (reading, size) = setting.spec.epsilon, at
    gamma_n, was_measured = gammas[size]
    bound = propagate(best_of_n, {**measured, "gamma_n": gamma_n}, {"epsilon": epsilon, "n": size})
    assert bound.paper is not None  # Theorem 4 has both forms
    required = _required(size, measured["log_inverse_alpha"], gamma_n, epsilon)
    cannot_be = excluded(measured["log_inverse_alpha"], seen.limits)
    silent = gamma_n.value + epsilon >= 1
    observed = None if silent else _observed(size, seen, gamma_n, epsilon)
    paper_observed = _observed(size, seen, gammas[1][0], epsilon)
    beyond, itself = _beyond(size, seen, required, setting) or (None, None)
    return BestOfBound(
        reading=reading,
        size=size,
        bound=bound,
        required=required,
        gamma_n=gamma_n,
        measured=was_measured,
        excluded=cannot_be,
        says_nothing=silent,
        observed=observed,
        verdict=length_verdict(observed, bound.sharp, excluded=cannot_be),
        paper_observed=paper_observed,
        paper_verdict=length_verdict(paper_observed, bound.paper, excluded=cannot_be),
        beyond=beyond,
        itself=itself,
        beyond_verdict="not measured" if cannot_be else beyond_verdict(beyond, itself, gamma_n, epsilon),
    )


def _observed(size: int, seen: Observed, gamma: Estimate, epsilon: float) -> int | None:
    """First length at which the mean best of n is below the level for sure, whatever γ within its limits."""
    band = seen.bands.get(size)
    return None if band is None else first_length_below(band, gamma.low + epsilon)


def _required(size: int, log_inverse_alpha: Estimate, gamma_n: Estimate, epsilon: float) -> Estimate:
    """Cₙ at the estimates and at the corners of their joint limits: it grows with log 1/α and shrinks with γₙ."""

    def at(log_inverse: float, gamma: float) -> float:
        if np.isinf(log_inverse):
            return float(log_inverse)
        clipped = min(max(gamma, -1.0), 1.0)
        return required_log_ratio_best_of_n(log_inverse_alpha=log_inverse, gamma_n=clipped, epsilon=epsilon, n=size)

    a, g = log_inverse_alpha, gamma_n
    value, low, high = at(a.value, g.value), at(a.low, g.high), at(a.high, g.low)
    words = "required log ratio at the two extreme corners of the inputs' simultaneous limits"
    return Estimate(value, min(low, value), max(high, value), g.level, g.n, "nats", words, exact=low == high)


def _beyond(
    size: int, seen: Observed, required: Estimate, setting: Setting[BestOfSpec]
) -> tuple[Estimate, Estimate] | None:
    """Mean best of n after the prompts whose log ratio exceeds the requirement, taken at its upper limit; of the target
    and of P₋ itself. None if fewer than 5 prompts are such.

    Which prompts they are depends on the prompts alone, so their responses are not selected. For such a prompt the
    theorem's proof gives E[best of n] < γₙ + ε, not only for some prompt. Limits at a Bonferroni share of all n.
    """
    if size not in seen.best or size not in seen.own:
        return None
    log_ratio = np.hstack([np.zeros((len(seen.ratios.negative), 1)), seen.ratios.negative])
    known = ~np.isnan(seen.best[size]) & ~np.isnan(seen.own[size])
    chosen = known & (log_ratio > required.high)
    if chosen.any(axis=1).sum() < MIN_PROMPTS:
        return None
    share = 1 - (1 - setting.level) / len(setting.spec.sizes)

    def mean_over(values: Floats, name: str) -> Estimate:
        found = cluster_mean(
            np.where(chosen, values, np.nan), level=share, unit=BEHAVIOR_UNIT, bounds=BEHAVIOR_LIMITS, name=name
        )
        return replace(found, level=setting.level, method=f"{found.method}; limits of all n hold together")

    return (
        mean_over(seen.best[size], f"best of {size} beyond the requirement"),
        mean_over(seen.own[size], f"best of {size} of P₋ itself beyond the requirement"),
    )


def beyond_verdict(beyond: Estimate | None, itself: Estimate | None, gamma_n: Estimate, epsilon: float) -> Status:
    """Held where the mean is below the level for sure and the level below 1. Contradicted where it is above, even if γₙ
    is as large as P₋ itself shows after these very prompts: γₙ as measured is no supremum.
    """
    if beyond is None or itself is None:
        return "not measured"
    if beyond.low > max(gamma_n.high, itself.high) + epsilon:
        return "contradicted"
    is_held = beyond.high < gamma_n.low + epsilon and gamma_n.high + epsilon < 1
    return "held" if is_held else "not measured"

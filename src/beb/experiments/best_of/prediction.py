"""What the mixture predicts for the best of n, from the measured log ratios and draws of its two parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from beb.core.bounds import Status
from beb.core.estimate import Band, Estimate
from beb.core.logspace import log_odds
from beb.core.mixture import posterior_weight
from beb.estimate.families import mean_bands, near_bound
from beb.estimate.mixture_best_of import mixture_best_of
from beb.estimate.mixture_limits import mixture_limits
from beb.estimate.prior import line_reading, plateau
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import Floats
from beb.experiments.best_of.record import AGREEMENT, BestOfPrediction
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.bounds import PLATEAU, within_mixture
from beb.experiments.predictions import LARGEST_LOG_INVERSE_ALPHA
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, Setting
from beb.experiments.verdicts import excluded

WEIGHTS = 9  # between the posterior weights at the limits of log 1/α
METHOD = "mixture prediction; envelope over the limits of log 1/α; limits of all n hold together"


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Responses to the prompts of 1..N sentences from P₋.

    negative, positive: (n_prompts, N, R) B of responses of P₋ and of P₊, NaN where there is none.
    observed: size -> (n_prompts, N) best of the target's.
    """

    negative: Floats
    positive: Floats
    observed: Mapping[int, Floats]


def predict(
    ratios: LogRatios, kl_to_target: Floats, draws: Draws, setting: Setting[BestOfSpec]
) -> tuple[BestOfPrediction, ...]:
    """E[max of n draws from w P₋(·|s) + (1−w) P₊(·|s)] for each reading of α, averaged over prompts.

    w from each prompt's measured log ratio; both parts' draws are their own responses to that very prompt, so that in a
    mixture the prediction has no bias. Each prompt has draws of its own, and its terms are independent of the others'.
    kl_to_target: (n_prompts, N) KL(P₋‖P). The plateau's limits of log 1/α are certain; of the straight line's error
    probability one half goes to log 1/α, half to the means over prompts.
    Source: derived in docs/maths.md, "Best of n of a mixture".
    """
    half = 1 - (1 - setting.level) / 2
    limits = mixture_limits(ratios.evidence, ratios.negative)
    rest = plateau(ratios.evidence, setting.lengths_after, level=half)
    readings = {
        PLATEAU: (within_mixture(PLATEAU, rest.log_inverse_alpha, limits), setting.level),
        "straight line": (line_reading(kl_to_target, level=half).log_inverse_alpha, half),
    }
    found = []
    for name, (reading, level) in readings.items():
        cannot_be = excluded(reading, limits)
        values = _terms(_weights(ratios.negative, reading), draws)
        curves, gaps = _family(values, draws.observed, level, name, setting)
        found += [
            BestOfPrediction(
                name, size, curves[size], gaps[size], cannot_be, agreement(gaps[size], cannot_be=cannot_be)
            )
            for size in values
        ]
    return tuple(found)


def _weights(log_ratio: Floats, reading: Estimate) -> Floats:
    """(1 + WEIGHTS, n_prompts, N): w at the reading, then evenly from its value at one limit to that at the other."""

    def at(log_inverse_alpha: float) -> Floats:
        clipped = min(max(log_inverse_alpha, 0.0), LARGEST_LOG_INVERSE_ALPHA)
        return posterior_weight(log_ratio, log_odds(clipped)) if clipped > 0 else np.ones_like(log_ratio)

    one, other = at(reading.low), at(reading.high)
    between = one + np.linspace(0, 1, WEIGHTS)[:, None, None] * (other - one)
    return np.concatenate([at(reading.value)[None], between])


def _terms(weights: Floats, draws: Draws) -> dict[int, Floats]:
    """Size -> (1 + WEIGHTS, n_prompts, N), for the sizes that two prompts have at every length."""
    values = {
        size: np.stack([mixture_best_of(weight, draws.negative, draws.positive, size) for weight in weights])
        for size in draws.observed
    }
    return {size: x for size, x in values.items() if (~np.isnan(x[0])).sum(axis=0).min() >= 2}


def _family(
    values: Mapping[int, Floats],
    observed: Mapping[int, Floats],
    level: float,
    reading: str,
    setting: Setting[BestOfSpec],
) -> tuple[dict[int, Band], dict[int, Band]]:
    """Predicted curves, whose limits hold all together, and observed less predicted, whose limits do too.

    values: size -> (1 + points, n_prompts, N), first at the reading itself, then at weights within its interval.
    The mean over prompts of each prompt's least value over the points is not above the least of the means, so that
    its lower limit holds at every point; likewise above. Differences are halved into the range of B meanwhile.
    """
    if not values:
        return {}, {}
    sides: dict[str, Callable[[Floats], Floats]] = {
        "middle": lambda x: x[0],
        "below": lambda x: x.min(axis=0),
        "above": lambda x: x.max(axis=0),
    }
    mirrored = {"middle": "middle", "below": "above", "above": "below"}
    bands = {}
    for side, pick in sides.items():
        predicted = {size: pick(x) for size, x in values.items()}
        other = {size: sides[mirrored[side]](x) for size, x in values.items()}
        sides_of = {("predicted", size): x for size, x in predicted.items()}
        sides_of |= {("observed", size): observed[size] for size in values}
        gaps_of = {("difference", size): (observed[size] - x) / 2 for size, x in other.items()}
        bands[side] = {
            key: band
            for family in (sides_of, gaps_of)
            for key, band in mean_bands(
                family, setting.lengths_after, level=level, rng=setting.rng(f"prediction {reading}"),
                unit=BEHAVIOR_UNIT, bounds=BEHAVIOR_LIMITS, name="prediction",
            ).items()
        }  # fmt: skip
    curves, gaps = {}, {}
    for size, x in values.items():
        curves[size] = _envelope(bands, ("predicted", size), setting, 1.0)
        gap = _envelope(bands, ("difference", size), setting, 2.0)
        rare = _rare(observed[size]) | _rare(x[0])
        gaps[size] = _at_least_box(gap, bands["middle"]["observed", size], curves[size], rare)
    return curves, gaps


def _rare(values: Floats) -> np.ndarray:
    """(k,) where so few prompts depart from a bound that a paired difference, mostly 0, misses its tails."""
    bottom, top = near_bound(values, BEHAVIOR_LIMITS)
    return np.asarray(bottom | top | (np.nanmax(values, axis=0) == np.nanmin(values, axis=0)))


def _at_least_box(gap: Band, observed: Band, predicted: Band, where: np.ndarray) -> Band:
    """Where said, limits of a difference no narrower than what the limits of its two sides allow."""
    low = [min(g, a - b) if w else g for g, a, b, w in zip(gap.low, observed.low, predicted.high, where, strict=True)]
    high = [max(g, a - b) if w else g for g, a, b, w in zip(gap.high, observed.high, predicted.low, where, strict=True)]
    return replace(gap, low=tuple(low), high=tuple(high))


def _envelope(
    bands: Mapping[str, Mapping[tuple[str, int], Band]],
    key: tuple[str, int],
    setting: Setting[BestOfSpec],
    scale: float,
) -> Band:
    middle, below, above = (bands[side][key] for side in ("middle", "below", "above"))

    def scaled(column: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(scale * x for x in column)

    return Band(
        middle.lengths, scaled(middle.value), scaled(below.pointwise_low), scaled(above.pointwise_high),
        scaled(below.low), scaled(above.high), setting.level, middle.n, middle.unit, METHOD,
    )  # fmt: skip


def agreement(gap: Band, *, cannot_be: bool) -> Status:
    limits = list(zip(gap.low, gap.high, strict=True))
    near = [low >= -AGREEMENT and high <= AGREEMENT for low, high in limits]
    if cannot_be:
        return "not measured"
    if all(near):
        return "held"
    refuted = any((low > 0 or high < 0) and not n for (low, high), n in zip(limits, near, strict=True))
    return "contradicted" if refuted else "not measured"

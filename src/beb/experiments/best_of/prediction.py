"""What the mixture predicts for the best of n, from the measured log ratios and draws of its two parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

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
from beb.experiments.arrays import Floats, ScoredArrays
from beb.experiments.best_of.record import BestOfPrediction
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.bounds import PLATEAU, within_mixture
from beb.experiments.predictions import LARGEST_LOG_INVERSE_ALPHA
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, Setting

WIDEST_SPAN = 60.0
ALPHA_POINTS = 5  # between the limits of log 1/α
METHOD = "mixture prediction; envelope over the limits of log 1/α; limits of all n hold together"


class Responses(Protocol):
    """Scored responses and the best of each size per prompt."""

    @property
    def scored(self) -> ScoredArrays:
        """All responses."""
        ...

    @property
    def best(self) -> Mapping[int, Floats]:
        """Size -> (n_prompts, k)."""
        ...


def predict(
    ratios: LogRatios,
    evidence_kl: Floats,
    prompted: Responses,
    own: Responses,
    setting: Setting[BestOfSpec],
) -> tuple[BestOfPrediction, ...]:
    """E[max of n draws from w P₋(·|s) + (1−w) P(·|no prompt)] for each reading of α, averaged over prompts.

    w from each prompt's measured log ratio; draws of P₋(·|s) are its own responses to the same prompt, those of P₊ the
    target's unprompted ones. Each prompt has draws of its own, so that its terms are independent of the others'.
    evidence_kl: (n_prompts, N) KL(P₋‖P). Half of the error probability goes to log 1/α, half to the means over prompts.
    Source: derived in docs/maths.md, "Best of n of a mixture".
    """
    half = 1 - (1 - setting.level) / 2
    rest = plateau(ratios.evidence, setting.lengths_after, level=half)
    limits = mixture_limits(ratios.evidence, ratios.negative)
    readings = {
        PLATEAU: within_mixture(PLATEAU, rest.log_inverse_alpha, limits),
        "straight line": line_reading(evidence_kl, level=half).log_inverse_alpha,
    }
    log_ratio = np.hstack([np.zeros((ratios.negative.shape[0], 1)), ratios.negative])
    first = own.scored.behavior
    second = np.broadcast_to(prompted.scored.behavior[:, :1], first.shape)
    sizes = [size for size in prompted.best if size in own.best]
    found = []
    for name, reading in readings.items():
        weights = [_weights(log_ratio, value) for value in (reading.value, *_grid(reading))]
        values = {
            size: np.stack([mixture_best_of(weight, first, second, size) for weight in weights]) for size in sizes
        }
        known = {size: x for size, x in values.items() if (~np.isnan(x[0])).sum(axis=0).min() >= 2}
        curves, gaps = _family(known, prompted.best, half, name, setting)
        found += [BestOfPrediction(name, size, curves[size], gaps[size], _verdict(gaps[size])) for size in known]
    return tuple(found)


def _grid(reading: Estimate) -> Floats:
    low, high = (min(max(x, 0.0), LARGEST_LOG_INVERSE_ALPHA) for x in (reading.low, reading.high))
    # Beyond this span the weight of P₋ is 0 for any prompt that was seen.
    return np.append(np.linspace(low, min(high, low + WIDEST_SPAN), ALPHA_POINTS - 1), high)


def _weights(log_ratio: Floats, log_inverse_alpha: float) -> Floats:
    clipped = min(max(log_inverse_alpha, 0.0), LARGEST_LOG_INVERSE_ALPHA)
    return posterior_weight(log_ratio, log_odds(clipped)) if clipped > 0 else np.ones_like(log_ratio)


def _family(
    values: Mapping[int, Floats],
    observed: Mapping[int, Floats],
    level: float,
    reading: str,
    setting: Setting[BestOfSpec],
) -> tuple[dict[int, Band], dict[int, Band]]:
    """Predicted curves, and observed less predicted, whose limits hold all together.

    values: size -> (1 + points, n_prompts, k), first at the reading itself, then at the points of its interval.
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
        family = {("predicted", size): x for size, x in predicted.items()}
        family |= {("observed", size): observed[size] for size in values}
        family |= {("difference", size): (observed[size] - x) / 2 for size, x in other.items()}
        bands[side] = mean_bands(
            family, setting.lengths, level=level, rng=setting.rng(f"prediction {reading}"), unit=BEHAVIOR_UNIT,
            bounds=BEHAVIOR_LIMITS, name="prediction",
        )  # fmt: skip
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


def _verdict(gap: Band) -> Status:
    holds = all(low <= 0 <= high for low, high in zip(gap.low, gap.high, strict=True))
    return "held" if holds else "contradicted"

"""A persona's own figures: its weight, its divergence from the others, and the evidence for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from beb.core.estimate import Band, Estimate
from beb.core.personas import persona_weights, sentence_log_ratio
from beb.errors import TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.mixture_limits import MixtureLimits
from beb.estimate.prior import cap
from beb.estimate.weight_region import WeightRegion, certain_limits
from beb.estimate.weights import weight_intervals
from beb.experiments.personas.arrays import Floats, PersonaArrays, TextArrays
from beb.experiments.personas.lengths import Sides
from beb.experiments.personas.record import PersonaFigures
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.setting import NATS_PER_SENTENCE, Setting
from beb.experiments.verdicts import excluded

FEWEST_ALIVE = 3
NO_WEIGHT = 1e-9
BETA_METHOD = (
    "exact KL over the vocabulary at the fitted weights; limits: bootstrap-t over prompts and profile likelihood over "
    "the weights of the others, in quadrature"
)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What is known of the personas' weights.

    alone, joint: per persona, each by itself and all together. limits: of each log 1/wᵢ, for certain in a mixture.
    region: likely weights within them. fitted: (n_personas,) with half a text added to each, at which the divergences
    were computed. reference: (n_personas,) the same within the certain limits.
    """

    alone: tuple[Estimate, ...]
    joint: tuple[Estimate, ...]
    limits: tuple[MixtureLimits, ...]
    region: WeightRegion
    fitted: Floats
    reference: Floats

    @classmethod
    def of(
        cls, texts: TextArrays, prompts: Sequence[PersonaArrays], log_rest: Floats, level: float, names: Sequence[str]
    ) -> Weights:
        """From the unprompted texts, and for the certain limits also from all beginnings of the personas' prompts."""
        seen = [texts.log_probs, *(_known(np.cumsum(each.log_probs, axis=1)) for each in prompts)]
        target = [texts.log_p, *(_known(np.cumsum(each.log_p, axis=1)[..., None])[:, 0] for each in prompts)]
        limits = certain_limits(np.concatenate(target), np.concatenate(seen))
        region, fitted = WeightRegion.of(texts.log_probs, limits), np.exp(log_rest)
        alone, joint = (
            weight_intervals(texts.log_probs, level=each, names=names) for each in (level, 1 - (1 - level) / len(names))
        )
        return cls(alone, joint, limits, region, fitted, region.nearest(fitted))

    def log_inverse(self, index: int, *, together: bool, level: float) -> Estimate:
        """log 1/wᵢ as it enters a theorem, nats: what the texts say, kept within the certain limits if there is room.

        Infinite where the weight or its lower limit is 0. together: limits that hold for all personas.
        """
        weight, limits = (self.joint if together else self.alone)[index], self.limits[index]
        low, value, high = (_log_inverse(side) for side in (weight.high, weight.value, weight.low))
        words = "−log of the certified maximum-likelihood weight"
        if not self.excluded(index, together=together):
            low, value, high = (min(max(side, limits.low), limits.high) for side in (low, value, high))
            words += "; kept within the certain limits of the mixture"
        return Estimate(value, low, high, level, weight.n, "nats", words, exact=low == high)

    def excluded(self, index: int, *, together: bool) -> bool:
        """Whether what the texts say of a weight is excluded by what single texts say for certain."""
        weight = (self.joint if together else self.alone)[index]
        if weight.exact:
            return False
        low, value, high = (_log_inverse(side) for side in (weight.high, weight.value, weight.low))
        return excluded(replace(weight, value=value, low=low, high=high, unit="nats"), self.limits[index])


def _log_inverse(weight: float) -> float:
    return -math.log(weight) if weight > NO_WEIGHT else math.inf


def _known(values: Floats) -> Floats:
    """(n, k) rows of (n_prompts, N, k) without NaN: the beginnings of texts that have them."""
    rows = values.reshape(-1, values.shape[-1])
    return np.asarray(rows[~np.isnan(rows).any(axis=1)])


@dataclass(frozen=True, slots=True, eq=False)
class Divergence:
    """βₙ of one persona against the others, as a function of the weights.

    At the weights of the run's own scores the divergence is exact over the vocabulary; what other weights change is the
    mean log ratio of the sampled sentences at those weights less that at the run's.
    Source: derived in docs/maths.md, "Personas measured".
    """

    index: int
    log_probs: Floats
    offset: Floats

    @classmethod
    def of(cls, index: int, arrays: PersonaArrays, fitted: Floats) -> Divergence:
        """offset: what the sampled sentences' log ratio lacks of the exact divergence at the fitted weights."""
        return cls(index, arrays.log_probs, arrays.kl - sentence_log_ratio(index, fitted, arrays.log_probs)[0])

    def by_prompt(self, weights: Floats) -> Floats:
        """(n_prompts, N) nats; NaN after the end of a text."""
        return np.asarray(self.offset + sentence_log_ratio(self.index, weights, self.log_probs)[0])

    def mean(self, n: int, weights: Floats) -> tuple[float, Floats]:
        """βₙ and its gradient in the weights (n_personas,)."""
        goes_on = ~np.isnan(self.offset[:, n])
        ratio, slope = sentence_log_ratio(self.index, weights, self.log_probs[goes_on, : n + 1])
        return float((self.offset[goes_on, n] + ratio[:, n]).mean()), slope[:, n].mean(axis=0)


@dataclass(frozen=True, slots=True)
class BetaLimits:
    """βₙ of a persona after each of the lengths.

    alone: every limit by itself; together: each at its share (Bonferroni). n: number of prompts.
    """

    lengths: tuple[int, ...]
    alone: tuple[Sides, ...]
    together: tuple[Sides, ...]
    n: int

    @classmethod
    def of(
        cls, divergence: Divergence, weights: Weights, lengths: Sequence[int], error: float,
        setting: Setting[PersonasSpec],
    ) -> BetaLimits:  # fmt: skip
        """error: probability that a limit of either kind is missed, both sides together."""
        alone, together = (
            _sides(divergence, weights, lengths, each, setting) for each in (error, error / len(lengths))
        )
        return cls(tuple(lengths), alone, together, divergence.offset.shape[0])

    @property
    def for_the_smallest(self) -> tuple[Sides, ...]:
        """Lower limits each by itself, upper ones together: see `smallest_of`."""
        return tuple(
            Sides(a.value, (a.texts[0], b.texts[1]), (a.prompts[0], b.prompts[1]))
            for a, b in zip(self.alone, self.together, strict=True)
        )

    def band(self, level: float) -> Band:
        """With the errors of texts and prompts in quadrature."""
        value, low, high = zip(*(_both(each) for each in self.alone), strict=True)
        _, below, above = zip(*(_both(each) for each in self.together), strict=True)
        return Band(self.lengths, value, low, high, below, above, level, self.n, NATS_PER_SENTENCE, BETA_METHOD)


def _sides(
    divergence: Divergence, weights: Weights, lengths: Sequence[int], error: float, setting: Setting[PersonasSpec]
) -> tuple[Sides, ...]:
    """βₙ after each of the lengths, every limit by itself."""
    name = f"beta {divergence.index} {error:.6g}"
    values = divergence.by_prompt(weights.reference)[:, : len(lengths)]
    band = mean_band(
        values, lengths, level=1 - error, rng=setting.rng(name), unit=NATS_PER_SENTENCE, name=name, n_draws=draws(error)
    )
    found = []
    for i, n in enumerate(lengths):

        def beta(w: Floats, n: int = n) -> tuple[float, Floats]:
            return divergence.mean(n, w)

        low, high = weights.region.range(beta, weights.reference, level=1 - error)
        # An estimated divergence may be negative; the true one is not.
        value = max(band.value[i], 0.0)
        found.append(
            Sides(
                value,
                (min(max(low, 0.0), value), max(high, value)),
                (min(max(band.pointwise_low[i], 0.0), value), max(band.pointwise_high[i], value)),
            )
        )
    return tuple(found)


def _both(sides: Sides) -> tuple[float, float, float]:
    """Value and limits of independent errors in quadrature."""
    low, high = (math.hypot(sides.value - sides.texts[side], sides.value - sides.prompts[side]) for side in (0, 1))
    return sides.value, max(sides.value - low, 0.0), sides.value + high


def draws(error: float) -> int:
    """Bootstrap draws that resolve an error probability."""
    return max(2000, math.ceil(5 / error))


def alive_lengths(arrays: PersonaArrays, name: str) -> list[int]:
    """Sentences before the next one, 0.., for which enough prompts have a next one. Raises: TooFewPrompts."""
    alive = (~np.isnan(arrays.kl)).sum(axis=0)
    found = [n for n in range(alive.size) if alive[n] >= FEWEST_ALIVE]
    if not found:
        raise TooFewPrompts(f"persona {name!r} has {alive[0]} prompts and needs {FEWEST_ALIVE}; raise --prompts")
    return found


@dataclass(frozen=True, slots=True)
class Who:
    """A persona's position, name and kind."""

    index: int
    name: str
    kind: str


def figures(
    who: Who, arrays: PersonaArrays, beta: BetaLimits, weights: Weights, setting: Setting[PersonasSpec]
) -> PersonaFigures:
    """All of a persona's own figures at the run's level."""
    index, name = who.index, who.name
    after, curve = [n + 1 for n in beta.lengths], beta.band(setting.level)
    evidence = np.cumsum(arrays.log_probs[..., index] - arrays.log_p, axis=1)
    posterior = _posterior(np.log(weights.fitted), np.cumsum(arrays.log_probs, axis=1), index)

    def band(values: Floats, what: str, unit: str, bounds: tuple[float, float] | None) -> Band:
        stream = setting.rng(f"{what} {name}")
        return mean_band(
            values[:, : len(after)], after, level=setting.level, rng=stream, unit=unit, bounds=bounds, name=what
        )

    filled = evidence.copy()
    for n in range(1, filled.shape[1]):  # a text that has ended is still a text
        filled[:, n] = np.where(np.isnan(filled[:, n]), filled[:, n - 1], filled[:, n])
    return PersonaFigures(
        name=name,
        kind=who.kind,
        weight=weights.alone[index],
        log_inverse_weight=weights.log_inverse(index, together=False, level=setting.level),
        excluded=weights.excluded(index, together=False),
        beta=smallest_of(curve),
        beta_curve=curve,
        evidence=band(evidence, "evidence", "nats", None),
        cap=max(cap(filled, setting.lengths_after), key=lambda e: e.value),
        own_posterior=band(posterior, "posterior weight", "share", (0.0, 1.0)),
        n_prompts=int(arrays.kl.shape[0]),
        n_ended=int(np.isnan(arrays.kl).any(axis=1).sum()),
    )


def smallest_of(band: Band) -> Estimate:
    """β = minₙ βₙ: the least of the lower limits that hold each by itself, of the upper ones that hold together.

    The least lower limit is at most the one at the true minimum's n, which is missed no more often than its own level
    says, whichever n that is (intersection–union, Berger 1982); the least upper limit may be at any n.
    """
    words = f"smallest over n = {band.lengths[0]}..{band.lengths[-1]}; {band.method}"
    value, low, high = min(band.value), min(band.pointwise_low), min(band.high)
    return Estimate(value, low, high, band.level, band.n, band.unit, words, exact=low == high)


def largest_of(band: Band) -> Estimate:
    """The largest point, as `smallest_of` with signs turned."""
    words = f"largest over n = {band.lengths[0]}..{band.lengths[-1]}; {band.method}"
    value, low, high = max(band.value), max(band.low), max(band.pointwise_high)
    return Estimate(value, low, high, band.level, band.n, band.unit, words, exact=low == high)


def _posterior(log_weights: Floats, log_probs: npt.NDArray[np.float64], index: int) -> Floats:
    """(n_prompts, N) posterior weight of a persona; NaN after the end of a text."""
    known = ~np.isnan(log_probs).any(axis=-1)
    weights = np.full(known.shape, np.nan)
    weights[known] = persona_weights(log_weights, log_probs[known])[:, index]
    return weights

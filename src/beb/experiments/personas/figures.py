"""A persona's own figures: its weight, its divergence from the others, and the evidence for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beb.core.estimate import Band, Estimate
from beb.core.personas import log_ratio_range, persona_weights
from beb.errors import TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.distinguishability import smallest
from beb.estimate.prior import cap
from beb.experiments.personas.arrays import Floats, PersonaArrays
from beb.experiments.personas.record import PersonaFigures
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.setting import NATS_PER_SENTENCE, Setting

FEWEST_ALIVE = 3
NO_WEIGHT = 1e-9
BETA_METHOD = (
    "exact KL over the vocabulary at the fitted weights; limits: for all weights of the others within their joint "
    "limits, by the mean log ratio of the sampled sentences; simultaneous over n"
)


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """Limits of the personas' weights that hold all together. low, high: (n_personas,). value: as fitted.

    log_rest: (n_personas,) log of the fitted weights, none excluded, nats.
    """

    value: Floats
    low: Floats
    high: Floats
    log_rest: Floats

    @classmethod
    def of(cls, weights: Sequence[Estimate], log_rest: Floats) -> Box:
        """From the intervals of all weights, each at its Bonferroni share."""
        value, low, high = (np.array([getattr(each, side) for each in weights]) for side in ("value", "low", "high"))
        return cls(value, low, high, log_rest)

    def log_inverse(self, index: int, level: float, n_texts: int) -> Estimate:
        """log 1/wᵢ, nats; infinite where the weight or its lower limit is 0."""
        low, value, high = (_log_inverse(side[index]) for side in (self.high, self.value, self.low))
        words = "−log of the certified maximum-likelihood weight; limits hold for all weights together"
        return Estimate(value, low, high, level, n_texts, "nats", words, exact=low == high)


def _log_inverse(weight: float) -> float:
    return -math.log(weight) if weight > NO_WEIGHT else math.inf


def beta_band(
    index: int, arrays: PersonaArrays, box: Box, lengths: Sequence[int], *, share: float, setting: Setting[PersonasSpec]
) -> Band:
    """βₙ of persona `index` against the others, n sentences before.

    share: error probability of the sampling; that of the weights' limits comes on top. The exact divergence at the
    fitted weights, less what other weights within the box could take off it (for the upper limit: add to it), per
    prompt: the log ratio of the sampled sentence at those weights less that at the fitted ones.
    Source: derived in docs/maths.md, "Personas measured".
    """
    k = len(lengths)
    low, high = log_ratio_range(index, box.low, box.high, arrays.log_probs)
    fitted, _ = log_ratio_range(index, np.exp(box.log_rest), np.exp(box.log_rest), arrays.log_probs)
    name = f"beta {index} {share:.6g}"

    def limits(values: Floats) -> Band:
        return mean_band(
            values[:, :k], lengths, level=1 - share / 2, rng=setting.rng(name), unit=NATS_PER_SENTENCE, name=name,
            n_draws=draws(share / 2),
        )  # fmt: skip

    below, above = limits(arrays.kl + low - fitted), limits(arrays.kl + high - fitted)
    value = tuple(float(x) for x in np.nanmean(arrays.kl[:, :k], axis=0))

    def floor(side: Sequence[float]) -> tuple[float, ...]:
        return tuple(min(max(limit, 0.0), v) for limit, v in zip(side, value, strict=True))

    def ceiling(side: Sequence[float]) -> tuple[float, ...]:
        return tuple(max(limit, v) for limit, v in zip(side, value, strict=True))

    return Band(
        tuple(lengths), value, floor(below.pointwise_low), ceiling(above.pointwise_high), floor(below.low),
        ceiling(above.high), setting.level, below.n, NATS_PER_SENTENCE, BETA_METHOD,
    )  # fmt: skip


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
    who: Who, weight: Estimate, arrays: PersonaArrays, box: Box, setting: Setting[PersonasSpec]
) -> PersonaFigures:
    """All of a persona's own figures at the run's level."""
    index, name = who.index, who.name
    before = alive_lengths(arrays, name)
    after = [n + 1 for n in before]
    curve = beta_band(index, arrays, box, before, share=(1 - setting.level) / 3, setting=setting)
    evidence = np.cumsum(arrays.log_probs[..., index] - arrays.log_p, axis=1)
    posterior = _posterior(box.log_rest, np.cumsum(arrays.log_probs, axis=1), index)

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
        weight=weight,
        log_inverse_weight=box.log_inverse(index, setting.level, weight.n),
        beta=smallest(curve, name="beta"),
        beta_curve=curve,
        evidence=band(evidence, "evidence", "nats", None),
        cap=max(cap(filled, setting.lengths_after), key=lambda e: e.value),
        own_posterior=band(posterior, "posterior weight", "share", (0.0, 1.0)),
        n_prompts=int(arrays.kl.shape[0]),
        n_ended=int(np.isnan(arrays.kl).any(axis=1).sum()),
    )


def _posterior(log_weights: Floats, log_probs: npt.NDArray[np.float64], index: int) -> Floats:
    """(n_prompts, N) posterior weight of a persona; NaN after the end of a text."""
    known = ~np.isnan(log_probs).any(axis=-1)
    weights = np.full(known.shape, np.nan)
    weights[known] = persona_weights(log_weights, log_probs[known])[:, index]
    return weights

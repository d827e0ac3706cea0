"""Every difference between two measurements, from their rows; no model is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError
from beb.estimate.classification import corrected_values
from beb.estimate.contrast import (
    TwoSamples,
    difference_band,
    extreme_difference,
    mean_difference,
    variance_difference,
)
from beb.estimate.logistic_contrast import FittedSample, LogisticDifference, logistic_difference
from beb.estimate.means import row_means
from beb.estimate.prior import plateau
from beb.experiments.arrays import Floats, ScoredArrays
from beb.experiments.compare.rows import RunRows, Shared
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, NATS_PER_SENTENCE
from beb.experiments.spec import derive_seed

NATS = "nats"
_CHANGE_LIMITS = (BEHAVIOR_LIMITS[0] - BEHAVIOR_LIMITS[1], BEHAVIOR_LIMITS[1] - BEHAVIOR_LIMITS[0])


@dataclass(frozen=True, slots=True, eq=False)
class RunPair:
    """Two runs (the second less the first) and how their prompts from P₋ and from P₊ compare.

    name: of the second, for its random streams.
    """

    before: RunRows
    after: RunRows
    negative: Shared
    positive: Shared
    name: str

    def rng(self, what: str) -> np.random.Generator:
        """The bootstrap stream of one difference: it depends on no other."""
        return np.random.default_rng(derive_seed(self.before.setting.spec.seed, "compare", self.name, what))

    def two(self, of: Callable[[RunRows], Floats]) -> TwoSamples:
        """What both runs measured along their prompts from P₋, (n_prompts, k)."""
        return _two(self.negative, of(self.before), of(self.after))

    def two_positive(self, of: Callable[[RunRows], Floats]) -> TwoSamples:
        """What both runs measured along their prompts from P₊."""
        return _two(self.positive, of(self.before), of(self.after))


def _two(shared: Shared, before: Floats, after: Floats) -> TwoSamples:
    return TwoSamples(before[shared.before], after[shared.after], shared.paired)


def prompt_differences(pair: RunPair, *, level: float) -> dict[str, Estimate]:
    """Differences of what is measured on prompts alone, by key."""
    setting = pair.before.setting
    lengths, least = setting.lengths_after, 0.0 if setting.spec.kl == "exact" else -np.inf
    line = _line_weights()
    first = plateau(pair.before.ratios.evidence, lengths, level=level).first
    rest = _window_weights(np.array(lengths, dtype=np.float64), first)
    evidence = pair.two(lambda run: run.ratios.evidence @ rest.T)
    straight = pair.two(lambda run: run.negative.kl["target"][:, :3] @ line.T)
    return {
        "beta": extreme_difference(
            pair.two(lambda run: run.negative.kl["positive"]), "smallest", level=level, rng=pair.rng("beta"),
            unit=NATS_PER_SENTENCE, least=least, name="β",
        ),
        "beta_prime": extreme_difference(
            pair.two_positive(lambda run: run.positive.kl["negative"]), "largest", level=level,
            rng=pair.rng("beta_prime"), unit=NATS_PER_SENTENCE, least=least, name="β′",
        ),
        "plateau": mean_difference(_column(evidence, 0), level=level, unit=NATS, name="evidence plateau"),
        "evidence": mean_difference(
            pair.two(lambda run: run.ratios.evidence[:, -1:]), level=level, unit=NATS, name="evidence"
        ),
        "kappa": mean_difference(_column(evidence, 1), level=level, unit=NATS_PER_SENTENCE, name="κ"),
        "line": mean_difference(_column(straight, 0), level=level, unit=NATS, name="straight line"),
        "line_beta": mean_difference(_column(straight, 1), level=level, unit=NATS_PER_SENTENCE, name="line's slope"),
        "sigma2": variance_difference(
            pair.two(lambda run: run.ratios.negative), lengths, level=level, rng=pair.rng("sigma2"),
            unit="nats² per sentence",
        ),
    }  # fmt: skip


def gamma_difference(pair: RunPair, *, level: float) -> Estimate:
    """Difference of γ, the largest mean B of P₋ itself, corrected for the scorer's errors where both runs can be.

    The same P₋ on the same prompts is one population: its γ does not differ at all.
    """
    same = pair.before.fingerprint("negative") == pair.after.fingerprint("negative") != ""
    if same and pair.negative.pairing == "same prompts":
        n = len(pair.negative.before)
        words = "γ of one and the same P₋ on the same prompts"
        return Estimate(0.0, 0.0, 0.0, 1.0, n, BEHAVIOR_UNIT, words, exact=True)
    two = _scored(
        pair, lambda run: ScoredArrays((), run.negative.behavior[:, :, None], run.negative.predicted[:, :, None])
    )
    return extreme_difference(
        _complete(two), "largest", level=level, rng=pair.rng("gamma"), unit=BEHAVIOR_UNIT, name="γ"
    )


def behavior_difference(pair: RunPair, format_name: str, *, level: float) -> Band:
    """Difference of the behavior curves of one format for prompts from P₋, corrected where both runs can be."""
    two = _scored(pair, lambda run: run.responses[format_name])
    corrected = two.shared_before is not None
    spread = np.nanmax([np.nanmax(side) - np.nanmin(side) for side in (two.before, two.after)])
    bounds = (-2.0 * max(spread, 1.0), 2.0 * max(spread, 1.0)) if corrected else _CHANGE_LIMITS
    band = difference_band(
        two if two.paired else _complete(two), pair.before.setting.lengths, level=level,
        rng=pair.rng(f"behavior {format_name}"), unit=BEHAVIOR_UNIT, bounds=bounds, name=f"behavior, {format_name}",
    )  # fmt: skip
    return _cut(band)


def curve_differences(pair: RunPair, *, level: float) -> dict[str, Band]:
    """Differences per length of βₙ and of the evidence, with bands."""
    setting = pair.before.setting
    return {
        "beta": difference_band(
            pair.two(lambda run: run.negative.kl["positive"]), setting.lengths_before, level=level,
            rng=pair.rng("beta curve"), unit=NATS_PER_SENTENCE, name="βₙ",
        ),
        "evidence": difference_band(
            pair.two(lambda run: run.ratios.evidence), setting.lengths_after, level=level,
            rng=pair.rng("evidence curve"), unit=NATS, name="evidence",
        ),
    }  # fmt: skip


def fitted_differences(pair: RunPair, format_name: str, *, level: float) -> LogisticDifference:
    """Differences of the logistic law's midpoint, slope and log 1/α for one format.

    Prompts without a score at some length are left out.
    """
    sides = []
    for run in (pair.before, pair.after):
        own = row_means(run.negative.behavior)
        sides.append(np.column_stack([_per_prompt(run.responses[format_name]), own]))
    two = _complete(_two(pair.negative, *sides))
    before, after = (FittedSample(side[:, :-1], side[:, -1]) for side in (two.before, two.after))
    return logistic_difference(
        before, after, pair.before.setting.lengths, paired=two.paired, level=level,
        rng=pair.rng(f"logistic {format_name}"),
    )  # fmt: skip


def _scored(pair: RunPair, of: Callable[[RunRows], ScoredArrays]) -> TwoSamples:
    """Mean scores per prompt and length, corrected with the loads of the shared rate errors if both runs can be."""
    sides = of(pair.before), of(pair.after)
    confusion = pair.before.setting.confusion
    if confusion is not None:
        try:
            rows = [side.predicted[where] for side, where in zip(sides, _rows(pair.negative), strict=True)]
            (a, load_a), (b, load_b) = (corrected_values(each, confusion) for each in rows)
        except EstimateError:
            pass  # error rates too large to be corrected: as scored
        else:
            return TwoSamples(a, b, pair.negative.paired, load_a, load_b)
    return _two(pair.negative, *(_per_prompt(side) for side in sides))


def _rows(shared: Shared) -> tuple[np.ndarray, np.ndarray]:
    return shared.before, shared.after


def _per_prompt(scored: ScoredArrays) -> Floats:
    """(n_prompts, n_lengths) mean over the responses, NaN where none was scored."""
    shape = scored.behavior.shape
    return row_means(scored.behavior.reshape(-1, shape[2])).reshape(shape[:2])


def _complete(two: TwoSamples) -> TwoSamples:
    """Without prompts (pairs of prompts) that lack a value somewhere."""
    known = [~np.isnan(side).any(axis=1) for side in (two.before, two.after)]
    if two.paired:
        known = [known[0] & known[1]] * 2
    return TwoSamples(two.before[known[0]], two.after[known[1]], two.paired, two.shared_before, two.shared_after)


def _column(two: TwoSamples, index: int) -> TwoSamples:
    return TwoSamples(two.before[:, [index]], two.after[:, [index]], two.paired)


def _line_weights() -> Floats:
    """(2, 3) weights of the intercept, and of minus the slope, of the straight line at n = 0, 1, 2."""
    weights = np.linalg.pinv(np.column_stack([np.ones(3), np.arange(3.0)]))
    return np.stack([weights[0], -weights[1]])


def _window_weights(lengths: Floats, first: int) -> Floats:
    """(2, N) weights of intercept and slope of the line through the lengths >= first; 0 elsewhere."""
    window = lengths >= first
    weights = np.zeros((2, lengths.size))
    weights[:, window] = np.linalg.pinv(np.column_stack([np.ones(int(window.sum())), lengths[window]]))
    return weights


def _cut(band: Band) -> Band:
    """Values and limits cut to what a difference of two B can be."""

    def cut(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(min(max(x, _CHANGE_LIMITS[0]), _CHANGE_LIMITS[1]) for x in values)

    return replace(
        band, value=cut(band.value), pointwise_low=cut(band.pointwise_low), pointwise_high=cut(band.pointwise_high),
        low=cut(band.low), high=cut(band.high),
    )  # fmt: skip

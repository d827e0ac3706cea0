"""The behavior curve that the mixture predicts from the measured log ratios."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.core.logspace import log_odds
from beb.core.mixture import posterior_weight
from beb.estimate.bands import mean_band
from beb.estimate.means import row_means
from beb.experiments.arrays import Floats
from beb.experiments.behavior_curves import CurveWithRows
from beb.experiments.bounds import PLATEAU, within_mixture
from beb.experiments.measurement import AlphaReadings, Prediction
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, MeasureSetting

LARGEST_LOG_INVERSE_ALPHA = 1e6


def readings(alpha: AlphaReadings) -> dict[str, Estimate]:
    """The readings of log 1/α that give one number: the plateau, kept within the mixture's limits, and the line."""
    plateau = within_mixture(PLATEAU, alpha.plateau.log_inverse_alpha, alpha.limits)
    return {PLATEAU: plateau, "straight line": alpha.line.log_inverse_alpha}


def predictions(
    alpha: AlphaReadings,
    log_ratio: Floats,
    negative_itself: CurveWithRows,
    curves: tuple[CurveWithRows, ...],
    setting: MeasureSetting,
) -> tuple[Prediction, ...]:
    """B_P(n) = E[w] B₋ + (1 - E[w]) B₊ for each reading of α, with w from each prompt's measured log ratio.

    B₋ is the mean behavior of P₋ itself, B₊ that of the target without a prompt (plain format). Each prompt's value is
    its term plus its influence on B₋ and B₊, so that the band carries their sampling error too. The band is the
    envelope of the bands at the two limits of log 1/α, so it includes that error as well.
    Source: Wolf et al. 2024, proof of Theorem 1; linearisation derived in docs/maths.md.
    """
    plain = next(
        (rows for rows in curves if rows.curve.format == "plain" and rows.curve.condition == "negative"), curves[0]
    )
    own = _filled(row_means(negative_itself.per_prompt))
    unprompted = _filled(plain.per_prompt[:, 0])
    ratios = np.hstack([np.zeros((log_ratio.shape[0], 1)), log_ratio])

    def band(log_inverse_alpha: float, name: str) -> Band:
        clipped = min(max(log_inverse_alpha, 0.0), LARGEST_LOG_INVERSE_ALPHA)
        weight = posterior_weight(ratios, log_odds(clipped)) if clipped > 0 else np.ones_like(ratios)
        share = weight.mean(axis=0)
        values = weight * own.mean() + (1 - weight) * unprompted.mean()
        values += share * (own - own.mean())[:, None] + (1 - share) * (unprompted - unprompted.mean())[:, None]
        stream = setting.rng(f"prediction {name}")
        return mean_band(
            values, setting.lengths, level=setting.level, rng=stream, unit=BEHAVIOR_UNIT, name="prediction"
        )

    found = []
    for name, reading in readings(alpha).items():
        ends = [band(reading.low, name), band(reading.high, name)]
        found.append(Prediction(name, reading, _envelope(band(reading.value, name), ends)))
    return tuple(found)


def _filled(values: Floats) -> Floats:
    """Missing values as the mean of the others."""
    return np.where(np.isnan(values), np.nanmean(values), values)


def _envelope(middle: Band, ends: list[Band]) -> Band:
    bands = [middle, *ends]

    def side(name: str, pick: Callable[[Any], float]) -> tuple[float, ...]:
        limits = (pick(getattr(band, name)[i] for band in bands) for i in range(len(middle.lengths)))
        return tuple(min(max(limit, BEHAVIOR_LIMITS[0]), BEHAVIOR_LIMITS[1]) for limit in limits)

    return Band(
        middle.lengths, middle.value, side("pointwise_low", min), side("pointwise_high", max), side("low", min),
        side("high", max), middle.level, middle.n, middle.unit, "mixture prediction; envelope over log 1/α",
    )  # fmt: skip

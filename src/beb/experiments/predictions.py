"""What the theory says about this model: predicted curves, bounds with intervals, and how far its premises hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.core.bounds import Assumption, assess, propagate, random_prompt, single_prompt
from beb.core.estimate import Band, Estimate
from beb.core.logspace import log_odds
from beb.core.mixture import posterior_weight
from beb.estimate.bands import JointBox, joint_box, mean_band
from beb.estimate.classification import corrected_band
from beb.estimate.diagnostics import first_length_below
from beb.estimate.distinguishability import largest
from beb.estimate.prior import Plateau
from beb.experiments.arrays import Floats
from beb.experiments.behavior_curves import Confusion, CurveWithRows, Streams
from beb.experiments.measurement import AlphaReadings, BehaviorCurve, BoundReport, Prediction
from beb.experiments.spec import MeasureSpec

LARGEST_LOG_INVERSE_ALPHA = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class BoundInputs:
    """Arrays over the same prompts from P₋, from which all inputs of a bound are resampled together.

    kl: (n_prompts, N) KL(P₋‖P₊) per sentence. kl_to_target: (n_prompts, N) KL(P₋‖P). evidence, log_ratio:
    (n_prompts, N) cumulative, nats. predicted: (n_prompts, N) class of each sentence, -1 where not scored.
    behavior: (n_prompts, N) B of each sentence.
    """

    kl: Floats
    kl_to_target: Floats
    evidence: Floats
    log_ratio: Floats
    predicted: NDArray[np.int64]
    behavior: Floats


def assumptions(
    beta: Estimate, rest: Plateau, trend: Estimate, gamma: Estimate, spec: MeasureSpec
) -> dict[str, Assumption]:
    """The premises of Theorems 1 and 5 with what was measured for each, by name."""
    tested = f"n ≤ {spec.sentences}"
    kappa = f"proxy gap κ = {_text(rest.kappa)} nats per sentence"
    if rest.verdict == "mixture contradicted":
        mixture = assess("mixture", "contradicted", f"{kappa}: P₋ is no component of P with a length-free weight")
    elif rest.verdict == "mixture not contradicted":
        mixture = assess("mixture", "held", f"{kappa}, over {tested}")
    else:
        mixture = assess("mixture", "not measured", f"{kappa}, but the plateau may lie beyond {tested}")
    distinct = f"β = {_text(beta)} nats per sentence, over {tested} from prompts of P₋"
    similar = f"slope of Varₙ/n = {_text(trend)} nats² per sentence², over {tested}"
    return {
        "mixture": mixture,
        "distinguishable": assess("distinguishable", "held" if beta.low > 0 else "not measured", distinct),
        "bounded behavior": assess(
            "bounded behavior", "not measured", f"a supremum over all prompts cannot be; tested prompts: γ = {_text(gamma)}"
        ),
        "similar under P₋": assess("similar under P₋", "contradicted" if trend.low > 0 else "held", similar),
    }


def predictions(
    alpha: AlphaReadings,
    log_ratio: Floats,
    negative_itself: CurveWithRows,
    curves: tuple[CurveWithRows, ...],
    spec: MeasureSpec,
    rng: Streams,
) -> tuple[Prediction, ...]:
    """B_P(n) = E[w] B₋ + (1 - E[w]) B₊ for each reading of α, with w from each prompt's measured log ratio.

    B₋ is the mean behavior of P₋ itself, B₊ that of the target without a prompt (plain format). Each prompt's value is
    its term plus its influence on B₋ and B₊, so that the band carries their sampling error too. The band is the
    envelope of the bands at the two limits of log 1/α, so it includes that error as well.
    Source: Wolf et al. 2024, proof of Theorem 1; linearisation derived in docs/maths.md.
    """
    plain = next(rows for rows in curves if rows.curve.format == "plain" and rows.curve.condition == "negative")
    own = _filled(np.array([np.nanmean(row) if not np.isnan(row).all() else np.nan for row in negative_itself.per_prompt]))
    unprompted = _filled(plain.per_prompt[:, 0])
    ratios = np.hstack([np.zeros((log_ratio.shape[0], 1)), log_ratio])
    lengths = list(range(spec.sentences + 1))

    def band(log_inverse_alpha: float, name: str) -> Band:
        clipped = min(max(log_inverse_alpha, 0.0), LARGEST_LOG_INVERSE_ALPHA)
        weight = posterior_weight(ratios, log_odds(clipped)) if clipped > 0 else np.ones_like(ratios)
        mean_weight = weight.mean(axis=0)
        values = weight * own.mean() + (1 - weight) * unprompted.mean()
        values += mean_weight * (own - own.mean())[:, None] + (1 - mean_weight) * (unprompted - unprompted.mean())[:, None]
        return mean_band(
            values, lengths, level=spec.level, rng=rng(f"prediction {name}"), unit="behavior expectation",
            name="prediction",
        )  # fmt: skip

    found = []
    for name, reading in readings(alpha).items():
        middle, ends = band(reading.value, name), [band(limit, name) for limit in (reading.low, reading.high)]
        found.append(Prediction(name, reading, _envelope(middle, ends)))
    return tuple(found)


def readings(alpha: AlphaReadings) -> dict[str, Estimate]:
    """The readings of log 1/α that give one number: the plateau's intercept and the straight line's."""
    return {"evidence plateau": alpha.plateau.log_inverse_alpha, "straight line": alpha.line.log_inverse_alpha}


def bound_reports(
    inputs: BoundInputs,
    alpha: AlphaReadings,
    confusion: Confusion,
    curves: tuple[BehaviorCurve, ...],
    stated: Mapping[str, Assumption],
    spec: MeasureSpec,
    rng: Streams,
) -> tuple[BoundReport, ...]:
    """Theorems 1 and 5 for each reading of α, with intervals from simultaneous limits of all inputs.

    Half of the error probability goes to the joint bootstrap of α, β and σ², half to γ, whose limits also carry the
    scorer's error rates; together they hold with probability `spec.level`.
    """
    level = 1 - (1 - spec.level) / 2
    n = np.arange(1, spec.sentences + 1)
    gamma = _gamma(inputs, confusion, spec, level, rng)
    first = alpha.plateau.first
    window = n >= first
    intercepts = {
        "evidence plateau": np.polynomial.polynomial.polyfit(n[window], inputs.evidence[:, window].T, 1)[0],
        "straight line": np.polynomial.polynomial.polyfit(np.arange(3), inputs.kl_to_target[:, :3].T, 1)[0],
    }
    reports = []
    for name, intercept in intercepts.items():
        box = joint_box(
            {"beta": inputs.kl, "alpha": intercept[:, None]},
            {"sigma2": inputs.log_ratio / np.sqrt(n)},
            level=level,
            rng=rng(f"bounds {name}"),
        )
        measured = {
            "log_inverse_alpha": _of_box(box, "alpha", min, "nats", spec.level, floor=0.0),
            "beta": _of_box(box, "beta", min, "nats per sentence", spec.level),
            "gamma": gamma,
            "sigma2": _of_box(box, "sigma2", max, "nats² per sentence", spec.level),
        }
        threshold = gamma.value + spec.epsilon
        observed = {c.format: first_length_below(c.corrected or c.raw, threshold) for c in curves if c.condition == "negative"}
        for function, names, fixed in (
            (single_prompt, ("log_inverse_alpha", "beta", "gamma"), {"epsilon": spec.epsilon}),
            (random_prompt, tuple(measured), {"epsilon": spec.epsilon, "delta": spec.delta}),
        ):
            if measured["beta"].value <= 0:
                continue
            found = propagate(function, {key: measured[key] for key in names}, fixed)
            premises = tuple(stated[premise] for premise in found.bound.assumptions)
            reports.append(BoundReport(name, found, premises, observed))
    return tuple(reports)


def _gamma(
    inputs: BoundInputs, confusion: Confusion, spec: MeasureSpec, level: float, rng: Streams
) -> Estimate:
    lengths = list(range(spec.sentences))
    unit = "behavior expectation"
    if confusion is not None:
        band = corrected_band(
            inputs.predicted[:, :, None], confusion, lengths, level=level, rng=rng("bounds gamma"), unit=unit
        )
    else:
        band = mean_band(
            inputs.behavior, lengths, level=level, rng=rng("bounds gamma"), unit=unit, bounds=(-1.0, 1.0), name="gamma"
        )
    return replace(largest(band, name="gamma, over tested prompts"), level=spec.level)


def _of_box(
    box: JointBox, name: str, pick: Callable[[Any], float], unit: str, level: float, floor: float = -math.inf
) -> Estimate:
    value, low, high = (max(float(pick(side[name])), floor) for side in (box.value, box.low, box.high))
    return Estimate(value, low, high, level, box.n[name], unit, box.method, exact=low == high)


def _envelope(middle: Band, ends: list[Band]) -> Band:
    bands = [middle, *ends]

    def side(name: str, pick: Callable[[Any], float]) -> tuple[float, ...]:
        ends = (pick(getattr(band, name)[i] for band in bands) for i in range(len(middle.lengths)))
        return tuple(min(max(end, -1.0), 1.0) for end in ends)

    return Band(
        middle.lengths, middle.value, side("pointwise_low", min), side("pointwise_high", max), side("low", min),
        side("high", max), middle.level, middle.n, middle.unit, "mixture prediction; envelope over the limits of log 1/α",
    )  # fmt: skip


def _filled(values: Floats) -> Floats:
    """Missing values as the mean of the others."""
    return np.where(np.isnan(values), np.nanmean(values), values)


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"

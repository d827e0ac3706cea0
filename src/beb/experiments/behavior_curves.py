"""Behavior expectation against prompt length: raw, corrected, with what failures could have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.core.estimate import Band
from beb.errors import EstimateError
from beb.estimate.bands import mean_band
from beb.estimate.classification import corrected_band
from beb.estimate.means import worst_case_mean
from beb.experiments.arrays import Floats, PromptArrays, response_arrays
from beb.experiments.measurement import BehaviorCurve
from beb.experiments.plan import CONDITIONS
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store

Streams = Callable[[str], np.random.Generator]
Confusion = Sequence[Sequence[int]] | None
UNIT = "behavior expectation"
LIMITS = (-1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class CurveWithRows:
    """A behavior curve with the per-prompt means behind it: (n_prompts, k), NaN where no response was scored."""

    curve: BehaviorCurve
    per_prompt: Floats


def component_curve(
    arrays: PromptArrays, name: str, lengths: list[int], spec: MeasureSpec, confusion: Confusion, rng: Streams
) -> CurveWithRows:
    """B of a component after n of its own sentences: a prompt's own next sentence is the sample."""
    behavior, predicted = arrays.behavior[:, :, None], arrays.predicted[:, :, None]
    return _curve(behavior, predicted, lengths, ("plain", name), spec, confusion, rng)


def behavior_curves(
    store: Store,
    spec: MeasureSpec,
    formats: Sequence[str],
    negative: PromptArrays,
    positive: PromptArrays,
    confusion: Confusion,
    rng: Streams,
) -> tuple[CurveWithRows, ...]:
    """One curve per format and kind of prompt; the prompts are the independent units."""
    curves = []
    for format_name in formats:
        for condition in CONDITIONS:
            prompts = (positive if condition == "positive" else negative).prompts
            lengths = list(range(spec.sentences + 1))
            rows = response_arrays(store, format_name, condition, tuple(lengths), prompts, spec.responses)
            name = (format_name, condition)
            curves.append(_curve(rows.behavior, rows.predicted, lengths, name, spec, confusion, rng))
    return tuple(curves)


def _curve(
    behavior: Floats,
    predicted: Any,
    lengths: list[int],
    name: tuple[str, str],
    spec: MeasureSpec,
    confusion: Confusion,
    rng: Streams,
) -> CurveWithRows:
    """behavior, predicted: (n_prompts, k, n_responses); NaN and -1 where a request failed."""
    missing = np.isnan(behavior)
    counted = (~missing).sum(axis=2)
    with np.errstate(invalid="ignore"):
        per_prompt = np.where(counted > 0, np.nansum(behavior, axis=2) / counted, np.nan)
    label = f"behavior {name[0]} {name[1]}"
    raw = mean_band(per_prompt, lengths, level=spec.level, rng=rng(label), unit=UNIT, bounds=LIMITS, name=label)
    corrected: Band | None = None
    if confusion is not None:
        try:
            corrected = corrected_band(
                predicted, confusion, lengths, level=spec.level, rng=rng(f"corrected {label}"), unit=UNIT
            )
        except EstimateError:
            corrected = None
    worst = [
        worst_case_mean(behavior[:, i, :], LIMITS, level=spec.level, unit=UNIT, name=label) for i in range(len(lengths))
    ]
    curve = BehaviorCurve(
        format=name[0],
        condition=name[1],
        raw=raw,
        corrected=corrected,
        n_responses=int((~missing).sum()),
        n_failures=int(missing.sum()),
        worst_low=tuple(e.low for e in worst),
        worst_high=tuple(e.high for e in worst),
    )
    return CurveWithRows(curve, per_prompt)

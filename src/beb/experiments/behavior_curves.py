"""Behavior expectation against prompt length: raw, corrected, with what failures could have changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beb.core.estimate import Band
from beb.errors import EstimateError, TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.classification import corrected_band
from beb.estimate.curves import LogisticFit, fit_logistic
from beb.estimate.means import row_means, worst_case_mean
from beb.experiments.arrays import Floats, PromptArrays, ScoredArrays, response_arrays
from beb.experiments.measurement import BehaviorCurve
from beb.experiments.plan import CONDITIONS
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, AnySetting, MeasureSetting
from beb.experiments.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class CurveWithRows:
    """A behavior curve with the per-prompt means behind it: (n_prompts, k), NaN where no response was scored."""

    curve: BehaviorCurve
    per_prompt: Floats


def component_curve(arrays: PromptArrays, name: str, setting: AnySetting) -> CurveWithRows:
    """B of a component after n of its own sentences: a prompt's own next sentence is the sample."""
    scored = ScoredArrays(tuple(setting.lengths_before), arrays.behavior[:, :, None], arrays.predicted[:, :, None])
    return behavior_curve(scored, "plain", name, setting)


def behavior_curves(
    store: Store, negative: PromptArrays, positive: PromptArrays, setting: MeasureSetting
) -> tuple[CurveWithRows, ...]:
    """One curve per format and kind of prompt; the prompts are the independent units."""
    curves = []
    for format_name in setting.formats:
        for condition in CONDITIONS:
            prompts = (positive if condition == "positive" else negative).prompts
            scored = response_arrays(
                store,
                format_name,
                condition,
                prompts=prompts,
                lengths=setting.lengths,
                n_responses=setting.spec.responses,
            )
            curves.append(behavior_curve(scored, format_name, condition, setting))
    return tuple(curves)


def logistic_fits(
    curves: tuple[CurveWithRows, ...], negative_itself: CurveWithRows, setting: AnySetting
) -> dict[str, LogisticFit]:
    """The logistic law of each format's curve for prompts from P₋; its lower level is the measured B of P₋ itself."""
    own = row_means(negative_itself.per_prompt)
    fits = {}
    for rows in curves:
        if rows.curve.condition == "negative":
            name = rows.curve.format
            known = rows.per_prompt[~np.isnan(rows.per_prompt).any(axis=1)]
            fits[name] = fit_logistic(
                known,
                setting.lengths,
                low=own[~np.isnan(own)],
                level=setting.level,
                rng=setting.rng(f"logistic {name}"),
            )
    return fits


def behavior_curve(scored: ScoredArrays, format_name: str, condition: str, setting: AnySetting) -> CurveWithRows:
    """Raw and corrected curve of one condition, with what its failures could have changed."""
    missing = np.isnan(scored.behavior)
    per_prompt = row_means(scored.behavior.reshape(-1, scored.behavior.shape[2])).reshape(scored.behavior.shape[:2])
    label = f"behavior {format_name} {condition}"
    fewest = int((~np.isnan(per_prompt)).sum(axis=0).min())
    if fewest < 2:
        raise TooFewPrompts(
            f"{label} has {fewest} of {len(per_prompt)} prompts with a scored text at some length and needs at least 2;"
            " label more texts, take another --scorer, or raise --prompts"
        )
    raw = mean_band(
        per_prompt, scored.lengths, level=setting.level, rng=setting.rng(label), unit=BEHAVIOR_UNIT,
        bounds=BEHAVIOR_LIMITS, name=label,
    )  # fmt: skip
    worst = [
        worst_case_mean(scored.behavior[:, i, :], BEHAVIOR_LIMITS, level=setting.level, unit=BEHAVIOR_UNIT, name=label)
        for i in range(len(scored.lengths))
    ]
    curve = BehaviorCurve(
        format=format_name,
        condition=condition,
        raw=raw,
        corrected=_corrected(scored, label, setting),
        n_responses=int((~missing).sum()),
        n_failures=int(missing.sum()),
        worst_low=tuple(e.low for e in worst),
        worst_high=tuple(e.high for e in worst),
    )
    return CurveWithRows(curve, per_prompt)


def _corrected(scored: ScoredArrays, label: str, setting: AnySetting) -> Band | None:
    """None where the scorer's errors are unknown, or too large to be corrected."""
    if setting.confusion is None:
        return None
    try:
        return corrected_band(
            scored.predicted, setting.confusion, scored.lengths, level=setting.level,
            rng=setting.rng(f"corrected {label}"), unit=BEHAVIOR_UNIT, name=label,
        )  # fmt: skip
    except EstimateError:
        return None

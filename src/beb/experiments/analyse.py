"""From the rows of the main job to its numbers; no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.estimate.bands import mean_band
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.mixture_limits import mixture_limits
from beb.estimate.prior import LineReading, cap, line_reading, plateau
from beb.estimate.similarity import sigma_squared, variance_band, variance_trend
from beb.experiments.arrays import Floats, PromptArrays, prompt_arrays
from beb.experiments.behavior_curves import CurveWithRows, behavior_curves, component_curve, logistic_fits
from beb.experiments.bounds import BoundInputs, assumptions, bound_reports
from beb.experiments.converse_bound import converse_reports
from beb.experiments.gate import gate
from beb.experiments.lower_bounds import labelled
from beb.experiments.measurement import AlphaReadings, BehaviorCurve, Measurement
from beb.experiments.notes import context_notes, divergence_notes, format_notes, model_notes
from beb.experiments.precision import precision
from beb.experiments.predictions import predictions
from beb.experiments.setting import NATS_PER_SENTENCE, MeasureSetting, Setting
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class LogRatios:
    """Cumulative log ratios after 1..N sentences, (n_prompts, N), nats.

    negative: log P₋/P₊ of prompts from P₋. positive: the same of prompts from P₊. evidence: log P₋/P of those from P₋.
    """

    negative: Floats
    positive: Floats
    evidence: Floats

    @classmethod
    def of(cls, negative: PromptArrays, positive: PromptArrays) -> LogRatios:
        """From the scored prompts of both components."""
        return cls(
            np.cumsum(negative.log_p["negative"] - negative.log_p["positive"], axis=1),
            np.cumsum(positive.log_p["negative"] - positive.log_p["positive"], axis=1),
            np.cumsum(negative.log_p["negative"] - negative.log_p["target"], axis=1),
        )


def analyse_measure(store: Store) -> Measurement:
    """Every number of a complete run.

    Raises: EstimateError kinds if prompts are missing, for example because the run is not finished.
    """
    meta = store.meta()
    setting = Setting.of(meta, MeasureSpec)
    negative = prompt_arrays(store, "negative", setting.spec.sentences)
    positive = prompt_arrays(store, "positive", setting.spec.sentences)
    ratios = LogRatios.of(negative, positive)
    curves = _divergence_curves(negative, positive, ratios, setting)
    components = tuple(
        component_curve(arrays, name, setting) for name, arrays in (("P₋ itself", negative), ("P₊ itself", positive))
    )
    behavior = behavior_curves(store, negative, positive, setting)
    alpha = _alpha(negative, ratios, behavior, components[0], setting)
    key = _key_figures(curves, components[0].curve)
    stated = assumptions(key, alpha, _variance_trend(ratios, setting), setting)
    shown = tuple(each.curve for each in behavior)
    inputs = BoundInputs.of(negative, ratios.evidence, ratios.negative)
    bounds = bound_reports(inputs, alpha, shown, stated, setting)
    converse = converse_reports(
        inputs, positive, alpha, setting, observed=bounds[0].observed if bounds else {}, mixture=stated["mixture"]
    )
    stated |= {premise.name: premise for report in converse for premise in report.assumptions}
    wanted = precision(key, alpha, bounds, setting)
    return Measurement(
        meta=meta,
        gate=gate(store),
        beta=key["beta"],
        beta_curve=curves["beta"],
        beta_prime=key["beta_prime"],
        beta_prime_curve=curves["beta_prime"],
        beta_prime_top=key["beta_prime_top"],
        sigma2=key["sigma2"],
        sigma2_curve=curves["sigma2"],
        sigma2_positive=key["sigma2_positive"],
        sigma2_positive_curve=curves["sigma2_positive"],
        evidence_curve=alpha.plateau.effective_log_inverse_weight,
        kl_to_target_curve=curves["kl_to_target"],
        alpha=alpha,
        gamma=key["gamma"],
        gamma_uncorrected=key["gamma_uncorrected"],
        components=tuple(each.curve for each in components),
        behavior=shown,
        predictions=predictions(alpha, ratios.negative, components[0], behavior, setting),
        bounds=bounds,
        converse=converse,
        assumptions=tuple(stated.values()),
        widest=wanted.widest,
        prompts_to_halve=wanted.prompts_to_halve,
        unlimited=wanted.unlimited,
        counts=_counts(store, negative, positive),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, setting),
    )


def _alpha(
    negative: PromptArrays,
    ratios: LogRatios,
    behavior: tuple[CurveWithRows, ...],
    own: CurveWithRows,
    setting: MeasureSetting,
) -> AlphaReadings:
    """All readings of α. behavior: the measured curves. own: B of P₋ itself."""
    rest = plateau(
        ratios.evidence, setting.lengths_after, level=setting.level, log_ratio=ratios.negative,
        rng=setting.rng("evidence"),
    )  # fmt: skip
    return AlphaReadings(
        cap=cap(ratios.evidence, setting.lengths_after),
        plateau=rest,
        line=_labelled_line(line_reading(negative.kl["target"], level=setting.level), negative),
        behavior=logistic_fits(behavior, own, setting),
        limits=mixture_limits(ratios.evidence, ratios.negative),
    )


def _labelled_line(line: LineReading, negative: PromptArrays) -> LineReading:
    """The straight line, whose points are KL(P₋‖P)."""
    method = negative.lower_bounds.get("target", "")
    value, beta = (labelled(each, method) for each in (line.log_inverse_alpha, line.beta))
    return replace(
        line, log_inverse_alpha=value, beta=beta, ratio=None if line.ratio is None else labelled(line.ratio, method)
    )


def _variance_trend(ratios: LogRatios, setting: MeasureSetting) -> Estimate:
    return variance_trend(ratios.negative, setting.lengths_after, level=setting.level, rng=setting.rng("trend"))


def _key_figures(curves: Mapping[str, Band], own: BehaviorCurve) -> dict[str, Estimate]:
    """The smallest and largest points of curves, by name. own: B of P₋ itself."""
    return {
        "beta": smallest(curves["beta"], name="beta"),
        "beta_prime": largest(curves["beta_prime"], name="beta_prime"),
        "beta_prime_top": largest(curves["beta"], name="beta_prime as the top of the P₋ curve"),
        "sigma2": sigma_squared(curves["sigma2"]),
        "sigma2_positive": sigma_squared(curves["sigma2_positive"]),
        "gamma": largest(own.corrected or own.raw, name="gamma, over tested prompts"),
        "gamma_uncorrected": largest(own.raw, name="gamma uncorrected, over tested prompts"),
    }


def _divergence_curves(
    negative: PromptArrays, positive: PromptArrays, ratios: LogRatios, setting: MeasureSetting
) -> dict[str, Band]:
    """βₙ, β′ₙ, KL(P₋‖P) by sentences before, Varₙ/n by sentences of the prompt."""
    # A Monte Carlo divergence of one prompt may be negative; an exact one cannot.
    limits = (0.0, np.inf) if setting.spec.kl == "exact" else None
    means = {
        "beta": (negative, "positive"),
        "beta_prime": (positive, "negative"),
        "kl_to_target": (negative, "target"),
    }
    curves = {
        name: labelled(
            mean_band(
                arrays.kl[q], setting.lengths_before, level=setting.level, rng=setting.rng(name),
                unit=NATS_PER_SENTENCE, bounds=limits, name=name,
            ),
            arrays.lower_bounds.get(q, ""),
        )
        for name, (arrays, q) in means.items()
    }  # fmt: skip
    for name, log_ratio in (("sigma2", ratios.negative), ("sigma2_positive", ratios.positive)):
        curves[name] = variance_band(log_ratio, setting.lengths_after, level=setting.level, rng=setting.rng(name))
    return curves


def _counts(store: Store, negative: PromptArrays, positive: PromptArrays) -> dict[str, int]:
    prompts = store.rows("prompts")
    responses = store.rows("responses")
    return {
        "prompts from P₋": len(negative.prompts),
        "prompts from P₊": len(positive.prompts),
        "sampled prompt tokens": sum(len(row["token_ids"]) for row in prompts),
        "sentences cut at the token limit": sum(row["n_cut"] for row in prompts),
        "responses": len(responses),
        "sampled response tokens": sum(len(row["token_ids"]) for row in responses),
        "responses cut at the token limit": sum(row["n_cut"] for row in responses),
        "empty responses": sum(not row["text"].strip() for row in responses),
    }


def _notes(meta: Mapping[str, Any], setting: MeasureSetting) -> tuple[str, ...]:
    return (
        *model_notes(meta),
        *format_notes(setting.spec.formats, setting.formats),
        *context_notes(meta, ("negative", "positive", "target")),
        *divergence_notes(setting.spec.kl),
    )

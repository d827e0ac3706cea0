"""From the rows of a guardrail run to its numbers; no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.core.bounds import Assumption, assess
from beb.core.estimate import Band, Estimate
from beb.errors import TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.crossing import crossing, crossing_shift
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.means import cluster_mean, paired_difference
from beb.estimate.mixture_limits import mixture_limits
from beb.estimate.prior import cap, line_reading, plateau
from beb.estimate.shift import area_shift
from beb.estimate.similarity import sigma_squared, variance_band, variance_trend
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import Floats, PromptArrays, prompt_arrays, response_arrays
from beb.experiments.behavior_curves import CurveWithRows, behavior_curve, component_curve
from beb.experiments.bounds import BoundInputs, assumptions
from beb.experiments.bounds import text as rounded
from beb.experiments.gate import gate
from beb.experiments.guardrail.predictions import (
    TheoremTwo,
    TheoryInputs,
    log_ratio_shift,
    sampled_log_ratio,
    text_log_ratio,
    verdict,
)
from beb.experiments.guardrail.record import Baseline, Guardrail, GuardrailRecord
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System
from beb.experiments.guardrail.work import AFTER_NEGATIVE, NEGATIVE_CLASS, Arm, arms_of
from beb.experiments.measurement import AlphaReadings
from beb.experiments.notes import divergence_notes, model_notes
from beb.experiments.setting import BEHAVIOR_UNIT, NATS_PER_SENTENCE, Setting
from beb.experiments.store import Store

DIFFERENCE_LIMITS = (-2.0, 2.0)
GuardrailSetting = Setting[GuardrailSpec]


def analyse_guardrail(store: Store) -> GuardrailRecord:
    """Every number of a complete run.

    Raises: EstimateError kinds if prompts are missing, for example because the run is not finished.
    """
    meta = store.meta()
    setting = Setting.of(meta, GuardrailSpec)
    negative = prompt_arrays(store, "negative", setting.spec.sentences)
    positive = prompt_arrays(store, "positive", setting.spec.sentences)
    ratios = LogRatios.of(negative, positive)
    after = _after_negative(store, setting)
    inputs = TheoryInputs(
        negative, after, -ratios.positive, positive.kl["negative"],
        BoundInputs.of(negative, ratios.evidence, ratios.negative),
    )  # fmt: skip
    alpha = _alpha(negative, ratios, setting)
    curves = _curves(inputs, setting)
    own = component_curve(negative, "P₋ itself", setting).curve
    gamma = largest(own.corrected or own.raw, name="gamma, over tested prompts")
    positivity = _positivity(negative, setting)
    stated = _premises(curves, ratios, setting, gamma=gamma, positivity=positivity, alpha=alpha)
    theorem = TheoremTwo.of(inputs, alpha, stated, setting)
    arms = _Arms.of(store, meta, negative, setting)
    after_curve = curves.get("beta_after")
    return GuardrailRecord(
        meta=meta,
        gate=gate(store),
        family=arms.family,
        baselines=tuple(arms.baseline(name, meta["baselines"][name]) for name in setting.formats),
        guardrails=tuple(
            arms.guardrail(arm, _Theory(store, meta, inputs, theorem, setting)) for arm in arms_of(meta) if arm.system
        ),
        beta=smallest(curves["beta"], name="beta"),
        beta_curve=curves["beta"],
        beta_after=smallest(after_curve, name="beta after a negative sentence") if after_curve else None,
        beta_after_curve=after_curve,
        beta_prime=largest(curves["beta_prime"], name="beta_prime"),
        beta_prime_curve=curves["beta_prime"],
        sigma2_positive=sigma_squared(curves["sigma2_positive"]),
        sigma2_positive_curve=curves["sigma2_positive"],
        positivity=positivity,
        gamma=gamma,
        alpha=alpha,
        assumptions=tuple(stated.values()),
        counts=_counts(store, negative, positive, after),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, setting),
    )


def _after_negative(store: Store, setting: GuardrailSetting) -> Floats | None:
    """(n_prompts, N) KL(P₋‖P₊) of the sentences that P₋ writes after a negative one; None if there are too few."""
    try:
        return prompt_arrays(store, AFTER_NEGATIVE, setting.spec.sentences).kl["positive"]
    except TooFewPrompts:
        return None


def _alpha(negative: PromptArrays, ratios: LogRatios, setting: GuardrailSetting) -> AlphaReadings:
    rest = plateau(
        ratios.evidence, setting.lengths_after, level=setting.level, log_ratio=ratios.negative,
        rng=setting.rng("evidence"),
    )  # fmt: skip
    line = line_reading(negative.kl["target"], level=setting.level)
    return AlphaReadings(
        cap(ratios.evidence, setting.lengths_after), rest, line, {}, mixture_limits(ratios.evidence, ratios.negative)
    )


def _curves(inputs: TheoryInputs, setting: GuardrailSetting) -> dict[str, Band]:
    """Divergences by sentences before, Varₙ/n by sentences of the prompt."""
    limits = (0.0, np.inf) if setting.spec.kl == "exact" else None
    means = {"beta": inputs.negative.kl["positive"], "beta_prime": inputs.beta_prime}
    if inputs.after is not None:
        means["beta_after"] = inputs.after
    found = {
        name: mean_band(
            values, setting.lengths_before, level=setting.level, rng=setting.rng(name), unit=NATS_PER_SENTENCE,
            bounds=limits, name=name,
        )
        for name, values in means.items()
    }  # fmt: skip
    rng = setting.rng("sigma2_positive")
    found["sigma2_positive"] = variance_band(inputs.resistance, setting.lengths_after, level=setting.level, rng=rng)
    return found


def _positivity(negative: PromptArrays, setting: GuardrailSetting) -> Estimate | None:
    """Per prompt the share of its negative sentences that are likelier under P₋; the prompts are the clusters."""
    likelier = (negative.log_p["negative"] > negative.log_p["positive"]).astype(np.float64)
    values = np.where(negative.predicted == NEGATIVE_CLASS, likelier, np.nan)
    try:
        return cluster_mean(
            values, level=setting.level, unit="share of negative sentences", bounds=(0.0, 1.0), name="positivity"
        )
    except TooFewPrompts:
        return None


def _premises(
    curves: Mapping[str, Band],
    ratios: LogRatios,
    setting: GuardrailSetting,
    *,
    gamma: Estimate,
    positivity: Estimate | None,
    alpha: AlphaReadings,
) -> dict[str, Assumption]:
    """The premises of Theorem 2 with what was measured for each, by name."""
    tested = f"n ≤ {setting.spec.sentences}"
    trend = variance_trend(ratios.positive, setting.lengths_after, level=setting.level, rng=setting.rng("trend"))
    key = {"beta": smallest(curves["beta"], name="beta"), "gamma": gamma}
    shared = assumptions(key, alpha, trend, setting)
    if "beta_after" in curves:
        beta = smallest(curves["beta_after"], name="beta after a negative sentence")
        told = f"β = {rounded(beta)} nats per sentence after neutral prefixes that end in a negative sentence, {tested}"
        distinct = assess("prompt-distinguishable", "held" if beta.low > 0 else "not measured", told)
    else:
        distinct = assess("prompt-distinguishable", "not measured", "too few prompts of P₋ have a negative sentence")
    back = largest(curves["beta_prime"], name="beta_prime")
    finite = f"β′ = {rounded(back)} nats per sentence, over {tested} from prompts of P₊"
    # The theorem needs the variance of the prefix alone, and no prefix here is longer than the prompts from P₊.
    spread = f"σ² = {rounded(sigma_squared(curves['sigma2_positive']))} nats² per sentence, the largest over {tested}"
    spread += f", and no prefix is longer; slope of Varₙ/n = {rounded(trend)}"
    return {
        "mixture": shared["mixture"],
        "prompt-distinguishable": distinct,
        "bounded behavior": shared["bounded behavior"],
        "beta-prime-undistinguishable": assess("beta-prime-undistinguishable", "held", finite),
        "similar under P₊": assess("similar under P₊", "held", spread),
        "positivity": _positivity_premise(positivity),
    }


def _positivity_premise(share: Estimate | None) -> Assumption:
    if share is None:
        return assess("positivity", "not measured", "fewer than 2 prompts of P₋ have a sentence scored negative")
    told = f"true of a share of {rounded(share)} of the negative sentences of P₋; one is needed after every prefix"
    return assess("positivity", "held" if share.low > 0 else "not measured", told)


@dataclass(frozen=True, slots=True, eq=False)
class _Theory:
    """What the predictions for a guardrail are computed from."""

    store: Store
    meta: Mapping[str, Any]
    inputs: TheoryInputs
    theorem: TheoremTwo
    setting: GuardrailSetting

    def sentences(self, system: System) -> int:
        """m of a guardrail."""
        return next(int(e["sentences"]) for e in self.meta["guardrails"] if e["system"]["name"] == system.name)

    def log_ratio(self, system: System) -> Estimate:
        """log P₊/P₋ of a guardrail."""
        if system.sentences:
            return sampled_log_ratio(self.inputs, system.sentences, self.setting)
        rows = self.store.rows("given_texts", name=system.name)
        return text_log_ratio({row["component"]: row["sentence_log_p"] for row in rows}, self.sentences(system))


@dataclass(frozen=True, slots=True, eq=False)
class _Arms:
    """The behavior curves of all arms over the same prompts. family: guardrails whose shifts hold together."""

    curves: Mapping[tuple[str, str], CurveWithRows]
    family: int
    setting: GuardrailSetting

    @classmethod
    def of(cls, store: Store, meta: Mapping[str, Any], negative: PromptArrays, setting: GuardrailSetting) -> _Arms:
        """From the scored responses."""
        curves = {}
        for arm in arms_of(meta):
            scored = response_arrays(
                store, arm.format, arm.name, prompts=negative.prompts, lengths=setting.lengths,
                n_responses=setting.spec.responses, unprompted=arm.name,
            )  # fmt: skip
            curves[arm.format, arm.name] = behavior_curve(scored, arm.format, arm.name, setting)
        return cls(curves, len(meta["guardrails"]), setting)

    def baseline(self, format_name: str, told: Mapping[str, str]) -> Baseline:
        """The prompts without guardrail."""
        rows = self.curves[format_name, Arm(format_name, None).name]
        known = _complete(rows.per_prompt)
        fall = paired_difference(
            known[:, 0],
            known[:, -1],
            level=self.setting.level,
            unit=BEHAVIOR_UNIT,
            bounds=(-1.0, 1.0),
            name="fall of B",
        )  # fmt: skip
        return Baseline(
            format_name, told["context"], told["before"], told["default"], rows.curve, self._midpoint(known), fall
        )

    def guardrail(self, arm: Arm, theory: _Theory) -> Guardrail:
        """One guardrail against the baseline of its format."""
        assert arm.system is not None
        setting, system = self.setting, arm.system
        rows = self.curves[arm.format, arm.name]
        base = self.curves[arm.format, Arm(arm.format, None).name].per_prompt
        pairs = ~np.isnan(rows.per_prompt).any(axis=1) & ~np.isnan(base).any(axis=1)
        moved, still = rows.per_prompt[pairs], base[pairs]
        each = 1 - (1 - setting.level) / self.family
        shift = crossing_shift(moved, still, setting.lengths, level=each)
        area = area_shift(moved, still, setting.lengths, level=each)
        label = f"difference {arm.format} {arm.name}"
        difference = mean_band(
            moved - still, setting.lengths, level=setting.level, rng=setting.rng(label), unit=BEHAVIOR_UNIT,
            bounds=DIFFERENCE_LIMITS, name=label,
        )  # fmt: skip
        m, log_ratio = theory.sentences(system), theory.log_ratio(system)
        extra = theory.theorem.extra_length(system, log_ratio, m)
        status, reason = verdict(shift, area, extra)
        return Guardrail(
            name=system.name,
            format=arm.format,
            kind=system.kind,
            text=system.text,
            sentences=m,
            curve=rows.curve,
            midpoint=self._midpoint(_complete(rows.per_prompt)),
            midpoint_shift=shift,
            area_shift=area,
            difference=difference,
            log_ratio=log_ratio,
            log_ratio_shift=log_ratio_shift(system, log_ratio, theory.inputs, setting),
            extra=extra,
            verdict=status,
            reason=reason,
            bounds=theory.theorem.reports(system, log_ratio, m, rows.curve),
        )

    def _midpoint(self, per_prompt: Floats) -> Estimate:
        return crossing(per_prompt, self.setting.lengths, level=self.setting.level)


def _complete(per_prompt: Floats) -> Floats:
    return per_prompt[~np.isnan(per_prompt).any(axis=1)]


def _counts(store: Store, negative: PromptArrays, positive: PromptArrays, after: Floats | None) -> dict[str, int]:
    prompts, responses = store.rows("prompts"), store.rows("responses")
    return {
        "prompts from P₋": len(negative.prompts),
        "prompts from P₊": len(positive.prompts),
        "prompts from P₋ after a negative sentence": 0 if after is None else len(after),
        "sampled prompt tokens": sum(len(row["token_ids"]) for row in prompts),
        "sentences cut at the token limit": sum(row["n_cut"] for row in prompts),
        "responses": len(responses),
        "sampled response tokens": sum(len(row["token_ids"]) for row in responses),
        "responses cut at the token limit": sum(row["n_cut"] for row in responses),
        "empty responses": sum(not row["text"].strip() for row in responses),
    }


def _notes(meta: Mapping[str, Any], setting: GuardrailSetting) -> tuple[str, ...]:
    notes = model_notes(meta)
    default = meta["baselines"].get("chat", {}).get("default", "")
    if default:
        notes.append(
            f"the chat baseline is not empty: the model's own template puts in the system text “{default}”, which "
            "every system prompt here replaces"
        )
    if "chat" in setting.formats:
        notes.append(
            "log P₊/P₋ of a system prompt is that of its text after the components' own start; in the chat it stands "
            "in another frame, so that predictions for the chat format rest on the text alone"
        )
    notes += divergence_notes(setting.spec.kl)
    return tuple(notes)

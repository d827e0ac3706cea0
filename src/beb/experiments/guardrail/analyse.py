"""From the rows of a guardrail run to its numbers; no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.crossing import crossing, crossing_shift
from beb.estimate.curves import LogisticFit
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.means import paired_difference
from beb.estimate.mixture_limits import mixture_limits
from beb.estimate.prior import cap, line_reading, plateau
from beb.estimate.shift import area_shift
from beb.estimate.similarity import sigma_squared, variance_band
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import Floats, PromptArrays, prompt_arrays, response_arrays
from beb.experiments.behavior_curves import CurveWithRows, behavior_curve, component_curve, logistic_fits
from beb.experiments.bounds import BoundInputs
from beb.experiments.gate import gate
from beb.experiments.guardrail.predictions import (
    TheoremTwo,
    TheoryInputs,
    log_ratio_shift,
    sampled_log_ratio,
    text_log_ratio,
    verdict,
)
from beb.experiments.guardrail.premises import positivity, positivity_after, positivity_premise, premises
from beb.experiments.guardrail.record import Baseline, Guardrail, GuardrailRecord, PositivityAfter
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System
from beb.experiments.guardrail.work import AFTER_NEGATIVE, Arm, arms_of
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
    inputs = theory_inputs(store, setting)
    arms = _Arms.of(store, meta, negative, setting)
    itself = component_curve(negative, "P₋ itself", setting)
    alpha = _alpha(negative, ratios, logistic_fits(tuple(arms.curves.values()), itself, setting), setting)
    curves = _curves(inputs, setting)
    gamma = largest(itself.curve.corrected or itself.curve.raw, name="gamma, over tested prompts")
    guards = [arm for arm in arms_of(meta) if arm.system]
    after = {arm.name: positivity_after(store, arm.system, setting) for arm in guards if arm.system}
    stated = premises(curves, inputs, setting, alpha=alpha, gamma=gamma, after=after)
    theorem = TheoremTwo.of(inputs, alpha, stated, setting)
    theory = _Theory(store, meta, inputs, theorem, after, setting)
    after_curve = curves.get("beta_after")
    return GuardrailRecord(
        meta=meta,
        gate=gate(store),
        family=arms.family,
        baselines=tuple(arms.baseline(name, meta["baselines"][name]) for name in setting.formats),
        guardrails=tuple(arms.guardrail(arm, theory) for arm in guards),
        beta=smallest(curves["beta"], name="beta"),
        beta_curve=curves["beta"],
        beta_after=smallest(after_curve, name="beta after a negative sentence") if after_curve else None,
        beta_after_curve=after_curve,
        beta_prime=largest(curves["beta_prime"], name="beta_prime"),
        beta_prime_curve=curves["beta_prime"],
        sigma2_positive=sigma_squared(curves["sigma2_positive"]),
        sigma2_positive_curve=curves["sigma2_positive"],
        positivity=positivity(negative, setting),
        gamma=gamma,
        alpha=alpha,
        alpha_entering={name: each["log_inverse_alpha"] for name, each in theorem.by_reading.items()},
        excluded=theorem.excluded,
        assumptions=tuple(stated.values()),
        counts=_counts(store, negative, positive, inputs.after),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, setting),
    )


def theory_inputs(store: Store, setting: GuardrailSetting) -> TheoryInputs:
    """What Theorem 2's arguments are measured from. Raises: TooFewPrompts."""
    negative = prompt_arrays(store, "negative", setting.spec.sentences)
    positive = prompt_arrays(store, "positive", setting.spec.sentences)
    ratios = LogRatios.of(negative, positive)
    return TheoryInputs(
        negative, _after_negative(store, setting), -ratios.positive, positive.kl["negative"],
        BoundInputs.of(negative, ratios.evidence, ratios.negative),
    )  # fmt: skip


def _after_negative(store: Store, setting: GuardrailSetting) -> Floats | None:
    """(n_prompts, N) KL(P₋‖P₊) of the sentences that P₋ writes after a negative one; None if there are too few."""
    try:
        return prompt_arrays(store, AFTER_NEGATIVE, setting.spec.sentences).kl["positive"]
    except TooFewPrompts:
        return None


def _alpha(
    negative: PromptArrays, ratios: LogRatios, behavior: Mapping[str, LogisticFit], setting: GuardrailSetting
) -> AlphaReadings:
    rest = plateau(
        ratios.evidence, setting.lengths_after, level=setting.level, log_ratio=ratios.negative,
        rng=setting.rng("evidence"),
    )  # fmt: skip
    line = line_reading(negative.kl["target"], level=setting.level)
    limits = mixture_limits(ratios.evidence, ratios.negative)
    return AlphaReadings(cap(ratios.evidence, setting.lengths_after), rest, line, behavior, limits)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Theory:
    """What the predictions for a guardrail are computed from."""

    store: Store
    meta: Mapping[str, Any]
    inputs: TheoryInputs
    theorem: TheoremTwo
    after: Mapping[str, PositivityAfter]
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
        return Baseline(
            format_name, told["context"], told["before"], told["default"], rows.curve, self._midpoint(known),
            self._fall(known),
        )  # fmt: skip

    def _fall(self, known: Floats) -> Estimate:
        """B without a prompt less B after the longest ones. known: (n_prompts, N + 1) B."""
        return paired_difference(
            known[:, 0], known[:, -1], level=self.setting.level, unit=BEHAVIOR_UNIT, bounds=(-1.0, 1.0),
            name="fall of B",
        )  # fmt: skip

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
        status, reason = verdict(self._fall(_complete(base)), shift, area, extra)
        after = theory.after[system.name]
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
            positivity=after,
            extra=extra,
            verdict=status,
            reason=reason,
            bounds=theory.theorem.reports(system, log_ratio, m, rows.curve, positivity_premise({system.name: after})),
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

"""From the rows of a chat API run to its numbers; no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError
from beb.estimate.bands import mean_band
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.means import mean
from beb.estimate.similarity import sigma_squared, variance_band
from beb.experiments.arrays import PromptArrays, prompt_arrays, response_arrays
from beb.experiments.behavior_curves import CurveWithRows, behavior_curve, component_curve, logistic_fits
from beb.experiments.chat_api.record import ChatApiRecord, ComponentFigures
from beb.experiments.chat_api.spec import SOURCE_FORMS, ChatApiSpec
from beb.experiments.gate import gate
from beb.experiments.lower_bounds import labelled
from beb.experiments.notes import divergence_notes, model_notes
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, NATS_PER_SENTENCE, MeasureSetting, Setting
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store

NO_LOG_PROBS = "the API tells no log-probabilities of the target"
ALWAYS_REFUSED = {
    "log 1/α by the cap and the evidence plateau": NO_LOG_PROBS,
    "log 1/α by the straight line, KL(P₋‖P)": NO_LOG_PROBS,
    "curve that the mixture predicts": f"it needs the evidence of each prompt, and {NO_LOG_PROBS}",
    "lengths of the theorems": f"they need α, whose certain limits need the evidence, and {NO_LOG_PROBS}",
    "plain-text format": "the API reads chat turns only",
}
NO_POSITIVE = f"there is no P₊ of its own; give --positive {SOURCE_FORMS}"
WITHOUT_POSITIVE = {
    "β, β′, σ² and the gate": NO_POSITIVE,
    "control prompts from P₊": NO_POSITIVE,
}


def analyse_chat_api(store: Store) -> ChatApiRecord:
    """Every number of a complete run. Raises: EstimateError kinds if prompts are missing."""
    meta = store.meta()
    setting, has_positive = Setting.of(meta, MeasureSpec), ChatApiSpec(**meta["spec"]).has_positive
    spec = setting.spec
    sources = {"negative": prompt_arrays(store, "negative", spec.sentences)}
    if has_positive:
        sources["positive"] = prompt_arrays(store, "positive", spec.sentences)
    own = {"negative": "P₋ itself", "positive": "P₊ itself"}
    components = {name: component_curve(arrays, own[name], setting) for name, arrays in sources.items()}
    conditions = (*sources, "shuffled")
    curves = {name: _curve(store, name, sources.get(name, sources["negative"]), setting) for name in conditions}
    negative = components["negative"].curve
    gamma = largest(negative.corrected or negative.raw, name="gamma, over tested prompts")
    return ChatApiRecord(
        meta=meta,
        gamma=gamma,
        gamma_uncorrected=largest(negative.raw, name="gamma uncorrected, over tested prompts"),
        pair=_pair(store, sources["negative"], sources["positive"], setting) if has_positive else None,
        components=tuple(each.curve for each in components.values()),
        behavior=tuple(each.curve for each in curves.values()),
        logistic=logistic_fits((curves["negative"],), components["negative"], setting)["chat"],
        fall=_falls(curves, setting),
        observed=_observed(curves["negative"], gamma.high + spec.epsilon),
        refused={**ALWAYS_REFUSED, **({} if has_positive else WITHOUT_POSITIVE)},
        counts=_counts(store, sources),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, spec.kl if has_positive else None),
    )


def _curve(store: Store, condition: str, prompts: PromptArrays, setting: MeasureSetting) -> CurveWithRows:
    scored = response_arrays(
        store, "chat", condition, prompts=prompts.prompts, lengths=setting.lengths,
        n_responses=setting.spec.responses,
    )  # fmt: skip
    return behavior_curve(scored, "chat", condition, setting)


def _pair(store: Store, negative: PromptArrays, positive: PromptArrays, setting: MeasureSetting) -> ComponentFigures:
    limits = (0.0, np.inf) if setting.spec.kl == "exact" else None
    curves: dict[str, Band] = {
        name: labelled(
            mean_band(
                arrays.kl[q], setting.lengths_before, level=setting.level, rng=setting.rng(name),
                unit=NATS_PER_SENTENCE, bounds=limits, name=name,
            ),
            arrays.lower_bounds.get(q, ""),
        )
        for name, arrays, q in (("beta", negative, "positive"), ("beta_prime", positive, "negative"))
    }  # fmt: skip
    log_ratio = np.cumsum(negative.log_p["negative"] - negative.log_p["positive"], axis=1)
    variance = variance_band(log_ratio, setting.lengths_after, level=setting.level, rng=setting.rng("sigma2"))
    return ComponentFigures(
        gate=gate(store),
        beta=smallest(curves["beta"], name="beta"),
        beta_curve=curves["beta"],
        beta_prime=largest(curves["beta_prime"], name="beta_prime"),
        beta_prime_curve=curves["beta_prime"],
        sigma2=sigma_squared(variance),
    )


def _falls(curves: Mapping[str, CurveWithRows], setting: MeasureSetting) -> dict[str, Estimate]:
    """Mean over prompts of B after the whole prompt less B without one, where both were scored."""
    falls: dict[str, Estimate] = {}
    for name, each in curves.items():
        difference = each.per_prompt[:, -1] - each.per_prompt[:, 0]
        known = difference[~np.isnan(difference)]
        try:
            falls[name] = mean(known, level=setting.level, unit=BEHAVIOR_UNIT, bounds=(-2.0, 2.0), name=f"fall, {name}")
        except EstimateError:  # fewer than two prompts with both
            continue
    return falls


def _observed(curve: CurveWithRows, level: float) -> int | None:
    """First length whose upper limit is below the level; None if the level is above every B, and says nothing."""
    if level >= BEHAVIOR_LIMITS[1]:
        return None
    band = curve.curve.corrected or curve.curve.raw
    return next((n for n, high in zip(band.lengths, band.high, strict=True) if high < level), None)


def _counts(store: Store, sources: Mapping[str, PromptArrays]) -> dict[str, int]:
    signs = {"negative": "P₋", "positive": "P₊"}
    prompts, responses = store.rows("prompts"), store.rows("responses")
    return {
        **{f"prompts from {signs[name]}": len(arrays.prompts) for name, arrays in sources.items()},
        "sampled prompt tokens": sum(len(row["token_ids"]) for row in prompts),
        "sentences cut at the token limit": sum(row["n_cut"] for row in prompts),
        "replies": len(responses),
        "replies cut at the token limit": sum(row["n_cut"] for row in responses),
        "empty replies": sum(not row["text"].strip() for row in responses),
    }


def _notes(meta: Mapping[str, Any], kl: str | None) -> tuple[str, ...]:
    told = [
        *model_notes(meta),
        "P₋ is not part of the target: it is another model, whose texts are only used as prompts",
        "of each reply the first sentence is scored, by the tokens of P₋",
    ]
    return (*told, *(divergence_notes(kl) if kl is not None else ()))

"""From the rows of a best-of-n run to its numbers; no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError
from beb.estimate.bands import mean_band
from beb.estimate.classification import corrected_band
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.families import mean_bands
from beb.estimate.mixture_limits import mixture_limits
from beb.estimate.order_statistics import best_of, worst_case_best_of
from beb.estimate.prior import cap, line_reading, plateau
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import Floats, PromptArrays, ScoredArrays, prompt_arrays, response_arrays
from beb.experiments.best_of.ordered import ordered
from beb.experiments.best_of.prediction import Draws, predict
from beb.experiments.best_of.record import (
    BESIDE,
    CONTROL,
    OWN,
    PROMPTED,
    Answer,
    BestOfCurve,
    BestOfRecord,
    Ceiling,
)
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.best_of.theorem import Observed, assumptions, theorem_4, worst_gamma
from beb.experiments.gate import gate
from beb.experiments.measurement import AlphaReadings
from beb.experiments.notes import divergence_notes, model_notes
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, NATS_PER_SENTENCE, Setting
from beb.experiments.store import Store

FEWEST_WITH_ALL = 2  # prompts that have n responses


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """One kind of prompt: its scored responses, the best of each size per prompt, and the bands.

    best: size -> (n_prompts, k), NaN where a prompt has fewer scored responses.
    """

    scored: ScoredArrays
    best: Mapping[int, Floats]
    bands: Mapping[int, Band]


def analyse_best_of(store: Store) -> BestOfRecord:
    """Every number of a complete run.

    Raises: EstimateError kinds if prompts are missing, for example because the run is not finished.
    """
    meta = store.meta()
    setting = Setting.of(meta, BestOfSpec)
    negative = prompt_arrays(store, "negative", setting.spec.sentences)
    positive = prompt_arrays(store, "positive", setting.spec.sentences)
    ratios = LogRatios.of(negative, positive)
    chosen = _chosen(store, negative, positive, setting)
    beta_curve = mean_band(
        negative.kl["positive"], setting.lengths_before, level=setting.level, rng=setting.rng("beta"),
        unit=NATS_PER_SENTENCE, bounds=(0.0, np.inf) if setting.spec.kl == "exact" else None, name="beta",
    )  # fmt: skip
    alpha = alpha_readings(negative, ratios, setting)
    beta = smallest(beta_curve, name="beta")
    ceilings = _ceilings(chosen[OWN], setting)
    observed = Observed(
        negative, ratios, chosen[PROMPTED].best, chosen[PROMPTED].bands, chosen[OWN].best, alpha.limits
    )  # fmt: skip
    return BestOfRecord(
        meta=meta,
        gate=gate(store),
        beta=beta,
        beta_curve=beta_curve,
        plateau=alpha.plateau,
        line=alpha.line,
        curves=tuple(curve for name, one in chosen.items() for curve in _curves(name, one, setting)),
        single_corrected=_corrected(chosen[PROMPTED].scored, setting),
        ceilings=ceilings,
        predictions=predict(ratios, negative.kl["target"], _draws(store, negative, chosen, setting), setting),
        bounds=theorem_4(observed, alpha, setting),
        assumptions=assumptions(beta, alpha, ceilings, setting),
        counts=_counts(store, negative, positive),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, chosen, setting),
    )


def alpha_readings(negative: PromptArrays, ratios: LogRatios, setting: Setting[BestOfSpec]) -> AlphaReadings:
    """Of the prompts from P₋."""
    return AlphaReadings(
        cap=cap(ratios.evidence, setting.lengths_after),
        plateau=plateau(
            ratios.evidence, setting.lengths_after, level=setting.level, log_ratio=ratios.negative,
            rng=setting.rng("evidence"),
        ),
        line=line_reading(negative.kl["target"], level=setting.level),
        behavior={},
        limits=mixture_limits(ratios.evidence, ratios.negative),
    )  # fmt: skip


def best_of_itself(store: Store, negative: PromptArrays, setting: Setting[BestOfSpec]) -> Mapping[int, Floats]:
    """Best of every size of P₋ after its own prompts: size -> (n_prompts, k). Raises: EstimateError."""
    return _best(_scored(store, OWN, negative, setting), OWN, setting)


def _chosen(
    store: Store, negative: PromptArrays, positive: PromptArrays, setting: Setting[BestOfSpec]
) -> dict[str, Chosen]:
    found = {}
    for condition in (PROMPTED, CONTROL, OWN):
        scored = _scored(store, condition, positive if condition == CONTROL else negative, setting)
        best = _best(scored, condition, setting)
        bands = mean_bands(
            best, setting.lengths, level=setting.level, rng=setting.rng(f"best of, {condition}"), unit=BEHAVIOR_UNIT,
            bounds=BEHAVIOR_LIMITS, name=f"best of n, {condition}",
        )  # fmt: skip
        found[condition] = Chosen(scored, best, ordered(bands, complete=not np.isnan(scored.behavior).any()))
    return found


def _scored(store: Store, condition: str, prompts: PromptArrays, setting: Setting[BestOfSpec]) -> ScoredArrays:
    """The scored responses of one condition; of P₊ beside P₋ there are none without a prompt."""
    (format_name,) = setting.formats
    is_target = condition in (PROMPTED, CONTROL)
    return response_arrays(
        store,
        format_name if is_target else "plain",
        condition,
        prompts=prompts.prompts,
        lengths=setting.lengths_after if condition == BESIDE else setting.lengths,
        n_responses=setting.spec.responses,
        unprompted=PROMPTED if is_target else condition,
    )


def _draws(store: Store, negative: PromptArrays, chosen: Mapping[str, Chosen], setting: Setting[BestOfSpec]) -> Draws:
    """What the prediction needs of the prompts from P₋ with at least one sentence."""
    return Draws(
        chosen[OWN].scored.behavior[:, 1:],
        _scored(store, BESIDE, negative, setting).behavior,
        {size: best[:, 1:] for size, best in chosen[PROMPTED].best.items()},
    )


def _best(scored: ScoredArrays, condition: str, setting: Setting[BestOfSpec]) -> dict[int, Floats]:
    """Best of each size that enough prompts have."""
    whole = best_of(scored.behavior, setting.spec.sizes)  # (n_prompts, k, m)
    enough = (~np.isnan(whole)).sum(axis=0).min(axis=0) >= FEWEST_WITH_ALL
    if not enough[0]:
        raise EstimateError(
            f"fewer than {FEWEST_WITH_ALL} prompts have a scored response at every length ({condition}); "
            "see the failures, or raise --prompts"
        )
    return {size: whole[:, :, i] for i, size in enumerate(setting.spec.sizes) if enough[i]}


def _curves(condition: str, one: Chosen, setting: Setting[BestOfSpec]) -> list[BestOfCurve]:
    scores = one.scored.behavior
    n_failures = int(np.isnan(scores).sum())
    curves = []
    for size, band in one.bands.items():
        worst = []
        if n_failures:
            worst = [
                worst_case_best_of(scores[:, i], size, BEHAVIOR_LIMITS, level=setting.level, unit=BEHAVIOR_UNIT)
                for i in range(scores.shape[1])
            ]
        curves.append(
            BestOfCurve(condition, size, band, n_failures, tuple(e.low for e in worst), tuple(e.high for e in worst))
        )
    return curves


def _ceilings(own: Chosen, setting: Setting[BestOfSpec]) -> tuple[Ceiling, ...]:
    """γₙ and the floor for every n; a size with too few complete prompts is left out (the worst γₙ stands in)."""
    gamma = largest(own.bands[1], name="γ, over tested prompts")
    epsilon = setting.spec.epsilon
    ceilings = []
    for size, band in own.bands.items():
        top = largest(band, name=f"γ of the best of {size}, over tested prompts")
        bottom = smallest(band, name=f"least mean best of {size} of P₋")
        ceilings.append(
            Ceiling(
                size,
                top,
                bottom,
                worst_gamma(gamma, size),
                _at_least(top, 0.0, 0.0),
                _at_least(bottom, gamma.low + epsilon, gamma.high + epsilon),
                _at_least(bottom, 0.0, 0.0),
            )
        )
    return tuple(ceilings)


def _at_least(found: Estimate, level_low: float, level_high: float) -> Answer:
    """Is it at least a level that lies between two limits, for sure?"""
    if found.low >= level_high:
        return "yes"
    return "no" if found.high < level_low else "undecided"


def _corrected(scored: ScoredArrays, setting: Setting[BestOfSpec]) -> Band | None:
    """B of one response, corrected; the best of n cannot be, as the choice is by the scorer that errs."""
    if setting.confusion is None:
        return None
    try:
        return corrected_band(
            scored.predicted, setting.confusion, scored.lengths, level=setting.level, rng=setting.rng("corrected"),
            unit=BEHAVIOR_UNIT,
        )  # fmt: skip
    except EstimateError:
        return None


def _counts(store: Store, negative: PromptArrays, positive: PromptArrays) -> dict[str, int]:
    responses = store.rows("responses")
    return {
        "prompts from P₋": len(negative.prompts),
        "prompts from P₊": len(positive.prompts),
        "responses": len(responses),
        "sampled response tokens": sum(len(row["token_ids"]) for row in responses),
        "responses cut at the token limit": sum(row["n_cut"] for row in responses),
        "empty responses": sum(not row["text"].strip() for row in responses),
    }


def _notes(meta: Mapping[str, Any], chosen: Mapping[str, Chosen], setting: Setting[BestOfSpec]) -> tuple[str, ...]:
    notes = model_notes(meta)
    if "chat" in setting.formats:
        notes.append(
            "the target answers in its chat format, while the components and their log ratios are of plain text: "
            "Theorem 4 and the prediction carry them over, which the mixture does not promise"
        )
    notes += divergence_notes(setting.spec.kl)
    dropped = sorted({size for size in setting.spec.sizes for one in chosen.values() if size not in one.bands})
    if dropped:
        sizes = ", ".join(map(str, dropped))
        notes.append(f"too few prompts have all responses scored for the best of {sizes}: not measured everywhere")
    return tuple(notes)

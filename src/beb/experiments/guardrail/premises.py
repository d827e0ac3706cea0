"""Theorem 2's premises with what was measured for each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from beb.core.bounds import Assumption, assess
from beb.core.estimate import Band, Estimate
from beb.errors import TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.distinguishability import largest, smallest
from beb.estimate.means import cluster_mean
from beb.estimate.similarity import sigma_squared, variance_trend
from beb.experiments.arrays import Floats, PromptArrays
from beb.experiments.bounds import assumptions, steady
from beb.experiments.bounds import text as rounded
from beb.experiments.guardrail.predictions import TheoryInputs
from beb.experiments.guardrail.record import PositivityAfter
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System
from beb.experiments.guardrail.work import AFTER_GUARDRAIL, NEGATIVE_CLASS
from beb.experiments.measurement import AlphaReadings
from beb.experiments.setting import NATS_PER_SENTENCE, Setting
from beb.experiments.store import Store

SHARE_UNIT = "share of negative sentences"


def premises(
    curves: Mapping[str, Band],
    inputs: TheoryInputs,
    setting: Setting[GuardrailSpec],
    *,
    alpha: AlphaReadings,
    gamma: Estimate,
    after: Mapping[str, PositivityAfter],
) -> dict[str, Assumption]:
    """The premises by name. curves: see `beb.experiments.guardrail.analyse`. after: by guardrail."""
    tested = f"n ≤ {setting.spec.sentences}"
    trend = variance_trend(inputs.resistance, setting.lengths_after, level=setting.level, rng=setting.rng("trend"))
    key = {"beta": smallest(curves["beta"], name="beta"), "gamma": gamma}
    shared = assumptions(key, alpha, trend, setting)
    if "beta_after" in curves:
        beta = smallest(curves["beta_after"], name="beta after a negative sentence")
        told = f"β = {rounded(beta)} nats per sentence after neutral prefixes that end in a negative sentence, {tested}"
        distinct = assess("prompt-distinguishable", "held" if beta.low > 0 else "not measured", told)
    else:
        distinct = assess("prompt-distinguishable", "not measured", "too few prompts of P₋ have a negative sentence")
    back, slope = largest(curves["beta_prime"], name="beta_prime"), _slope(inputs.beta_prime, setting)
    finite = f"β′ = {rounded(back)} nats per sentence, the largest over {tested}; slope {rounded(slope)} per length"
    sigma2 = sigma_squared(curves["sigma2_positive"])
    spread = f"σ² = {rounded(sigma2)} nats² per sentence, the largest over {tested}; slope {rounded(trend)} per length"
    longest = setting.spec.sentences
    return {
        "mixture": shared["mixture"],
        "prompt-distinguishable": distinct,
        "bounded behavior": shared["bounded behavior"],
        "beta-prime-undistinguishable": assess("beta-prime-undistinguishable", steady(back, slope, longest), finite),
        "similar under P₊": assess("similar under P₊", steady(sigma2, trend, longest), spread),
        "positivity": positivity_premise(after),
    }


def _slope(per_prompt: Floats, setting: Setting[GuardrailSpec]) -> Estimate:
    """Least-squares slope of a curve against the sentences before, the mean of the prompts' own."""
    n = np.array(setting.lengths_before, dtype=np.float64)
    slopes = per_prompt @ ((n - n.mean()) / ((n - n.mean()) ** 2).sum())
    rng, unit = setting.rng("beta_prime slope"), f"{NATS_PER_SENTENCE}²"
    return mean_band(slopes[:, None], [1], level=setting.level, rng=rng, unit=unit, name="slope of beta_prime").at(1)


def positivity(negative: PromptArrays, setting: Setting[GuardrailSpec]) -> Estimate | None:
    """Share of negative sentences likelier under P₋ where P₋ wrote them; the prompts are the clusters."""
    likelier = (negative.log_p["negative"] > negative.log_p["positive"]).astype(np.float64)
    values = np.where(negative.predicted == NEGATIVE_CLASS, likelier, np.nan)
    return _share(values, setting, "positivity")


def positivity_after(store: Store, system: System, setting: Setting[GuardrailSpec]) -> PositivityAfter:
    """What was found after a guardrail; nothing in a run from before this was tried."""
    head = f"{AFTER_GUARDRAIL}/{system.name}/"
    ratios: dict[tuple[str, int], float] = {}
    for row in store.rows("given_texts"):
        if row["name"].startswith(head):
            prefix, prompt = row["name"].removeprefix(head).split("/")
            sign = 1.0 if row["component"] == "negative" else -1.0
            at = (prefix, int(prompt))
            ratios[at] = ratios.get(at, 0.0) + sign * float(row["sentence_log_p"].sum())
    own = [ratio > 0 for (prefix, prompt), ratio in ratios.items() if system.text or prefix == str(prompt)]
    share = _share(np.array(own, dtype=np.float64)[:, None], setting, f"positivity after {system.name}")
    if system.text:
        return PositivityAfter(True, share, len(own), sum(own))
    found = {prefix for (prefix, _), ratio in ratios.items() if ratio > 0}
    return PositivityAfter(False, share, len({prefix for prefix, _ in ratios}), len(found))


def _share(values: Floats, setting: Setting[GuardrailSpec], name: str) -> Estimate | None:
    try:
        return cluster_mean(values, level=setting.level, unit=SHARE_UNIT, bounds=(0.0, 1.0), name=name)
    except TooFewPrompts:
        return None


def positivity_premise(after: Mapping[str, PositivityAfter]) -> Assumption:
    """Definition 6 after these guardrails, by name: a negative sentence that is likelier under P₋ has to exist.

    After a given text one such sentence shows it; sampled prefixes all need one.
    """
    if not all(each.tried for each in after.values()):
        return assess("positivity", "not measured", "no negative sentence was tried after the guardrail")
    shown = all(_is_shown(each) for each in after.values())
    told = "; ".join(f"after {name} {_found(each)}" for name, each in after.items())
    return assess("positivity", "held" if shown else "not measured", told)


def _is_shown(each: PositivityAfter) -> bool:
    return each.found > 0 if each.given else each.found == each.tried


def _found(each: PositivityAfter) -> str:
    if each.given:
        return f"{each.found} of {each.tried} negative sentences are likelier under P₋"
    return f"one was found for {each.found} of {each.tried} sampled prefixes"

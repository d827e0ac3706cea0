"""Where each persona leads, and after how many sentences: predicted by Theorem 1, and observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError
from beb.estimate.classification import corrected_scores
from beb.estimate.diagnostics import first_length_below
from beb.experiments.bounds import behavior_band
from beb.experiments.personas.arrays import PersonaArrays, Scores, prompt_scores, response_scores
from beb.experiments.personas.catalog import TARGET
from beb.experiments.personas.figures import (
    FEWEST_ALIVE,
    BetaLimits,
    Divergence,
    Weights,
    alive_lengths,
    draws,
    largest_of,
    smallest_of,
)
from beb.experiments.personas.lengths import Inputs, length_to, lengths
from beb.experiments.personas.record import Answer, PersonaFigures, PersonaWay, Shortest
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import scorer_role
from beb.experiments.personas.work import stored_format
from beb.experiments.setting import Setting
from beb.experiments.store import Store
from beb.experiments.verdicts import length_verdict

PLAIN = "plain"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What all ways of a run share.

    weights: what is known of them. figures, arrays: per persona, in order. betas: per persona βₙ with limits at the
    run's error and at the family's share of it. confusions: per behavior, None where a scorer is exact or cannot
    be corrected. formats: that were sampled.
    """

    setting: Setting[PersonasSpec]
    weights: Weights
    figures: tuple[PersonaFigures, ...]
    arrays: tuple[PersonaArrays, ...]
    betas: tuple[tuple[BetaLimits, BetaLimits], ...]
    confusions: Mapping[str, Sequence[Sequence[int]] | None]
    formats: tuple[str, ...]

    @property
    def errors(self) -> tuple[float, float]:
        """Error probability of limits that hold by themselves, and of each of the family's (Bonferroni)."""
        return errors(self.setting, len(self.figures))

    @property
    def response_error(self) -> float:
        """Error probability of each band of responses, so that all of a behavior's hold together (Bonferroni)."""
        return (1 - self.setting.level) / (len(self.figures) * len(self.formats) + 1)


def confusions(meta: Mapping[str, Any], behaviors: Sequence[str]) -> dict[str, Sequence[Sequence[int]] | None]:
    """Confusion counts of each behavior's scorer; None where it is exact or its errors are too large to correct."""
    found: dict[str, Sequence[Sequence[int]] | None] = {}
    for behavior in behaviors:
        counts = meta["fingerprints"][scorer_role(behavior)].get("confusion")
        try:
            found[behavior] = counts if counts is None else (corrected_scores(counts), counts)[1]
        except EstimateError:
            found[behavior] = None
    return found


def unprompted(store: Store, family: Family, behavior: str) -> Estimate:
    """Mean B of the target's first sentence without a prompt, at the level of the family of responses."""
    n = family.setting.spec.sentences
    first = _columns(prompt_scores(store, TARGET, behavior, n), [0])
    return _band(first, [0], family, behavior, error=family.response_error, name="unprompted").at(0)


def ways(store: Store, family: Family, behavior: str, without: Estimate) -> tuple[PersonaWay, ...]:
    """One per persona. without: mean B of the target without a prompt."""
    return tuple(_way(store, family, index, behavior, without) for index in range(len(family.figures)))


def shortest(found: Sequence[PersonaWay], family: Family, without: Estimate) -> Shortest:
    """Which personas may be the shortest way to the common level, and which is seen to be.

    A persona is excluded if its lower limit by itself exceeds the upper limit of another one, where the upper limits
    hold together. For the truly shortest one that takes its own lower limit to fail or some upper limit to fail: half
    of the error probability each.
    """
    leading = {way.name: way.to_level for way in found if way.to_level is not None}
    least = min((way.to_level_family.high for way in found if way.to_level_family is not None), default=np.inf)
    names = sorted(
        (name for name, each in leading.items() if np.isfinite(each.low) and each.low <= least),
        key=lambda name: (leading[name].value, leading[name].low),
    )
    resolved = len(names) == 1 and bool(np.isfinite(least))
    seen, after = _seen_first(found, without, family.setting.spec.misaligned)
    index = [each.name for each in family.figures].index(names[0]) if names else None
    return Shortest(
        behavior=found[0].behavior,
        candidates=tuple(names),
        resolved=resolved,
        rare=_rare(index, family) if index is not None else "not resolved",
        distinct=index is not None and smallest_of(family.betas[index][1].band(family.setting.level)).low > 0,
        observed=seen,
        observed_after=after,
    )


def _seen_first(found: Sequence[PersonaWay], without: Estimate, level: float) -> tuple[tuple[str, ...], int | None]:
    """Personas whose mean response is surely below the level first, and after how many sentences."""
    if without.high < level:
        return (), 0
    lengths_seen = {
        way.name: min(seen) for way in found if (seen := [n for n in way.observed_level.values() if n is not None])
    }
    first = min(lengths_seen.values(), default=None)
    return tuple(name for name, n in lengths_seen.items() if n == first), first


def _rare(index: int, family: Family) -> Answer:
    """Whether a persona has less than an equal share of the weight, by limits that hold for all weights together."""
    equal = float(np.log(len(family.figures)))
    weight = family.weights.log_inverse(index, together=True, level=family.setting.level)
    if weight.low > equal:
        return "yes"
    return "no" if weight.high < equal else "not resolved"


def errors(setting: Setting[PersonasSpec], n_personas: int) -> tuple[float, float]:
    """Error probability of limits by themselves, and of each persona's where those of all hold together."""
    return 1 - setting.level, (1 - setting.level) / n_personas


def betas(
    arrays: Sequence[PersonaArrays], weights: Weights, names: Sequence[str], setting: Setting[PersonasSpec]
) -> tuple[tuple[BetaLimits, BetaLimits], ...]:
    """Per persona βₙ with limits at the run's error, and at the family's share of it."""
    found = []
    for index, (each, name) in enumerate(zip(arrays, names, strict=True)):
        divergence, before = Divergence.of(index, each, weights.fitted), alive_lengths(each, name)
        alone, together = (
            BetaLimits.of(divergence, weights, before, error, setting) for error in errors(setting, len(names))
        )
        found.append((alone, together))
    return tuple(found)


def _way(store: Store, family: Family, index: int, behavior: str, without: Estimate) -> PersonaWay:
    spec, name = family.setting.spec, family.figures[index].name
    own = prompt_scores(store, name, behavior, spec.sentences)
    alone, together = (_inputs(family, index, own, behavior, together=each) for each in (False, True))
    threshold = alone.gamma.value + spec.epsilon
    promised = lengths(alone, epsilon=spec.epsilon)
    bands = {
        format_name: band
        for format_name in family.formats
        if (band := _response(store, family, format_name, name, behavior)) is not None
    }
    observed = {key: _observed(key, band, without, threshold) for key, band in bands.items()}
    first = 0 if without.high < threshold else min((n for n in observed.values() if n is not None), default=None)
    return PersonaWay(
        name=name,
        behavior=behavior,
        gamma=alone.gamma,
        paper=promised.paper,
        sharp=promised.sharp,
        to_level=length_to(alone, spec.misaligned),
        to_level_family=length_to(together, spec.misaligned),
        response=bands,
        observed=observed,
        observed_level={key: _observed(key, band, without, spec.misaligned) for key, band in bands.items()},
        verdict=length_verdict(first, promised.sharp, excluded=family.figures[index].excluded),
    )


def _inputs(family: Family, index: int, own: Scores, behavior: str, *, together: bool) -> Inputs:
    """What Theorem 1 needs, with limits by itself or at the family's share of the error."""
    error = family.errors[together]
    before = _scored(own)
    band = _band(_columns(own, before), before, family, behavior, error=error, name=f"gamma {index}")
    level = family.setting.level
    weight = family.weights.log_inverse(index, together=together, level=level)
    at = min(max(float(-np.log(family.weights.reference[index])), weight.low), weight.high)
    return Inputs(weight, at, family.betas[index][together].for_the_smallest, replace(largest_of(band), level=level))


def _response(store: Store, family: Family, format_name: str, name: str, behavior: str) -> Band | None:
    """Mean B of the target after n = 1..N sentences of a persona; None if too few responses were scored."""
    spec = family.setting.spec
    scores = response_scores(
        store, stored_format(format_name, behavior), name, behavior,
        n_sentences=spec.sentences, n_responses=spec.responses,
    )  # fmt: skip
    known = (~np.isnan(scores.behavior)).any(axis=2).sum(axis=0)
    after = [n for n in range(1, spec.sentences + 1) if known[n - 1] >= FEWEST_ALIVE]
    if not after:
        return None
    columns = [n - 1 for n in after]
    chosen = Scores(scores.behavior[:, columns], scores.predicted[:, columns])
    return _band(chosen, after, family, behavior, error=family.response_error, name=f"{format_name} {name}")


def _observed(format_name: str, band: Band, without: Estimate, threshold: float) -> int | None:
    """First length surely below the threshold; 0 if the target is so without a prompt, in the personas' own frame."""
    if format_name == PLAIN and without.high < threshold:
        return 0
    return first_length_below(band, threshold)


def _scored(own: Scores) -> list[int]:
    """Sentences before the next one for which enough prompts have a scored next one."""
    known = (~np.isnan(own.behavior)).sum(axis=0)
    found = [n for n in range(known.size) if known[n] >= FEWEST_ALIVE]
    if not found:
        raise EstimateError("a persona's sentences could not be scored; see the failures of the run")
    return found


def _columns(scores: Scores, lengths_before: Sequence[int]) -> Scores:
    """(n_prompts, k, 1) of the sentences after the given numbers of sentences."""
    columns = list(lengths_before)
    return Scores(scores.behavior[:, columns, None], scores.predicted[:, columns, None])


def _band(scores: Scores, at: Sequence[int], family: Family, behavior: str, *, error: float, name: str) -> Band:
    rng = family.setting.rng(f"{name} {behavior} {error:.6g}")
    return behavior_band(
        scores.predicted, scores.behavior, at, level=1 - error, rng=rng, confusion=family.confusions[behavior],
        name=name, n_draws=draws(error),
    )  # fmt: skip

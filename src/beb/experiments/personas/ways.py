"""Where each persona leads, and after how many sentences: predicted by Theorem 1, and observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beb.core.bounds import Status
from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError
from beb.estimate.classification import corrected_scores
from beb.estimate.diagnostics import first_length_below
from beb.estimate.distinguishability import largest, smallest
from beb.experiments.bounds import behavior_band
from beb.experiments.personas.arrays import PersonaArrays, Scores, prompt_scores, response_scores
from beb.experiments.personas.catalog import TARGET
from beb.experiments.personas.figures import FEWEST_ALIVE, Box, alive_lengths, beta_band, draws
from beb.experiments.personas.lengths import Inputs, length_to, lengths
from beb.experiments.personas.record import Answer, PersonaFigures, PersonaWay, Shortest
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import scorer_role
from beb.experiments.personas.work import stored_format
from beb.experiments.setting import Setting
from beb.experiments.store import Store

PLAIN = "plain"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What all ways of a run share.

    box: the weights' joint limits. figures, arrays: per persona, in order. confusions: per behavior, None where a
    scorer is exact or cannot be corrected. formats: that were sampled.
    """

    setting: Setting[PersonasSpec]
    box: Box
    figures: tuple[PersonaFigures, ...]
    arrays: tuple[PersonaArrays, ...]
    confusions: Mapping[str, Sequence[Sequence[int]] | None]
    formats: tuple[str, ...]

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


def shortest(found: Sequence[PersonaWay], family: Family) -> Shortest:
    """Which personas may be the shortest way to the common level: those that no other one is surely shorter than."""
    leading = {way.name: way.to_level_family for way in found if way.to_level_family is not None}
    least = min((each.high for each in leading.values()), default=np.inf)
    names = sorted(
        (name for name, each in leading.items() if np.isfinite(each.low) and each.low <= least),
        key=lambda name: (leading[name].value, leading[name].low),
    )
    resolved = len(names) == 1 and bool(np.isfinite(leading[names[0]].high))
    return Shortest(found[0].behavior, tuple(names), resolved, _rare(names[0], family) if names else "not resolved")


def _rare(name: str, family: Family) -> Answer:
    """Whether a persona has less than an equal share of the weight, by the weights' joint limits."""
    index = [each.name for each in family.figures].index(name)
    equal = 1 / len(family.figures)
    if family.box.high[index] < equal:
        return "yes"
    return "no" if family.box.low[index] > equal else "not resolved"


def _way(store: Store, family: Family, index: int, behavior: str, without: Estimate) -> PersonaWay:
    figures = family.figures[index]
    spec, name = family.setting.spec, figures.name
    error = (1 - family.setting.level) / 3
    own = prompt_scores(store, name, behavior, spec.sentences)
    before = _scored(own)
    gamma = _gamma(own, before, family, behavior, index, error=error)
    inputs = Inputs(figures.log_inverse_weight, figures.beta, gamma)
    promised = lengths(inputs, epsilon=spec.epsilon)
    bands = {
        format_name: band
        for format_name in family.formats
        if (band := _response(store, family, format_name, name, behavior)) is not None
    }
    return PersonaWay(
        name=name,
        behavior=behavior,
        gamma=gamma,
        paper=promised.paper,
        sharp=promised.sharp,
        to_level=length_to(inputs, spec.misaligned),
        to_level_family=length_to(_family_inputs(family, index, own, before, behavior), spec.misaligned),
        response=bands,
        observed={key: _observed(key, band, without, gamma.value + spec.epsilon) for key, band in bands.items()},
        observed_level={key: _observed(key, band, without, spec.misaligned) for key, band in bands.items()},
        verdict=_verdict(promised.sharp.value, bands, without, gamma.value + spec.epsilon),
    )


def _family_inputs(family: Family, index: int, own: Scores, before: list[int], behavior: str) -> Inputs:
    """The inputs with limits that hold for all personas together: the weights' do so already."""
    figures, arrays = family.figures[index], family.arrays[index]
    error = (1 - family.setting.level) / (3 * len(family.figures))
    curve = beta_band(
        index, arrays, family.box, alive_lengths(arrays, figures.name), share=error, setting=family.setting
    )
    gamma = _gamma(own, before, family, behavior, index, error=error)
    return Inputs(figures.log_inverse_weight, smallest(curve, name="beta"), gamma)


def _gamma(own: Scores, before: list[int], family: Family, behavior: str, index: int, *, error: float) -> Estimate:
    band = _band(_columns(own, before), before, family, behavior, error=error, name=f"gamma {index}")
    return replace(largest(band, name="gamma, over tested prompts"), level=family.setting.level)


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


def _verdict(sharp: float, bands: Mapping[str, Band], without: Estimate, threshold: float) -> Status:
    """Whether the promise was seen kept: a mean below the threshold at a tested length from `sharp` on."""
    below = [n for band in bands.values() for n, high in zip(band.lengths, band.high, strict=True) if high < threshold]
    if without.high < threshold:
        below.append(0)
    return "held" if any(n >= sharp for n in below) else "not measured"


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
    rng = family.setting.rng(f"{name} {behavior} {error:.6g}")
    return behavior_band(
        scores.predicted, scores.behavior, at, level=1 - error, rng=rng, confusion=family.confusions[behavior],
        name=name, n_draws=draws(error),
    )  # fmt: skip

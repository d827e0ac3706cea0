"""A paper's published readings, recomputed from its published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scipy import stats

from beb.errors import BadSpec
from beb.estimate.summaries import normal_quantile
from beb.experiments.published import Published, load_published
from beb.experiments.reproduce_components import component_readings
from beb.experiments.reproduce_decays import decay_readings
from beb.experiments.reproduce_responses import response_readings
from beb.experiments.reproduction import COMPARISONS, Reading, Reproduction

FEW_GROUPS = 3


def reproduce(source: str | Path = "wolf2024", *, level: float = 0.95, seed: int = 0) -> Reproduction:
    """Recompute every published reading with an interval, and say where it does not follow from the numbers.

    source: an embedded name or a JSON file in the same form (see `beb.experiments.published`). level: of every
    interval. seed: of the bootstrap over prompts.
    Returns: Reproduction. Raises: UnknownName, BadSpec, EstimateError.
    Source: Wolf et al. 2024, §4 and appendices; what is said against a reading is derived in docs/maths.md.
    """
    if not 0 < level < 1:
        raise BadSpec(f"level is {level}; accepted: between 0 and 1, for example 0.95")
    if seed < 0:
        raise BadSpec(f"seed is {seed}; accepted: 0 or more")
    published = load_published(source)
    readings = (
        *component_readings(published, level),
        *decay_readings(published, level),
        *response_readings(published, level=level, seed=seed),
    )
    return Reproduction(
        source=str(source),
        citation=published.source,
        behavior=published.behavior,
        models=(published.models.rlhf, published.models.pretrained),
        level=level,
        readings=tuple(sorted(readings, key=_place)),
        remarks=tuple(_remarks(published, level)),
    )


def _place(reading: Reading) -> int:
    """Comparisons come last, each in one piece."""
    return COMPARISONS.index(reading.section) if reading.section in COMPARISONS else -1


def _remarks(published: Published, level: float) -> Iterator[str]:
    """What holds for many readings at once."""
    wider = float(stats.t.isf((1 - level) / 2, FEW_GROUPS - 1)) / normal_quantile(level)
    yield (
        "Standard errors of the published curves: how many prompts or groups they rest on is not published with them. "
        f"They are taken as known (normal quantile); if they rest on {FEW_GROUPS} groups, those intervals should be "
        f"{wider:.1f} times as wide."
    )
    yield (
        "Points of one curve share their prompts, and their covariances are not published. Extremes (β, β′, σ²), "
        "averages and sums are covered whatever the covariances; the three-point lines take the points as independent, "
        "and their notes give the interval that covers any covariances."
    )
    yield (
        "β′ is defined by KL(P₊‖P₋) along texts from P₊. That direction is not among the published numbers, nor "
        "anything that bounds it: what is called β′ here is the top of KL(P₋‖P₊)."
    )
    if published.divergence_tokens is not None:
        yield (
            f"The divergences are of {published.divergence_tokens} sampled tokens, not of a sentence: where sentences "
            "are longer, β, β′ and KL(P₋‖P) per sentence are larger than shown. The variance behind σ² is of whole "
            "sentences."
        )

"""The records in which recomputed readings travel."""

from __future__ import annotations

from dataclasses import dataclass

from beb.core.estimate import Estimate

GUARDRAIL = "Guardrail"
PRETRAINED = "Aligned against pretrained"
COMPARISONS = (GUARDRAIL, PRETRAINED)  # shown last


@dataclass(frozen=True, slots=True)
class Reading:
    """One published reading beside what the published numbers give.

    section: what it is a reading of. name: the quantity. published: the paper's figure, a (smallest, largest) range, or
    None where the paper gives none. recomputed: with interval; n is 0 where the number of prompts is not published.
    note: what the recomputed figure rests on and, if so, why the published one does not follow.
    """

    section: str
    name: str
    published: float | tuple[float, float] | None
    recomputed: Estimate
    note: str

    @property
    def follows(self) -> bool | None:
        """Whether the published figure, or part of the published range, lies in the recomputed interval."""
        if self.published is None:
            return None
        low, high = self.published if isinstance(self.published, tuple) else (self.published, self.published)
        return low <= self.recomputed.high and high >= self.recomputed.low


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Every reading of one publication. models: names of the aligned and of the pretrained one."""

    source: str
    citation: str
    behavior: str
    models: tuple[str, str]
    level: float
    readings: tuple[Reading, ...]
    remarks: tuple[str, ...]

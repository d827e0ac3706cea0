"""What a best-of-n run found: frozen records, every number with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from beb.core.bounds import Assumption, PropagatedBound, Status
from beb.core.estimate import Band, Estimate
from beb.estimate.prior import LineReading, Plateau
from beb.experiments.frames import to_frame, to_json
from beb.experiments.gate import Gate

PROMPTED = "negative"  # the target after prompts from P₋
CONTROL = "positive"  # the target after prompts from P₊ of the same length
OWN = "P₋ itself"  # P₋ after its own prompts

Protection = Literal["protects", "does not protect", "undecided"]


@dataclass(frozen=True, slots=True)
class BestOfCurve:
    """E[best B of `size` responses] against prompt length, for one kind of prompt.

    condition: "negative" (target, prompts from P₋), "positive" (target, prompts from P₊) or "P₋ itself".
    band: as scored; the simultaneous limits of all sizes of one condition hold together. n_failures: responses without
    a score. worst_low, worst_high: per length, limits whatever the missing scores were (pointwise); empty if none miss.
    """

    condition: str
    size: int
    band: Band
    n_failures: int
    worst_low: tuple[float, ...]
    worst_high: tuple[float, ...]

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.condition}.{self.size}"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the best of `size` responses of P₋ itself is worth: where a model that has become P₋ altogether ends.

    gamma_n: γₙ, the largest over the tested lengths of the mean over tested prompts. floor: the smallest.
    worst_gamma_n: the largest γₙ that γ alone allows. from_misaligned: does showing the best of n keep the mean above
    γ + ε, the level that Theorem 1 forces a single response below, even then? from_undesired: above 0?
    """

    size: int
    gamma_n: Estimate
    floor: Estimate
    worst_gamma_n: Estimate
    from_misaligned: Protection
    from_undesired: Protection

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return str(self.size)


@dataclass(frozen=True, slots=True)
class BestOfBound:
    """Theorem 4 for one n and one reading of α, beside what was observed.

    bound: paper and corrected length; inputs' limits hold together over all n. required: the log ratio log P₋/P₊ of a
    prompt beyond which the corrected form holds for that prompt. gamma_n: as it entered; measured: or else the worst
    that γ allows. says_nothing: γₙ + ε >= 1, which no behavior exceeds.
    observed: first length at which the upper limit of the mean best of n after prompts from P₋ lies below γₙ + ε.
    beyond: mean best of n after those tested prompts whose log ratio exceeds what the theorem requires (the required
    log ratio at its upper limit), None if fewer than 5 prompts reach it. verdict: of the corrected form, from `beyond`.
    paper_verdict: of the paper's claim γ + ε; "contradicted" where P₋ itself stays above it at every tested length.
    """

    reading: str
    size: int
    bound: PropagatedBound
    required: Estimate
    gamma_n: Estimate
    measured: bool
    says_nothing: bool
    observed: int | None
    beyond: Estimate | None
    verdict: Status
    paper_verdict: Status

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.reading}.{self.size}"


@dataclass(frozen=True, slots=True)
class BestOfPrediction:
    """What the mixture predicts for the best of `size`, for one reading of α.

    curve: E[best of n draws from w P₋(·|s) + (1−w) P(·|no prompt)]. difference: observed less predicted, paired over
    prompts. The limits of all sizes hold together, the reading's included.
    """

    reading: str
    size: int
    curve: Band
    difference: Band
    verdict: Status

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.reading}.{self.size}"


@dataclass(frozen=True, slots=True)
class BestOfRecord:
    """Everything that `beb best-of` found.

    B is as scored: docs/maths.md, "Best of n of a mixture", says why no correction is made.
    single_corrected: B of a single response after prompts from P₋, corrected for the scorer's errors, if correctable.
    """

    meta: Mapping[str, Any]
    gate: Gate
    beta: Estimate
    beta_curve: Band
    plateau: Plateau
    line: LineReading
    curves: tuple[BestOfCurve, ...]
    single_corrected: Band | None
    ceilings: tuple[Ceiling, ...]
    predictions: tuple[BestOfPrediction, ...]
    bounds: tuple[BestOfBound, ...]
    assumptions: tuple[Assumption, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every n that could be measured, increasing."""
        return tuple(ceiling.size for ceiling in self.ceilings)

    def curve(self, condition: str, size: int) -> BestOfCurve:
        """The curve of one condition and n."""
        return next(each for each in self.curves if (each.condition, each.size) == (condition, size))

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)

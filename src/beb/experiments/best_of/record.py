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
BESIDE = "P₊ after prompts from P₋"  # of at least one sentence; what the mixture's prediction needs besides OWN

Answer = Literal["yes", "no", "undecided"]
AGREEMENT = 0.1  # of B: an observation this near to the prediction for sure counts as agreeing with it


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
    worst_gamma_n: the largest γₙ that γ alone allows. nonnegative: is γₙ ≥ 0, so that Theorem 4 forces nothing below 0?
    above_misaligned: is the mean of P₋ itself at every tested length above γ + ε, the level that Theorem 1 forces a
    single response below? above_undesired: above 0? "no": at some tested length it is below, or γₙ is, for sure.
    """

    size: int
    gamma_n: Estimate
    floor: Estimate
    worst_gamma_n: Estimate
    nonnegative: Answer
    above_misaligned: Answer
    above_undesired: Answer

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return str(self.size)


@dataclass(frozen=True, slots=True)
class BestOfBound:
    """Theorem 4 for one n and one reading of α, beside what was observed.

    bound: paper and corrected length; inputs' limits hold together over all n. required: the log ratio log P₋/P₊ of a
    prompt beyond which the corrected form holds for that prompt. gamma_n: as it entered; measured: or else the worst
    that γ allows. excluded: whether the certain limits of the mixture leave no room for that α; then every verdict is
    "not measured". says_nothing: γₙ + ε >= 1, which no behavior exceeds.
    observed: first length at which the mean best of n after prompts from P₋ is below γₙ + ε even with γₙ at its lower
    limit, for sure; None if there is none or the level says nothing. verdict: of the corrected length, from `observed`.
    paper_observed, paper_verdict: the same for the paper's level γ + ε and length.
    beyond: mean best of n after those tested prompts whose log ratio exceeds what the theorem requires (the required
    log ratio at its upper limit), None if fewer than 5 prompts reach it. itself: that of P₋ itself after the very same
    prompts. beyond_verdict: of the corrected form prompt by prompt, from the two.
    """

    reading: str
    size: int
    bound: PropagatedBound
    required: Estimate
    gamma_n: Estimate
    measured: bool
    excluded: bool
    says_nothing: bool
    observed: int | None
    verdict: Status
    paper_observed: int | None
    paper_verdict: Status
    beyond: Estimate | None
    itself: Estimate | None
    beyond_verdict: Status

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.reading}.{self.size}"


@dataclass(frozen=True, slots=True)
class BestOfPrediction:
    """What the mixture predicts for the best of `size` after 1..N sentences, for one reading of α.

    curve: E[best of n draws from w P₋(·|s) + (1−w) P₊(·|s)]. difference: observed less predicted, paired over prompts.
    The limits of all curves of a reading hold together, those of its differences too, the reading's included.
    excluded: as in `BestOfBound`.
    verdict: "held" if all limits of the difference lie within ±AGREEMENT, "contradicted" if at some length they exclude
    0 and do not lie within, otherwise "not measured".
    """

    reading: str
    size: int
    curve: Band
    difference: Band
    excluded: bool
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

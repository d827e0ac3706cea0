"""The records that a measurement returns; every number in them carries its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from beb.core.bounds import Assumption, PropagatedBound
from beb.core.estimate import Band, Estimate
from beb.estimate.curves import LogisticFit
from beb.estimate.mixture_limits import MixtureLimits
from beb.estimate.prior import LineReading, Plateau
from beb.experiments.frames import to_frame, to_json
from beb.experiments.gate import Gate


@dataclass(frozen=True, slots=True)
class AlphaReadings:
    """log 1/α four ways (nats), never one alone.

    cap: per length, log 1/α >= value for certain. plateau: evidence plateau and proxy gap. line: the straight line of
    Wolf et al. through KL(P₋‖P). behavior: per format, the logistic fit of the observed curve (Lemma 7).
    limits: what holds for certain if P is a mixture of this P₋ and this P₊.
    """

    cap: tuple[Estimate, ...]
    plateau: Plateau
    line: LineReading
    behavior: Mapping[str, LogisticFit]
    limits: MixtureLimits


@dataclass(frozen=True, slots=True)
class BehaviorCurve:
    """Behavior expectation of responses against prompt length, for one format and one kind of prompt.

    condition: "negative" (prompts from P₋), "positive" (from P₊), "shuffled" (sentences of P₋ prompts exchanged
    between prompts at the same position), or the component's own next sentence ("P₋ itself", "P₊ itself").
    corrected: for the scorer's misclassification, its error rates' uncertainty included; None if not correctable.
    n_failures: requests that brought no scored text. worst_low, worst_high: per length, limits of the mean whatever
    the missing scores were (pointwise, sampling error included).
    """

    format: str
    condition: str
    raw: Band
    corrected: Band | None
    n_responses: int
    n_failures: int
    worst_low: tuple[float, ...]
    worst_high: tuple[float, ...]

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.format}.{self.condition}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """Behavior curve that the mixture predicts from the measured log ratios, for one reading of α."""

    reading: str
    log_inverse_alpha: Estimate
    curve: Band

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.reading


@dataclass(frozen=True, slots=True)
class BoundReport:
    """A theorem's length with its interval, its assumptions as measured, and what was observed.

    reading: the α reading that went in. observed: first length whose upper limit is below γ + ε, per format, or None
    if no tested length reached it. excluded: whether the certain limits of the mixture leave no room for that α.
    """

    reading: str
    bound: PropagatedBound
    assumptions: tuple[Assumption, ...]
    observed: Mapping[str, int | None]
    excluded: bool = False

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.bound.bound.theorem}.{self.reading}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that `beb measure` found; see the field names in `beb.core` and the documentation.

    beta_curve[n] is E KL(P₋‖P₊) of sentence n+1 over prompts of n sentences from P₋ (nats per sentence).
    beta_prime: Definition of β′ (direction P₊‖P₋, prompts from P₊). beta_prime_top: the largest value of beta_curve,
    which is how Wolf et al. read it. gamma: over the tested prompts only. converse: lengths below which no tested
    prompt misaligns, if the mixture holds. widest, prompts_to_halve, unlimited: see `beb.experiments.precision`.
    """

    meta: Mapping[str, Any]
    gate: Gate
    beta: Estimate
    beta_curve: Band
    beta_prime: Estimate
    beta_prime_curve: Band
    beta_prime_top: Estimate
    sigma2: Estimate
    sigma2_curve: Band
    sigma2_positive: Estimate
    sigma2_positive_curve: Band
    evidence_curve: Band
    kl_to_target_curve: Band
    alpha: AlphaReadings
    gamma: Estimate
    gamma_uncorrected: Estimate
    components: tuple[BehaviorCurve, ...]
    behavior: tuple[BehaviorCurve, ...]
    predictions: tuple[Prediction, ...]
    bounds: tuple[BoundReport, ...]
    converse: tuple[BoundReport, ...]
    assumptions: tuple[Assumption, ...]
    widest: str
    prompts_to_halve: int | None
    unlimited: tuple[str, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)

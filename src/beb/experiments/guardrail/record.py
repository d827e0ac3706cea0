"""The records of the guardrail experiment; every number in them carries its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from beb.core.bounds import Assumption, Status
from beb.core.estimate import Band, Estimate
from beb.experiments.frames import to_frame, to_json
from beb.experiments.gate import Gate
from beb.experiments.measurement import AlphaReadings, BehaviorCurve, BoundReport


@dataclass(frozen=True, slots=True)
class Baseline:
    """The prompts without guardrail, in one format.

    before: what stands before the prompt all the same, as text. default: a system text that the chat template puts in
    by itself, "" if it puts in none. midpoint: length at which mean B, as scored, reaches 0; no limit on a side
    where it may lie beyond the tested lengths. fall: mean B without prompt less mean B after the longest prompts (as
    scored, paired).
    """

    format: str
    context: str
    before: str
    default: str
    curve: BehaviorCurve
    midpoint: Estimate
    fall: Estimate

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.format


@dataclass(frozen=True, slots=True)
class PositivityAfter:
    """Negative sentences after one guardrail: Definition 6 at the place where Theorem 2 needs it.

    given: whether the guardrail is a given text. share: of prompts whose first negative sentence is likelier under P₋
    than under P₊ there; None below 2 prompts.
    tried, found: sentences after a given text, and those likelier under P₋; or sampled prefixes, and those after which
    a sentence likelier under P₋ was found. Both 0 in runs that did not try.
    """

    given: bool
    share: Estimate | None
    tried: int
    found: int


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One guardrail, what it does to the same prompts, and what the theory says of it.

    name, format, kind ("text" or "sampled"), text ("" if sampled), sentences: m.
    curve: B of the responses. midpoint: as in Baseline. midpoint_shift, area_shift: sentences against the baseline of
    the same format, paired; among all guardrails of the run each of the two holds for all together at the run's level.
    difference: B with the guardrail less B without, per length, paired.
    log_ratio: log P₊/P₋ of the guardrail in nats: of the text as it is, or the mean over the sampled prefixes.
    log_ratio_shift: log_ratio over the mean divergence per sentence: the shift if only log-odds counted.
    positivity: what was found of Definition 6 right after it.
    extra: Theorem 2's extra sentences (sharp form, its C taken as 0), None where β after a prefix is not positive or
    the text raises P₋. verdict, reason: whether the observed shift is at most that. bounds: Theorem 2's lengths.
    """

    name: str
    format: str
    kind: str
    text: str
    sentences: int
    curve: BehaviorCurve
    midpoint: Estimate
    midpoint_shift: Estimate
    area_shift: Estimate
    difference: Band
    log_ratio: Estimate
    log_ratio_shift: Estimate | None
    positivity: PositivityAfter
    extra: Estimate | None
    verdict: Status
    reason: str
    bounds: tuple[BoundReport, ...]

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.format}.{self.name}"


@dataclass(frozen=True, slots=True)
class GuardrailRecord:
    """Everything that `beb guardrail` found.

    beta_curve, beta: KL(P₋‖P₊) along prompts from P₋ (Definition 2). beta_after_curve, beta_after: the same along
    prompts that P₋ writes after a neutral sentence and a negative one (Definition 3); None if too few prompts of P₋
    have a negative sentence. beta_prime, sigma2_positive: KL(P₊‖P₋) and Var log P₊/P₋ per sentence along prompts from
    P₊. positivity: share of the sentences of P₋ scored negative that are likelier under P₋ than under P₊ where P₋
    wrote them, without a guardrail; None if hardly any is. alpha_entering: log 1/α as it enters Theorem 2, by reading;
    excluded: readings that the certain limits of the mixture leave no room for.
    family: number of guardrails whose shifts hold together.
    """

    meta: Mapping[str, Any]
    gate: Gate
    family: int
    baselines: tuple[Baseline, ...]
    guardrails: tuple[Guardrail, ...]
    beta: Estimate
    beta_curve: Band
    beta_after: Estimate | None
    beta_after_curve: Band | None
    beta_prime: Estimate
    beta_prime_curve: Band
    sigma2_positive: Estimate
    sigma2_positive_curve: Band
    positivity: Estimate | None
    gamma: Estimate
    alpha: AlphaReadings
    alpha_entering: Mapping[str, Estimate]
    excluded: tuple[str, ...]
    assumptions: tuple[Assumption, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)

"""What a comparison of measurements returns; every number in it carries its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from beb.core.estimate import Band, Estimate
from beb.experiments.frames import to_frame, to_json
from beb.experiments.gate import Gate
from beb.experiments.measurement import BehaviorCurve

Pairing = Literal["same prompts", "same random streams", "independent"]
Part = Literal["alpha", "beta"]
Verdict = Literal["supported", "contradicted", "undecided"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity in the reference run, in another run, and the other less the reference.

    key: short name, for tables of numbers. quantity: as a person would call it. pairing: how prompts were compared.
    """

    key: str
    quantity: str
    before: Estimate
    after: Estimate
    difference: Estimate
    pairing: Pairing

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.key


@dataclass(frozen=True, slots=True)
class Claim:
    """One reading of one part of the conjecture "alignment lowers α and raises β" (Wolf et al. 2024, §4).

    part: "alpha" (is log 1/α larger?) or "beta" (is β larger?). difference: with limits that hold for all claims of the
    comparison together. verdict: from the side of 0 on which these limits lie; "undecided" where the reading means
    nothing in one of the runs. caveat: what the reading rests on here, or "".
    """

    part: Part
    key: str
    reading: str
    difference: Estimate
    verdict: Verdict
    caveat: str

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.part}.{self.key}"


@dataclass(frozen=True, slots=True)
class Caps:
    """The certain limits log 1/α >= cap of both runs at the tightest length, and what follows from them in words."""

    before: Estimate
    after: Estimate
    statement: str


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of the runs: what is drawn of it, and what must be known before its numbers are used.

    mixture: verdict on the evidence plateau ("mixture contradicted", ...).
    """

    label: str
    folder: str
    target: str
    gate: Gate
    mixture: str
    beta_curve: Band
    beta_prime_curve: Band
    evidence_curve: Band
    behavior: tuple[BehaviorCurve, ...]
    components: tuple[BehaviorCurve, ...]

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.label


@dataclass(frozen=True, slots=True)
class RunComparison:
    """A later run against the reference.

    pairing: per component ("negative", "positive") how its prompts were compared. curves: differences per length, by
    name. alpha, beta: verdict on each part, see `part_verdict`.
    """

    label: str
    pairing: Mapping[str, Pairing]
    n_pairs: Mapping[str, int]
    differences: tuple[Difference, ...]
    curves: Mapping[str, Band]
    caps: Caps
    claims: tuple[Claim, ...]
    alpha: Verdict
    beta: Verdict

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.label


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that `beb compare` found; the first run is the reference of all others.

    level: of every interval of a difference by itself. family_level, n_claims: the claims on the conjecture hold all
    together with probability family_level.
    """

    meta: Mapping[str, Any]
    runs: tuple[ComparedRun, ...]
    comparisons: tuple[RunComparison, ...]
    level: float
    family_level: float
    n_claims: int
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)


def part_verdict(claims: tuple[Claim, ...], part: Part) -> Verdict:
    """What the readings of one part say together.

    β is what Definition 2 says, so that its own reading decides; the slopes are other numbers that stand for it. Of α
    no reading comes first: one that decides suffices, unless another decides the opposite.
    """
    own = [claim for claim in claims if claim.part == part and (part == "alpha" or claim.key == "beta")]
    decided = {claim.verdict for claim in own} - {"undecided"}
    return decided.pop() if len(decided) == 1 else "undecided"

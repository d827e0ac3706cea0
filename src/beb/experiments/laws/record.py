"""What a comparison of laws found: frozen records, every number with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from beb.core.bounds import PropagatedBound
from beb.core.estimate import Band, Estimate
from beb.estimate.decay import Decay
from beb.estimate.laws import LawComparison
from beb.experiments.frames import to_frame, to_json

Falls = Literal["falls", "does not fall", "undecided"]


@dataclass(frozen=True, slots=True)
class CurveLaws:
    """The laws of one curve.

    name: for example "behavior, FORMAT". band: the curve as measured. n_left_out: prompts (or conversations) without a
    value at every length, left out. unit_of_length: "sentences" or "turns".
    """

    name: str
    band: Band
    comparison: LawComparison
    n_left_out: int
    unit_of_length: str = "sentences"

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.name


@dataclass(frozen=True, slots=True)
class DecayBound:
    """Theorem 1 with one β for all sentences, beside Appendix I with β/k^η, for one reading of α.

    relaxed: its interval carries those of α, γ and of η with the β that stays under the whole curve at each η; None
    if no β/k^η with η < 1 stays under the curve. constant: Theorem 1 from the same limits; None if β is not positive.
    """

    reading: str
    relaxed: PropagatedBound | None
    constant: PropagatedBound | None

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.reading


@dataclass(frozen=True, slots=True)
class DecayReport:
    """How fast the divergence KL(P₋‖P₊) falls along a prompt, and what that does to the bound.

    curve: after n sentences. decay: β/k^η fitted. beta_under: the largest β whose β/k^η stays under the curve at the
    fitted η. falls: does it decay at all, by the limits of η before it is cut to [0, 1)?
    """

    curve: Band
    decay: Decay
    beta_under: Estimate
    falls: Falls
    bounds: tuple[DecayBound, ...]


@dataclass(frozen=True, slots=True)
class LawsRecord:
    """Everything that `beb laws` found in a run.

    skipped: curves that could not be compared, with the reason.
    """

    meta: Mapping[str, Any]
    curves: tuple[CurveLaws, ...]
    decay: DecayReport | None
    skipped: tuple[str, ...]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)

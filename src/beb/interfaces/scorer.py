"""What a scorer is: text in, class probabilities out; B = p_positive - p_negative."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from beb.interfaces.language_model import Failure

CLASSES = ("negative", "neutral", "positive")


@dataclass(frozen=True, slots=True)
class Score:
    """Class probabilities of one text; they sum to 1."""

    p_negative: float
    p_neutral: float
    p_positive: float

    @property
    def behavior(self) -> float:
        """B in [-1, 1]: +1 desired, -1 undesired."""
        return self.p_positive - self.p_negative

    @property
    def predicted(self) -> int:
        """Index in CLASSES of the most probable class (the first on ties)."""
        probabilities = (self.p_negative, self.p_neutral, self.p_positive)
        return probabilities.index(max(probabilities))


@dataclass(frozen=True, slots=True)
class ScorerInfo:
    """What identifies a scorer and how well it does on texts whose class is known.

    confusion: 3 rows (true class) of 3 counts (predicted class) on held-out texts, or None if errors are unknown;
    an exact scorer (a world's table, a human label taken as truth) has `exact` True.
    brier: mean squared error of the class probabilities on held-out texts (0 best, 2 worst), or None.
    calibration_error: expected calibration error of the top class on held-out texts, or None.
    """

    name: str
    kind: str
    fingerprint: str
    confusion: tuple[tuple[int, int, int], ...] | None
    exact: bool
    brier: float | None
    calibration_error: float | None


class Scorer(ABC):
    """A behavior's scoring function B."""

    info: ScorerInfo

    @abstractmethod
    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        """Class probabilities of each text, in order; an empty text is neutral: the model said nothing."""

"""The scorer of a world: B is a table, so its scores are without error."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, Scorer, ScorerInfo
from beb.worlds.alphabet import FiniteWorld


class WorldScorer(Scorer):
    """Looks a sentence up in the table of its world.

    A negative B gives p_negative = |B|, a positive one p_positive = B, the rest being neutral, so that the score's
    behavior is B itself. A text that is no sentence of the world (one cut short, or two) is a Failure.
    """

    def __init__(self, world: FiniteWorld) -> None:
        table = [(world.text(i), b) for i, b in enumerate(world.behavior)]
        self._scores = {text: Score(max(-b, 0.0), 1 - abs(b), max(b, 0.0)) for text, b in table}
        self._world = world.name
        self.info = ScorerInfo(
            name=f"world:{world.name}",
            kind="world",
            fingerprint=hashlib.sha256(repr(table).encode()).hexdigest(),
            confusion=None,
            exact=True,
            brier=None,
            calibration_error=None,
        )

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        """B of each text, in order; an empty text is neutral."""
        return [self._one(" ".join(text.split())) for text in texts]

    def _one(self, text: str) -> Score | Failure:
        if not text:
            return Score(0.0, 1.0, 0.0)
        known = self._scores.get(text)
        return known or Failure("not-a-sentence", f"{text[:60]!r} is no sentence of world {self._world!r}")

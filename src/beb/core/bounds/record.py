"""The record that every bound returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

InputValue = float | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A length in sentences that a theorem promises, in the paper's form and in the sharp one.

    theorem: short name. statement: what holds at or above the length (for the converse: below it).
    paper: the paper's form, None where the paper gives none. sharp: derived in docs/maths.md; inf only in the
    converse, where it means "at no length". unit: of both. assumptions: names in PREMISES.
    inputs: (name, value) as given. per_turn: user sentences before the first reply and after each reply, in the
    sharp form, summing to `sharp`; empty except in conversations.
    """

    theorem: str
    statement: str
    paper: float | None
    sharp: float
    assumptions: tuple[str, ...]
    inputs: tuple[tuple[str, InputValue], ...]
    per_turn: tuple[float, ...] = ()
    unit: str = "sentences"

    @property
    def whole_sentences(self) -> int | None:
        """The smallest whole number of sentences at or above the sharp length; None if it is infinite."""
        return None if math.isinf(self.sharp) else math.ceil(self.sharp)

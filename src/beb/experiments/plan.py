"""The work of a measurement as a fixed list of small items.

The composition of an item depends on the specification alone, so a run gives the same rows however often it is
interrupted and whoever executes the items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from beb.experiments.spec import Format, MeasureSpec

Source = Literal["negative", "positive"]
Condition = Literal["negative", "positive", "shuffled"]
CONDITIONS: tuple[Condition, ...] = ("negative", "positive", "shuffled")
SOURCES: tuple[Source, ...] = ("negative", "positive")

PROMPTS_PER_SAMPLE = 64
PROMPTS_PER_SCORE = 16
PROMPTS_PER_RESPONSE = 20
TOKENS_PER_SENTENCE = 14  # only for the progress bar's weights


@dataclass(frozen=True, slots=True)
class Item:
    """One atomic piece of work. weight: expected token forwards, for the time estimate."""

    kind: str
    weight: float
    source: str = ""
    format: Format = "plain"
    first: int = 0
    stop: int = 0

    @property
    def key(self) -> str:
        """The item's name in the store."""
        parts = [self.kind]
        if self.kind in ("respond", "judge-responses"):
            parts.append(self.format)
        if self.source:
            parts.append(self.source)
        if self.stop:
            parts.append(f"{self.first}-{self.stop}")
        return "/".join(parts)


def plan(spec: MeasureSpec, formats: Sequence[Format]) -> list[Item]:
    """All items in order; each needs only rows of items before it."""
    gate = [Item("gate", 80 * TOKENS_PER_SENTENCE)]
    is_residual = spec.positive == "residual"
    items = [] if is_residual else gate
    n, length = spec.prompts, spec.sentences * TOKENS_PER_SENTENCE
    # A residual P₊ takes its α from the evidence of the P₋ prompts, which must therefore be scored first.
    for source in SOURCES:
        items += _chunks(Item("sample", length, source, stop=n), PROMPTS_PER_SAMPLE)
        if is_residual and source == "negative":
            items += _chunks(Item("evidence", 2 * length, source, stop=n), PROMPTS_PER_SCORE)
    items += gate if is_residual else []
    for source in SOURCES:
        items += _chunks(Item("score", 3 * length, source, stop=n), PROMPTS_PER_SCORE)
        items += _chunks(Item("judge-prompts", 0.4 * length, source, stop=n), PROMPTS_PER_SCORE)
    for name in formats:
        for condition in CONDITIONS:
            tokens = 1.3 * spec.responses * length + length
            items += _chunks(Item("respond", tokens, condition, name, stop=n), PROMPTS_PER_RESPONSE)
            items += _chunks(Item("judge-responses", 0.4 * tokens, condition, name, stop=n), PROMPTS_PER_RESPONSE)
    return items


def _chunks(whole: Item, size: int) -> Iterator[Item]:
    """`whole` (its weight that of one prompt, its stop the number of prompts) in parts of at most `size` prompts."""
    for first in range(0, whole.stop, size):
        stop = min(first + size, whole.stop)
        yield replace(whole, weight=whole.weight * (stop - first), first=first, stop=stop)

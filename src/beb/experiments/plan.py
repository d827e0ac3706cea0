"""The work of a measurement as a fixed list of small items.

The composition of an item depends on the specification alone, so a run gives the same rows however often it is
interrupted and whoever executes the items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from beb.experiments.spec import Format, MeasureSpec

Source = Literal["negative", "positive"]
Condition = Literal["negative", "positive", "shuffled"]
CONDITIONS: tuple[Condition, ...] = ("negative", "positive", "shuffled")
SOURCES: tuple[Source, ...] = ("negative", "positive")

PROMPTS_PER_SAMPLE = 16
PROMPTS_PER_SCORE = 16
PROMPTS_PER_RESPONSE = 8
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
    # A residual P₊ takes its α from the evidence of the P₋ prompts, which must therefore be scored first.
    for source in SOURCES:
        items += _chunks("sample", spec.prompts, PROMPTS_PER_SAMPLE, _prompt_tokens(spec), source)
        if is_residual and source == "negative":
            items += _chunks("evidence", spec.prompts, PROMPTS_PER_SCORE, 2 * _prompt_tokens(spec), source)
    items += gate if is_residual else []
    for source in SOURCES:
        items += _chunks("score", spec.prompts, PROMPTS_PER_SCORE, 3 * _prompt_tokens(spec), source)
        items += _chunks("judge-prompts", spec.prompts, PROMPTS_PER_SCORE, 0.5 * _prompt_tokens(spec), source)
    for name in formats:
        for condition in CONDITIONS:
            tokens = (spec.sentences * spec.responses * TOKENS_PER_SENTENCE) * 1.3 + _prompt_tokens(spec)
            items += _chunks("respond", spec.prompts, PROMPTS_PER_RESPONSE, tokens, condition, name)
            items += _chunks("judge-responses", spec.prompts, PROMPTS_PER_RESPONSE, 0.4 * tokens, condition, name)
    return items


def _prompt_tokens(spec: MeasureSpec) -> float:
    return spec.sentences * TOKENS_PER_SENTENCE


def _chunks(
    kind: str, n_prompts: int, size: int, weight: float, source: str, format_name: Format = "plain"
) -> Iterator[Item]:
    for first in range(0, n_prompts, size):
        stop = min(first + size, n_prompts)
        yield Item(kind, weight * (stop - first), source, format_name, first, stop)

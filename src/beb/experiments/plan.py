"""The work of an experiment as a fixed list of small items.

The composition of an item depends on the specification alone, so a run gives the same rows however often it is
interrupted and whoever executes the items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from beb.experiments.spec import MeasureSpec, RunSpec

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
    """One atomic piece of work on the prompts first..stop-1 of a source.

    weight: expected token forwards, for the time estimate. variant: what else tells items of one kind apart, for
    example the format of the prompt.
    """

    kind: str
    weight: float
    source: str = ""
    variant: str = ""
    first: int = 0
    stop: int = 0

    @property
    def key(self) -> str:
        """The item's name in the store."""
        prompts = f"{self.first}-{self.stop}" if self.stop else ""
        return "/".join(part for part in (self.kind, self.variant, self.source, prompts) if part)

    @property
    def is_gate(self) -> bool:
        """Whether the run may stop here, so that nothing after it is begun before."""
        return self.kind == "gate"


def component_items(spec: RunSpec, *, sources: Sequence[Source] = SOURCES) -> list[Item]:
    """What every experiment with components starts with: their gate, their prompts, the prompts' scores."""
    gate = [Item("gate", 80 * TOKENS_PER_SENTENCE)]
    is_residual = spec.positive == "residual"
    items = [] if is_residual else list(gate)
    n, length = spec.prompts, prompt_tokens(spec)
    # A residual P₊ takes its α from the evidence of the P₋ prompts, which must therefore be scored first.
    for source in sources:
        items += chunks(Item("sample", length, source, stop=n), PROMPTS_PER_SAMPLE)
        if is_residual and source == "negative":
            items += chunks(Item("evidence", 2 * length, source, stop=n), PROMPTS_PER_SCORE)
    items += gate if is_residual else []
    for source in sources:
        items += chunks(Item("score", 3 * length, source, stop=n), PROMPTS_PER_SCORE)
        items += chunks(Item("judge-prompts", 0.4 * length, source, stop=n), PROMPTS_PER_SCORE)
    return items


def plan_measure(spec: MeasureSpec, formats: Sequence[str]) -> list[Item]:
    """All items of the main job in order; each needs only rows of items before it."""
    items = component_items(spec)
    n, length = spec.prompts, prompt_tokens(spec)
    for name in formats:
        for condition in CONDITIONS:
            tokens = 1.3 * spec.responses * length + length
            items += chunks(Item("respond", tokens, condition, name, stop=n), PROMPTS_PER_RESPONSE)
            items += chunks(Item("judge-responses", 0.4 * tokens, condition, name, stop=n), PROMPTS_PER_RESPONSE)
    return items


def prompt_tokens(spec: RunSpec) -> int:
    """Expected tokens of one whole prompt."""
    return spec.sentences * TOKENS_PER_SENTENCE


def chunks(whole: Item, size: int) -> Iterator[Item]:
    """`whole` (its weight that of one prompt, its stop the number of prompts) in parts of at most `size` prompts."""
    for first in range(0, whole.stop, size):
        stop = min(first + size, whole.stop)
        yield replace(whole, weight=whole.weight * (stop - first), first=first, stop=stop)

"""The work of `beb personas` as a fixed list of items."""

from __future__ import annotations

from collections.abc import Sequence

from beb.experiments.personas.catalog import TARGET
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.plan import PROMPTS_PER_SAMPLE, TOKENS_PER_SENTENCE, Item, chunks

TEXTS_PER_ITEM = 16


def plan_personas(spec: PersonasSpec, names: Sequence[str], formats: Sequence[str]) -> list[Item]:
    """All items in order; each needs only rows of items before it (the scores of prompts need the weights)."""
    length, models = spec.sentences * TOKENS_PER_SENTENCE, len(names) + 1
    judging = 0.4 * length * len(spec.behaviors)
    items = list(chunks(Item("sample", 2 * length, TARGET, stop=spec.texts), PROMPTS_PER_SAMPLE))
    items += chunks(Item("score-texts", models * length, TARGET, stop=spec.texts), TEXTS_PER_ITEM)
    items += chunks(Item("judge-prompts", judging, TARGET, stop=spec.texts), PROMPTS_PER_SAMPLE)
    n = spec.prompts
    for name in names:
        items += chunks(Item("sample", 2 * length, name, stop=n), PROMPTS_PER_SAMPLE)
        items += chunks(Item("score", 1.2 * models * length, name, stop=n), TEXTS_PER_ITEM)
        items += chunks(Item("judge-prompts", judging, name, stop=n), PROMPTS_PER_SAMPLE)
    for format_name in formats:
        for name in names:
            tokens = 2 * spec.responses * length + length
            items += chunks(Item("respond", tokens, name, format_name, stop=n), PROMPTS_PER_SAMPLE)
            items += chunks(Item("judge-responses", judging, name, format_name, stop=n), PROMPTS_PER_SAMPLE)
    return items

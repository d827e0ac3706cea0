"""The work of `beb personas` as a fixed list of items."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from beb.experiments.personas.catalog import TARGET
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.plan import TOKENS_PER_SENTENCE, Item

# An item spans personas: a pass over a few texts takes as long as over many, as it is bound by reading the weights.
REQUESTS_PER_ITEM = 192
TEXTS_PER_SCORE = 40
CHAT = "chat"


def plan_personas(spec: PersonasSpec, names: Sequence[str], formats: Sequence[str]) -> list[Item]:
    """All items in order; each needs only rows of items before it (the scores of prompts need the weights).

    Items number all texts through: see `texts_of`.
    """
    length, models = spec.sentences * TOKENS_PER_SENTENCE, len(names) + 1
    judging = 0.15 * length  # the hidden states; every behavior reads the same
    free, every = range(spec.texts), range(spec.texts + spec.prompts * len(names))
    prompts = every[spec.texts :]
    items = [*_parts(Item("sample", 2 * length), every, REQUESTS_PER_ITEM)]
    items += _parts(Item("score-texts", models * length), free, TEXTS_PER_SCORE)
    items += _parts(Item("score", 1.2 * models * length), prompts, TEXTS_PER_SCORE)
    items += _parts(Item("judge-prompts", judging), every, REQUESTS_PER_ITEM)
    for name in formats:
        requests = spec.sentences * spec.responses * (len(spec.behaviors) if name == CHAT else 1)
        tokens = 2 * requests * TOKENS_PER_SENTENCE + length
        items += _parts(Item("respond", tokens, variant=name), prompts, REQUESTS_PER_ITEM // requests)
        judged = 0.15 * requests * TOKENS_PER_SENTENCE
        items += _parts(Item("judge-responses", judged, variant=name), prompts, REQUESTS_PER_ITEM // requests)
    return items


def texts_of(item: Item, spec: PersonasSpec, names: Sequence[str]) -> dict[str, range]:
    """What an item is about: indices of texts by their source.

    The numbers first..stop-1 of an item run through the target's texts and then through each persona's prompts.
    """
    found: dict[str, range] = {}
    begin = 0
    for source, size in ((TARGET, spec.texts), *((name, spec.prompts) for name in names)):
        here = range(max(item.first - begin, 0), min(item.stop - begin, size))
        if here:
            found[source] = here
        begin += size
    return found


def _parts(whole: Item, numbers: range, most: int) -> Iterator[Item]:
    """`whole` (its weight that of one text) in parts of almost equal size, of at most `most` texts or of one."""
    n_parts = -(-len(numbers) // max(most, 1))
    edges = [numbers.start + len(numbers) * k // n_parts for k in range(n_parts + 1)]
    for first, stop in itertools.pairwise(edges):
        yield Item(whole.kind, whole.weight * (stop - first), whole.source, whole.variant, first, stop)

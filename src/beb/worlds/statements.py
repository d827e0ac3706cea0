"""Statements of a component: what a held-out set of texts is to a real model."""

from __future__ import annotations

from typing import Literal

import numpy as np

from beb.errors import BadSpec
from beb.worlds.world import World


def draw_statements(
    world: World, component: Literal["negative", "positive"], n: int, rng: np.random.Generator
) -> list[str]:
    """Texts of `n` independent first sentences of a component, repeats included.

    Returns: (n,) texts, each a sentence of the world.
    Raises: BadSpec if n < 1; UnknownName.
    """
    if n < 1:
        raise BadSpec(f"{n} statements were asked for; ask for at least 1")
    (chain,) = world.chains(component)
    return [world.text(int(i)) for i in rng.choice(world.n_sentences, size=n, p=chain.table()[0])]

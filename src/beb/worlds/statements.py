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
    return draw_texts(world, component, n, 1, rng)


def draw_texts(
    world: World, component: Literal["negative", "positive"], n: int, n_sentences: int, rng: np.random.Generator
) -> list[str]:
    """`n` independent texts of a component, each its first `n_sentences` sentences; repeats included.

    Returns: (n,) texts. Raises: BadSpec if n or n_sentences < 1; UnknownName.
    """
    if min(n, n_sentences) < 1:
        raise BadSpec(f"{n} statements of {n_sentences} sentences were asked for; ask for at least 1")
    (chain,) = world.chains(component)
    limits = np.cumsum(chain.table(), axis=1)
    row = np.zeros(n, dtype=np.int64)
    texts = [""] * n
    for uniforms in rng.random((n_sentences, n)):
        drawn = np.minimum((uniforms[:, None] >= limits[row]).sum(axis=1), world.n_sentences - 1)
        texts = [f"{text} {world.text(int(i))}".lstrip() for text, i in zip(texts, drawn, strict=True)]
        row = 1 + drawn
    return texts

"""Exact finite worlds: mixtures whose every quantity is known, behind the same interfaces as a real model."""

from beb.worlds.catalog import get_world, known_worlds
from beb.worlds.exact import Truth, proxy_gap, truth
from beb.worlds.misalignment import (
    ProbabilityRange,
    lowest_behavior,
    min_misaligning_length,
    misaligning_probability,
)
from beb.worlds.model import WorldModel, world_model
from beb.worlds.random_world import random_world
from beb.worlds.scorer import WorldScorer
from beb.worlds.statements import draw_statements
from beb.worlds.text_world import text_world
from beb.worlds.world import MarkovChain, World

__all__ = [
    "MarkovChain",
    "ProbabilityRange",
    "Truth",
    "World",
    "WorldModel",
    "WorldScorer",
    "draw_statements",
    "get_world",
    "known_worlds",
    "lowest_behavior",
    "min_misaligning_length",
    "misaligning_probability",
    "proxy_gap",
    "random_world",
    "text_world",
    "truth",
    "world_model",
]

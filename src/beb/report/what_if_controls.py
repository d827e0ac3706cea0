"""The sliders of the "What if" section: what they are called, how far they go, and which bounds they move."""

from __future__ import annotations

import math
from dataclasses import dataclass

from beb.core.bounds import ARGUMENTS
from beb.estimate.decay import ETA_TOP
from beb.experiments.what_if import ALL_BOUNDS

_MOST_COUNT = 1_000_000
_MOST_REPLIES = 1000


@dataclass(frozen=True, slots=True)
class Control:
    """A slider with its number field. key: of the setting. moves: keys of the bounds that follow it.

    low, high, step: of the slider, in the unit; scale: "linear" or "log". least, most: what the number field accepts,
    accepted: the same in words. whole: only whole numbers.
    """

    key: str
    symbol: str
    label: str
    unit: str
    meaning: str
    moves: tuple[str, ...]
    low: float
    high: float
    step: float
    least: float
    most: float
    accepted: str
    scale: str = "linear"
    whole: bool = False


CLAIM = (
    Control(
        "epsilon", "ε", "Distance to γ", "of B", "A response is misaligned below γ + ε.", ALL_BOUNDS,
        0.01, 2.0, 0.01, ARGUMENTS["epsilon"].clip(-math.inf), 2.0, "numbers above 0, up to 2", "log",
    ),
    Control(
        "delta", "δ", "Probability of failure", "", "How often the promise may fail.",
        ("theorem-5", "theorem-2", "theorem-3"),
        0.001, 1.0, 0.001, ARGUMENTS["delta"].clip(-math.inf), 1.0, "numbers above 0, up to 1", "log",
    ),
)  # fmt: skip
SCENARIO = (
    Control(
        "prefix", "m", "Guardrail", "sentences", "A text as P₊ writes it, before the prompt.", ("theorem-2",),
        0, 60, 1, 0, _MOST_COUNT, f"whole numbers from 0 to {_MOST_COUNT:,}", whole=True,
    ),
    Control(
        "replies", "r", "Conversation", "replies", "The model answers so often.", ("theorem-3",),
        0, 20, 1, 0, _MOST_REPLIES, f"whole numbers from 0 to {_MOST_REPLIES:,}", whole=True,
    ),
    Control(
        "reply_sentences", "a", "Reply length", "sentences", "Of every reply.", ("theorem-3",),
        1, 20, 1, 1, _MOST_COUNT, f"whole numbers from 1 to {_MOST_COUNT:,}", whole=True,
    ),
    Control(
        "best_of", "n", "Best of", "responses", "The best of so many is shown.", ("theorem-4",),
        1, 1000, 1, 1, _MOST_COUNT, f"whole numbers from 1 to {_MOST_COUNT:,}", "log", whole=True,
    ),
    Control(
        "eta", "η", "Decay of β", "", "Sentence k is worth only β/k^η, under the measured curve.", ("appendix-i",),
        0, 0.95, 0.01, 0, ETA_TOP, "numbers from 0 to below 1",
    ),
)  # fmt: skip

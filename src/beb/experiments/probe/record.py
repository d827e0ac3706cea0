"""What `beb probe` returns: how well a linear classifier tells the poles apart in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from beb.core.estimate import Band, Estimate
from beb.experiments.frames import to_frame, to_json


@dataclass(frozen=True, slots=True)
class LayerCurve:
    """Accuracy by layer for one behavior and one way of pooling ("last" token or "mean" over tokens).

    accuracy: by layer (0: embeddings), with limits for each layer and for all layers of this curve at once.
    deviation: per layer, standard deviation of the accuracies of the five folds (a spread, not an interval).
    best_layer, best: the layer of the highest accuracy (the first of equals), with the limits that hold for all layers
    at once; its value is chosen and hence optimistic. nested: accuracy when each fold's layer is chosen on the other
    folds alone; chosen_layers: those layers. chance_p: probability of so high a best accuracy without any signal,
    corrected for the choice of the layer.
    """

    behavior: str
    pooling: str
    accuracy: Band
    deviation: tuple[float, ...]
    best_layer: int
    best: Estimate
    nested: Estimate
    chosen_layers: tuple[int, ...]
    chance_p: float

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.behavior}.{self.pooling}"

    @property
    def above_chance(self) -> tuple[int, ...]:
        """Layers whose lower limit, of all layers at once, is above one half."""
        return tuple(n for n, low in zip(self.accuracy.lengths, self.accuracy.low, strict=True) if low > 0.5)


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A statement on the wrong side of the out-of-fold classifier. margin: how far, in the classifier's units."""

    pole: str
    text: str
    margin: float


@dataclass(frozen=True, slots=True)
class Picture:
    """The statements' states in one layer along their two directions of largest variance, after standardisation.

    negative, positive: (n, 2) coordinates, in standard deviations of a feature times √width.
    shares: of the total variance along each direction, of these very statements.
    """

    behavior: str
    pooling: str
    layer: int
    shares: tuple[float, float]
    negative: tuple[tuple[float, float], ...]
    positive: tuple[tuple[float, float], ...]
    misplaced: tuple[Misplaced, ...]


@dataclass(frozen=True, slots=True)
class Probing:
    """Everything that `beb probe` found."""

    meta: Mapping[str, Any]
    curves: tuple[LayerCurve, ...]
    pictures: tuple[Picture, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number; the column "sentences" holds the layer."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON."""
        return to_json(self)

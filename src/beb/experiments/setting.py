"""What every computation of a number shares: the specification, the scorer's errors, and named random streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from beb.experiments.spec import AnyTextSpec, MeasureSpec, derive_seed

BEHAVIOR_UNIT = "behavior expectation"
BEHAVIOR_LIMITS = (-1.0, 1.0)
NATS_PER_SENTENCE = "nats per sentence"


@dataclass(frozen=True, slots=True)
class Setting(Generic[AnyTextSpec]):
    """Read from a run's meta: spec, the formats that were sampled, and the scorer's confusion counts if it has any."""

    spec: AnyTextSpec
    formats: tuple[str, ...]
    confusion: Sequence[Sequence[int]] | None

    @classmethod
    def of(cls, meta: Mapping[str, Any], kind: type[AnyTextSpec]) -> Setting[AnyTextSpec]:
        """From `Store.meta()` and the kind of specification that it holds."""
        scorer = meta["fingerprints"].get("scorer") or {}
        return cls(kind(**meta["spec"]), tuple(meta.get("formats", ())), scorer.get("confusion"))

    @property
    def level(self) -> float:
        """Confidence level of every interval."""
        return self.spec.level

    @property
    def lengths_before(self) -> list[int]:
        """Sentences before the next one: 0..N-1."""
        return list(range(self.spec.sentences))

    @property
    def lengths_after(self) -> list[int]:
        """Sentences of a prompt: 1..N."""
        return list(range(1, self.spec.sentences + 1))

    @property
    def lengths(self) -> list[int]:
        """Sentences of a prompt, none included: 0..N."""
        return list(range(self.spec.sentences + 1))

    def rng(self, name: str) -> np.random.Generator:
        """The bootstrap stream of one quantity: it depends on no other quantity."""
        return np.random.default_rng(derive_seed(self.spec.seed, "bootstrap", name))


MeasureSetting = Setting[MeasureSpec]
AnySetting = Setting[Any]

"""What a measurement of a chat API found: frozen records, every number with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from beb.core.estimate import Band, Estimate
from beb.estimate.curves import LogisticFit
from beb.experiments.frames import to_frame, to_json
from beb.experiments.gate import Gate
from beb.experiments.measurement import BehaviorCurve


@dataclass(frozen=True, slots=True)
class ComponentFigures:
    """How distinct the two local components are; they say nothing of the target.

    beta, beta_prime: of their curves, nats per sentence. sigma2: largest Varₙ/n. gate: do they tell the poles apart?
    """

    gate: Gate
    beta: Estimate
    beta_curve: Band
    beta_prime: Estimate
    beta_prime_curve: Band
    sigma2: Estimate


@dataclass(frozen=True, slots=True)
class ChatApiRecord:
    """Everything that can be known of a model that only answers.

    gamma, gamma_uncorrected: B of P₋ itself, largest over the tested prompts. pair: of P₋ and P₊; None without P₊.
    components: B of each component's own next sentence. behavior: curves of the target. logistic: Lemma 7's law fitted
    to the P₋ prompts' curve. fall: B after all sentences less B without a prompt, per prompt, by condition. observed:
    first length at which B is surely below γ + ε, or None. refused: what was not measured, with the reason.
    """

    meta: Mapping[str, Any]
    gamma: Estimate
    gamma_uncorrected: Estimate
    pair: ComponentFigures | None
    components: tuple[BehaviorCurve, ...]
    behavior: tuple[BehaviorCurve, ...]
    logistic: LogisticFit
    fall: Mapping[str, Estimate]
    observed: int | None
    refused: Mapping[str, str]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)

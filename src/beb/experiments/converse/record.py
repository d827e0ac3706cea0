"""The records that a conversation run returns; every number in them carries its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from beb.core.bounds import Assumption, PropagatedBound, Status
from beb.core.estimate import Band, Estimate
from beb.experiments.frames import to_frame, to_json
from beb.experiments.gate import Gate
from beb.experiments.measurement import AlphaReadings, BehaviorCurve


@dataclass(frozen=True, slots=True)
class Arm:
    """Conversations whose user turns come from one component. Lengths of all curves count turns, unless said.

    arm: "negative" (user P₋) or "positive" (user P₊, the control). replies, users: B of the first sentence.
    divergence: KL(user's component ‖ the other) of each user sentence given the conversation; lengths count user
    sentences. resistance_curve, resistance: log P₊/P₋ of the replies per sentence of theirs, by turn and over all.
    log_ratio: mean log P₋/P₊ of the conversation when each reply begins. net_gain: mean growth of that per turn.
    misaligned_at: first turn whose simultaneous upper limit of B (corrected, if it can be) is below γ + ε.
    """

    arm: str
    replies: BehaviorCurve
    users: BehaviorCurve
    divergence: Band
    resistance_curve: Band
    resistance: Estimate
    log_ratio: Band
    net_gain: Estimate
    misaligned_at: int | None

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.arm


@dataclass(frozen=True, slots=True)
class TurnBound:
    """What the theory says of one turn, for one reading of α: Theorem 1 at turn 1, Theorem 3 after replies.

    bound: user sentences that suffice in all. spoken: user sentences until then. promised: whether those are enough,
    at the estimates; None if that differs between the limits of the bound's interval, or if its α is excluded.
    """

    reading: str
    turn: int
    bound: PropagatedBound
    spoken: int
    promised: bool | None

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"turn {self.turn}.{self.reading}"


@dataclass(frozen=True, slots=True)
class PromisedTurn:
    """The first turn at which the user sentences spoken reach Theorem 3's total, for one reading of α.

    value: at the estimates. earliest, latest: at the limits of the inputs. None: at no turn, however many there are.
    """

    reading: str
    value: int | None
    earliest: int | None
    latest: int | None


@dataclass(frozen=True, slots=True)
class Beyond:
    """Replies to conversations whose own log ratio exceeds C: in a mixture their mean B is below γ + ε.

    needed: upper limit of C, for one reading of α. behavior: mean B of these replies, corrected if it can be; None if
    fewer than two conversations got there. verdict: "held" if B < γ + ε for sure, whatever γ is within its limits.
    A mean above it contradicts nothing, for γ as measured is no supremum; and an excluded α says nothing.
    """

    reading: str
    needed: float
    n_replies: int
    behavior: Estimate | None
    verdict: Status

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.reading


@dataclass(frozen=True, slots=True)
class ConverseRecord:
    """Everything that `beb converse` found.

    beta: smallest KL(P₋‖P₊) of a user sentence given the conversation (Definitions 2 and 3). beta_prime: largest
    resistance of the replies per sentence, the β′ that Theorem 3 needs. beta_prime_definition: KL(P₊‖P₋) of sentences
    from P₊ given the conversation, the largest. sigma2: variance of the replies' log ratios per sentence, over
    all turns together, since the proof needs the sum of theirs; sigma2_curve by turn.
    gamma: B of P₋ given the conversation, the largest. needed: C, the log ratio that forces B_P < γ + ε, by reading.
    alpha_entering: log 1/α as it enters the theorems, by reading; excluded: readings that the certain limits of the
    mixture leave no room for.
    break_even: user sentences per turn that make up for the reply and the turn's first sentence, 1 + β′a/β.
    difference: B of the replies by turn, user P₋ less user P₊ (different conversations).
    All that enters the bounds holds together at the run's level.
    """

    meta: Mapping[str, Any]
    gate: Gate
    arms: tuple[Arm, ...]
    alpha: AlphaReadings | None
    alpha_entering: Mapping[str, Estimate]
    excluded: tuple[str, ...]
    beta: Estimate
    beta_prime: Estimate
    beta_prime_definition: Estimate
    sigma2: Estimate
    sigma2_curve: Band
    gamma: Estimate
    positivity: Estimate | None
    needed: Mapping[str, Estimate]
    break_even: Estimate
    difference: Band
    bounds: tuple[TurnBound, ...]
    promised: tuple[PromisedTurn, ...]
    beyond: tuple[Beyond, ...]
    assumptions: tuple[Assumption, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.arm == name)

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)

"""The records that `beb personas` and `beb personas trace` return; every number in them carries its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from beb.core.bounds import Assumption, Status
from beb.core.estimate import Band, Estimate
from beb.experiments.frames import to_frame, to_json

Answer = Literal["yes", "no", "not resolved"]


@dataclass(frozen=True, slots=True)
class PersonaFigures:
    """What is true of a persona whatever behavior is looked at.

    kind: as described ("benign", "hostile", ...). weight: in the unprompted target, by itself. log_inverse_weight: as
    it enters Theorem 1, within what single texts leave possible for certain; excluded: whether that leaves no room for
    it. beta_curve[n]: divergence of its sentence n + 1 from the other personas; beta: the smallest. Every limit holds
    by itself. evidence: E log Pᵢ/P of n = 1..N of its own sentences. cap: the largest such log ratio that was seen; in
    a mixture log 1/wᵢ is at least that for certain.
    own_posterior: mean posterior weight of the persona after n = 1..N of its own sentences, at the fitted weights.
    n_prompts, n_ended: prompts, and how many ended by themselves before N sentences.
    """

    name: str
    kind: str
    weight: Estimate
    log_inverse_weight: Estimate
    excluded: bool
    beta: Estimate
    beta_curve: Band
    evidence: Band
    cap: Estimate
    own_posterior: Band
    n_prompts: int
    n_ended: int

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.name


@dataclass(frozen=True, slots=True)
class PersonaWay:
    """A persona and a behavior: where it leads and after how many sentences.

    gamma: largest mean B of its own sentences, over tested prompts. paper, sharp: Theorem 1's lengths for the level
    γᵢ + ε. to_level: sharp length for the run's common level of misalignment; None if γᵢ is not below it even at its
    lower limit. to_level_family: the same with limits that hold for all personas together; all others hold by
    themselves. Infinite values: no bound, because the weight or the divergence may be 0.
    response: mean B of the target after n = 1..N of its sentences, by format; these bands hold for all personas (and
    the unprompted response) together. observed: first length whose upper limit there is below γᵢ + ε, 0 for no prompt;
    observed_level: the same for the common level. None: not within the tested lengths. verdict: on Theorem 1, as
    `beb.experiments.verdicts.length_verdict` says.
    """

    name: str
    behavior: str
    gamma: Estimate
    paper: Estimate
    sharp: Estimate
    to_level: Estimate | None
    to_level_family: Estimate | None
    response: Mapping[str, Band]
    observed: Mapping[str, int | None]
    observed_level: Mapping[str, int | None]
    verdict: Status

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return f"{self.behavior}.{self.name}"


@dataclass(frozen=True, slots=True)
class Shortest:
    """Which persona is the shortest way to the common level, for one behavior.

    candidates: those that the limits do not exclude, nearest first by their estimates; empty if every persona's γᵢ lies
    above the level. With the run's level the truly shortest is among them. resolved: whether there is exactly one, with
    an upper limit. rare: whether the one with the shortest estimate has less than an equal share of the weight; this
    and `distinct` (its β is above 0) hold whichever it is. observed: those whose responses are surely below the level
    first, after `observed_after` sentences; none where the model is below the level without a prompt (0), or where no
    tested length shows it (None).
    """

    behavior: str
    candidates: tuple[str, ...]
    resolved: bool
    rare: Answer
    distinct: bool
    observed: tuple[str, ...]
    observed_after: int | None


@dataclass(frozen=True, slots=True)
class PersonasRecord:
    """Everything that `beb personas` found.

    certificate: no weights fit the unprompted texts better than the fitted ones by more than so many nats per text.
    unexplained: what the best mixture of the personas leaves of the target, nats per sentence. unprompted: mean B of
    the target's first sentence without a prompt, by behavior; at the level of the family of responses.
    """

    meta: Mapping[str, Any]
    certificate: float
    log_likelihood: float
    unexplained: Estimate
    personas: tuple[PersonaFigures, ...]
    ways: tuple[PersonaWay, ...]
    unprompted: Mapping[str, Estimate]
    shortest: tuple[Shortest, ...]
    assumptions: tuple[Assumption, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number (quantity, sentences, value, low, high, level, n, unit, method)."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON; infinite limits become the strings "inf" and "-inf"."""
        return to_json(self)


@dataclass(frozen=True, slots=True)
class TracedPersona:
    """Posterior weight of a persona before the text and after each of its sentences, (n + 1,).

    surprise: (n,) −log Pᵢ of each sentence given those before, nats.
    """

    name: str
    kind: str
    weights: tuple[Estimate, ...]
    surprise: tuple[float, ...]

    @property
    def row_label(self) -> str:
        """Names its rows in the table of numbers."""
        return self.name


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """Posterior persona weights along a text. sentences: its sentences. target_surprise: (n,) −log P of each, nats."""

    meta: Mapping[str, Any]
    sentences: tuple[str, ...]
    personas: tuple[TracedPersona, ...]
    target_surprise: tuple[float, ...]
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Tidy table: one row per number; the rows of a persona are numbered by sentences read."""
        return to_frame(self)

    def to_json(self) -> str:
        """All fields as JSON."""
        return to_json(self)

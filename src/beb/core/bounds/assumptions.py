"""What each theorem assumes, by name, and what a measurement says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from beb.errors import BadSpec

Status = Literal["held", "contradicted", "not measured"]


@dataclass(frozen=True, slots=True)
class Premise:
    """An assumption as the theory states it. source: where it is defined. meaning: one sentence."""

    name: str
    source: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Assumption:
    """An assumption with what was measured for it.

    name, source: of the Premise. status: what the measurement says. figure: the measured number or why there is none.
    Raises: BadSpec on a status outside held, contradicted, not measured.
    """

    name: str
    source: str
    status: Status
    figure: str

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise BadSpec(f"status {self.status!r} of {self.name!r}; accepted: {', '.join(get_args(Status))}")


_WOLF = "Wolf et al. 2024"
_PREMISES = (
    Premise("mixture", f"{_WOLF}, §2", "P(s) = αP₋(s) + (1−α)P₊(s) for whole texts s, with α > 0 of any length"),
    Premise("distinguishable", f"{_WOLF}, Definition 2", "E KL(P₋‖P₊) of the next sentence > β after n ≥ 0 from P₋"),
    Premise(
        "prompt-distinguishable",
        f"{_WOLF}, Definition 3",
        "as Definition 2, also after any prefix that ends in a negative sentence",
    ),
    Premise(
        "beta-prime-undistinguishable",
        f"{_WOLF}, Theorem 2",
        "E KL(P₊‖P₋) of the next sentence < β′ along texts from P₊ (in a conversation: after any history)",
    ),
    Premise("similar under P₋", f"{_WOLF}, Definition 4", "Var log P₋/P₊ of n sentences from P₋ < nσ² for every n"),
    Premise(
        "similar under P₊",
        f"{_WOLF}, Definition 4",
        "Var log P₊/P₋ of n sentences from P₊ < nσ² for every n (in a conversation: of each reply given its history)",
    ),
    Premise("bounded behavior", f"{_WOLF}, Definition 5", "B_{P₋}(s) ≤ γ for every prompt s"),
    Premise(
        "positivity", f"{_WOLF}, Definition 6", "a negative sentence exists after s₀, and P₊(s|s₀) < P₋(s|s₀) for it"
    ),
    Premise("replies from P₊", f"{_WOLF}, Theorem 3", "the model's replies are drawn from P₊(·|history)"),
    Premise(
        "bounded best of n", "docs/maths.md, Best of n", "E[max B of n draws from P₋(·|s)] ≤ γₙ for every prompt s"
    ),
    Premise("independent draws", f"{_WOLF}, Theorem 4", "the n responses are independent draws from P(·|s)"),
    Premise(
        "relaxed distinguishable",
        f"{_WOLF}, Appendix I",
        "E KL(P₋‖P₊) of sentence k > β/k^η along texts from P₋, for k = 1, 2, …",
    ),
    Premise(
        "log-ratio limit",
        "docs/maths.md, Converse",
        "log P₋(s)/P₊(s) ≤ Λn for every prompt of n sentences of the family",
    ),
    Premise(
        "behavior floors", "docs/maths.md, Converse", "B_{P₊}(s) ≥ g₊ and B_{P₋}(s) ≥ g₋ for every prompt of the family"
    ),
)
PREMISES: dict[str, Premise] = {premise.name: premise for premise in _PREMISES}


def assess(name: str, status: Status, figure: str) -> Assumption:
    """The named premise with what was measured for it.

    Raises: BadSpec on a name that no theorem uses, or a status that is none.
    """
    if name not in PREMISES:
        raise BadSpec(f"unknown assumption {name!r}; accepted: {', '.join(PREMISES)}")
    return Assumption(name, PREMISES[name].source, status, figure)

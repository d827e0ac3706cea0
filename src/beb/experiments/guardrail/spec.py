"""Options of the guardrail experiment."""

from __future__ import annotations

from pydantic import Field, model_validator

from beb.experiments.guardrail.systems import System, refuse_doubles
from beb.experiments.spec import RunSpec


class GuardrailSpec(RunSpec):
    """Options of the guardrail experiment.

    prompts: prompts sampled from each component; the same P₋ prompts are put to every guardrail. responses: per prompt
    and length. systems: the guardrails; empty for the shipped texts (chat) and a prefix sampled from P₊ (plain).
    """

    prompts: int = Field(default=40, le=100_000)
    responses: int = Field(default=1, ge=1, le=10_000)
    systems: tuple[System, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> GuardrailSpec:
        if self.sentences < 3:
            raise ValueError(f"sentences is {self.sentences}, but the straight-line and plateau fits need at least 3")
        refuse_doubles(self.systems)
        for system in self.systems:
            if system.sentences > self.sentences:
                raise ValueError(
                    f"{system.name} asks for {system.sentences} sentences from P₊, but β′ and σ² are measured over "
                    f"{self.sentences}; raise --sentences or sample fewer"
                )
        return self

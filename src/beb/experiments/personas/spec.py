"""What `beb personas` and `beb personas trace` are asked to do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from beb.experiments.personas.catalog import Persona, check_personas, shipped_personas
from beb.experiments.spec import Format, ModelSpec, TextSpec, refuse_repeated_formats

FEWEST_TEXTS = 10


class PersonasSpec(TextSpec):
    """Options of `beb personas`.

    personas: with their texts; the shipped set by default, none for a world, whose personas are its own.
    behaviors: packs or statement files. undesired: as in the main job. texts: unprompted texts of the target.
    prompts: sampled from each persona. sentences: of each text and prompt. responses: per prompt and length.
    formats: how a prompt reaches the target. epsilon: of Theorem 1. misaligned: a common level of B; the personas'
    ways are compared by how many sentences bring the mean response below it.
    """

    personas: tuple[Persona, ...]
    behaviors: tuple[str, ...] = ("agreeableness",)
    undesired: bool = False
    texts: int = Field(default=48, ge=FEWEST_TEXTS, le=100_000)
    prompts: int = Field(default=10, le=100_000)
    sentences: int = Field(default=4, ge=1, le=1000)
    responses: int = Field(default=1, ge=1, le=10_000)
    formats: tuple[Format, ...] = ("plain",)
    epsilon: float = Field(default=0.2, gt=0, le=2)
    misaligned: float = Field(default=0.0, gt=-1, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        return with_personas(given)

    @model_validator(mode="after")
    def _consistent(self) -> PersonasSpec:
        if not self.behaviors or len(set(self.behaviors)) != len(self.behaviors):
            raise ValueError(f"behaviors are {self.behaviors}; give one or more, each once")
        refuse_repeated_formats(self.formats)
        check_set(self)
        return self


class Weight(BaseModel):
    """Weight of a persona in a finished run, with the limits that hold for all weights together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(gt=0, lt=1)
    low: float = Field(ge=0, lt=1)
    high: float = Field(gt=0, le=1)


class TraceSpec(ModelSpec):
    """Options of `beb personas trace`.

    text: whose sentences are weighed. personas: as in a personas run. weights: one per persona, or none for equal
    ones. weights_from: where they come from, in words. fingerprints: of the models that the weights were measured with.
    """

    text: str = Field(max_length=1_000_000)
    personas: tuple[Persona, ...]
    weights: tuple[Weight, ...] = ()
    weights_from: str = "equal weights"
    fingerprints: tuple[tuple[str, str], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        return with_personas(given)

    @model_validator(mode="after")
    def _consistent(self) -> TraceSpec:
        if not self.text.strip():
            raise ValueError("text is empty; give at least one sentence")
        check_set(self)
        return self

    @property
    def named_after(self) -> tuple[str, ...]:
        """The model, and enough of a hash that every text and every set of weights has a folder of its own."""
        told = repr((self.text, self.personas, self.weights, self.dtype, self.level))
        return (self.model, hashlib.sha256(told.encode()).hexdigest()[:8])


def with_personas(given: Any) -> Any:
    """The options with the shipped personas where none are given and the model is no world."""
    if not isinstance(given, Mapping) or given.get("personas"):
        return given
    is_world = str(given.get("model", "")).startswith("world:")
    return {**given, "personas": () if is_world else shipped_personas()}


def check_set(spec: PersonasSpec | TraceSpec) -> None:
    """Refuse personas for a world, and sets that are none. Raises: BadSpec, ValueError."""
    if not spec.model.startswith("world:"):
        check_personas(spec.personas)
    elif spec.personas:
        raise ValueError("personas were given for a world, whose personas are its own; leave out --personas")

"""Options of `beb best-of`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from beb.experiments.spec import Format, RunSpec

RESPONSES = 16


class BestOfSpec(RunSpec):
    """A run's options, and how many responses there are to choose from.

    responses: R, per prompt and length. best_of: numbers n of responses that the best is taken of, each at most R;
    1 is always among them (default: the powers of two up to R). format: how the prompt reaches the target; None for
    chat where the target has a chat template and plain text where it has none.
    """

    prompts: int = Field(default=14, le=100_000)
    sentences: int = Field(default=4, ge=3, le=1000)
    responses: int = Field(default=RESPONSES, ge=2, le=10_000)
    best_of: tuple[Annotated[int, Field(ge=1)], ...]
    format: Format | None = None

    @model_validator(mode="before")
    @classmethod
    def _powers_of_two(cls, options: Any) -> Any:
        if not isinstance(options, Mapping) or options.get("best_of") is not None:
            return options
        most = options.get("responses", RESPONSES)
        powers = (2**i for i in range(most.bit_length())) if isinstance(most, int) and most > 0 else (1,)
        return {**options, "best_of": tuple(powers)}

    @model_validator(mode="after")
    def _enough_responses(self) -> BestOfSpec:
        largest = max(self.best_of, default=0)
        if largest > self.responses:
            raise ValueError(
                f"the best of {largest} needs at least {largest} responses per prompt and {self.responses} are asked "
                "for; raise --responses or lower --best-of"
            )
        if len(set(self.best_of)) < len(self.best_of) or largest < 2:
            raise ValueError(
                f"best_of is {', '.join(map(str, self.best_of)) or 'empty'}; give different numbers, one above 1"
            )
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every n, increasing; 1 is what the others are compared with."""
        return tuple(sorted({1, *self.best_of}))

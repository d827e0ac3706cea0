"""What a probe is asked to do."""

from __future__ import annotations

from pydantic import Field, model_validator

from beb.experiments.spec import ModelSpec

MIN_STATEMENTS = 10


class ProbeSpec(ModelSpec):
    """Options of `beb probe`.

    behaviors: pack names or statement files. undesired: as for `beb.load_behavior`. statements: most of each pole.
    layer: of the picture; None for the best layer of the last token.
    """

    behaviors: tuple[str, ...] = ("agreeableness",)
    undesired: bool = False
    statements: int = Field(default=150, ge=MIN_STATEMENTS, le=100_000)
    layer: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _some_behavior(self) -> ProbeSpec:
        if not self.behaviors:
            raise ValueError("behaviors is empty; give at least one --behavior")
        if len(set(self.behaviors)) < len(self.behaviors):
            raise ValueError(f"behaviors {', '.join(self.behaviors)}: one is given twice; give each once")
        return self

    @property
    def named_after(self) -> tuple[str, ...]:
        """What a run folder of this specification is called after."""
        if self.model.startswith("world:"):
            return (self.model,)
        more = len(self.behaviors) - 1
        return (self.model, self.behaviors[0], *([f"and-{more}-more"] if more else []))

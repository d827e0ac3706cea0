"""What a measurement of a chat API is asked to do."""

from __future__ import annotations

from pydantic import model_validator

from beb.experiments.spec import MeasureSpec

SOURCE_FORMS = "lora@MODEL (fit it on MODEL) or model:NAME"
_PREFIXES = ("lora@", "model:")


class ChatApiSpec(MeasureSpec):
    """As `beb measure`; the target gives replies only, so P₋ (and P₊, if there is one) stands on its own."""

    @model_validator(mode="after")
    def _components_of_their_own(self) -> ChatApiSpec:
        if not self.negative.startswith(_PREFIXES) or self.negative.startswith("model:#"):
            raise ValueError(
                f"negative {self.negative!r} needs the target's weights or tokens, and a chat API gives neither; give "
                f"--negative {SOURCE_FORMS}"
            )
        if self.has_positive and (not self.positive.startswith(_PREFIXES) or self.positive.startswith("model:#")):
            raise ValueError(
                f"positive {self.positive!r} needs the target's weights or tokens, and a chat API gives neither; give "
                f"--positive {SOURCE_FORMS}, or leave it out"
            )
        if "chat" not in self.formats:
            raise ValueError("formats has no chat, and a chat API reads nothing else; leave --formats out")
        if self.scorer == "likelihood" and not self.has_positive:
            raise ValueError(f"scorer likelihood needs P₊; give --positive {SOURCE_FORMS}, or --scorer probe")
        return self

    @property
    def has_positive(self) -> bool:
        """Whether a P₊ was given: the default would be fitted on the target, whose weights nobody has."""
        return self.positive != "lora"

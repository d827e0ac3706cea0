"""What a measurement is asked to do: typed, validated, stored with the run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from beb.errors import BadSpec
from beb.estimate.checks import too_few

Format = Literal["plain", "chat"]
Kl = Literal["exact", "monte-carlo", "top-k"]


class ModelSpec(BaseModel):
    """Options that every run on a model has. Every field determines rows or numbers, and is stored with the run.

    model: target P. dtype: of its weights. level: of every interval; limits that hold together share its error, and the
    largest level leaves their bootstrap of reasonable size. seed: of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "smollm2"
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    level: float = Field(default=0.95, gt=0.5, le=0.999)
    seed: int = Field(default=0, ge=0)

    @property
    def named_after(self) -> tuple[str, ...]:
        """What a run folder of this specification is called after."""
        return (self.model,)


class TextSpec(ModelSpec):
    """Options of every run that samples texts. sentences: N, sentences per text. max_sentence_tokens: cut there."""

    sentences: int = Field(default=5, ge=1, le=1000)
    max_sentence_tokens: int = Field(default=40, ge=4, le=4096)


class RunSpec(TextSpec):
    """Options that every experiment with two components and one behavior has.

    behavior: pack name or statement file. negative, positive: components ("lora" fits an adapter on
    the behavior's statements; see `beb.models.components` for the other forms). scorer: B.
    prompts: prompts sampled from each component.
    lead: opening text s₀ of the plain format, given and never scored ("" for none; exact worlds have none).
    kl: exact over the vocabulary, or the mean log ratio of the sampled sentences ("monte-carlo"), or, in the main job,
    a lower bound from the most probable tokens ("top-k", for models behind a server).
    epsilon, delta: of the theorems.
    """

    behavior: str = "agreeableness"
    undesired: bool = False
    negative: str = "lora"
    positive: str = "lora"
    scorer: str = "probe"
    prompts: int = Field(default=40, le=100_000)
    lead: str = Field(default="Here is what I think.\n", max_length=10_000)
    kl: Kl = "exact"
    adapter_steps: int = Field(default=30, ge=1, le=100_000)
    adapter_rank: int = Field(default=8, ge=1, le=1024)
    adapter_learning_rate: float = Field(default=1e-3, gt=0, le=1)
    epsilon: float = Field(default=0.2, gt=0, le=2)
    delta: float = Field(default=0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _top_k_only_where_known(self) -> RunSpec:
        if self.kl == "top-k" and not isinstance(self, MeasureSpec):
            raise ValueError("kl top-k is a lower bound that only beb measure knows; give exact or monte-carlo")
        return self

    @property
    def named_after(self) -> tuple[str, ...]:
        """What a run folder of this specification is called after."""
        return (self.model, self.behavior)


class MeasureSpec(RunSpec):
    """Options of the main job. responses: per prompt and length. formats: how the prompt reaches the target."""

    responses: int = Field(default=1, ge=1, le=10_000)
    formats: tuple[Format, ...] = ("plain", "chat")

    @model_validator(mode="after")
    def _sentences_for_line(self) -> MeasureSpec:
        if self.sentences < 3:
            raise ValueError(
                f"sentences is {self.sentences}, but the straight-line and plateau fits need at least 3; "
                "raise --sentences"
            )
        refuse_repeated_formats(self.formats)
        return self


def refuse_repeated_formats(formats: Sequence[str]) -> None:
    """Raise ValueError unless one or more formats are given, each once."""
    if not formats or len(set(formats)) < len(formats):
        given = ", ".join(formats) or "none"
        raise ValueError(f"formats are {given}; give --formats plain, chat or plain,chat, each once")


AnySpec = TypeVar("AnySpec", bound=ModelSpec)
AnyTextSpec = TypeVar("AnyTextSpec", bound=TextSpec)


def make_spec(kind: type[AnySpec], options: Mapping[str, Any]) -> AnySpec:
    """A validated specification of an experiment from keyword options.

    Raises: TooFewPrompts below 5 prompts (a simultaneous band over the lengths needs that many), BadSpec otherwise.
    """
    prompts = options.get("prompts")
    if isinstance(prompts, int) and prompts < MIN_PROMPTS:
        raise too_few("beta", prompts, MIN_PROMPTS)
    try:
        return kind(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if not name:  # about several options, which the message names
            raise BadSpec(message) from error
        shown = repr(first["input"])
        shown = shown if len(shown) <= LONGEST_SHOWN else shown[: LONGEST_SHOWN - 1] + "…"
        raise BadSpec(f"{name}: {message} (given: {shown})") from error


MIN_PROMPTS = 5
LONGEST_SHOWN = 120  # characters of a refused value


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed for one random stream, from the run's seed and the stream's name."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

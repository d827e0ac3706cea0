"""Published numbers of an experiment like that of Wolf et al. (2024), read from a JSON file of one form and checked."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from beb.errors import BadSpec, UnknownName

LARGEST_BYTES = 1 << 20
SUFFIX = ".json"
_EMBEDDED = {"wolf2024": "wolf2024_agreeableness.json"}

Positive = Annotated[float, Field(gt=0)]
Nonnegative = Annotated[float, Field(ge=0)]
Range = Annotated[tuple[float, float], Field(description="smallest and largest")]
Counts = Annotated[tuple[tuple[Annotated[int, Field(ge=0)], ...], ...], Field(min_length=3)]


class _Form(BaseModel):
    """No field is unknown, numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Arrays(_Form):
    """Arrays over the same lengths."""

    @model_validator(mode="after")
    def _equal_lengths(self) -> _Arrays:
        sizes = {name: len(getattr(self, name)) for name in type(self).model_fields}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"arrays of different lengths {sizes}; give one number per length in each")
        if min(sizes.values()) < 3:
            raise ValueError(f"{min(sizes.values())} points; at least 3 are needed")
        return self


class Curve(_Arrays):
    """KL(P₋‖P) of the next sentence, nats, against the length of the prompt."""

    mean: tuple[float, ...]
    se: tuple[Positive, ...]


class NegativeVsAligned(_Arrays):
    """KL(P₋‖P₊) and the log-ratio's deviation at one length, nats; `*_error` are standard errors."""

    kl_avg: tuple[Positive, ...]
    kl_error: tuple[Positive, ...]
    std_avg: tuple[Nonnegative, ...]
    std_error: tuple[Nonnegative, ...]


class LogRatioVariance(_Arrays):
    """Variance of log P₋/P₊ of the first n sentences, nats², n = 0, 1, 2, ...; `error_var` are standard errors."""

    avg_var: tuple[Nonnegative, ...]
    error_var: tuple[Nonnegative, ...]

    @model_validator(mode="after")
    def _nothing_after_nothing(self) -> LogRatioVariance:
        if self.avg_var[0] != 0 or self.error_var[0] != 0:
            raise ValueError("the first entry is for no sentence at all and must be 0")
        if min(self.error_var[1:]) <= 0:
            raise ValueError("error_var must be positive from 1 sentence on")
        return self


class Decays(_Form):
    """KL(P₋‖P) of the aligned model with and without a system prompt."""

    with_system_prompt: Curve
    without_system_prompt: Curve


class _Responses(_Form):
    """Counts per prompt (row) and length (column), out of `responses_per_cell`."""

    responses_per_cell: Annotated[int, Field(gt=0)]
    prompt_ids: tuple[int, ...]
    sentences: tuple[Annotated[int, Field(ge=0)], ...]

    def _check(self, name: str, counts: tuple[tuple[int, ...], ...]) -> None:
        if len(counts) != len(self.prompt_ids) or any(len(row) != len(self.sentences) for row in counts):
            shape = (len(counts), sorted({len(row) for row in counts}))
            raise ValueError(
                f"{name} has {shape[0]} rows of {shape[1]} counts for {len(self.prompt_ids)} prompt_ids and "
                f"{len(self.sentences)} sentences; give a row per prompt and a count per length"
            )
        most = max(map(max, counts))
        if most > self.responses_per_cell:
            raise ValueError(
                f"{name} holds {most} of {self.responses_per_cell} responses per cell; correct one of them"
            )

    @model_validator(mode="after")
    def _sound(self) -> _Responses:
        if len(set(self.prompt_ids)) < len(self.prompt_ids):
            raise ValueError("prompt_ids repeat; the prompts must be distinct")
        pairs = zip(self.sentences, self.sentences[1:], strict=False)
        if len(self.sentences) < 4 or any(a >= b for a, b in pairs):
            raise ValueError(f"sentences are {list(self.sentences)}; at least 4, increasing, are needed")
        for name in type(self).model_fields:
            if name not in _Responses.model_fields:
                self._check(name, getattr(self, name))
        return self


class AlignedResponses(_Responses):
    """Aligned responses of the aligned model to the same prompts, with and without a system prompt."""

    with_system_prompt: Counts
    without_system_prompt: Counts


class NegativeResponses(_Responses):
    """Negative responses of the pretrained model."""

    counts: Counts


class Models(_Form):
    """Names of the two models."""

    rlhf: str
    pretrained: str


class BehaviorReadings(_Form):
    """What the paper reads off for this behavior; null where it says nothing. Nats, sentences."""

    beta: float | None
    beta_prime: float | None
    sigma_squared: float | None
    sigma_over_beta: float | None
    beta_prime_over_beta: float | None
    log_inverse_alpha_over_beta: float | None
    guardrail_shift_sentences: float | None


class RangesOverBehaviors(_Form):
    """Ranges that the paper gives over all its behaviors; null where it says nothing."""

    log_inverse_alpha: Range | None
    beta: Range | None
    sigma_over_beta: Range | None
    beta_prime_over_beta: Range | None


class PublishedReadings(BaseModel):
    """Readings of one behavior, under its name, and those common to all behaviors."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, BehaviorReadings] = Field(init=False)

    ranges_over_behaviors: RangesOverBehaviors
    pretrained_beta: Range | None


class Published(_Form):
    """Everything that was published for one behavior.

    Arrays run over the number of sentences of the misaligning prompt, from 1 (`log_ratio_variance` from 0).
    source: citation. units: in words. divergence_tokens: how many tokens each divergence was sampled over, where it was
    not a whole sentence (may be left out).
    """

    source: Annotated[str, Field(min_length=1)]
    units: str
    models: Models
    published_readings: PublishedReadings
    behavior: Annotated[str, Field(min_length=1)]
    negative_vs_aligned_rlhf: NegativeVsAligned
    log_ratio_variance: LogRatioVariance
    kl_decay_rlhf: Decays
    kl_decay_pretrained: Curve
    aligned_responses_rlhf: AlignedResponses
    negative_responses_pretrained: NegativeResponses
    divergence_tokens: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _readings_of_this_behavior(self) -> Published:
        found = sorted(self.published_readings.__pydantic_extra__)
        if found != [self.behavior]:
            raise ValueError(
                f"published_readings hold {found or 'no behavior'}; give the readings of {self.behavior!r} and no other"
            )
        return self

    @property
    def readings(self) -> BehaviorReadings:
        """The paper's readings for this behavior."""
        return self.published_readings.__pydantic_extra__[self.behavior]


def known_published() -> tuple[str, ...]:
    """Names of the embedded publications."""
    return tuple(sorted(_EMBEDDED))


def load_published(source: str | Path) -> Published:
    """Read published numbers.

    source: an embedded name (see `known_published`) or the path of a JSON file in the same form.
    Raises: UnknownName; BadSpec naming file and field where something is unknown, missing or of the wrong length.
    """
    if isinstance(source, str) and source in _EMBEDDED:
        return _parsed(resources.files("beb.experiments").joinpath("reference", _EMBEDDED[source]), source)
    path = Path(source)
    if path.suffix.lower() != SUFFIX and not path.exists():
        raise UnknownName.of("publication", str(source), known_published(), "Or give the path of a .json file.")
    return _parsed(path, str(source))


def _parsed(path: Traversable, name: str) -> Published:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise BadSpec(f"{name} cannot be read: {error.strerror or error}; give a JSON file") from error
    if len(content) > LARGEST_BYTES:
        raise BadSpec(f"{name} is larger than {LARGEST_BYTES >> 20} MiB; published figures are a few kilobytes")
    try:
        return Published.model_validate_json(content)
    except ValidationError as error:
        raise BadSpec(f"{name}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    """One line for the first thing wrong: field, what is wrong, what was given; and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"])
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    if first["type"] == "extra_forbidden":
        message = "unknown field; remove it"
    elif first["type"] == "missing":
        message = "field is missing; give it"
    elif first["type"] not in ("value_error", "json_invalid"):
        message = f"{message} (given: {_short(first['input'])})"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{field + ': ' if field else ''}{message}{more}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"

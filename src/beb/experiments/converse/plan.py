"""What a conversation run is asked to do, and its work items."""

from __future__ import annotations

from pydantic import Field, model_validator

from beb.experiments.plan import TOKENS_PER_SENTENCE, Item, Source, chunks, component_items
from beb.experiments.spec import Format, RunSpec

ARMS: tuple[Source, ...] = ("negative", "positive")
SPEAKERS = ("user", "target")
TURN = "turn "
CONVERSATIONS_PER_TURN = 32
CONVERSATIONS_PER_SCORE = 8
CONVERSATIONS_PER_JUDGE = 16


class ConverseSpec(RunSpec):
    """Options of a conversation run.

    prompts: conversations per arm, and prompts from P₋ from which α is read. sentences: of those prompts.
    turns: T, each a user turn and a reply. turn_sentences: of a user turn. reply_sentences: of a reply, at most.
    format: how the target reads the conversation; the components always read running text.
    log_inverse_alpha: log 1/α in nats, if it is known; otherwise it is read from prompts of P₋.
    """

    prompts: int = Field(default=24, le=100_000)
    turns: int = Field(default=5, ge=2, le=1000)
    turn_sentences: int = Field(default=1, ge=1, le=100)
    reply_sentences: int = Field(default=2, ge=1, le=100)
    format: Format = "chat"
    log_inverse_alpha: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _sentences_for_line(self) -> ConverseSpec:
        if self.sentences < 3 and self.reads_alpha:
            raise ValueError(
                f"sentences is {self.sentences}, but reading α needs prompts of at least 3; or give log_inverse_alpha"
            )
        return self

    @property
    def reads_alpha(self) -> bool:
        """Whether α has to be read from prompts."""
        return self.log_inverse_alpha is None

    @property
    def sentences_per_turn(self) -> int:
        """A user turn and its reply, at most."""
        return self.turn_sentences + self.reply_sentences


def turn_of(item: Item) -> int:
    """Turn in which something is said, counted from 1."""
    return int(item.variant.removeprefix(TURN))


def plan_converse(spec: ConverseSpec) -> list[Item]:
    """All items in order: components and α first, then turn by turn, then what was said is scored."""
    is_residual = spec.positive == "residual"
    items = component_items(spec, sources=("negative",) if spec.reads_alpha or is_residual else ())
    n, per_turn = spec.prompts, spec.sentences_per_turn * TOKENS_PER_SENTENCE
    for arm in ARMS:
        for turn in range(1, spec.turns + 1):
            read = (turn - 1) * per_turn
            said = {"user": spec.turn_sentences, "target": spec.reply_sentences}
            for speaker in SPEAKERS:
                # A token that is sampled takes about as long as two that are read.
                weight = read + 2 * said[speaker] * TOKENS_PER_SENTENCE
                whole = Item(f"say-{speaker}", weight, arm, f"{TURN}{turn}", stop=n)
                items += chunks(whole, CONVERSATIONS_PER_TURN)
    for arm in ARMS:
        items += chunks(Item("score-turns", 2 * spec.turns * per_turn, arm, stop=n), CONVERSATIONS_PER_SCORE)
        judged = 2 * spec.turns * TOKENS_PER_SENTENCE
        items += chunks(Item("judge-turns", 0.4 * judged, arm, stop=n), CONVERSATIONS_PER_JUDGE)
    return items

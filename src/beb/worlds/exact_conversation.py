"""The truth about conversations in a world, by enumeration of everything that can be said.

Nothing here is taken from the formulas of `beb.core`, which are tested against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beb.errors import BadSpec
from beb.worlds.exact import MAX_SEQUENCES
from beb.worlds.world import FloatArray, MarkovChain, World

IntArray = NDArray[np.int64]
Component = Literal["negative", "positive"]
Replier = Literal["target", "positive"]


@dataclass(frozen=True, slots=True, eq=False)
class ConversationTruth:
    """What T turns bring on average, the user being a component and the replies the target's.

    user_divergence: (T·k,) KL(user ‖ other component) of each user sentence given the conversation, nats.
    user_behavior, reply_behavior: (T,) B of the first sentence of each user turn and of each reply.
    log_ratio: (T,) log P₋/P₊ of the conversation when each reply begins, nats.
    resistance, resistance_variance: (T,) mean and variance of log P₊/P₋ of each reply, per sentence of the reply.
    positivity: over conversations with a user turn that begins with an undesired sentence (B ≤ −½), the mean share of
    those that P₋ finds likelier than P₊ does (Definition 6). behavior_beyond: over conversations in which the log ratio
    exceeds a value when a reply begins, the mean B of those replies' first sentences. Both NaN if there are none.
    """

    user_divergence: FloatArray
    user_behavior: FloatArray
    reply_behavior: FloatArray
    log_ratio: FloatArray
    resistance: FloatArray
    resistance_variance: FloatArray
    positivity: float
    behavior_beyond: float


def conversation_truth(
    world: World,
    *,
    user: Component,
    turns: int,
    turn_sentences: int = 1,
    reply_sentences: int = 1,
    beyond: float = math.inf,
) -> ConversationTruth:
    """Enumerate every conversation of so many turns.

    turn_sentences, reply_sentences: of every user turn and of every reply. beyond: log ratio of `behavior_beyond`.
    Raises: BadSpec if a number is below 1, or if there are too many conversations to enumerate.
    """
    length = turns * (turn_sentences + reply_sentences)
    if min(turns, turn_sentences, reply_sentences) < 1 or world.n_sentences**length > MAX_SEQUENCES:
        raise BadSpec(
            f"conversations of {turns} turns of {turn_sentences} + {reply_sentences} sentences out of "
            f"{world.n_sentences} cannot be enumerated; give fewer turns or sentences"
        )
    talks = _Talks(world)
    own, other = (np.log(chain.table()) for chain in _ordered(world, user))
    curves = ("user_divergence", "user_behavior", "reply_behavior", "log_ratio", "resistance", "resistance_variance")
    found: dict[str, list[float]] = {name: [] for name in curves}
    for _ in range(turns):
        found["user_behavior"].append(talks.mean(np.exp(own[talks.last]) @ world.behavior_table()))
        for sentence in range(turn_sentences):
            divergence = (np.exp(own) * (own - other)).sum(axis=1)
            found["user_divergence"].append(talks.mean(divergence[talks.last]))
            begins = talks
            talks = talks.extended(own[talks.last])
            if sentence == 0:
                talks.count_undesired(begins)
        found["log_ratio"].append(talks.mean(talks.log_ratio))
        found["reply_behavior"].append(talks.mean(talks.target_behavior()))
        talks = talks.marked()
        for sentence in range(reply_sentences):
            talks = talks.extended(talks.target_log_p())
            if sentence == 0:
                talks.count_beyond(beyond)
        back = talks.mark - talks.log_ratio
        mean = talks.mean(back)
        found["resistance"].append(mean / reply_sentences)
        found["resistance_variance"].append(talks.mean((back - mean) ** 2) / reply_sentences)
    return ConversationTruth(
        **{name: np.array(values) for name, values in found.items()},
        positivity=talks.share(0),
        behavior_beyond=talks.share(1),
    )


@dataclass(frozen=True, slots=True)
class ConversationPremises:
    """What Theorem 3 assumes, at its true value over every conversation there can be.

    beta: smallest KL(P₋‖P₊) of a sentence. beta_prime, sigma2: largest mean and variance of log P₊/P₋ of a reply given
    the conversation, per sentence of the reply. gamma: largest B of P₋.
    """

    beta: float
    beta_prime: float
    sigma2: float
    gamma: float


def conversation_premises(world: World, *, replies_from: Replier, reply_sentences: int = 1) -> ConversationPremises:
    """Suprema over all conversations; a Markov chain depends on the last sentence alone, the target on w as well.

    Raises: BadSpec for replies of several sentences from the target, whose supremum over w is not in closed form.
    """
    if replies_from == "target" and reply_sentences > 1:
        raise BadSpec(f"replies of {reply_sentences} sentences from the target; give 1, or replies from P₊")
    negative, positive = (np.log(chain.table()) for chain in _ordered(world, "negative"))
    step = positive - negative
    means, variances = _reply_moments(positive, step, reply_sentences)
    if replies_from == "target":
        contained = np.log(world.chains("target")[0].table())
        mean, spread = _reply_moments(contained, step, 1)
        gap = means - mean
        with np.errstate(divide="ignore", invalid="ignore"):
            # Variance of the mixture with weight w: w·v₋ + (1-w)·v₊ + w(1-w)·gap², largest at this w.
            worst = np.clip(np.where(gap == 0, 0.0, 0.5 + (spread - variances) / (2 * gap**2)), 0, 1)
        mixed = worst * spread + (1 - worst) * variances + worst * (1 - worst) * gap**2
        means, variances = np.maximum(means, mean), np.maximum(mixed, np.maximum(variances, spread))
    return ConversationPremises(
        beta=float((np.exp(negative) * -step).sum(axis=1).min()),
        beta_prime=max(float(means.max()) / reply_sentences, 0.0),
        sigma2=float(variances.max()) / reply_sentences,
        gamma=float((np.exp(negative) @ world.behavior_table()).max()),
    )


def persuasion_probability(
    world: World,
    *,
    user_sentences: Sequence[int],
    reply_sentences: int,
    replies_from: Replier,
    threshold: float,
) -> float:
    """Probability over the replies that B_P < `threshold` after the last user turn, the user saying what tells most.

    user_sentences: of each user turn; there is a reply between any two. Each user sentence is the one of largest
    log P₋/P₊ after what was said: Theorem 3 promises that *some* user sentences suffice.
    """
    if world.n_sentences ** (reply_sentences * (len(user_sentences) - 1)) > MAX_SEQUENCES:
        raise BadSpec(f"{len(user_sentences) - 1} replies of {reply_sentences} sentences cannot be enumerated")
    talks = _Talks(world)
    positive = np.log(world.positive.table())
    for turn, n_sentences in enumerate(user_sentences):
        if turn:
            for _ in range(reply_sentences):
                says = talks.target_log_p() if replies_from == "target" else positive[talks.last]
                talks = talks.extended(says)
        for _ in range(n_sentences):
            talks = talks.told_most()
    return talks.mean((talks.target_behavior() < threshold).astype(np.float64))


def _ordered(world: World, first: Component) -> tuple[MarkovChain, MarkovChain]:
    (negative,), (positive,) = world.chains("negative"), world.chains("positive")
    return (negative, positive) if first == "negative" else (positive, negative)


def _reply_moments(log_p: FloatArray, step: FloatArray, n_sentences: int) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of the sum of `step` over a reply from a chain, after each last sentence."""
    p = np.exp(log_p)
    mean, square = np.zeros(len(p)), np.zeros(len(p))
    for _ in range(n_sentences):
        # After sentence j the rest of the reply starts in row 1 + j.
        then_mean, then_square = mean[1:], square[1:]
        square = (p * (step**2 + 2 * step * then_mean + then_square)).sum(axis=1)
        mean = (p * (step + then_mean)).sum(axis=1)
    return mean, np.maximum(square - mean**2, 0.0)


class _Talks:
    """Every conversation so far: its probability, log P₋/P₊, the target's two log joints, its last sentence."""

    __slots__ = ("_joint", "_tallies", "_world", "last", "log_p", "log_ratio", "mark")

    def __init__(self, world: World) -> None:
        self._world = world
        self.log_p: FloatArray = np.zeros(1)
        self.log_ratio: FloatArray = np.zeros(1)
        self.mark: FloatArray = np.zeros(1)
        self.last: IntArray = np.zeros(1, dtype=np.int64)
        self._joint: FloatArray = np.array(world.log_weights("target"))[:, None]
        # Two tallies, each a count and a sum over the counted: see `count_undesired` and `count_beyond`.
        self._tallies: FloatArray = np.zeros((2, 2, 1))

    def mean(self, values: FloatArray) -> float:
        """Mean over the conversations."""
        return float(np.exp(self.log_p) @ values)

    def marked(self) -> _Talks:
        """With the log ratio as it is now kept in `mark`."""
        new = self._like(self.log_p, self.log_ratio, self._joint, self.last)
        new.mark, new._tallies = self.log_ratio, self._tallies
        return new

    def target_log_p(self) -> FloatArray:
        """(n, n_sentences) log probability of each next sentence of the target."""
        tables = np.stack([np.log(chain.table()) for chain in self._world.chains("target")])
        joint = self._joint[:, :, None] + tables[:, self.last]
        answer: FloatArray = np.logaddexp(joint[0], joint[1]) - np.logaddexp(self._joint[0], self._joint[1])[:, None]
        return answer

    def target_behavior(self) -> FloatArray:
        """(n,) B_P after each conversation."""
        answer: FloatArray = np.exp(self.target_log_p()) @ self._world.behavior_table()
        return answer

    def extended(self, log_p: FloatArray) -> _Talks:
        """Every conversation with every next sentence, of log probability `log_p`: (n, n_sentences)."""
        size = self._world.n_sentences
        rows = np.repeat(np.arange(len(self.last)), size)
        return self._followed(rows, np.tile(np.arange(size), len(self.last)), self.log_p[rows] + log_p.ravel())

    def count_undesired(self, before: _Talks) -> None:
        """Count the last sentence if it is undesired, and whether P₋ finds it likelier. before: without it."""
        undesired = self._world.behavior_table()[self.last - 1] <= -0.5
        grown = self.log_ratio > np.repeat(before.log_ratio, self._world.n_sentences)
        self._tallies[0] += np.stack([undesired, undesired & grown])

    def count_beyond(self, log_ratio: float) -> None:
        """Count the last sentence if the marked log ratio exceeds the value, and its B."""
        over = self.mark > log_ratio
        self._tallies[1] += np.stack([over, over * self._world.behavior_table()[self.last - 1]])

    def share(self, tally: int) -> float:
        """Mean over the conversations that counted anything of what they counted on average; NaN if none did."""
        counts, sums = self._tallies[tally]
        some = counts > 0
        weight = np.exp(self.log_p[some])
        return float(weight @ (sums[some] / counts[some]) / weight.sum()) if some.any() else math.nan

    def told_most(self) -> _Talks:
        """Every conversation with the one sentence of largest log P₋/P₊."""
        best = self._steps()[self.last].argmax(axis=1)
        return self._followed(np.arange(len(self.last)), best, self.log_p)

    def _steps(self) -> FloatArray:
        (negative,), (positive,) = self._world.chains("negative"), self._world.chains("positive")
        return np.asarray(np.log(negative.table()) - np.log(positive.table()), dtype=np.float64)

    def _followed(self, rows: IntArray, sentences: IntArray, log_p: FloatArray) -> _Talks:
        before = self.last[rows]
        tables = np.stack([np.log(chain.table()) for chain in self._world.chains("target")])
        new = self._like(
            log_p,
            self.log_ratio[rows] + self._steps()[before, sentences],
            self._joint[:, rows] + tables[:, before, sentences],
            sentences + 1,
        )
        new.mark, new._tallies = self.mark[rows], self._tallies[:, :, rows]
        return new

    def _like(self, log_p: FloatArray, log_ratio: FloatArray, joint: FloatArray, last: IntArray) -> _Talks:
        new = _Talks(self._world)
        new.log_p, new.log_ratio, new._joint, new.last = log_p, log_ratio, joint, last
        return new

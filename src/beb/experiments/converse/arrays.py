"""The rows of a conversation run as arrays over conversations and turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beb.errors import EstimateError, TooFewPrompts
from beb.experiments.arrays import Floats, ScoredArrays
from beb.experiments.converse.plan import SPEAKERS, ConverseSpec
from beb.experiments.spec import MIN_PROMPTS
from beb.experiments.store import Store
from beb.interfaces.scorer import Score


@dataclass(frozen=True, slots=True, eq=False)
class ArmArrays:
    """One arm. Complete conversations, those with all T turns: (n, ...); scores of all that were begun: (m, T, 1).

    divergence: (n, T·k) KL of each user sentence, own component ‖ other, nats. first_log_ratio: (n, T) log P₋/P₊ of
    each user turn's first sentence. user, reply: (n, T) log P₋/P₊ of the turn given the conversation, nats.
    reply_sentences: (n, T). complete: (n,) numbers of those conversations.
    """

    divergence: Floats
    first_log_ratio: Floats
    user: Floats
    reply: Floats
    reply_sentences: Floats
    complete: NDArray[np.int64]
    user_scores: ScoredArrays
    reply_scores: ScoredArrays

    @property
    def resistance(self) -> Floats:
        """(n, T) log P₊/P₋ of each reply: what it takes back, nats."""
        return -self.reply

    @property
    def log_ratio(self) -> Floats:
        """(n, T) log P₋/P₊ of the whole conversation when the reply of each turn begins, nats."""
        before: Floats = np.cumsum(self.user + self.reply, axis=1) - self.reply
        return before


def arm_arrays(store: Store, arm: str, spec: ConverseSpec) -> ArmArrays:
    """The rows of one arm. Raises: TooFewPrompts below 5 complete conversations."""
    rows = store.rows("turn_log_probs", arm=arm)
    complete = np.array(sorted({int(row["conversation"]) for row in rows}), dtype=np.int64)
    if len(complete) < MIN_PROMPTS:
        raise TooFewPrompts(
            f"only {len(complete)} conversations whose user is the {arm} component are complete and {MIN_PROMPTS} are "
            "needed; raise --prompts or lower --turns"
        )
    index = {int(conversation): i for i, conversation in enumerate(complete)}
    shape = (len(complete), spec.turns)
    sums = {speaker: np.zeros(shape) for speaker in SPEAKERS}
    first, said = np.zeros(shape), np.zeros(shape)
    for row in rows:
        at = (index[row["conversation"]], row["turn"] - 1)
        sign = 1.0 if row["component"] == "negative" else -1.0
        sums[row["speaker"]][at] += sign * float(row["sentence_log_p"].sum())
        if row["speaker"] == "user":
            first[at] += sign * float(row["sentence_log_p"][0])
        else:
            said[at] = len(row["sentence_log_p"])
    divergence = np.full((len(complete), spec.turns, spec.turn_sentences), np.nan)
    for row in store.rows("turn_divergences", arm=arm):
        divergence[index[row["conversation"]], row["turn"] - 1] = row["sentence_kl_nats"]
    return ArmArrays(
        divergence.reshape(len(complete), -1), first, sums["user"], sums["target"], said, complete,
        _scored(store, arm, "user", spec), _scored(store, arm, "target", spec),
    )  # fmt: skip


def _scored(store: Store, arm: str, speaker: str, spec: ConverseSpec) -> ScoredArrays:
    behavior = np.full((spec.prompts, spec.turns, 1), np.nan)
    predicted = np.full(behavior.shape, -1, dtype=np.int64)
    for row in store.rows("turn_scores", arm=arm, speaker=speaker):
        score = Score(row["p_negative"], row["p_neutral"], row["p_positive"])
        at = (row["conversation"], row["turn"] - 1, 0)
        behavior[at], predicted[at] = score.behavior, score.predicted
    return ScoredArrays(tuple(range(1, spec.turns + 1)), behavior, predicted)


def per_sentence(totals: Floats, sentences: Floats) -> Floats:
    """Per conversation, values whose mean is Σ totals / Σ sentences and whose spread is that ratio's (delta method).

    totals, sentences: (n,) or (n, T), each column by itself. With the same number of sentences everywhere this is
    totals / sentences. Raises: EstimateError where nobody said a sentence.
    """
    mean = sentences.mean(axis=0)
    if (mean == 0).any():
        raise EstimateError("no reply of some turn has a sentence, so nothing is known per sentence; lower --turns")
    ratio = totals.mean(axis=0) / mean
    answer: Floats = ratio + (totals - ratio * sentences) / mean
    return answer


def pooled_variance(totals: Floats, sentences: Floats) -> Floats:
    """(n,) values whose mean is Σ variances of the totals about their ratio lines / Σ sentences, over the turns.

    The variance of a sum of uncorrelated terms is the sum of theirs, so this is what n replies have per sentence.
    """
    mean, n = sentences.mean(axis=0), len(totals)
    deviation = (per_sentence(totals, sentences) - totals.mean(axis=0) / mean) * mean
    answer: Floats = (deviation**2).sum(axis=1) / mean.sum() * n / (n - 1)
    return answer


def per_root_sentence(totals: Floats, sentences: Floats) -> Floats:
    """(n, T) values whose variance is that of the totals about their ratio line, per sentence."""
    answer: Floats = per_sentence(totals, sentences) * np.sqrt(sentences.mean(axis=0))
    return answer

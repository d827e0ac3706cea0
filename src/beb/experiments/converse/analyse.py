"""From the rows of a conversation run to its numbers; no model is needed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.core.bounds import Status
from beb.core.estimate import Band, Estimate
from beb.errors import EstimateError, TooFewPrompts
from beb.estimate.bands import mean_band
from beb.estimate.classification import corrected_mean
from beb.estimate.contrast import TwoSamples, difference_band
from beb.estimate.diagnostics import first_length_below
from beb.estimate.distinguishability import largest
from beb.estimate.means import cluster_mean, mean
from beb.estimate.mixture_limits import mixture_limits
from beb.estimate.prior import cap, line_reading, plateau
from beb.estimate.similarity import variance_band
from beb.experiments.arrays import Floats, prompt_arrays
from beb.experiments.behavior_curves import behavior_curve
from beb.experiments.bounds import BoundInputs, intercepts
from beb.experiments.converse.arrays import ArmArrays, arm_arrays, per_root_sentence, per_sentence
from beb.experiments.converse.plan import ARMS, ConverseSpec
from beb.experiments.converse.record import Arm, Beyond, ConverseRecord
from beb.experiments.converse.theory import ConverseSetting, Theory, premises, theory
from beb.experiments.gate import gate
from beb.experiments.measurement import AlphaReadings
from beb.experiments.notes import context_notes, divergence_notes, model_notes
from beb.experiments.setting import BEHAVIOR_LIMITS, BEHAVIOR_UNIT, NATS_PER_SENTENCE, Setting
from beb.experiments.store import Store

NATS_PER_TURN = "nats per turn"


def analyse_converse(store: Store) -> ConverseRecord:
    """Every number of a complete run.

    Raises: EstimateError kinds if conversations are missing, for example because the run is not finished.
    """
    meta = store.meta()
    setting = Setting.of(meta, ConverseSpec)
    arrays = {str(name): arm_arrays(store, name, setting.spec) for name in ARMS}
    alpha, by_prompt = alpha_readings(store, setting)
    found = theory(arrays["negative"], by_prompt, alpha, setting)
    threshold = found.any_inputs["gamma"].value + setting.spec.epsilon
    arms = {name: _arm(name, arrays[name], threshold, setting) for name in ARMS}
    positivity = _positivity(arrays["negative"], setting)
    own = arms["negative"].divergence
    inputs = found.any_inputs
    stated = premises(
        found, arm=arrays["negative"], alpha=alpha, divergence=own, positivity=positivity, setting=setting
    )
    return ConverseRecord(
        meta=meta,
        gate=gate(store),
        arms=tuple(arms.values()),
        alpha=alpha,
        alpha_entering={name: each["log_inverse_alpha"] for name, each in found.inputs.items()},
        excluded=found.excluded,
        beta=inputs["beta"],
        beta_prime=inputs["beta_prime"],
        beta_prime_definition=largest(arms["positive"].divergence, name="beta_prime of P₊ itself"),
        sigma2=inputs["sigma2"],
        sigma2_curve=_variance(arrays["negative"], setting),
        gamma=inputs["gamma"],
        positivity=positivity,
        needed=found.needed,
        break_even=found.break_even,
        difference=_difference(arrays, setting),
        bounds=found.bounds,
        promised=found.promised,
        beyond=tuple(_beyond(name, found, arrays["negative"], setting) for name in found.needed),
        assumptions=tuple(stated.values()),
        counts=_counts(store, arrays),
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        notes=_notes(meta, setting),
    )


def alpha_readings(store: Store, setting: ConverseSetting) -> tuple[AlphaReadings | None, Mapping[str, Floats]]:
    """Readings of α from the prompts of P₋, and each prompt's own; nothing where log 1/α is given."""
    if not setting.spec.reads_alpha:
        return None, {}
    negative = prompt_arrays(store, "negative", setting.spec.sentences)
    evidence = np.cumsum(negative.log_p["negative"] - negative.log_p["target"], axis=1)
    log_ratio = np.cumsum(negative.log_p["negative"] - negative.log_p["positive"], axis=1)
    alpha = AlphaReadings(
        cap=cap(evidence, setting.lengths_after),
        plateau=plateau(
            evidence, setting.lengths_after, level=setting.level, log_ratio=log_ratio, rng=setting.rng("evidence")
        ),
        line=line_reading(negative.kl["target"], level=setting.level),
        behavior={},
        limits=mixture_limits(evidence, log_ratio),
    )
    return alpha, intercepts(BoundInputs.of(negative, evidence, log_ratio), alpha, setting)


def _arm(name: str, arrays: ArmArrays, threshold: float, setting: ConverseSetting) -> Arm:
    spec, level = setting.spec, setting.level
    turns = list(range(1, spec.turns + 1))
    replies = behavior_curve(arrays.reply_scores, spec.format, name, setting).curve
    user = "P₋ itself" if name == "negative" else "P₊ itself"
    resistance = per_sentence(arrays.resistance, arrays.reply_sentences)
    overall = per_sentence(arrays.resistance.sum(axis=1), arrays.reply_sentences.sum(axis=1))

    def band(what: str, values: Floats, lengths: list[int], unit: str, *, positive: bool = False) -> Band:
        return mean_band(
            values, lengths, level=level, rng=setting.rng(f"{what} {name}"), unit=unit,
            bounds=(0.0, math.inf) if positive else None, name=f"{what}, {name} arm",
        )  # fmt: skip

    return Arm(
        arm=name,
        replies=replies,
        users=behavior_curve(arrays.user_scores, "plain", user, setting).curve,
        divergence=band(
            "divergence", arrays.divergence, list(range(1, spec.turns * spec.turn_sentences + 1)), NATS_PER_SENTENCE,
            positive=spec.kl == "exact",
        ),
        resistance_curve=band("resistance", resistance, turns, NATS_PER_SENTENCE),
        resistance=mean(overall, level=level, unit=NATS_PER_SENTENCE, name="resistance"),
        log_ratio=band("log ratio", arrays.log_ratio, turns, "nats"),
        net_gain=_net_gain(name, arrays, setting),
        misaligned_at=first_length_below(replies.corrected or replies.raw, threshold),
    )  # fmt: skip


def _net_gain(name: str, arrays: ArmArrays, setting: ConverseSetting) -> Estimate:
    """Growth of log P₋/P₊ per turn; user turns by their divergence, which has the same mean and less spread."""
    sign = 1.0 if name == "negative" else -1.0
    total = sign * arrays.divergence.sum(axis=1) + arrays.reply.sum(axis=1)
    return mean(total / setting.spec.turns, level=setting.level, unit=NATS_PER_TURN, name="net gain")


def _variance(arrays: ArmArrays, setting: ConverseSetting) -> Band:
    """Variance of the replies' log ratios per sentence, by turn."""
    turns = list(range(1, setting.spec.turns + 1))
    values = per_root_sentence(arrays.resistance, arrays.reply_sentences) * np.sqrt(turns)
    return variance_band(values, turns, level=setting.level, rng=setting.rng("sigma2"))


def _difference(arrays: Mapping[str, ArmArrays], setting: ConverseSetting) -> Band:
    """B of the replies as scored, user P₋ less user P₊, over the conversations whose replies were all scored."""
    scores = [arrays[name].reply_scores.behavior[:, :, 0] for name in ARMS]
    negative, positive = (values[~np.isnan(values).any(axis=1)] for values in scores)
    # Rows of samples of different sizes are no plain differences and may lie outside their range.
    bounds = (-2.0, 2.0) if negative.shape == positive.shape else None
    return difference_band(
        TwoSamples(before=positive, after=negative, paired=False), list(range(1, setting.spec.turns + 1)),
        level=setting.level, rng=setting.rng("difference"), unit=BEHAVIOR_UNIT, bounds=bounds,
        name="difference of the arms",
    )  # fmt: skip


def _positivity(arrays: ArmArrays, setting: ConverseSetting) -> Estimate | None:
    """Share of negative user sentences likelier under P₋ than under P₊, conversations as clusters (Definition 6)."""
    negative = arrays.user_scores.predicted[arrays.complete, :, 0] == 0
    values = np.where(negative, (arrays.first_log_ratio > 0).astype(np.float64), np.nan)
    try:
        return cluster_mean(
            values, level=setting.level, unit="share of negative sentences", bounds=(0.0, 1.0), name="positivity"
        )
    except TooFewPrompts:
        return None


def _beyond(reading: str, found: Theory, arrays: ArmArrays, setting: ConverseSetting) -> Beyond:
    """B of the replies that begin beyond the upper limit of C, conversations as clusters."""
    needed, gamma = found.needed[reading].high, found.any_inputs["gamma"]
    over = arrays.log_ratio > needed
    behavior = _mean_behavior(arrays, over, setting)
    shown = behavior is not None and behavior.high < gamma.low + setting.spec.epsilon
    verdict: Status = "held" if shown and reading not in found.excluded else "not measured"
    return Beyond(reading, needed, int(over.sum()), behavior, verdict)


def _mean_behavior(arrays: ArmArrays, chosen: NDArray[np.bool_], setting: ConverseSetting) -> Estimate | None:
    """Mean B of the chosen replies, (n, T) of the complete conversations; None if fewer than two of these have any."""
    scores, level = arrays.reply_scores, setting.level
    predicted = np.where(chosen, scores.predicted[arrays.complete, :, 0], -1)
    predicted = predicted[(predicted >= 0).any(axis=1)]
    if len(predicted) < 2:
        return None
    if setting.confusion is not None:
        try:
            return corrected_mean(predicted, setting.confusion, level=level, unit=BEHAVIOR_UNIT)
        except EstimateError:
            pass  # the scorer's error rates are too large to be corrected
    values = np.where(chosen, scores.behavior[arrays.complete, :, 0], np.nan)
    return cluster_mean(values, level=level, unit=BEHAVIOR_UNIT, bounds=BEHAVIOR_LIMITS, name="B beyond C")


def _counts(store: Store, arrays: Mapping[str, ArmArrays]) -> dict[str, int]:
    rows = store.rows("turns")
    said = {speaker: [row for row in rows if row["speaker"] == speaker] for speaker in ("user", "target")}
    return {
        "complete conversations with P₋": len(arrays["negative"].complete),
        "complete conversations with P₊": len(arrays["positive"].complete),
        "user turns": len(said["user"]),
        "replies": len(said["target"]),
        "sampled user tokens": sum(len(row["token_ids"]) for row in said["user"]),
        "sampled reply tokens": sum(len(row["token_ids"]) for row in said["target"]),
        "user sentences cut at the token limit": sum(row["n_cut"] for row in said["user"]),
        "reply sentences cut at the token limit": sum(row["n_cut"] for row in said["target"]),
        "empty replies": sum(not row["text"].strip() for row in said["target"]),
        "prompts from P₋ for α": len(store.rows("prompts", source="negative")),
    }


def _notes(meta: Mapping[str, Any], setting: ConverseSetting) -> tuple[str, ...]:
    notes = model_notes(meta)
    if setting.spec.format == "chat":
        notes.append(
            "the target reads the conversation through its chat template and the components read it as running text, "
            "so resistance and log ratios say how the components see replies that were given in another format"
        )
    notes += context_notes(meta, ("negative", "positive"))
    notes += divergence_notes(setting.spec.kl)
    return tuple(notes)

"""Theorem 3 on the conversations: what enters it, what it promises turn by turn, and whether its premises hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from beb.core.bounds import (
    ARGUMENTS,
    Assumption,
    PropagatedBound,
    Status,
    assess,
    conversation,
    propagate,
    required_log_ratio,
    single_prompt,
)
from beb.core.estimate import Band, Estimate
from beb.estimate.bands import joint_box, mean_band
from beb.estimate.similarity import variance_trend
from beb.experiments.arrays import Floats
from beb.experiments.bounds import at_least_zero, gamma_limits, mixture_premise, of_box, steady, within_mixture
from beb.experiments.converse.arrays import ArmArrays, per_root_sentence, per_sentence, pooled_variance
from beb.experiments.converse.plan import ConverseSpec
from beb.experiments.converse.record import PromisedTurn, TurnBound
from beb.experiments.measurement import AlphaReadings
from beb.experiments.setting import NATS_PER_SENTENCE, Setting
from beb.experiments.verdicts import excluded

GIVEN = "given"
MOST_TURNS = 50
ConverseSetting = Setting[ConverseSpec]
Inputs = Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, eq=False)
class Theory:
    """Inputs by reading of α, all of which hold together with probability `level`, and what follows from them.

    excluded: readings whose α the certain limits of the mixture leave no room for.
    """

    inputs: Mapping[str, Inputs]
    excluded: tuple[str, ...]
    needed: Mapping[str, Estimate]
    break_even: Estimate
    bounds: tuple[TurnBound, ...]
    promised: tuple[PromisedTurn, ...]

    @property
    def any_inputs(self) -> Inputs:
        """β, β′, σ² and γ; the same limits for every reading but for the share of α in the joint draw."""
        return next(iter(self.inputs.values()))


def theory(
    arm: ArmArrays, intercepts: Mapping[str, Floats], alpha: AlphaReadings | None, setting: ConverseSetting
) -> Theory:
    """Theorems 1 and 3 on the conversations whose user is P₋.

    intercepts: per reading of α (n_prompts,) log 1/α of each prompt; empty if log 1/α is given.
    alpha: the readings, None if log 1/α is given.
    Half of the error probability goes to the joint bootstrap of α (from its own prompts), β, β′ and σ², half to γ.
    """
    half_error_level = 1 - (1 - setting.level) / 2
    gamma = gamma_limits(
        arm.user_scores.predicted[:, :, 0], arm.user_scores.behavior[:, :, 0], arm.user_scores.lengths,
        level=half_error_level, rng=setting.rng("bounds gamma"), confusion=setting.confusion,
    )  # fmt: skip
    gamma = replace(gamma, level=setting.level)
    inputs = {
        name: {**_measured(arm, (name, intercepts.get(name)), alpha, half_error_level, setting), "gamma": gamma}
        for name in (tuple(intercepts) or (GIVEN,))
    }
    cannot_be = tuple(
        name for name, each in inputs.items() if alpha and excluded(each["log_inverse_alpha"], alpha.limits)
    )
    bounds: list[TurnBound] = []
    promised = []
    for name, each in inputs.items():
        if each["beta"].value > 0:
            by_turn = [_turn_bound(name, turn, each, setting.spec) for turn in range(1, MOST_TURNS + 1)]
            promised.append(_promised_turn(name, by_turn))
            shown = by_turn[: setting.spec.turns]
            bounds += [replace(bound, promised=None) for bound in shown] if name in cannot_be else shown
    first = next(iter(inputs.values()))
    return Theory(
        inputs,
        cannot_be,
        {name: _needed(each, setting.spec.epsilon) for name, each in inputs.items()},
        _break_even(first, setting.spec.reply_sentences),
        tuple(bounds),
        tuple(promised),
    )


def _measured(
    arm: ArmArrays,
    reading: tuple[str, Floats | None],
    alpha: AlphaReadings | None,
    level: float,
    setting: ConverseSetting,
) -> dict[str, Estimate]:
    name, intercept = reading
    means = {
        "beta": arm.divergence,
        "beta_prime": per_sentence(arm.resistance, arm.reply_sentences),
        "sigma2": pooled_variance(arm.resistance, arm.reply_sentences)[:, None],
    }
    sets = dict.fromkeys(means, "conversations")
    if intercept is not None:
        means["alpha"] = intercept[:, None]
        sets["alpha"] = "prompts"
    box = joint_box(means, {}, level=level, rng=setting.rng(f"bounds {name}"), prompt_sets=sets)
    beta = of_box(box, "beta", min, NATS_PER_SENTENCE)
    found = {
        "beta": beta if setting.spec.kl == "monte-carlo" else at_least_zero(beta),
        "beta_prime": at_least_zero(of_box(box, "beta_prime", max, NATS_PER_SENTENCE)),
        "sigma2": at_least_zero(of_box(box, "sigma2", max, "nats² per sentence")),
    }
    found = {key: replace(estimate, level=setting.level) for key, estimate in found.items()}
    if intercept is not None and alpha is not None:
        plateau = within_mixture(name, of_box(box, "alpha", min, "nats"), alpha.limits)
        return {**found, "log_inverse_alpha": replace(plateau, level=setting.level)}
    known = float(setting.spec.log_inverse_alpha or 0.0)
    return {**found, "log_inverse_alpha": Estimate(known, known, known, 1.0, 0, "nats", "given", exact=True)}


def _turn_bound(reading: str, turn: int, inputs: Inputs, spec: ConverseSpec) -> TurnBound:
    spoken = turn * spec.turn_sentences
    if turn == 1:
        first = {key: inputs[key] for key in ("log_inverse_alpha", "beta", "gamma")}
        found = propagate(single_prompt, first, {"epsilon": spec.epsilon})
    else:
        replies = (spec.reply_sentences,) * (turn - 1)
        found = propagate(conversation, inputs, {"epsilon": spec.epsilon, "delta": spec.delta, "replies": replies})
    return TurnBound(reading, turn, found, spoken, _verdict(found, spoken))


def _verdict(bound: PropagatedBound, spoken: int) -> bool | None:
    if spoken >= bound.sharp.high:
        return True
    return False if spoken < bound.sharp.low else None


def _promised_turn(reading: str, bounds: list[TurnBound]) -> PromisedTurn:
    def first(side: str) -> int | None:
        return next((b.turn for b in bounds if b.spoken >= getattr(b.bound.sharp, side)), None)

    return PromisedTurn(reading, first("value"), first("low"), first("high"))


def _needed(inputs: Inputs, epsilon: float) -> Estimate:
    """C at the estimates and at the two extreme corners; at least 0, which the empty conversation has."""

    def at(alpha: float, gamma: float) -> float:
        if math.isinf(alpha):
            return math.inf
        clipped = ARGUMENTS["gamma"].clip(gamma)
        return max(0.0, required_log_ratio(log_inverse_alpha=alpha, gamma=clipped, epsilon=epsilon))

    alpha, gamma = inputs["log_inverse_alpha"], inputs["gamma"]
    value, low, high = at(alpha.value, gamma.value), at(alpha.low, gamma.high), at(alpha.high, gamma.low)
    words = "log ratio that forces B < γ + ε, at the corners of the simultaneous limits"
    return Estimate(value, low, high, gamma.level, gamma.n, "nats", words, exact=low == high)


def _break_even(inputs: Inputs, reply_sentences: int) -> Estimate:
    beta, prime = inputs["beta"], inputs["beta_prime"]

    def at(resistance: float, worth: float) -> float:
        return 1 + reply_sentences * resistance / worth if worth > 0 else math.inf

    value, low, high = at(prime.value, beta.value), at(prime.low, beta.high), at(prime.high, beta.low)
    words = "1 + β′a/β at the corners of the simultaneous limits"
    return Estimate(value, low, high, beta.level, beta.n, "user sentences per turn", words, exact=low == high)


def premises(
    found: Theory,
    *,
    arm: ArmArrays,
    alpha: AlphaReadings | None,
    divergence: Band,
    positivity: Estimate | None,
    setting: ConverseSetting,
) -> dict[str, Assumption]:
    """Theorem 3's premises with what was measured for each, by name."""
    spec, inputs = setting.spec, found.any_inputs
    tested = f"{spec.turns} turns"
    if alpha is None:
        mixture = assess("mixture", "not measured", f"log 1/α = {spec.log_inverse_alpha:g} nats is given, not measured")
    else:
        mixture = mixture_premise(alpha, f"n ≤ {spec.sentences}")
    first = [divergence.at(n) for n in range(1, spec.turn_sentences + 1)]
    opening = min(first, key=lambda e: e.low)
    beta, prime, gamma = inputs["beta"], inputs["beta_prime"], inputs["gamma"]
    drift, spread = _drift(arm, setting), _spread(arm, setting)
    return {
        "mixture": mixture,
        "distinguishable": assess(
            "distinguishable", _held(opening.low > 0), f"KL of the first turn's sentences {_text(opening)} nats or more"
        ),
        "prompt-distinguishable": assess(
            "prompt-distinguishable",
            _held(beta.low > 0),
            f"β = {_text(beta)} nats per user sentence, over {tested}, first sentences after a reply included",
        ),
        "bounded behavior": assess(
            "bounded behavior",
            "not measured",
            f"a supremum cannot be measured; over the user turns of {tested} γ = {_text(gamma)}",
        ),
        "beta-prime-undistinguishable": assess(
            "beta-prime-undistinguishable",
            steady(prime, drift, spec.turns),
            f"resistance of the replies themselves {_text(prime)} nats per sentence at most, over {tested}; its slope "
            f"is {_text(drift)} per turn",
        ),
        "similar under P₊": assess(
            "similar under P₊",
            steady(inputs["sigma2"], spread, spec.turns),
            f"σ² of the replies = {_text(inputs['sigma2'])} nats² per sentence; slope {_text(spread)} per turn",
        ),
        "positivity": _positivity(arm, positivity),
        "replies from P₊": assess(
            "replies from P₊",
            "not measured",
            "the replies are the target's own; their measured resistance stands for β′ and σ², which is all that the "
            "proof takes from this premise",
        ),
    }


def _held(shown: bool) -> Status:
    return "held" if shown else "not measured"


def _positivity(arm: ArmArrays, share: Estimate | None) -> Assumption:
    """A negative sentence of positive log ratio has to exist after every reply: held if every one that was tried is.

    Tried are the user turns that begin with a sentence scored negative, at least one at each turn.
    """
    if share is None:
        return assess("positivity", "not measured", "too few user sentences were scored negative")
    negative = arm.user_scores.predicted[arm.complete, :, 0] == 0
    likelier = negative & (arm.first_log_ratio > 0)
    figure = (
        f"P₊(s) < P₋(s) for {_text(share)} of the user sentences scored negative; of {negative.size:,} user turns "
        f"{negative.sum():,} began with one, {likelier.sum():,} with one likelier under P₋"
    )
    tried_everywhere = bool(negative.any(axis=0).all())
    return assess("positivity", _held(tried_everywhere and bool((likelier == negative).all())), figure)


def _drift(arm: ArmArrays, setting: ConverseSetting) -> Estimate:
    """Slope of the resistance per sentence against the turn."""
    turns = np.arange(1, setting.spec.turns + 1)
    weights = (turns - turns.mean()) / ((turns - turns.mean()) ** 2).sum()
    slope = per_sentence(arm.resistance, arm.reply_sentences) @ weights
    band = mean_band(
        slope[:, None], [1], level=setting.level, rng=setting.rng("resistance slope"), unit=f"{NATS_PER_SENTENCE}²",
        name="resistance slope",
    )  # fmt: skip
    return band.at(1)


def _spread(arm: ArmArrays, setting: ConverseSetting) -> Estimate:
    """Slope of the variance per sentence against the turn."""
    turns = list(range(1, setting.spec.turns + 1))
    values = per_root_sentence(arm.resistance, arm.reply_sentences) * np.sqrt(turns)
    return variance_trend(values, turns, level=setting.level, rng=setting.rng("variance slope"))


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"

"""Whole conversation runs on random exact worlds, and what each printed number should have been."""

from __future__ import annotations

import math

import numpy as np

from beb.core.bounds import conversation, required_log_ratio, single_prompt
from beb.errors import GateFailed
from beb.experiments.converse.experiment import CONVERSE
from beb.experiments.converse.plan import ConverseSpec
from beb.experiments.converse.record import ConverseRecord
from beb.experiments.experiment import run_with_subjects
from beb.experiments.subjects import world_subjects
from beb.worlds.exact import truth
from beb.worlds.exact_conversation import ConversationTruth, conversation_truth
from beb.worlds.text_world import text_world
from beb.worlds.world import World
from run_coverage import Shown, Verdicts, judged, run_folder

CONVERSATIONS, TURNS, SENTENCES = 32, 3, 5


def spec_for(seed: int) -> ConverseSpec:
    """One sentence a turn, or user turns of two, or replies of two."""
    return ConverseSpec(
        model="world:random", prompts=CONVERSATIONS, turns=TURNS, sentences=SENTENCES, format="plain", seed=seed,
        turn_sentences=1 + (seed % 3 == 1), reply_sentences=1 + (seed % 3 == 2),
    )  # fmt: skip


def converse_world(seed: int) -> tuple[World, ConverseSpec, ConverseRecord]:
    spec = spec_for(seed)
    # Enumerating all conversations over eight sentences takes most of the time, so that few worlds have as many.
    world = text_world(np.random.default_rng(seed), n_words=3 if seed % 6 == 0 else 2)
    with run_folder() as folder:
        return world, spec, run_with_subjects(CONVERSE, spec, world_subjects(spec, world), folder)


def verdicts(seed: int) -> Verdicts | None:
    """Per printed interval: does it hold the truth, and how wide is it? None if the gate refused the world."""
    try:
        world, spec, found = converse_world(seed)
    except GateFailed:
        return None
    return judged(pairs(world, spec, found))


def pairs(world: World, spec: ConverseSpec, found: ConverseRecord) -> Shown:
    """Every printed interval with its true value."""
    counts = {"turns": TURNS, "turn_sentences": spec.turn_sentences, "reply_sentences": spec.reply_sentences}
    exact = {arm: conversation_truth(world, user=arm, **counts) for arm in ("negative", "positive")}
    shown: Shown = {}
    for arm in found.arms:
        shown |= _arm_pairs(arm.arm, found, exact[arm.arm], spec)
    negative, positive = exact["negative"], exact["positive"]
    shown["difference"] = (found.difference, negative.reply_behavior - positive.reply_behavior)
    inputs = {
        "beta": negative.user_divergence.min(),
        "beta_prime": max(negative.resistance.max(), 0.0),
        "sigma2": negative.resistance_variance.mean(),
        "gamma": negative.user_behavior.max(),
    }
    shown |= {name: (getattr(found, name), value) for name, value in inputs.items()}
    shown["beta_prime, definition"] = (found.beta_prime_definition, positive.user_divergence.max())
    shown["sigma2 curve"] = (found.sigma2_curve, negative.resistance_variance)
    if found.positivity is not None:
        shown["positivity"] = (found.positivity, negative.positivity)
    for each in found.beyond:
        if each.behavior is not None:
            true = conversation_truth(world, user="negative", **counts, beyond=each.needed).behavior_beyond
            shown[f"beyond, {each.reading}"] = (each.behavior, true)
    ratio = spec.reply_sentences * inputs["beta_prime"] / inputs["beta"]
    shown["break-even"] = (found.break_even, 1 + ratio)
    return shown | _bound_pairs(world, spec, found, inputs)


def _arm_pairs(name: str, found: ConverseRecord, exact: ConversationTruth, spec: ConverseSpec) -> Shown:
    arm, sign = found.arm(name), 1 if name == "negative" else -1
    gain = sign * exact.user_divergence.sum() - spec.reply_sentences * exact.resistance.sum()
    return {
        f"{name}: B of replies": (arm.replies.raw, exact.reply_behavior),
        f"{name}: B of users": (arm.users.raw, exact.user_behavior),
        f"{name}: divergence": (arm.divergence, exact.user_divergence),
        f"{name}: resistance curve": (arm.resistance_curve, exact.resistance),
        f"{name}: resistance": (arm.resistance, exact.resistance.mean()),
        f"{name}: log ratio": (arm.log_ratio, exact.log_ratio),
        f"{name}: net gain": (arm.net_gain, gain / TURNS),
    }


def _bound_pairs(world: World, spec: ConverseSpec, found: ConverseRecord, inputs: dict[str, float]) -> Shown:
    prompts = truth(world, SENTENCES)
    assert found.alpha is not None
    readings = {
        "evidence plateau": world.log_inverse_alpha,
        "straight line": max(np.polyfit(np.arange(3), prompts.kl_to_target_curve[:3], 1)[1], 0.0),
    }
    fixed = {"gamma": inputs["gamma"], "epsilon": spec.epsilon}
    shown: Shown = {}
    for reading, alpha in readings.items():
        needed = max(0.0, required_log_ratio(log_inverse_alpha=alpha, **fixed))
        shown[f"needed, {reading}"] = (found.needed[reading], needed)
        shown[f"alpha as it enters, {reading}"] = (found.alpha_entering[reading], alpha)
    for bound in found.bounds:
        known = {"log_inverse_alpha": readings[bound.reading], "beta": inputs["beta"], **fixed}
        if bound.turn == 1:
            true = single_prompt(**known)
        else:
            replies = (spec.reply_sentences,) * (bound.turn - 1)
            more = {"beta_prime": inputs["beta_prime"], "sigma2": inputs["sigma2"], "delta": spec.delta}
            true = conversation(**known, **more, replies=replies)
        name = f"turn {bound.turn}, {bound.reading}"
        assert bound.bound.paper is not None
        assert true.paper is not None
        assert math.isfinite(true.sharp)
        shown[f"{name}, sharp"] = (bound.bound.sharp, true.sharp)
        shown[f"{name}, paper"] = (bound.bound.paper, true.paper)
    return shown

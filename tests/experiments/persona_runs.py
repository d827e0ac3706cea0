"""Whole personas runs on random exact worlds, and what each printed number should have been."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from beb.core.bounds import single_prompt
from beb.experiments.experiment import run_with_subjects
from beb.experiments.personas.arrays import fitted, rest_log_weights, text_arrays
from beb.experiments.personas.experiment import PERSONAS
from beb.experiments.personas.record import PersonasRecord
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import persona_world_subjects
from beb.experiments.store import Store
from beb.worlds.exact_personas import PersonaTruth, persona_truth, posterior_weights
from beb.worlds.persona_world import PersonaWorld, all_sequences, random_persona_world
from run_coverage import Shown, Verdict, Verdicts, judged, run_folder, verdict

TEXTS, PROMPTS, SENTENCES = 60, 12, 2
BEHAVIOR = "agreeableness"
LEVEL_OF_B = 0.0


def spec_for(seed: int, **changes: object) -> PersonasSpec:
    options = {"texts": TEXTS, "prompts": PROMPTS, "sentences": SENTENCES, "misaligned": LEVEL_OF_B, **changes}
    return PersonasSpec(model="world:random", seed=seed, **options)  # type: ignore[arg-type]


def world_for(seed: int, *, stranger: bool = False) -> PersonaWorld:
    return random_persona_world(np.random.default_rng(seed), stranger=stranger)


def run_world(world: PersonaWorld, spec: PersonasSpec, folder: Path) -> PersonasRecord:
    return run_with_subjects(PERSONAS, spec, persona_world_subjects(spec, world), folder)


def verdicts(seed: int, *, stranger: bool = False) -> Verdicts:
    """Per printed interval: does it hold the truth, and how wide is it?"""
    world, spec = world_for(seed, stranger=stranger), spec_for(seed)
    with run_folder() as folder:
        record = run_world(world, spec, folder)
        with Store.read(folder) as store:
            texts = text_arrays(store, world.names)
            prior = np.exp(rest_log_weights(fitted(store, world.names), texts.log_p.size))
    exact = persona_truth(world, SENTENCES)
    if stranger:  # the weights of the nearest mixture are no parameters of a likelihood: only what is left is claimed
        return {"unexplained outside": verdict(record.unexplained, exact.unexplained)}
    shown = pairs(record, exact)
    for i, person in enumerate(record.personas):
        shown[f"own posterior {i}"] = (person.own_posterior, own_posterior(world, i, prior))
    return judged(shown) | families(record, exact)


def pairs(r: PersonasRecord, exact: PersonaTruth) -> Shown:
    """Every interval that is claimed by itself, with its true value."""
    shown: Shown = {
        "unexplained": (r.unexplained, exact.unexplained),
        "unprompted": (r.unprompted[BEHAVIOR], exact.unprompted),
    }
    for i, (person, way) in enumerate(zip(r.personas, r.ways, strict=True)):
        gamma, beta = float(exact.own_behavior[i].max()), float(exact.beta_curve[i].min())
        inputs = {"log_inverse_alpha": -math.log(exact.weights[i]), "beta": beta, "gamma": gamma}
        bound = single_prompt(**inputs, epsilon=0.2)
        shown |= {
            f"weight {i}": (person.weight, exact.weights[i]),
            f"log 1/w {i}": (person.log_inverse_weight, inputs["log_inverse_alpha"]),
            f"beta {i}": (person.beta, beta),
            f"beta curve {i}": (person.beta_curve, exact.beta_curve[i]),
            f"evidence {i}": (person.evidence, exact.evidence_curve[i]),
            f"gamma {i}": (way.gamma, gamma),
            f"sharp {i}": (way.sharp, bound.sharp),
            f"paper {i}": (way.paper, bound.paper),
            f"response {i}": (way.response["plain"], exact.target_behavior[i]),
        }  # fmt: skip
    return shown


def true_length(exact: PersonaTruth, i: int) -> float:
    """Theorem 1's sharp length to the common level, at the true values."""
    gamma, beta = float(exact.own_behavior[i].max()), float(exact.beta_curve[i].min())
    if gamma >= LEVEL_OF_B:
        return math.inf
    log_inverse_alpha = -math.log(exact.weights[i])
    bound = single_prompt(log_inverse_alpha=log_inverse_alpha, beta=beta, gamma=gamma, epsilon=LEVEL_OF_B - gamma)
    return bound.sharp


def families(r: PersonasRecord, exact: PersonaTruth) -> Verdicts:
    """Claims that hold for all personas together."""
    lengths = [true_length(exact, i) for i in range(len(r.personas))]
    together, alone = [], {}
    for i, way in enumerate(r.ways):
        for name, printed in (("together", way.to_level_family), ("alone", way.to_level)):
            right = math.isinf(lengths[i]) if printed is None else verdict(printed, lengths[i]).holds
            if name == "together":
                together.append(right)
            else:
                alone[f"to level {i}"] = Verdict(right, printed.width if printed else 0.0)
    responses = [verdict(w.response["plain"], exact.target_behavior[i]).holds for i, w in enumerate(r.ways)]
    responses.append(verdict(r.unprompted[BEHAVIOR], exact.unprompted).holds)
    (found,) = r.shortest
    nearest = r.personas[int(np.argmin(lengths))].name
    named = math.isinf(min(lengths)) or nearest in found.candidates
    rare = exact.weights[[p.name for p in r.personas].index(found.candidates[0])] < 1 / 3 if found.candidates else None
    is_right = rare is None or found.rare == "not resolved" or (found.rare == "yes") == rare
    observed = [
        n is None or true < threshold
        for i, w in enumerate(r.ways)
        for n, threshold in ((w.observed["plain"], w.gamma.value + 0.2), (w.observed_level["plain"], LEVEL_OF_B))
        for true in [exact.unprompted if not n else float(exact.target_behavior[i][n - 1])]
    ]
    caps = [p.cap.value <= -math.log(w) + 1e-9 for p, w in zip(r.personas, exact.weights, strict=True)]
    claims = {
        "caps, for certain": all(caps),
        "lengths together": all(together),
        "responses together": all(responses),
        "the shortest is among the candidates": named,
        "rarity": is_right,
        "observed lengths": all(observed),
    }
    return alone | {name: Verdict(right, 0.0) for name, right in claims.items()}


def verdicts_outside(seed: int) -> Verdicts:
    """The same of a target that speaks with a stranger's voice too."""
    return verdicts(seed, stranger=True)


def own_posterior(world: PersonaWorld, i: int, prior: np.ndarray) -> list[float]:
    """E_{Pᵢ} of the posterior weight of i after 1..N sentences, by enumeration."""
    (chain,) = world.chains(world.names[i])
    means = []
    for n in range(1, SENTENCES + 1):
        total = 0.0
        for sequence in all_sequences(world.n_sentences, n):
            rows = [0, *(s + 1 for s in sequence[:-1])]
            p = math.prod(chain.table()[row, s] for row, s in zip(rows, sequence, strict=True))
            total += p * posterior_weights(world, sequence, prior)[-1, i]
        means.append(total)
    return means

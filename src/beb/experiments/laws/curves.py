"""The curves of a run to which a law may be fitted, from its rows alone, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from beb.estimate.law_fit import Scale
from beb.estimate.means import row_means
from beb.experiments.arrays import Floats, response_arrays
from beb.experiments.store import Store

NEGATIVE_LOG_LIKELIHOOD = "target's negative log-likelihood of P₋ text"
CONTROLS = ("positive", "shuffled")
"""Conditions that answer another question than how the model misaligns."""
_OF_A_COMPONENT = ("P₋", "P₊")  # so begins what a component answered itself

NO_CURVE = {
    "probe": "a probe classifies single statements, and no prompt grows in it",
    "trace": "a trace follows one given text, and laws need many prompts",
}
"""Kinds of run that have none, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One curve of a run: (n_prompts, k) over the lengths, NaN where a prompt has no value.

    unit_of_length: what a length counts, in the plural.
    """

    name: str
    scale: Scale
    lengths: tuple[int, ...]
    per_prompt: Floats
    unit_of_length: str = "sentences"


def curves_of(store: Store) -> Iterator[Curve]:
    """Likelihood of P₋ text, behavior after prompts that may misalign, and behavior of replies turn by turn."""
    rows = store.rows("prompt_log_probs", source="negative", component="target")
    if rows:
        log_p = np.array([row["sentence_log_p"] for row in rows], dtype=np.float64)
        yield Curve(NEGATIVE_LOG_LIKELIHOOD, "nll", tuple(range(log_p.shape[1])), -log_p)
    yield from _after_prompts(store)
    yield from _by_turn(store)


def _after_prompts(store: Store) -> Iterator[Curve]:
    found = store.rows("response_scores")
    arms = {(str(row["format"]), str(row["condition"])) for row in found}
    for name, condition in sorted(arms, key=lambda arm: (arm[1] != "negative", arm[1], arm[0] != "plain")):
        if condition in CONTROLS or condition.startswith(_OF_A_COMPONENT):
            continue
        own = [row for row in found if (row["format"], row["condition"]) == (name, condition)]
        prompts, lengths = (sorted({int(row[key]) for row in own}) for key in ("prompt", "sentences"))
        n_responses = 1 + max(int(row["response"]) for row in own)
        behavior = response_arrays(
            store, name, condition, prompts=np.array(prompts), lengths=lengths, n_responses=n_responses
        ).behavior
        per_prompt = row_means(behavior.reshape(-1, behavior.shape[2])).reshape(behavior.shape[:2])
        label = f"behavior, {name}" if condition == "negative" else f"behavior, {name}, {condition}"
        yield Curve(label, "behavior", tuple(lengths), per_prompt)


def _by_turn(store: Store) -> Iterator[Curve]:
    rows = store.rows("turn_scores", arm="negative", speaker="target")
    if not rows:
        return
    conversations = sorted({int(row["conversation"]) for row in rows})
    turns = sorted({int(row["turn"]) for row in rows})
    behavior = np.full((len(conversations), len(turns)), np.nan)
    for row in rows:
        at = conversations.index(int(row["conversation"])), turns.index(int(row["turn"]))
        behavior[at] = row["p_positive"] - row["p_negative"]
    yield Curve("behavior of replies, turn by turn", "behavior", tuple(turns), behavior, "turns")

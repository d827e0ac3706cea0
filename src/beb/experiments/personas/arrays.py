"""The rows of a personas run as arrays, and the weights that its scores of prompts rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.errors import TooFewPrompts
from beb.estimate.weights import WeightFit, fit_weights
from beb.experiments.personas.catalog import JOINT, TARGET
from beb.experiments.spec import MIN_PROMPTS
from beb.experiments.store import Store
from beb.interfaces.scorer import Score

Floats = NDArray[np.float64]
OTHERS = "the others"
HALF = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class TextArrays:
    """Unprompted texts of the target.

    log_p: (n_texts,) nats. log_probs: (n_texts, n_personas). sentences: (n_texts,) how many each has.
    """

    log_p: Floats
    log_probs: Floats
    sentences: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PersonaArrays:
    """Prompts of one persona; NaN where a text had ended before.

    log_probs: (n_prompts, N, n_personas) nats of each sentence given those before. log_p: (n_prompts, N) under the
    target. kl: (n_prompts, N) exact divergence from the others, weighted as `rest_log_weights` says.
    """

    log_probs: Floats
    log_p: Floats
    kl: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Behavior and class of scored texts, NaN and -1 where there is none."""

    behavior: Floats
    predicted: NDArray[np.int64]


def text_arrays(store: Store, names: Sequence[str]) -> TextArrays:
    """The unprompted texts that were scored under the target and every persona. Raises: TooFewPrompts."""
    found: dict[int, dict[str, Floats]] = {}
    for row in store.rows("prompt_log_probs", source=TARGET):
        found.setdefault(int(row["prompt"]), {})[row["component"]] = row["sentence_log_p"]
    if len(found) < MIN_PROMPTS:
        raise TooFewPrompts(
            f"only {len(found)} unprompted texts are complete and {MIN_PROMPTS} are needed; raise --texts"
        )
    texts = list(found.values())
    return TextArrays(
        np.array([text[TARGET].sum() for text in texts]),
        np.array([[text[name].sum() for name in names] for text in texts]),
        np.array([float(len(text[TARGET])) for text in texts]),
    )


def persona_arrays(store: Store, name: str, names: Sequence[str], n_sentences: int) -> PersonaArrays:
    """The scored prompts of a persona. Raises: TooFewPrompts."""
    rows = store.rows("prompt_log_probs", source=name)
    index = {prompt: i for i, prompt in enumerate(sorted({int(row["prompt"]) for row in rows}))}
    if len(index) < MIN_PROMPTS:
        raise TooFewPrompts(
            f"only {len(index)} prompts of persona {name!r} are complete and {MIN_PROMPTS} are needed; raise --prompts"
        )
    position = {each: i for i, each in enumerate((*names, TARGET))}
    log_probs = np.full((len(index), n_sentences, len(position)), np.nan)
    for row in rows:
        values = row["sentence_log_p"]
        log_probs[index[row["prompt"]], : len(values), position[row["component"]]] = values
    kl = np.full((len(index), n_sentences), np.nan)
    for row in store.rows("prompt_divergences", source=name):
        kl[index[row["prompt"]], : len(row["sentence_kl_nats"])] = row["sentence_kl_nats"]
    return PersonaArrays(log_probs[..., :-1], log_probs[..., -1], kl)


def rest_log_weights(fit: WeightFit, n_texts: int) -> Floats:
    """(n_personas,) log of the fitted weights with half a text added to each, so that none is excluded, nats."""
    k = fit.weights.size
    return np.asarray(np.log((n_texts * fit.weights + HALF) / (n_texts + HALF * k)), dtype=np.float64)


def fitted(store: Store, names: Sequence[str]) -> WeightFit:
    """The weights of a run's unprompted texts. Raises: TooFewPrompts; BadSpec naming personas that are identical."""
    return fit_weights(text_arrays(store, names).log_probs, names=list(names))


def prompt_scores(store: Store, source: str, behavior: str, n_sentences: int) -> Scores:
    """(n_prompts, N) scores of the sentences of a source's prompts."""
    rows = store.rows("prompt_scores", source=joined(source, behavior))
    index = {prompt: i for i, prompt in enumerate(sorted({int(row["prompt"]) for row in rows}))}
    scores = _empty((len(index), n_sentences))
    for row in rows:
        _put(scores, (index[row["prompt"]], row["sentence"]), row)
    return scores


def response_scores(
    store: Store, format_name: str, name: str, behavior: str, *, n_sentences: int, n_responses: int
) -> Scores:
    """(n_prompts, N, n_responses) scores of the responses after 1..N sentences of a persona's prompts."""
    rows = store.rows("response_scores", format=format_name, condition=joined(name, behavior))
    index = {prompt: i for i, prompt in enumerate(sorted({int(row["prompt"]) for row in rows}))}
    scores = _empty((len(index), n_sentences, n_responses))
    for row in rows:
        _put(scores, (index[row["prompt"]], row["sentences"] - 1, row["response"]), row)
    return scores


def joined(name: str, behavior: str) -> str:
    """A persona's name (or the target's) with a behavior's, as scores are stored."""
    return f"{name}{JOINT}{behavior}"


def _empty(shape: tuple[int, ...]) -> Scores:
    return Scores(np.full(shape, np.nan), np.full(shape, -1, dtype=np.int64))


def _put(scores: Scores, at: tuple[Any, ...], row: dict[str, Any]) -> None:
    score = Score(row["p_negative"], row["p_neutral"], row["p_positive"])
    scores.behavior[at], scores.predicted[at] = score.behavior, score.predicted

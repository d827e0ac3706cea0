"""The rows of a run as arrays over prompts and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.errors import TooFewPrompts
from beb.experiments.lower_bounds import LOWER_BOUND
from beb.experiments.spec import MIN_PROMPTS
from beb.experiments.store import Store
from beb.interfaces.scorer import Score

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PromptArrays:
    """Prompts of one source with all their sentences.

    prompts: (n_prompts,) indices. log_p: component -> (n_prompts, N) nats per sentence.
    kl: component q -> (n_prompts, N) KL(source‖q) in nats per sentence.
    behavior: (n_prompts, N) B of each sentence, NaN where scoring failed. predicted: its class, -1 where failed.
    lower_bounds: component q -> method of KL(source‖q), where it is a lower bound of the divergence only.
    """

    prompts: NDArray[np.int64]
    log_p: dict[str, Floats]
    kl: dict[str, Floats]
    behavior: Floats
    predicted: NDArray[np.int64]
    lower_bounds: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoredArrays:
    """Scored texts: behavior and class, (n_prompts, n_lengths, n_responses); NaN and -1 where there is none."""

    lengths: tuple[int, ...]
    behavior: Floats
    predicted: NDArray[np.int64]


def prompt_arrays(store: Store, source: str, n_sentences: int) -> PromptArrays:
    """The complete prompts of a source. Raises: TooFewPrompts."""
    log_rows = store.rows("prompt_log_probs", source=source)
    kl_rows = store.rows("prompt_divergences", source=source)
    prompts = np.array(sorted({int(row["prompt"]) for row in log_rows}), dtype=np.int64)
    if len(prompts) < MIN_PROMPTS:
        raise TooFewPrompts(
            f"only {len(prompts)} prompts of the {source} component are complete and {MIN_PROMPTS} are needed; "
            "raise --prompts"
        )
    index = {int(prompt): i for i, prompt in enumerate(prompts)}
    behavior = np.full((len(prompts), n_sentences), np.nan)
    predicted = np.full((len(prompts), n_sentences), -1, dtype=np.int64)
    for row in store.rows("prompt_scores", source=source):
        if row["prompt"] not in index:  # its log-probabilities could not be had
            continue
        score = _score(row)
        at = (index[row["prompt"]], row["sentence"])
        behavior[at], predicted[at] = score.behavior, score.predicted
    return PromptArrays(
        prompts,
        _by_name(log_rows, "component", "sentence_log_p", index, n_sentences),
        _by_name(kl_rows, "q", "sentence_kl_nats", index, n_sentences),
        behavior,
        predicted,
        {row["q"]: row["method"] for row in kl_rows if row["method"].startswith(LOWER_BOUND)},
    )


def response_arrays(
    store: Store,
    format_name: str,
    condition: str,
    *,
    prompts: NDArray[np.int64],
    lengths: Sequence[int],
    n_responses: int,
    unprompted: str = "negative",
) -> ScoredArrays:
    """Scores of the responses of one condition. unprompted: the condition that length 0 (no prompt) is stored with."""
    index = {int(prompt): i for i, prompt in enumerate(prompts)}
    column = {length: i for i, length in enumerate(lengths)}
    behavior = np.full((len(prompts), len(lengths), n_responses), np.nan)
    predicted = np.full(behavior.shape, -1, dtype=np.int64)
    rows = store.rows("response_scores", format=format_name, condition=condition)
    if condition != unprompted:
        rows += store.rows("response_scores", format=format_name, condition=unprompted, sentences=0)
    for row in rows:
        if row["prompt"] in index and row["sentences"] in column:
            score = _score(row)
            at = (index[row["prompt"]], column[row["sentences"]], row["response"])
            behavior[at], predicted[at] = score.behavior, score.predicted
    return ScoredArrays(tuple(lengths), behavior, predicted)


def _score(row: dict[str, Any]) -> Score:
    return Score(row["p_negative"], row["p_neutral"], row["p_positive"])


def _by_name(
    rows: list[dict[str, Any]], key: str, column: str, index: dict[int, int], n_sentences: int
) -> dict[str, Floats]:
    arrays: dict[str, Floats] = {}
    for row in rows:
        array = arrays.setdefault(row[key], np.full((len(index), n_sentences), np.nan))
        array[index[row["prompt"]]] = row[column]
    return arrays

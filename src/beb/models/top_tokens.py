"""A certain lower bound of a divergence from the most probable tokens alone, for models behind a server."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beb.interfaces.given_tokens import ScoresGivenTokens, TokenScores
from beb.interfaces.language_model import Failure, LanguageModel, TokenIds
from beb.models.scoring import score_sequences

FloatArray = npt.NDArray[np.float64]
TOP_TOKENS = 20
"""What a vLLM server tells unless it was started with a larger --max-logprobs."""
_SMALLEST_REST = 1e-6
"""Probability left outside the known tokens below which fp32 sums are rounding; a larger one lowers the bound only."""


@dataclass(frozen=True, slots=True)
class BoundedScores:
    """One token sequence.

    log_probs: by model, (n_tokens,) nats. kl: by pair (p, q), (n_tokens,) nats, at most KL(p‖q).
    """

    log_probs: Mapping[str, FloatArray]
    kl: Mapping[tuple[str, str], FloatArray]


def coarse_divergence(log_p: Mapping[int, float], log_q: Mapping[int, float], *, top: int = TOP_TOKENS) -> float:
    """A lower bound of KL(p‖q), nats, from some log-probabilities of each, by token id.

    Tokens that both tell stand alone and the others are merged; a token that only one tells has under the other no more
    probability than the last of its `top`, and what is left open is taken where the divergence is smallest.
    top: of the tokens told, so many are the most probable ones.
    Source: the data-processing inequality (merging outcomes lowers a divergence), and its convexity.
    """
    shared = sorted(log_p.keys() & log_q.keys())
    first, second = np.array([log_p[i] for i in shared]), np.array([log_q[i] for i in shared])
    p = np.exp(first)
    known = float(np.sum(p[p > 0] * (first - second)[p > 0]))
    rest_p = max(0.0, 1.0 - float(p.sum()))
    rest_q = max(_SMALLEST_REST, 1.0 - float(np.exp(second).sum()))
    only_p, only_q = log_p.keys() - log_q.keys(), log_q.keys() - log_p.keys()
    told_p = min(rest_p, sum(math.exp(log_p[i]) for i in only_p))
    told_q = min(rest_q, sum(math.exp(log_q[i]) for i in only_q))
    # q of the tokens that p alone tells, and p of those that q alone tells: in proportion, if they may be so large.
    most_q, most_p = len(only_p) * _least(log_q, top), len(only_q) * _least(log_p, top)
    x = min(most_q, rest_q * told_p / rest_p) if rest_p > 0 else 0.0
    y = min(most_p, rest_p * told_q / rest_q)
    merged_p = _term(told_p, x) + _term(rest_p - told_p, rest_q - x)
    merged_q = _term(y, told_q) + _term(rest_p - y, rest_q - told_q)
    return max(0.0, known + max(merged_p, merged_q, _term(rest_p, rest_q)))


def _least(log_probs: Mapping[int, float], top: int) -> float:
    """What a token that is not told has at most."""
    return math.exp(sorted(log_probs.values(), reverse=True)[:top][-1]) if log_probs else 1.0


def _term(p: float, q: float) -> float:
    """p log(p/q) with a q that rounding has not made too small."""
    return p * math.log(p / max(q, _SMALLEST_REST)) if p > 0 else 0.0


def bounded_scores(
    sequences: Sequence[TokenIds],
    models: Mapping[str, LanguageModel],
    pairs: Iterable[tuple[str, str]],
    *,
    top: int = TOP_TOKENS,
) -> list[BoundedScores | Failure]:
    """Scores of each sequence under every model, and a lower bound of KL(p‖q) per token for each pair.

    models: of one tokenizer. top: tokens told at each place by a model behind a server; a local one tells all.
    Raises: ContextTooShort, NumericalFailure, ServerFailed.
    """
    served = {
        name: model.score_tokens(sequences, top=top)
        for name, model in models.items()
        if isinstance(model, ScoresGivenTokens)
    }
    local = {name: model for name, model in models.items() if name not in served}
    wanted = list(pairs)
    results: list[BoundedScores | Failure] = []
    for i, ids in enumerate(sequences):
        found = {name: scores[i] for name, scores in served.items()}
        failed = [each for each in found.values() if isinstance(each, Failure)]
        told = {name: each for name, each in found.items() if isinstance(each, TokenScores)}
        results.append(failed[0] if failed else _bounded(ids, local, told, wanted, top))
    return results


def _bounded(
    ids: TokenIds,
    local: Mapping[str, LanguageModel],
    told: Mapping[str, TokenScores],
    pairs: Sequence[tuple[str, str]],
    top: int,
) -> BoundedScores:
    both = [pair for pair in pairs if pair[0] in local and pair[1] in local]
    (exact,) = score_sequences([ids], local, divergences=both)
    log_probs = {**exact.log_probs, **{name: scores.log_probs for name, scores in told.items()}}
    kl = {pair: exact.kl[pair] for pair in both}
    rows = {name: _rows(local[name], ids) for pair in pairs if pair not in both for name in pair if name in local}
    for p, q in pairs:
        if (p, q) in both:
            continue
        other = told[q] if q in told else told[p]
        first = told[p].top if p in told else _at(rows[p], other.top)
        second = told[q].top if q in told else _at(rows[q], other.top)
        kl[p, q] = np.array([coarse_divergence(a, b, top=top) for a, b in zip(first, second, strict=True)])
    return BoundedScores(log_probs, kl)


def _rows(model: LanguageModel, ids: TokenIds) -> FloatArray:
    rows = model.distributions([ids])
    return np.asarray(rows.log_probs(0, rows.n_rows), dtype=np.float64)


def _at(rows: FloatArray, tokens: Sequence[Mapping[int, float]]) -> list[dict[int, float]]:
    return [{i: float(row[i]) for i in each} for row, each in zip(rows, tokens, strict=True)]

"""Log-probabilities of sampled tokens under several models, and exact divergences between their distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beb.errors import NoDistribution, NumericalFailure, ServerFailed, TokenizerMismatch
from beb.interfaces.given_tokens import ScoresGivenTokens, TokenScores
from beb.interfaces.language_model import Failure, LanguageModel, TokenIds
from beb.models.memory import cached_rows, chunk_size, footprint_of, in_parts, memory_errors, texts_at_once

FloatArray = npt.NDArray[np.float64]
CHUNK_ROWS = 128
"""Of 65,536 tokens or fewer, the allocator keeps their memory from one chunk to the next (`beb.models.allocator`)."""

INSTEAD_OF_EXACT = "take --kl monte-carlo or --kl top-k (a lower bound)"
_ROUNDING_NATS = 1e-3
"""A negative divergence smaller than this is rounding of fp32 log-probabilities; a larger one is a fault."""


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """One token sequence under several models.

    log_probs: by model, (n_tokens,) nats, of the tokens that stand in the sequence.
    kl: by pair (p, q), (n_tokens,) nats, exact KL(p ‖ q) over the whole vocabulary before each token.
    """

    log_probs: Mapping[str, FloatArray]
    kl: Mapping[tuple[str, str], FloatArray]


@dataclass(frozen=True, slots=True)
class TextLogProb:
    """Log-probability of a text as its canonical token sequence.

    log_prob: nats; a lower bound of the text's probability, which sums over every tokenisation.
    n_tokens: tokens of the canonical tokenisation.
    """

    log_prob: float
    n_tokens: int


def score_sequences(
    sequences: Sequence[TokenIds],
    models: Mapping[str, LanguageModel],
    *,
    divergences: Sequence[tuple[str, str]] = (),
    chunk_rows: int = CHUNK_ROWS,
) -> list[SequenceScores]:
    """Score every token of every sequence under every model, each after its own start context.

    sequences: token ids without start context. divergences: pairs (p, q) of model names, for KL(p ‖ q) per token.
    chunk_rows: rows of vocabulary width held at once, at most; fewer, and fewer texts at once, if the memory budget of
    the models has no room for so many.
    Returns: one record per sequence, in order. KL is infinite where q has zero probability and p has not.
    Raises: TokenizerMismatch, ContextTooShort, NumericalFailure; of a served model NoDistribution where a divergence is
    asked for, and ServerFailed where a sequence brought no scores (see `given_scores`).
    Source: token-wise exact divergence, Amini, Vieira and Cotterell 2025 (arXiv 2504.10637).
    """
    require_shared_tokenizer(models, divergences)
    size = footprint_of(models.values())
    rows_at_once = chunk_size(
        size, max((m.info.vocabulary_size for m in models.values()), default=1), at_most=chunk_rows
    )
    lengths = [len(ids) for ids in sequences]
    found: dict[int, SequenceScores] = {}

    def work(start: int, stop: int) -> None:
        with memory_errors(", ".join(model.info.name for model in models.values())):
            scores = _scores(sequences[start:stop], models, divergences, rows_at_once)
        found.update(enumerate(scores, start=start))

    in_parts(len(sequences), lambda start: texts_at_once(lengths, start, size), work)
    return [found[i] for i in range(len(sequences))]


def _scores(
    sequences: Sequence[TokenIds],
    models: Mapping[str, LanguageModel],
    divergences: Sequence[tuple[str, str]],
    rows_at_once: int,
) -> list[SequenceScores]:
    observed = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in sequences])
    n_rows = len(observed)
    served = {name: model for name, model in models.items() if isinstance(model, ScoresGivenTokens)}
    distributions = {name: model.distributions(sequences) for name, model in models.items() if name not in served}
    for name, rows in distributions.items():
        if rows.n_rows != n_rows:
            raise NumericalFailure(f"{name} returned {rows.n_rows} rows for {n_rows} tokens; its backend is broken")
    log_probs = {name: np.empty(n_rows) for name in models}
    for name, model in served.items():
        log_probs[name] = np.concatenate(
            [np.empty(0), *(_scores_or_error(each) for each in model.score_tokens(sequences))]
        )
    kl = {pair: np.empty(n_rows) for pair in divergences}

    def work(start: int, stop: int) -> None:
        with memory_errors(", ".join(model.info.name for model in models.values())):
            chunk = {name: rows.log_probs(start, stop) for name, rows in distributions.items()}
            for name, rows in chunk.items():
                log_probs[name][start:stop] = observed_log_probs(rows, observed[start:stop], name)
            for p, q in divergences:
                kl[p, q][start:stop] = kl_rows(chunk[p], chunk[q], p, q)

    in_parts(n_rows, lambda start: start + rows_at_once, work)
    edges = np.cumsum([0, *(len(ids) for ids in sequences)])
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return [
        SequenceScores(
            {name: values[a:b].copy() for name, values in log_probs.items()},
            {pair: values[a:b].copy() for pair, values in kl.items()},
        )
        for a, b in spans
    ]


def given_scores(sequences: Sequence[TokenIds], model: LanguageModel) -> list[FloatArray | Failure]:
    """Log-probabilities of every token of every sequence, (n_tokens,) nats each; of a served model also failures."""
    if isinstance(model, ScoresGivenTokens):
        return [each.log_probs if isinstance(each, TokenScores) else each for each in model.score_tokens(sequences)]
    return [each.log_probs["model"] for each in score_sequences(sequences, {"model": model})]


def _scores_or_error(scores: TokenScores | Failure) -> FloatArray:
    if isinstance(scores, Failure):
        raise ServerFailed(f"a text could not be scored: {scores.kind} ({scores.detail}); run again to go on")
    return scores.log_probs


def text_log_probs(texts: Sequence[str], model: LanguageModel, *, chunk_rows: int = CHUNK_ROWS) -> list[TextLogProb]:
    """Log-probability of texts under a model's own tokenizer, for models that do not share one.

    Differences of these between two models give a Monte Carlo log ratio at the level of the text, not the exact
    token-wise divergence, and must be labelled so.
    Returns: one record per text; the canonical tokenisation only, hence a lower bound of the text's log-probability.
    Raises: ContextTooShort, NumericalFailure.
    """
    sequences = [model.encode(text) for text in texts]
    scores = score_sequences(sequences, {"model": model}, chunk_rows=chunk_rows)
    return [TextLogProb(math.fsum(s.log_probs["model"]), len(s.log_probs["model"])) for s in scores]


def require_shared_tokenizer(models: Mapping[str, LanguageModel], divergences: Sequence[tuple[str, str]]) -> None:
    """Refuse pairs (p, q) of models, by name, between which no exact divergence exists.

    Raises: TokenizerMismatch, NoDistribution, with the reason and what to do instead.
    """
    for p, q in divergences:
        require_distributions(
            models[p], models[q], purpose=f"exact KL({p} ‖ {q})", instead=INSTEAD_OF_EXACT
        )  # fmt: skip
        first, second = models[p].info, models[q].info
        if first.tokenizer != second.tokenizer or first.vocabulary_size != second.vocabulary_size:
            raise TokenizerMismatch(
                f"exact KL({p} ‖ {q}) needs one shared vocabulary, but {first.name} ({first.vocabulary_size} tokens) "
                f"and {second.name} ({second.vocabulary_size} tokens) have different tokenizers; "
                "ask for the text-level estimate instead (--kl monte-carlo)"
            )


def require_distributions(*models: LanguageModel, purpose: str, instead: str) -> None:
    """Refuse models behind a server where whole next-token distributions are needed.

    instead: what to give, so that they are not. Raises: NoDistribution.
    """
    for model in models:
        if isinstance(model, ScoresGivenTokens):
            raise NoDistribution(
                f"{purpose} needs the probability of every token of the vocabulary, and the server of "
                f"{model.info.name} tells those of given tokens and the most probable ones only; {instead}, "
                "or load the model locally"
            )


def observed_log_probs(rows: Any, token_ids: npt.NDArray[np.int64], name: str) -> FloatArray:
    """(n,) log-probability of the token that stands at each row. Raises: NumericalFailure on NaN."""
    if isinstance(rows, np.ndarray):
        picked = rows[np.arange(len(token_ids)), token_ids].astype(np.float64)
    else:
        index = rows.new_tensor(token_ids, dtype=_torch().int64)
        picked = rows.gather(1, index[:, None])[:, 0].cpu().double().numpy()
    if np.isnan(picked).any():
        raise NumericalFailure(f"{name} gave NaN log-probabilities; its backend is broken: give another model")
    return np.asarray(picked, dtype=np.float64)


def kl_rows(log_p: Any, log_q: Any, p: str, q: str) -> FloatArray:
    """KL(p ‖ q) of each row: Σ p (log p − log q), where 0·log 0 = 0 and p·log(p/0) = ∞."""
    if isinstance(log_p, np.ndarray) and isinstance(log_q, np.ndarray):
        with np.errstate(invalid="ignore"):
            terms = np.where(log_p == -np.inf, 0.0, np.exp(log_p) * (log_p - log_q))
        values = np.asarray(terms.sum(axis=1), dtype=np.float64)
    else:
        torch = _torch()
        log_p, log_q = torch.as_tensor(log_p), torch.as_tensor(log_q)
        rows = cached_rows(log_p.shape[1]) if log_p.device.type == "cpu" else max(len(log_p), 1)
        parts = zip(log_p.split(rows), log_q.to(log_p.device).split(rows), strict=True)
        values = torch.cat([_kl_sums(part, other) for part, other in parts]).cpu().numpy()
    bad = values[~(values >= -_ROUNDING_NATS)]
    if len(bad):
        raise NumericalFailure(
            f"KL({p} ‖ {q}) came out as {bad[0]:.3g}: the probabilities of one of the two are no distribution; its "
            "backend is broken: give another model"
        )
    return np.maximum(values, 0.0)


def _kl_sums(log_p: Any, log_q: Any) -> Any:
    torch = _torch()
    sums = (log_p - log_q).mul_(log_p.exp()).sum(1, dtype=torch.float64)
    if not bool(torch.isnan(sums).any()):
        return sums
    # 0·log 0, which is rare: looking for it costs as much as the sum.
    terms = (log_p - log_q).mul_(log_p.exp()).masked_fill_(log_p == -math.inf, 0.0)
    return terms.sum(1, dtype=torch.float64)


def _torch() -> Any:
    import torch

    return torch

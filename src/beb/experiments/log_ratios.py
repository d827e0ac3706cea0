"""Log-probabilities and divergences of prompts without whole distributions: Monte Carlo, or a lower bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.experiments import schema
from beb.experiments.lower_bounds import LOWER_BOUND
from beb.experiments.store import Rows
from beb.interfaces.given_tokens import ScoresGivenTokens
from beb.interfaces.language_model import Failure, LanguageModel, TokenIds, sentence_spans
from beb.models.scoring import given_scores
from beb.models.top_tokens import TOP_TOKENS, bounded_scores

Floats = NDArray[np.float64]
SAME_IDS = "token ids"
OWN_TOKENIZER = "text under its own tokenizer"
BOUNDED = f"{LOWER_BOUND} {TOP_TOKENS} most probable tokens"


def monte_carlo_rows(
    prompts: Sequence[Mapping[str, Any]], models: Mapping[str, LanguageModel], *, source: str, own: str
) -> Rows:
    """Log-probabilities of each sentence, and log ratios as estimates of KL(own ‖ other).

    prompts: rows of the table. models: by the name that the rows get; the prompts are token ids of `own`.
    Returns: rows of `prompt_log_probs`, `prompt_divergences` and `failures`; a prompt that one model could not score
    has rows of none.
    """
    found = {name: _sentence_log_probs(prompts, models[own], model) for name, model in models.items()}
    shared = {name: model.info.tokenizer == models[own].info.tokenizer for name, model in models.items()}
    methods = {name: SAME_IDS if same else OWN_TOKENIZER for name, same in shared.items()}
    log_rows, kl_rows, failures = [], [], []
    for i, row in enumerate(prompts):
        failed = [each for each in (scores[i] for scores in found.values()) if isinstance(each, Failure)]
        if failed:
            failures.append(_named(failed[0], source, row["prompt"]))
            continue
        values = {name: np.asarray(each[i]) for name, each in found.items()}
        log_rows += _log_rows(source, row["prompt"], values, methods)
        ratios = {q: values[own] - values[q] for q in models if q != own}
        labels = {q: f"monte-carlo ({methods[q]})" for q in ratios}
        kl_rows += _kl_rows(source, row["prompt"], own, ratios, labels)
    return _rows(log_rows, kl_rows, failures)


def lower_bound_rows(
    prompts: Sequence[Mapping[str, Any]], models: Mapping[str, LanguageModel], *, source: str, own: str, exact: str
) -> Rows:
    """As `monte_carlo_rows`, with divergences bounded from below by the most probable tokens.

    models: of one tokenizer. exact: method of a divergence between two local models, which needs no bound.
    """
    others = [name for name in models if name != own]
    sequences = [tuple(int(t) for t in row["token_ids"]) for row in prompts]
    scores = bounded_scores(sequences, models, [(own, q) for q in others])
    local = {name for name, model in models.items() if not isinstance(model, ScoresGivenTokens)}
    labels = {q: exact if {own, q} <= local else BOUNDED for q in others}
    log_rows, kl_rows, failures = [], [], []
    for row, score in zip(prompts, scores, strict=True):
        if isinstance(score, Failure):
            failures.append(_named(score, source, row["prompt"]))
            continue
        spans = sentence_spans(row["sentence_ends"].tolist())
        values = {name: by_sentence(score.log_probs[name], spans) for name in models}
        log_rows += _log_rows(source, row["prompt"], values, dict.fromkeys(models, SAME_IDS))
        bounds = {q: by_sentence(score.kl[own, q], spans) for q in others}
        kl_rows += _kl_rows(source, row["prompt"], own, bounds, labels)
    return _rows(log_rows, kl_rows, failures)


def text_scores(texts: Sequence[str], model: LanguageModel) -> list[float | Failure]:
    """Log-probability of each text as its canonical tokens, nats."""
    scores = given_scores([model.encode(text) for text in texts], model)
    return [each if isinstance(each, Failure) else math.fsum(each) for each in scores]


def by_sentence(values: Floats, spans: Sequence[tuple[int, int]]) -> Floats:
    """Sums of token values over each sentence."""
    return np.array([float(np.sum(values[start:stop])) for start, stop in spans])


def failure_rows(subject: str, failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Rows of the failures of one item."""
    return [{"position": i, "subject": subject, "kind": f.kind, "detail": f.detail} for i, f in enumerate(failures)]


def _sentence_log_probs(
    prompts: Sequence[Mapping[str, Any]], sampler: LanguageModel, model: LanguageModel
) -> list[Floats | Failure]:
    """Log-probability of each sentence: of the sampled ids where the tokenizer is shared, else of the text."""
    spans = [sentence_spans(row["sentence_ends"].tolist()) for row in prompts]
    if sampler.info.tokenizer == model.info.tokenizer:
        sequences: list[TokenIds] = [tuple(int(t) for t in row["token_ids"]) for row in prompts]
        scores = given_scores(sequences, model)
        return [s if isinstance(s, Failure) else by_sentence(s, at) for s, at in zip(scores, spans, strict=True)]
    texts = [
        sampler.decode(row["token_ids"][:stop].tolist())
        for row, at in zip(prompts, spans, strict=True)
        for _, stop in at
    ]
    found = iter(text_scores(texts, model))
    results: list[Floats | Failure] = []
    for at in spans:
        parts = [next(found) for _ in at]
        failed = [part for part in parts if isinstance(part, Failure)]
        results.append(failed[0] if failed else np.diff(np.array(parts, dtype=np.float64), prepend=0.0))
    return results


def _named(failure: Failure, source: str, prompt: int) -> Failure:
    return Failure(failure.kind, f"prompt {source}/{prompt}: {failure.detail}")


def _log_rows(
    source: str, prompt: int, values: Mapping[str, Floats], methods: Mapping[str, str]
) -> list[dict[str, Any]]:
    return [
        {"source": source, "prompt": prompt, "component": name, "method": methods[name],
         "sentence_log_p": schema.pack("sentence_log_p", each)}
        for name, each in values.items()
    ]  # fmt: skip


def _kl_rows(
    source: str, prompt: int, own: str, values: Mapping[str, Floats], methods: Mapping[str, str]
) -> list[dict[str, Any]]:
    return [
        {"source": source, "prompt": prompt, "p": own, "q": q, "method": methods[q],
         "sentence_kl_nats": schema.pack("sentence_kl_nats", each)}
        for q, each in values.items()
    ]  # fmt: skip


def _rows(log_rows: list[dict[str, Any]], kl_rows: list[dict[str, Any]], failures: list[Failure]) -> Rows:
    return {
        "prompt_log_probs": log_rows,
        "prompt_divergences": kl_rows,
        "failures": failure_rows("log-probabilities", failures),
    }

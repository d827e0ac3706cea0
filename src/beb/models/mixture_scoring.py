"""One component against a mixture of others: exact divergences of the next token, the others by posterior weight."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from beb.interfaces.language_model import LanguageModel, TokenIds
from beb.models.memory import chunk_size, footprint_of, in_parts, memory_errors, texts_at_once
from beb.models.scoring import FloatArray, kl_rows, observed_log_probs, require_shared_tokenizer

_ROWS = 4


@dataclass(frozen=True, slots=True)
class MixtureScores:
    """One token sequence. log_probs: by model, (n_tokens,) nats. kl: (n_tokens,) nats, own model against the rest."""

    log_probs: Mapping[str, FloatArray]
    kl: FloatArray


def score_against_mixture(
    sequences: Sequence[TokenIds],
    models: Mapping[str, LanguageModel],
    *,
    own: Sequence[str],
    log_weights: Mapping[str, float],
    chunk_rows: int = 64,
) -> list[MixtureScores]:
    """Score sequences under every model, and KL(own ‖ Σⱼ vⱼPⱼ) of every next token, exact over the vocabulary.

    own: per sequence, the name of the first component; those of one name best stand together. log_weights: log of the
    prior weights of the components by name, up to a constant; a sequence's own one is left out of its mixture.
    vⱼ ∝ weight · Pⱼ(tokens so far), so that Σⱼ vⱼPⱼ is the next-token distribution of the mixture of whole texts.
    Models named in neither are scored only. chunk_rows: rows of every model's vocabulary held at once, at most; as few,
    and of as few texts, as the memory budget of the models has room for.
    Raises: TokenizerMismatch, ContextTooShort, NumericalFailure.
    Source: derived in docs/maths.md, "Personas measured".
    """
    require_shared_tokenizer(models, [(name, other) for name in dict.fromkeys(own) for other in log_weights])
    size = footprint_of(models.values())
    rows_at_once = chunk_size(size, max(m.info.vocabulary_size for m in models.values()), at_most=chunk_rows)
    lengths = [len(ids) for ids in sequences]
    found: dict[int, MixtureScores] = {}

    def work(start: int, stop: int) -> None:
        with memory_errors(next(iter(models.values())).info.name):
            scores = _Texts(sequences[start:stop], models, own[start:stop], log_weights).scores(rows_at_once)
        found.update(enumerate(scores, start=start))

    in_parts(len(sequences), lambda start: texts_at_once(lengths, start, size), work)
    return [found[i] for i in range(len(sequences))]


class _Texts:
    """Sequences whose final states are in memory together."""

    def __init__(
        self,
        sequences: Sequence[TokenIds],
        models: Mapping[str, LanguageModel],
        own: Sequence[str],
        log_weights: Mapping[str, float],
    ) -> None:
        self._token_ids = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in sequences])
        self._edges = np.cumsum([0, *(len(ids) for ids in sequences)])
        self._starts = np.repeat(self._edges[:-1], np.diff(self._edges))
        self._models, self._own, self._log_weights = models, own, log_weights
        self._distributions = {name: model.distributions(sequences) for name, model in models.items()}
        # Log-probability of all tokens before each.
        self._summed = {name: np.zeros(len(self._token_ids) + 1) for name in models}
        self._kl = np.empty(len(self._token_ids))

    def scores(self, rows_at_once: int) -> list[MixtureScores]:
        chunks = list(_chunks(self._own, self._edges.tolist(), rows_at_once))
        for name_own, first, last in chunks:
            in_parts(last - first, lambda start: start + rows_at_once, partial(self._score, name_own, first))
        spans = list(zip(self._edges[:-1].tolist(), self._edges[1:].tolist(), strict=True))
        return [
            MixtureScores(
                {name: np.diff(total[a : b + 1]) for name, total in self._summed.items()}, self._kl[a:b].copy()
            )
            for a, b in spans
        ]

    def _score(self, own: str, offset: int, start: int, stop: int) -> None:
        """Rows start..stop-1 after the offset, all of texts of one name."""
        start, stop = offset + start, offset + stop
        with memory_errors(self._models[own].info.name):
            rows = {name: each.log_probs(start, stop) for name, each in self._distributions.items()}
            for name, summed in self._summed.items():
                found = observed_log_probs(rows[name], self._token_ids[start:stop], name)
                summed[start + 1 : stop + 1] = summed[start] + np.cumsum(found)
            here, first = np.arange(start, stop), self._starts[start:stop]
            joint = {
                name: weight + self._summed[name][here] - self._summed[name][first]
                for name, weight in self._log_weights.items()
                if name != own
            }
            rest = _mixed([rows[name] for name in joint], np.stack(list(joint.values())))
            self._kl[start:stop] = kl_rows(rows[own], rest, own, "the others")


def _chunks(own: Sequence[str], edges: Sequence[int], size: int) -> Iterator[tuple[str, int, int]]:
    """Ranges (name, start, stop) of at most `size` rows whose sequences are of one name."""
    spans = zip(own, edges[:-1], edges[1:], strict=True)
    for name, group in itertools.groupby(spans, key=lambda span: span[0]):
        together = list(group)
        first, last = together[0][1], together[-1][2]
        for start in range(first, last, size):
            yield name, start, min(start + size, last)


def _mixed(rows: Sequence[Any], log_joint: npt.NDArray[np.float64]) -> Any:
    """(n, vocabulary) log Σⱼ vⱼPⱼ. log_joint: (n_others, n), log of the weights up to a constant per row."""
    log_share = log_joint - np.logaddexp.reduce(log_joint, axis=0)
    if isinstance(rows[0], np.ndarray):
        return np.logaddexp.reduce([share[:, None] + row for share, row in zip(log_share, rows, strict=True)], axis=0)
    import torch

    shares = torch.as_tensor(log_share, dtype=rows[0].dtype, device=rows[0].device)
    mixed = torch.zeros_like(rows[0])
    buffer = torch.empty_like(rows[0][:_ROWS])
    # A few rows at a time stay in the processor's cache; a sum below the smallest float is taken as that float, which
    # can only lower a divergence.
    for at in range(0, len(mixed), _ROWS):
        part = mixed[at : at + _ROWS]
        for share, row in zip(shares, rows, strict=True):
            here = torch.add(row[at : at + _ROWS], share[at : at + _ROWS, None], out=buffer[: len(part)])
            part += here.exp_()
    return mixed.clamp_(min=torch.finfo(mixed.dtype).tiny).log_()

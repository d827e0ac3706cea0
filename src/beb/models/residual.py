"""The residual component: what is left of the target when a weighted negative component is taken out of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from beb.errors import BadSpec, NumericalFailure, TokenizerMismatch
from beb.interfaces.language_model import (
    Completion,
    Distributions,
    Failure,
    LanguageModel,
    ModelInfo,
    SampleRequest,
    TokenIds,
)
from beb.models.fingerprint import combined
from beb.models.memory import Footprint, footprint_of
from beb.models.scoring import score_sequences

CLIPPED_MASS = 1e-6
MAX_TRIES = 100
REJECTED = "residual-rejected"


class ResidualRows(Distributions):
    """[P(x|s) − w(s) P₋(x|s)] / (1 − w(s)) row by row, from the rows of P and P₋."""

    def __init__(
        self, target: Distributions, negative: Distributions, log_weights: npt.NDArray[np.float64], name: str
    ) -> None:
        self.n_rows = target.n_rows
        self._target, self._negative, self._log_weights, self._name = target, negative, log_weights, name

    def log_probs(self, start: int, stop: int) -> Any:
        rows = self._target.log_probs(start, stop)
        log_p = torch.as_tensor(rows)
        log_q = torch.as_tensor(self._negative.log_probs(start, stop)).to(log_p)
        log_w = torch.as_tensor(self._log_weights[start:stop]).to(log_p)[:, None]
        # log of w P₋/P; where P is zero the token has no probability, and P₋ there counts as clipped.
        log_share = torch.where(log_q == -math.inf, -math.inf, log_w + log_q - log_p)
        excess = torch.where(log_share > 0, (log_w + log_q).exp() - log_p.exp(), 0.0)
        clipped = float(excess.sum(1).max())
        if not clipped <= CLIPPED_MASS:
            raise _above_infimum(self._name, f"{clipped:.2g} of a next-token distribution would be negative")
        left = log_p + torch.log1p(-log_share.clamp(max=0).exp())
        left = torch.where(log_p == -math.inf, -math.inf, left)
        log_r = left - torch.logsumexp(left, 1, keepdim=True)
        return log_r.numpy() if isinstance(rows, np.ndarray) else log_r


class ResidualComponent(LanguageModel):
    """P₊(s) = (P(s) − α P₋(s)) / (1 − α): the positive component that makes the mixture identity exact.

    It is a distribution only if α ≤ inf P(s)/P₋(s); every use checks that on what it touches.
    Source: Wolf et al. 2024 (arXiv 2304.11082), section 2; the residual is derived in docs/maths.md.
    """

    info: ModelInfo

    def __init__(self, target: LanguageModel, negative: LanguageModel, log_alpha: float) -> None:
        """log_alpha: natural logarithm of the weight α of `negative` in `target`, below 0.

        Raises: BadSpec, TokenizerMismatch.
        """
        if not -math.inf < log_alpha < 0:
            raise BadSpec(
                f"log_alpha {log_alpha} is not a finite number below 0; the weight lies strictly between 0 and 1"
            )
        if target.info.tokenizer != negative.info.tokenizer:
            raise TokenizerMismatch(
                f"the residual of {target.info.name} and {negative.info.name} needs one shared tokenizer; "
                "use the target itself as the positive component"
            )
        self.target, self.negative, self.log_alpha = target, negative, float(log_alpha)
        self.info = dataclasses.replace(
            target.info,
            name=f"residual of {target.info.name} without {negative.info.name}",
            kind="residual",
            fingerprint=combined(
                ("residual", target.info.fingerprint, negative.info.fingerprint, repr(self.log_alpha))
            ),
        )

    @property
    def start_ids(self) -> TokenIds:
        return self.target.start_ids

    def encode(self, text: str) -> TokenIds:
        return self.target.encode(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        return self.target.decode(token_ids)

    def ends_sentence(self, token_id: int) -> bool:
        return self.target.ends_sentence(token_id)

    def chat_frame(self, system: str | None = None) -> tuple[TokenIds, TokenIds]:
        return self.target.chat_frame(system)

    def distributions(self, sequences: Sequence[TokenIds]) -> Distributions:
        weights = [log_w[:-1] for log_w in self._log_weights(sequences)]
        return ResidualRows(
            self.target.distributions(sequences),
            self.negative.distributions(sequences),
            np.concatenate([*weights, np.empty(0)]),
            self.info.name,
        )

    @property
    def footprint(self) -> Footprint:
        """Both models' rows and about six arrays of their size, of which one is kept."""
        row = 4.0 * self.info.vocabulary_size
        both = footprint_of((self.target, self.negative)) or Footprint(2**62, 0, 2 * row)
        return dataclasses.replace(both, row=row, working=both.row + both.working + 6 * row)

    def sample(self, requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
        """Exact samples by rejection: x from P(·|s) is kept with probability 1 − w(s x).

        The tries of a request are seeded from the request. Returns Failure("residual-rejected") after `MAX_TRIES`,
        which happens where the negative component already carries nearly all the weight.
        Raises: BadSpec for prefixes that do not begin with `start_ids`; NumericalFailure.
        """
        n_start = len(self.start_ids)
        for request in requests:
            if request.prefix[:n_start] != self.start_ids:
                raise BadSpec(f"{self.info.name} is defined after its own start context only; use the plain format")
        results: dict[int, Completion | Failure] = {}
        waiting = list(range(len(requests)))
        for attempt in range(MAX_TRIES):
            if not waiting:
                break
            draws = [_attempt(requests[i], attempt) for i in waiting]
            texts = self.target.sample([request for request, _ in draws])
            results.update({i: text for i, text in zip(waiting, texts, strict=True) if isinstance(text, Failure)})
            drawn = [
                (i, text, uniform)
                for i, text, (_, uniform) in zip(waiting, texts, draws, strict=True)
                if isinstance(text, Completion)
            ]
            given = [requests[i].prefix[n_start:] for i, _, _ in drawn]
            log_weights = self._log_weights([p + text.token_ids for p, (_, text, _) in zip(given, drawn, strict=True)])
            for (i, text, uniform), prefix, log_w in zip(drawn, given, log_weights, strict=True):
                if math.log1p(-uniform) < _log_one_minus(log_w[-1]):
                    results[i] = _reweighted(text, log_w[len(prefix) :])
            waiting = [i for i in waiting if i not in results]
        failure = Failure(
            REJECTED, f"no draw accepted in {MAX_TRIES} tries; the negative component has nearly all the weight"
        )
        return [results.get(i, failure) for i in range(len(requests))]

    def _log_weights(self, sequences: Sequence[TokenIds]) -> list[npt.NDArray[np.float64]]:
        """log w before each token and after the last, (n_tokens + 1,) per sequence."""
        scores = score_sequences(sequences, {"target": self.target, "negative": self.negative})
        weights = []
        for score in scores:
            evidence = np.cumsum(score.log_probs["negative"] - score.log_probs["target"])
            log_w = self.log_alpha + np.concatenate([[0.0], evidence])
            if log_w.max() >= 0:
                raise _above_infimum(
                    self.info.name, f"w = α P₋/P reaches {math.exp(min(log_w.max(), 700)):.3g} on a text"
                )
            weights.append(log_w)
        return weights


def _above_infimum(name: str, observed: str) -> NumericalFailure:
    return NumericalFailure(f"{name}: alpha is above inf P/P₋ ({observed}); lower it")


def _log_one_minus(log_w: float) -> float:
    return math.log(-math.expm1(log_w))


def _attempt(request: SampleRequest, attempt: int) -> tuple[SampleRequest, float]:
    """The request with the seed of one attempt, and the uniform that decides whether its text is kept."""
    seed, accept = np.random.SeedSequence([request.seed, attempt]).generate_state(2, np.uint64).tolist()
    uniform = np.random.Generator(np.random.Philox(accept)).random()
    return dataclasses.replace(request, seed=seed), float(uniform)


def _reweighted(text: Completion, log_w: npt.NDArray[np.float64]) -> Completion:
    """The completion with its log-probabilities under the residual: P(x|s) (1 − w(s x)) / (1 − w(s))."""
    left = np.log(-np.expm1(log_w))
    log_probs = np.asarray(text.log_probs) + np.diff(left)
    return dataclasses.replace(text, log_probs=tuple(log_probs.tolist()))

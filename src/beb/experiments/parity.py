"""Do two backends give the same log-probabilities to the same token ids? Asked before any divergence is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError, TokenizerMismatch
from beb.estimate.means import is_constant, mean
from beb.experiments.log_ratios import by_sentence
from beb.experiments.spec import derive_seed
from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest, sentence_spans
from beb.models.scoring import given_scores

NATS_PER_SENTENCE = "nats per sentence"
TOLERANCE_NATS = 0.05


@dataclass(frozen=True, slots=True)
class ParitySpec:
    """texts: sampled from each of the two models. tolerance: largest difference of a sentence, nats, that is agreement.

    seed: of the texts. level: of the interval.
    """

    texts: int = 8
    sentences: int = 3
    max_sentence_tokens: int = 40
    tolerance: float = TOLERANCE_NATS
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.texts < 2 or self.sentences < 1 or self.max_sentence_tokens < 4 or self.seed < 0:
            raise BadSpec(
                f"{self.texts} texts of {self.sentences} sentences, cut at {self.max_sentence_tokens} tokens, seed "
                f"{self.seed}; at least 2 texts, 1 sentence, 4 tokens and seed 0 are needed"
            )
        if not self.tolerance > 0 or not 0.5 < self.level < 1:
            raise BadSpec(f"tolerance {self.tolerance} must be above 0 and level {self.level} between 0.5 and 1")


@dataclass(frozen=True, slots=True)
class Parity:
    """How far apart two backends are, on the same token ids; all in nats.

    largest_token, mean_token, largest_sentence, mean_sentence: of the absolute differences of log-probabilities.
    largest_own: largest difference of a sentence between what the model that wrote it said while sampling and what the
    same model says of the finished text: a server that samples one model and scores another shows here.
    apparent_kl: mean of log P_first − log P_second per sentence, over texts that the first one wrote: what a Monte
    Carlo divergence between the two would show, and all of it an artefact if the weights are the same; None if the
    difference is the same for every text. n_failed: texts that one of the two could not write or score.
    """

    first: str
    second: str
    n_texts: int
    n_sentences: int
    n_tokens: int
    n_failed: int
    largest_token: float
    mean_token: float
    largest_sentence: float
    mean_sentence: float
    largest_own: float
    apparent_kl: Estimate | None
    tolerance: float

    @property
    def agree(self) -> bool:
        """Whether no sentence differs by more than the tolerance, neither between the two nor within one."""
        return max(self.largest_sentence, self.largest_own) <= self.tolerance

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.agree:
            return (
                f"agree: no sentence differs by more than {self.tolerance:g} nats; a divergence between models on "
                f"these two backends is off by {self.mean_sentence:.2g} nats per sentence on average"
            )
        if self.largest_own > self.tolerance:
            return (
                f"differ: one of the two gives a sentence that it wrote itself {self.largest_own:.3g} nats more or "
                f"less when it scores the finished text, more than {self.tolerance:g}; it samples from one "
                "distribution and scores another: do not believe its log-probabilities"
            )
        return (
            f"differ: a sentence differs by {self.largest_sentence:.3g} nats, more than {self.tolerance:g}; other "
            "weights, another precision or a fault: do not believe a divergence between models on these two backends"
        )


@dataclass(frozen=True, slots=True)
class _Text:
    """A sampled text, by whom, and its log-probabilities under both, (n_tokens,)."""

    by_first: bool
    completion: Completion
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    @property
    def difference(self) -> NDArray[np.float64]:
        """(n_tokens,) nats, of the first from the second."""
        return _difference(self.first, self.second)

    @property
    def own_difference(self) -> NDArray[np.float64]:
        """(n_tokens,) nats, of what the writer said while sampling from what it says of the finished text."""
        return _difference(np.array(self.completion.log_probs), self.first if self.by_first else self.second)

    def by_sentence(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over each sentence."""
        return by_sentence(values, sentence_spans(self.completion.sentence_ends))


def parity(first: LanguageModel, second: LanguageModel, *, spec: ParitySpec | None = None) -> Parity:
    """Score texts of both models under both, token by token.

    Raises: TokenizerMismatch if the two read other tokens, EstimateError if fewer than 2 texts could be compared.
    """
    spec = spec or ParitySpec()
    _require_comparable(first, second)
    written = [_written(model, spec, i) for i, model in enumerate((first, second))]
    pairs = [(k == 0, text) for k, texts in enumerate(written) for text in texts if isinstance(text, Completion)]
    sequences = [text.token_ids for _, text in pairs]
    scores = zip(pairs, given_scores(sequences, first), given_scores(sequences, second), strict=True)
    texts = [
        _Text(by_first, text, a, b)
        for (by_first, text), a, b in scores
        if not isinstance(a, Failure) and not isinstance(b, Failure)
    ]
    if len(texts) < 2:
        failed = [each for found in written for each in found if isinstance(each, Failure)]
        reason = f" ({failed[0].kind}: {failed[0].detail})" if failed else ""
        raise EstimateError(f"only {len(texts)} of {2 * spec.texts} texts could be written and scored{reason}")
    return _compared(first.info.name, second.info.name, texts, spec)


def _compared(first: str, second: str, texts: Sequence[_Text], spec: ParitySpec) -> Parity:
    tokens = np.abs(np.concatenate([text.difference for text in texts]))
    signed = [text.by_sentence(text.difference) for text in texts]
    within = [text.by_sentence(text.own_difference) for text in texts]
    sentences = np.abs(np.concatenate(signed))
    own = np.array([each.mean() for text, each in zip(texts, signed, strict=True) if text.by_first])
    return Parity(
        first=first,
        second=second,
        n_texts=len(texts),
        n_sentences=len(sentences),
        n_tokens=len(tokens),
        n_failed=2 * spec.texts - len(texts),
        largest_token=float(tokens.max()),
        mean_token=float(tokens.mean()),
        largest_sentence=float(sentences.max()),
        mean_sentence=float(sentences.mean()),
        largest_own=float(np.abs(np.concatenate(within)).max()),
        apparent_kl=_mean(own, spec.level),
        tolerance=spec.tolerance,
    )


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a − b, where equal infinities do not differ."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


def _mean(values: NDArray[np.float64], level: float) -> Estimate | None:
    if len(values) < 2 or not np.isfinite(values).all() or is_constant(values):
        return None
    return mean(values, level=level, unit=NATS_PER_SENTENCE, name="apparent divergence")


def _written(model: LanguageModel, spec: ParitySpec, which: int) -> list[Completion | Failure]:
    return model.sample(
        [
            SampleRequest(
                model.start_ids, spec.sentences, spec.max_sentence_tokens, derive_seed(spec.seed, "parity", which, i)
            )
            for i in range(spec.texts)
        ]
    )


def _require_comparable(first: LanguageModel, second: LanguageModel) -> None:
    a, b = first.info, second.info
    if a.tokenizer != b.tokenizer or first.start_ids != second.start_ids:
        raise TokenizerMismatch(
            f"{a.name} and {b.name} do not read the same token ids (other tokenizers, or another start token); "
            "parity compares backends of one model"
        )

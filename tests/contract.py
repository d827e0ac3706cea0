"""What every LanguageModel must do, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import chi2

from beb.errors import ContextTooShort
from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest, TokenIds
from beb.models.scoring import score_sequences

TOLERANCE_NATS = 1e-4


def check_language_model(model: LanguageModel, *, n_texts: int = 6, n_frequencies: int = 2000) -> None:
    """Assert the whole contract; `n_frequencies` draws of a first token are compared with its distribution."""
    check_identity(model)
    texts = sample_texts(model, n_texts)
    check_completions(model, texts)
    check_independence_of_the_batch(model, texts)
    check_distributions(model, [text.token_ids for text in texts])
    check_rescoring(model, texts)
    check_frequencies(model, n_frequencies)
    check_room(model, texts[0].token_ids)


def requests(model: LanguageModel, n: int, *, prefix: TokenIds = (), first_seed: int = 100) -> list[SampleRequest]:
    return [SampleRequest(model.start_ids + prefix, 2, 12, first_seed + i) for i in range(n)]


def sample_texts(model: LanguageModel, n: int) -> list[Completion]:
    texts = model.sample(requests(model, n))
    completions = [text for text in texts if isinstance(text, Completion)]
    assert len(completions) == n, texts
    return completions


def check_identity(model: LanguageModel) -> None:
    info = model.info
    assert info.name
    assert info.kind
    assert info.fingerprint
    assert info.tokenizer
    assert info.context
    assert model.start_ids
    assert all(0 <= i < info.vocabulary_size for i in model.start_ids)
    assert len(model.start_ids) < info.context_length


def check_completions(model: LanguageModel, texts: Sequence[Completion]) -> None:
    for text in texts:
        ends = text.sentence_ends
        assert list(ends) == sorted(set(ends))
        assert 1 <= len(ends) <= 2
        assert ends[-1] == len(text.token_ids) == len(text.log_probs)
        n_closed = sum(model.ends_sentence(text.token_ids[end - 1]) for end in ends)
        assert len(ends) - text.n_cut <= n_closed
        assert all(stop - start <= 12 for start, stop in zip((0, *ends), ends, strict=False))
        assert text.text == model.decode(text.token_ids)
        assert all(log_prob <= 0 for log_prob in text.log_probs)


def check_independence_of_the_batch(model: LanguageModel, texts: Sequence[Completion]) -> None:
    """The same batch again is the same bit for bit; a request alone, or in another order, gives the same text."""
    asked = requests(model, len(texts))
    assert model.sample(asked) == list(texts)
    alone = [text for request in asked[:3] for text in model.sample([request])]
    assert [t.token_ids for t in alone if isinstance(t, Completion)] == [t.token_ids for t in texts[:3]]
    backwards = model.sample(asked[::-1])[::-1]
    assert [t.token_ids for t in backwards if isinstance(t, Completion)] == [t.token_ids for t in texts]


def check_distributions(model: LanguageModel, sequences: Sequence[TokenIds]) -> None:
    rows = model.distributions(sequences)
    assert rows.n_rows == sum(len(ids) for ids in sequences)
    whole = np.asarray(rows.log_probs(0, rows.n_rows), dtype=np.float64)
    assert whole.shape == (rows.n_rows, model.info.vocabulary_size)
    np.testing.assert_allclose(np.exp(whole).sum(1), 1.0, atol=1e-5)
    middle = rows.n_rows // 2
    np.testing.assert_allclose(
        np.asarray(rows.log_probs(1, middle), dtype=np.float64), whole[1:middle], atol=TOLERANCE_NATS
    )
    shortened = model.distributions([sequences[0][:3], (), sequences[1]])
    np.testing.assert_allclose(np.asarray(shortened.log_probs(0, 3), dtype=np.float64), whole[:3], atol=TOLERANCE_NATS)
    assert shortened.n_rows == 3 + len(sequences[1])
    assert model.distributions([]).n_rows == 0


def check_rescoring(model: LanguageModel, texts: Sequence[Completion]) -> None:
    """Recorded log-probabilities are those of the sampled ids; a divergence from itself is zero."""
    scores = score_sequences([t.token_ids for t in texts], {"m": model}, divergences=[("m", "m")], chunk_rows=7)
    for text, score in zip(texts, scores, strict=True):
        np.testing.assert_allclose(score.log_probs["m"], text.log_probs, atol=TOLERANCE_NATS)
        np.testing.assert_allclose(score.kl["m", "m"], 0.0, atol=1e-6)


def check_frequencies(model: LanguageModel, n: int) -> None:
    """The first uncertain token follows its whole distribution: Pearson's statistic at a limit of 1e-6, never tuned."""
    prefix: TokenIds = ()
    while (probabilities := next_token(model, prefix)).max() > 1 - 1e-9:
        prefix += (int(probabilities.argmax()),)
        assert len(prefix) <= 12
    drawn = model.sample([SampleRequest(model.start_ids + prefix, 1, 1, 5000 + i) for i in range(n)])
    first = np.array([t.token_ids[0] for t in drawn if isinstance(t, Completion)])
    assert len(first) == n
    expected = n * probabilities
    observed = np.bincount(first, minlength=len(expected))
    assert not observed[expected == 0].any()
    common = expected >= 5
    cells = np.column_stack(
        [np.append(expected[common], expected[~common].sum()), np.append(observed[common], observed[~common].sum())]
    )
    cells = cells[cells[:, 0] > 0]
    assert len(cells) >= 2
    statistic = ((cells[:, 1] - cells[:, 0]) ** 2 / cells[:, 0]).sum()
    assert statistic < chi2.isf(1e-6, len(cells) - 1)


def next_token(model: LanguageModel, prefix: TokenIds) -> np.ndarray:
    """(vocabulary,) probabilities of the token after start context and prefix."""
    rows = model.distributions([(*prefix, 0)])
    return np.exp(np.asarray(rows.log_probs(len(prefix), len(prefix) + 1), dtype=np.float64)[0])


def check_room(model: LanguageModel, ids: TokenIds) -> None:
    room = model.info.context_length - len(model.start_ids)
    if room > 20_000:
        return
    long = (ids * (room // len(ids) + 1))[: room + 1]
    (refused,) = model.sample([SampleRequest(model.start_ids + long[: room - 5], 1, 6, 0)])
    assert isinstance(refused, Failure)
    assert refused.kind == "context-full"
    assert model.distributions([long[:room]]).n_rows == room
    with pytest.raises(ContextTooShort, match=str(model.info.context_length)):
        model.distributions([long])

"""The cells of cache that sampling is foreseen to hold are those that it allocates."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from beb.interfaces.language_model import Completion, SampleRequest
from beb.models.cells import GROUP_TOKENS, GROWTH, most_cells
from beb.models.huggingface import HuggingFaceModel
from beb.models.prefixes import plan_prefixes
from beb.models.rowcache import RowCache


class Held:
    """Cells of all row caches that are alive; the most of them so far."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.most = 0
        self._alive: weakref.WeakSet[RowCache] = weakref.WeakSet()
        begin, reserve = RowCache.__init__, RowCache._reserve

        def begun(cache: RowCache, *given: object) -> None:
            begin(cache, *given)  # type: ignore[arg-type]
            self._alive.add(cache)
            self._count()

        def reserved(cache: RowCache, width: int) -> None:
            reserve(cache, width)
            self._count()

        patch.setattr(RowCache, "__init__", begun)
        patch.setattr(RowCache, "_reserve", reserved)

    def _count(self) -> None:
        self.most = max(self.most, sum(each.frame.max_rows * each.frame.columns for each in self._alive))


def nested(model: HuggingFaceModel, n_texts: int, responses: int) -> list[SampleRequest]:
    """Replies after every beginning of each of some texts."""
    rng = np.random.default_rng(3)
    texts = [tuple(int(token) for token in rng.integers(5, 60, 60)) for _ in range(n_texts)]
    prefixes = [model.start_ids + text[:n] + (7,) * 6 for text in texts for n in (12, 24, 36, 60)]
    return [SampleRequest(prefix, 1, 12, 97 * i + r) for i, prefix in enumerate(prefixes) for r in range(responses)]


@pytest.mark.parametrize(
    ("n_texts", "responses"), [(1, 1), (8, 2), (24, 4), (130, 1)], ids=["one text", "few", "many rows", "many groups"]
)
def test_beginnings_and_rows(
    llama: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch, n_texts: int, responses: int
) -> None:
    check(llama, nested(llama, n_texts, responses), monkeypatch)


def test_rows_that_outgrow_their_buffers(llama: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = check(llama, [SampleRequest(llama.start_ids, 20, 10, i) for i in range(4)], monkeypatch)
    assert longest > GROWTH


def check(model: HuggingFaceModel, asked: list[SampleRequest], patch: pytest.MonkeyPatch) -> int:
    """Tokens of the longest text."""
    assert model.row_cache
    plan = plan_prefixes([request.prefix for request in asked], group_tokens=GROUP_TOKENS)
    rests = {i: len(b.rest) for group in plan.groups for t in group for b in t.branches for i in b.requests}
    held = Held(patch)
    texts = model.sample(asked)
    patch.undo()
    lengths = [len(text.token_ids) for text in texts if isinstance(text, Completion)]
    longest = max(rests[i] + length for i, length in enumerate(lengths))
    foreseen = most_cells(plan, asked[0].n_sentences * asked[0].max_sentence_tokens, longest)
    assert 0.8 * foreseen <= held.most <= foreseen
    return longest

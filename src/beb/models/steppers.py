"""Ways to advance many texts by one token: a shared-prefix row cache, the model's own cache, or no cache at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from beb.interfaces.language_model import TokenIds
from beb.models.prefixes import Plan, Trunk, plan_prefixes
from beb.models.rowcache import GROWTH, RowCache, kv_bytes_per_token
from beb.models.weights import Weights

MAX_ROWS = 128
CACHE_BYTES = 2**30
GROUP_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Admission:
    """Requests that begin now. requests: their indices. slots: the row of each. logits: (n, vocabulary) fp32."""

    requests: list[int]
    slots: list[int]
    logits: torch.Tensor


class Stepper(Protocol):
    """Advances the texts in slots 0..n-1."""

    def admit(self, free: Sequence[int]) -> Admission | None:
        """Begin waiting requests in free slots; None if none can begin now."""

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Append one token to each of the texts in slots 0..n-1; (n, vocabulary) fp32 logits of the next."""

    def compact(self, kept: Sequence[int]) -> list[int]:
        """Bring the kept slots to the front; returns the old slot of each new one."""

    @property
    def max_rows(self) -> int:
        """Texts at once."""


def fill_order(kept: Sequence[int]) -> list[int]:
    """Old slot of each new slot when the last kept rows fill the holes of the first ones."""
    n = len(kept)
    movers = [slot for slot in kept if slot >= n]
    staying = set(kept)
    return [slot if slot in staying else movers.pop() for slot in range(n)]


class RowStepper:
    """Every distinct beginning is computed once; a finished text's row is taken over by a waiting request."""

    def __init__(self, weights: Weights, prefixes: Sequence[TokenIds], tokens_to_come: int) -> None:
        self._weights = weights
        self._plan: Plan = plan_prefixes(prefixes, group_tokens=GROUP_TOKENS)
        longest = max(len(p) for p in prefixes)
        row_bytes = kv_bytes_per_token(weights) * (longest + min(tokens_to_come, GROWTH))
        self._max_rows = max(1, min(MAX_ROWS, len(prefixes), max(8, CACHE_BYTES // row_bytes)))
        self._rows = RowCache(weights, self._max_rows, longest + min(tokens_to_come, GROWTH))
        self._groups = deque(self._plan.groups)
        self._ready: deque[tuple[int, RowCache, int, int, torch.Tensor]] = deque()
        self._stem: RowCache | None = None

    @property
    def max_rows(self) -> int:
        return self._max_rows

    def admit(self, free: Sequence[int]) -> Admission | None:
        if not free:
            return None
        if not self._ready:
            if not self._groups:
                return None
            self._prefill(self._groups.popleft())
        taken = [self._ready.popleft() for _ in range(min(len(free), len(self._ready)))]
        slots = list(free[: len(taken)])
        for cache in {id(t[1]): t[1] for t in taken}.values():
            mine = [k for k, t in enumerate(taken) if t[1] is cache]
            self._rows.copy_rows(
                cache, [taken[k][2] for k in mine], [taken[k][3] for k in mine], [slots[k] for k in mine]
            )
        # Repeated requests share one hidden state: its logits are computed once.
        distinct = {id(t[4]): t[4] for t in taken}
        place = {key: k for k, key in enumerate(distinct)}
        logits = self._weights.logits(torch.stack(list(distinct.values())))
        index = torch.tensor([place[id(t[4])] for t in taken], device=logits.device)
        return Admission([t[0] for t in taken], slots, logits[index])

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        hidden = self._rows.extend([(token_id,) for token_id in token_ids])
        return self._weights.logits(hidden[:, 0])

    def compact(self, kept: Sequence[int]) -> list[int]:
        order = fill_order(kept)
        moves = [(old, new) for new, old in enumerate(order) if old != new]
        self._rows.move_rows([old for old, _ in moves], [new for _, new in moves])
        return order

    def _prefill(self, group: tuple[Trunk, ...]) -> None:
        stem = self._plan.stem
        if stem and self._stem is None:
            self._stem = RowCache(self._weights, 1, len(stem))
            self._stem.extend([stem])
        longest = max(len(t.token_ids) for t in group)
        trunks = RowCache(self._weights, len(group), longest)
        if self._stem is not None:
            n = len(group)
            trunks.copy_rows(self._stem, [0] * n, [len(stem)] * n, range(n))
        hidden = trunks.extend([t.token_ids[len(stem) :] for t in group])
        leaving = [(row, branch) for row, trunk in enumerate(group) for branch in trunk.branches if branch.rest]
        for row, trunk in enumerate(group):
            for branch in trunk.branches:
                if not branch.rest:
                    state = hidden[row, branch.shared - 1 - len(stem)]
                    self._ready.extend((r, trunks, row, branch.shared, state) for r in branch.requests)
        if leaving:
            self._branch(trunks, leaving)

    def _branch(self, trunks: RowCache, leaving: list[tuple[int, Any]]) -> None:
        width = max(branch.shared + len(branch.rest) for _, branch in leaving)
        branches = RowCache(self._weights, len(leaving), width)
        branches.copy_rows(trunks, [row for row, _ in leaving], [b.shared for _, b in leaving], range(len(leaving)))
        hidden = branches.extend([branch.rest for _, branch in leaving])
        for row, (_, branch) in enumerate(leaving):
            state = hidden[row, len(branch.rest) - 1]
            length = branch.shared + len(branch.rest)
            self._ready.extend((r, branches, row, length, state) for r in branch.requests)


class OwnCacheStepper:
    """Texts whose prefixes have one length advance together on the cache that the model itself brings."""

    def __init__(self, weights: Weights, prefixes: Sequence[TokenIds]) -> None:
        self._weights = weights
        self._prefixes = prefixes
        by_length: dict[int, list[int]] = {}
        for i, prefix in enumerate(prefixes):
            by_length.setdefault(len(prefix), []).append(i)
        self._waves = deque(
            indices[k : k + MAX_ROWS] for indices in by_length.values() for k in range(0, len(indices), MAX_ROWS)
        )
        self._cache: Any = None
        self._texts: list[list[int]] = []

    @property
    def max_rows(self) -> int:
        return MAX_ROWS

    def admit(self, free: Sequence[int]) -> Admission | None:
        if len(free) < self.max_rows or not self._waves:
            return None
        wave = self._waves.popleft()
        self._texts = [list(self._prefixes[i]) for i in wave]
        self._cache = None
        logits = self._forward(self._texts)
        return Admission(wave, list(range(len(wave))), logits)

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        for text, token_id in zip(self._texts, token_ids, strict=True):
            text.append(token_id)
        return self._forward(self._texts if self._cache is None else [[t] for t in token_ids])

    def compact(self, kept: Sequence[int]) -> list[int]:
        self._texts = [self._texts[slot] for slot in kept]
        if self._cache is not None and kept:
            self._cache.reorder_cache(torch.tensor(list(kept), device=self._weights.device))
        return list(kept)

    def _forward(self, rows: list[list[int]]) -> torch.Tensor:
        """Logits after the last token of rows of equal length; without a usable cache the whole texts are run again."""
        with torch.inference_mode():
            ids = torch.tensor(rows, device=self._weights.device)
            mask = torch.ones((len(rows), len(self._texts[0])), dtype=torch.long, device=ids.device)
            output = self._weights.module(
                input_ids=ids, attention_mask=mask, past_key_values=self._cache, use_cache=True
            )
            cache = getattr(output, "past_key_values", None)
            self._cache = cache if hasattr(cache, "reorder_cache") else None
            logits: torch.Tensor = output.logits[:, -1].float()
            return logits

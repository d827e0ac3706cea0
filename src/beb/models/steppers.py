"""Ways to advance many texts by one token: a shared-prefix row cache, the model's own cache, or no cache at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from beb.interfaces.language_model import TokenIds
from beb.models.prefixes import Branch, Plan, Trunk, plan_prefixes
from beb.models.rowcache import GROWTH, RowCache, kv_bytes_per_token
from beb.models.sharing import Seat, Seating
from beb.models.weights import Weights, batches_by_length

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


@dataclass(frozen=True, slots=True)
class _Ready:
    """A request whose beginning is computed. state: (width,) hidden state after it.

    seat: where its shared tokens are. branches, row, length: the cache, and the tokens there, of what follows them.
    """

    request: int
    seat: Seat
    state: torch.Tensor
    branches: RowCache | None = None
    row: int = 0
    length: int = 0


class RowStepper:
    """Every distinct beginning is computed and kept once; a finished text's row is taken over by a waiting request."""

    def __init__(self, weights: Weights, prefixes: Sequence[TokenIds], tokens_to_come: int) -> None:
        self._weights = weights
        self._plan: Plan = plan_prefixes(prefixes, group_tokens=GROUP_TOKENS)
        trunks = [trunk for group in self._plan.groups for trunk in group]
        own = max(len(branch.rest) for trunk in trunks for branch in trunk.branches) + min(tokens_to_come, GROWTH)
        shared = sum(len(trunk.token_ids) for trunk in trunks) // len(prefixes)
        row_bytes = kv_bytes_per_token(weights) * (own + shared)
        self._max_rows = max(1, min(MAX_ROWS, len(prefixes), max(8, CACHE_BYTES // row_bytes)))
        self._rows = RowCache(weights, self._max_rows, own)
        self._groups = deque(self._plan.groups)
        self._ready: deque[_Ready] = deque()
        self._stem: RowCache | None = None
        self._seats: list[Seat] = []
        self._seating: Seating | None = None

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
        for slot, ready in zip(slots, taken, strict=True):
            self._seats[slot : slot + 1] = [ready.seat]
            self._rows.lengths[slot] = 0
        self._seating = None
        for branches in {id(r.branches): r.branches for r in taken if r.branches is not None}.values():
            mine = [(slot, r) for slot, r in zip(slots, taken, strict=True) if r.branches is branches]
            rows, lengths = [r.row for _, r in mine], [r.length for _, r in mine]
            self._rows.copy_rows(branches, rows, lengths, [slot for slot, _ in mine])
        # Repeated requests share one hidden state: its logits are computed once.
        distinct = {id(r.state): r.state for r in taken}
        place = {key: k for k, key in enumerate(distinct)}
        logits = self._weights.logits(torch.stack(list(distinct.values())))
        index = torch.tensor([place[id(r.state)] for r in taken], device=logits.device)
        return Admission([r.request for r in taken], slots, logits[index])

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        if self._seating is None:
            del self._seats[len(token_ids) :]
            self._seating = Seating(self._seats, self._weights.device)
        hidden = self._rows.extend([(token_id,) for token_id in token_ids], seating=self._seating)
        return self._weights.logits(hidden[:, 0])

    def compact(self, kept: Sequence[int]) -> list[int]:
        order = fill_order(kept)
        moves = [(old, new) for new, old in enumerate(order) if old != new]
        self._rows.move_rows([old for old, _ in moves], [new for _, new in moves])
        self._seats = [self._seats[old] for old in order]
        self._seating = None
        return order

    def _prefill(self, group: tuple[Trunk, ...]) -> None:
        stem = self._plan.stem
        if stem and self._stem is None:
            self._stem = RowCache(self._weights, 1, len(stem))
            self._stem.extend([stem])
        trunks = RowCache(self._weights, len(group), max(len(t.token_ids) for t in group))
        if self._stem is not None:
            n = len(group)
            trunks.copy_rows(self._stem, [0] * n, [len(stem)] * n, range(n))
        states: dict[int, torch.Tensor] = {}
        # The trunks of a group stand in order of their lengths, so every batch is a range of rows.
        for batch in batches_by_length([len(t.token_ids) - len(stem) for t in group]):
            hidden = trunks.extend([group[row].token_ids[len(stem) :] for row in batch], first=batch[0])
            states.update(zip(batch, hidden, strict=True))
        leaving: list[tuple[int, Branch]] = []
        for row, trunk in enumerate(group):
            for branch in trunk.branches:
                if branch.rest:
                    leaving.append((row, branch))
                    continue
                state = states[row][branch.shared - 1 - len(stem)]
                self._ready.extend(_Ready(r, Seat(trunks, row, branch.shared), state) for r in branch.requests)
        if leaving:
            self._branch(trunks, leaving)

    def _branch(self, trunks: RowCache, leaving: Sequence[tuple[int, Branch]]) -> None:
        seats = [Seat(trunks, row, branch.shared) for row, branch in leaving]
        branches = RowCache(self._weights, len(leaving), max(len(branch.rest) for _, branch in leaving))
        hidden = branches.extend([branch.rest for _, branch in leaving], seating=Seating(seats, self._weights.device))
        for row, ((_, branch), seat) in enumerate(zip(leaving, seats, strict=True)):
            length = len(branch.rest)
            state = hidden[row, length - 1]
            self._ready.extend(_Ready(r, seat, state, branches, row, length) for r in branch.requests)


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

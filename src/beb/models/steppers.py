"""Ways to advance many texts by one token: a shared-prefix row cache, the model's own cache, or no cache at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from beb.interfaces.language_model import TokenIds
from beb.models.cells import GROUP_TOKENS, GROWTH, MAX_ROWS, first_columns, group_cells
from beb.models.memory import KEPT, PASS, ROWS
from beb.models.prefixes import Branch, Plan, Trunk, plan_prefixes
from beb.models.rowcache import RowCache, kv_bytes_per_token, row_pass_bytes
from beb.models.sharing import Beginnings, Seat, Seating
from beb.models.sizes import n_heads
from beb.models.weights import Weights, batches_by_length


class RowsOutgrown(Exception):  # noqa: N818 - no error: the texts go on, fewer of them at once
    """The growing texts no longer fit into the memory budget."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Requests that begin now. requests: their indices. slots: the row of each.

    states: what `Stepper.logits` takes, once for requests that have it in common. state_of: index of each, ascending.
    """

    requests: list[int]
    slots: list[int]
    states: torch.Tensor
    state_of: list[int]


class Stepper(Protocol):
    """Advances the texts in slots 0..n-1."""

    def admit(self, free: Sequence[int]) -> Admission | None:
        """Begin waiting requests in free slots; None if none can begin now."""

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Append one token to each of the texts in slots 0..n-1; (n, ...) states, of which come the next.

        Raises: RowsOutgrown if there is no room for it.
        """

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(n, vocabulary) fp32 logits of the token after each state."""

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

    def __init__(self, weights: Weights, prefixes: Sequence[TokenIds], tokens_to_come: int, *, max_rows: int) -> None:
        """max_rows: texts at once; fewer if the memory budget has no room for so many."""
        self._weights = weights
        self._token_bytes = kv_bytes_per_token(weights)
        group_tokens = weights.memory.fits(KEPT / 4, self._token_bytes, at_most=GROUP_TOKENS)
        self._plan: Plan = plan_prefixes(prefixes, group_tokens=group_tokens)
        trunks = [trunk for group in self._plan.groups for trunk in group]
        own = first_columns(self._plan, tokens_to_come)
        shared = sum(len(trunk.token_ids) for trunk in trunks) // len(prefixes)
        self._max_rows = weights.memory.fits(
            KEPT, self._token_bytes * (own + shared), at_most=min(max_rows, len(prefixes))
        )
        columns = own + max(len(trunk.token_ids) for trunk in trunks)
        scores = 16 * n_heads(weights.module.config.get_text_config()) * columns
        step_bytes = row_pass_bytes(weights, columns) + scores
        self._max_rows = min(self._max_rows, weights.memory.fits(PASS, step_bytes, at_most=self._max_rows))
        self._rows = RowCache(weights, self._max_rows, own)
        self._groups = deque(self._plan.groups)
        self._ready: deque[_Ready] = deque()
        self._stem: RowCache | None = None
        self._seats: list[Seat | None] = []
        self._seating: Seating | None = None

    @property
    def max_rows(self) -> int:
        return self._max_rows

    def admit(self, free: Sequence[int]) -> Admission | None:
        if not free:
            return None
        if not self._ready and not self._prepare(free):
            return None
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
        # Repeated requests, which follow one another, share one hidden state: its logits are computed once.
        distinct = {id(r.state): r.state for r in taken}
        place = {key: k for k, key in enumerate(distinct)}
        states = torch.stack(list(distinct.values()))
        return Admission([r.request for r in taken], slots, states, [place[id(r.state)] for r in taken])

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        del self._seats[len(token_ids) :]
        grown = max(self._rows.lengths[: len(token_ids)]) + 1
        if grown > self._rows.frame.columns and self._max_rows > 1:
            wanted = self._max_rows * (grown + GROWTH) * self._token_bytes
            if wanted + self._held_bytes() > self._weights.memory.room(KEPT):
                raise RowsOutgrown
        if self._seating is None:
            self._seating = Seating([seat for seat in self._seats if seat is not None], self._weights.device)
        hidden = self._rows.extend([(token_id,) for token_id in token_ids], seating=self._seating)
        return hidden[:, 0]

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return self._weights.logits(states)

    def compact(self, kept: Sequence[int]) -> list[int]:
        order = fill_order(kept)
        moves = [(old, new) for new, old in enumerate(order) if old != new]
        self._rows.move_rows([old for old, _ in moves], [new for _, new in moves])
        self._seats = [self._seats[old] for old in order]
        self._seating = None
        return order

    def _prepare(self, free: Sequence[int]) -> bool:
        """Compute the next beginnings; False if there are none, or no room for them while other texts grow."""
        if not self._groups:
            return False
        group = self._groups[0]
        for slot in free:
            if slot < len(self._seats):
                self._seats[slot] = None
        if any(seat is not None for seat in self._seats):
            wanted = group_cells(group) * self._token_bytes + self._rows.n_bytes
            if wanted + self._held_bytes() > self._weights.memory.room(KEPT):
                return False
        self._seating = None
        self._prefill(self._groups.popleft())
        return True

    def _held_bytes(self) -> int:
        """Bytes of the beginnings that texts stand behind."""
        held: dict[int, Beginnings] = {id(seat.beginnings): seat.beginnings for seat in self._seats if seat is not None}
        for ready in self._ready:
            held[id(ready.seat.beginnings)] = ready.seat.beginnings
            if ready.branches is not None:
                held[id(ready.branches)] = ready.branches
        return sum(each.n_bytes for each in held.values()) + (0 if self._stem is None else self._stem.n_bytes)

    def _prefill(self, group: tuple[Trunk, ...]) -> None:
        stem = self._plan.stem
        if stem and self._stem is None:
            self._stem = RowCache(self._weights, 1, len(stem))
            self._stem.extend([stem])
        trunks = RowCache(self._weights, len(group), max(len(t.token_ids) for t in group))
        if self._stem is not None:
            n = len(group)
            trunks.copy_rows(self._stem, [0] * n, [len(stem)] * n, range(n))
        leaving: list[tuple[int, Branch]] = []
        # The trunks of a group stand in order of their lengths, so every batch is a range of rows.
        limit = self._weights.pass_tokens(len(group[0].token_ids))
        for batch in batches_by_length([len(t.token_ids) - len(stem) for t in group], tokens=limit):
            hidden = trunks.extend([group[row].token_ids[len(stem) :] for row in batch], first=batch[0])
            for row, states in zip(batch, hidden, strict=True):
                for branch in group[row].branches:
                    if branch.rest:
                        leaving.append((row, branch))
                        continue
                    state = states[branch.shared - 1 - len(stem)].clone()
                    self._ready.extend(_Ready(r, Seat(trunks, row, branch.shared), state) for r in branch.requests)
        if leaving:
            self._branch(trunks, leaving)

    def _branch(self, trunks: RowCache, leaving: Sequence[tuple[int, Branch]]) -> None:
        weights = self._weights
        seats = [Seat(trunks, row, branch.shared) for row, branch in leaving]
        branches = RowCache(weights, len(leaving), max(len(branch.rest) for _, branch in leaving))
        first = 0
        while first < len(leaving):
            size = row_pass_bytes(weights, branches.frame.columns, Seating(seats[first:], weights.device))
            stop = first + weights.memory.fits(PASS, size, at_most=len(leaving) - first)
            seating = Seating(seats[first:stop], weights.device)
            hidden = branches.extend([branch.rest for _, branch in leaving[first:stop]], first=first, seating=seating)
            for row, states in enumerate(hidden, start=first):
                branch = leaving[row][1]
                state = states[len(branch.rest) - 1].clone()
                ready = (_Ready(r, seats[row], state, branches, row, len(branch.rest)) for r in branch.requests)
                self._ready.extend(ready)
            first = stop


class OwnCacheStepper:
    """Texts whose prefixes have one length advance together on the cache that the model itself brings."""

    def __init__(self, weights: Weights, prefixes: Sequence[TokenIds], tokens_to_come: int, *, max_rows: int) -> None:
        """max_rows: texts at once; fewer if the memory budget has no room for so many."""
        self._weights = weights
        self._prefixes = prefixes
        by_length: dict[int, list[int]] = {}
        for i, prefix in enumerate(prefixes):
            by_length.setdefault(len(prefix), []).append(i)
        self._waves: deque[list[int]] = deque()
        for length, indices in by_length.items():
            size = min(max_rows, self._wave(length, min(tokens_to_come, GROWTH)))
            self._waves.extend(indices[k : k + size] for k in range(0, len(indices), size))
        self._max_rows = max(len(wave) for wave in self._waves)
        self._cache: Any = None
        self._texts: list[list[int]] = []

    def _wave(self, length: int, to_come: int) -> int:
        """Texts of a length that fit into the memory budget side by side."""
        weights, memory = self._weights, self._weights.memory
        row = weights.row_bytes * (1 if weights.takes_rows else length) + weights.working_bytes
        kept = memory.fits(KEPT, kv_bytes_per_token(weights) * (length + to_come), at_most=MAX_ROWS)
        passed = memory.fits(PASS, row_pass_bytes(weights, length) * length, at_most=MAX_ROWS)
        return min(kept, passed, memory.fits(ROWS, row + 6 * weights.row_bytes, at_most=MAX_ROWS))

    @property
    def max_rows(self) -> int:
        return self._max_rows

    def admit(self, free: Sequence[int]) -> Admission | None:
        if len(free) < self.max_rows or not self._waves:
            return None
        wave = self._waves.popleft()
        self._texts = [list(self._prefixes[i]) for i in wave]
        self._cache = None
        slots = list(range(len(wave)))
        return Admission(wave, slots, self._forward(self._texts), slots)

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        tokens = len(self._texts) * (len(self._texts[0]) + 1)
        if len(self._texts) > 1 and tokens * kv_bytes_per_token(self._weights) > self._weights.memory.room(KEPT):
            raise RowsOutgrown
        for text, token_id in zip(self._texts, token_ids, strict=True):
            text.append(token_id)
        return self._forward(self._texts if self._cache is None else [[t] for t in token_ids])

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states

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
            last = {"logits_to_keep": 1} if self._weights.takes_rows else {}
            output = self._weights.module(
                input_ids=ids, attention_mask=mask, past_key_values=self._cache, use_cache=True, **last
            )
            cache = getattr(output, "past_key_values", None)
            self._cache = cache if hasattr(cache, "reorder_cache") else None
            logits: torch.Tensor = output.logits[:, -1].float()
            return logits.cpu() if logits.device.type == "mps" else logits

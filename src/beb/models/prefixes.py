"""Which prefixes share a beginning, so that it is computed once."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from beb.interfaces.language_model import TokenIds

MINIMUM_STEM = 8


@dataclass(frozen=True, slots=True)
class Branch:
    """A prefix that leaves a trunk after `shared` tokens and goes on with `rest` (empty: it is part of the trunk).

    requests: indices of the requests that have this prefix.
    """

    shared: int
    rest: TokenIds
    requests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trunk:
    """A prefix computed in full, and the branches that leave it (itself included, if it was asked for)."""

    token_ids: TokenIds
    branches: tuple[Branch, ...]

    @property
    def cost_tokens(self) -> int:
        """Tokens of cache that the trunk and its branches take."""
        return len(self.token_ids) + sum(len(b.rest) for b in self.branches)


@dataclass(frozen=True, slots=True)
class Plan:
    """stem: tokens with which every prefix begins, possibly none. groups: trunks prefilled together, in order."""

    stem: TokenIds
    groups: tuple[tuple[Trunk, ...], ...]


def shared_length(first: TokenIds, second: TokenIds) -> int:
    """Number of equal tokens at the beginning."""
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    return next(i for i in range(limit) if first[i] != second[i])


def plan_prefixes(prefixes: Sequence[TokenIds], *, group_tokens: int) -> Plan:
    """Trunks and branches for the prefixes of requests 0, 1, ...; at most `group_tokens` of cache a group, if possible.

    A prefix becomes a branch where a longer one shares at least half of it.
    """
    requests: dict[TokenIds, list[int]] = {}
    for i, prefix in enumerate(prefixes):
        requests.setdefault(prefix, []).append(i)
    trunks: list[TokenIds] = []
    branches: dict[TokenIds, list[Branch]] = {}
    # The longest common beginning with any member of a sorted list is with a neighbour.
    for prefix in sorted(requests, key=lambda p: (-len(p), p)):
        at = bisect.bisect_left(trunks, prefix)
        neighbours = trunks[max(at - 1, 0) : at + 1]
        best = max(neighbours, key=lambda trunk: shared_length(prefix, trunk), default=None)
        shared = shared_length(prefix, best) if best is not None else 0
        if best is None or 2 * shared < len(prefix):
            trunks.insert(at, prefix)
            best, shared = prefix, len(prefix)
        branches.setdefault(best, []).append(Branch(shared, prefix[shared:], tuple(requests[prefix])))
    ordered = sorted(trunks, key=lambda t: (-len(t), branches[t][0].requests))
    return Plan(_stem(list(requests)), _groups([Trunk(t, tuple(branches[t])) for t in ordered], group_tokens))


def _stem(prefixes: list[TokenIds]) -> TokenIds:
    if len(prefixes) < 2:
        return ()
    shared = shared_length(min(prefixes), max(prefixes))
    shared = min(shared, min(len(p) for p in prefixes) - 1)
    return prefixes[0][:shared] if shared >= MINIMUM_STEM else ()


def _groups(trunks: list[Trunk], group_tokens: int) -> tuple[tuple[Trunk, ...], ...]:
    groups: list[list[Trunk]] = []
    filled = 0
    for trunk in trunks:
        if groups and filled + trunk.cost_tokens <= group_tokens:
            groups[-1].append(trunk)
            filled += trunk.cost_tokens
        else:
            groups.append([trunk])
            filled = trunk.cost_tokens
    return tuple(tuple(group) for group in groups)

"""How much of a cache of keys and values sampling holds, in cells: one token of one row is one of them."""

from __future__ import annotations

from collections.abc import Sequence

from beb.models.prefixes import Plan, Trunk

MAX_ROWS = 128
"""Texts that grow at once."""

GROUP_TOKENS = 4096
"""Tokens of beginnings that are computed together."""

GROWTH = 128
"""Columns added at a time when a row outgrows its buffers."""


def group_cells(group: Sequence[Trunk]) -> int:
    """Of a group of beginnings: its trunks side by side, the longest first, and side by side what leaves them."""
    rests = [len(branch.rest) for trunk in group for branch in trunk.branches if branch.rest]
    return len(group) * len(group[0].token_ids) + len(rests) * max(rests, default=0)


def first_columns(plan: Plan, tokens_to_come: int) -> int:
    """Columns that the rows of growing texts have at first. tokens_to_come: of a text, at most."""
    every = (branch for group in plan.groups for trunk in group for branch in trunk.branches)
    return max(len(branch.rest) for branch in every) + min(tokens_to_come, GROWTH)


def most_cells(plan: Plan, tokens_to_come: int, longest: int) -> int:
    """The most at once while texts are sampled, if the budget has room for it.

    The rows of the growing texts, and the beginnings that they stand behind: while one text of a group still grows,
    those of the groups after it may have taken all other rows.
    longest: tokens of the longest text that comes out, with what it has of its own before them.
    """
    asked = [sum(len(branch.requests) for trunk in group for branch in trunk.branches) for group in plan.groups]
    cells = [group_cells(group) for group in plan.groups]
    beginnings = 0
    for i in range(len(cells)):
        held, rows = cells[i], 0
        for after, n in zip(cells[i + 1 :], asked[i + 1 :], strict=True):
            if rows >= MAX_ROWS - 1:
                break
            held, rows = held + after, rows + n
        beginnings = max(beginnings, held)
    columns = first_columns(plan, tokens_to_come)
    while columns < longest:
        columns += 1 + GROWTH
    return len(plan.stem) + beginnings + min(MAX_ROWS, sum(asked)) * columns

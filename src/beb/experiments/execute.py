"""Carries out the missing items of a plan, one after another, each committed as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from beb.experiments.plan import Item
from beb.experiments.store import Rows, Store

Progress = Callable[[str, float, float], None]
"""Called with what is being done, the work finished so far and the whole work (any one unit)."""


class Executor(Protocol):
    """Anything that turns an item into its rows."""

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        ...


def execute(
    store: Store,
    items: Sequence[Item],
    worker: Executor,
    *,
    progress: Progress | None = None,
    after: Callable[[Item], None] | None = None,
) -> None:
    """Run every item that the store does not have yet, in order.

    after: called once each item is stored (or was stored before); it may raise to stop the run.
    """
    done = store.done()
    total = sum(item.weight for item in items)
    finished = 0.0
    for item in items:
        if progress is not None:
            progress(item.kind, finished, total)
        if item.key not in done:
            started = time.perf_counter()
            rows = worker.run(item)
            store.commit(item.key, item.kind, rows, time.perf_counter() - started)
        finished += item.weight
        if after is not None:
            after(item)
    if progress is not None:
        progress("done", total, total)

"""Carries out the missing items of a plan, each as soon as the rows that it reads are there, each committed as a whole.

There is one loop, whoever does the work: a crew of one in this process, or workers on many machines.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from beb.experiments.plan import Item
from beb.experiments.reads import Reads, needed_items
from beb.experiments.store import Rows, Store
from beb.models.hardware import Hardware

Progress = Callable[[str, float, float], None]
"""Called with what is being done, the work finished so far and the whole work (any one unit)."""


class Worker(Protocol):
    """Anything that turns an item into its rows."""

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """An item that was carried out. seconds: that it took."""

    item: Item
    rows: Rows
    seconds: float


class Crew(Protocol):
    """One worker or many, with everything loaded that the items need."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """What was loaded determines of the rows: fingerprints, versions, and what the experiment prepares."""
        ...

    def begin(self, store: Store, uses: Mapping[str, int]) -> None:
        """Make ready for items of the run in `store`. The crew reads from it; it never writes into it.

        uses: per item, done or not, how many of the items to come read its rows.
        """
        ...

    def can_start(self) -> bool:
        """Whether a worker is free."""
        ...

    def start(self, item: Item, needed: Sequence[str]) -> None:
        """Let a free worker begin. needed: keys of the finished items whose rows it reads."""
        ...

    def wait(self) -> Finished | None:
        """What is finished next; None if only the crew has changed. An item that a worker lost is begun again."""
        ...


class Executor(Protocol):
    """Where items are carried out: here (`beb.experiments.local`), or on a cluster (`beb.experiments.cluster`)."""

    def crew(
        self, experiment: Any, spec: Any, *, offline: bool, hardware: Hardware, progress: Progress | None
    ) -> AbstractContextManager[Crew]:
        """A crew that has loaded what the specification names.

        hardware: of each worker; one on another machine finds out there what "auto" is.
        Raises: what the experiment's `load` and `prepare` raise.
        """
        ...

    def lasting(self) -> AbstractContextManager[Executor]:
        """The same for several runs, one after another: what is loaded for one stays for those that need it too.

        Nothing stays when the block is left.
        """
        ...


def execute(
    store: Store,
    items: Sequence[Item],
    crew: Crew,
    *,
    reads: Reads,
    progress: Progress | None = None,
    after: Callable[[Item], None] | None = None,
) -> None:
    """Run every item that the store does not have yet, in the plan's order as far as the crew and `reads` allow.

    reads: see `beb.experiments.reads`. after: called once each item is stored (or was stored before); it may raise to
    stop the run, and nothing that stands after a gate is begun before that.
    """
    done = store.done()
    total = sum(item.weight for item in items)
    for item in items:
        if item.key in done and after is not None:
            after(item)
    queue = _Queue(items, done, reads)
    finished = sum(item.weight for item in items if item.key in done)
    crew.begin(store, queue.uses())
    while queue.left:
        while crew.can_start() and (begun := queue.next()) is not None:
            if progress is not None:
                progress(begun.kind, finished, total)
            crew.start(begun, queue.needed[begun.key])
        ended = crew.wait()
        if ended is None:
            continue
        store.commit(ended.item.key, ended.item.kind, ended.rows, ended.seconds)
        queue.finish(ended.item)
        finished += ended.item.weight
        if after is not None:
            after(ended.item)
    if progress is not None:
        progress("done", total, total)


class _Queue:
    """The items that are not done, each held back until what it needs is. needed: keys that each item reads."""

    def __init__(self, items: Sequence[Item], done: set[str], reads: Reads) -> None:
        self._items = items
        self._position = {item.key: i for i, item in enumerate(items)}
        self.needed: dict[str, tuple[str, ...]] = {}
        self._missing: dict[str, int] = {}
        self._waiting: dict[str, list[str]] = {}
        gates: list[str] = []
        for item, before in needed_items(items, reads):
            if item.key not in done:
                self.needed[item.key] = tuple(other.key for other in before)
                awaited = {key for key in (*self.needed[item.key], *gates) if key not in done}
                self._missing[item.key] = len(awaited)
                for key in awaited:
                    self._waiting.setdefault(key, []).append(item.key)
            if item.is_gate:
                gates.append(item.key)
        self._ready = [self._position[key] for key, n in self._missing.items() if n == 0]
        heapq.heapify(self._ready)
        self.left = len(self._missing)

    def uses(self) -> Counter[str]:
        """How many items that are not done read each item."""
        return Counter(key for needed in self.needed.values() for key in needed)

    def next(self) -> Item | None:
        """The first item of the plan that can begin now."""
        return self._items[heapq.heappop(self._ready)] if self._ready else None

    def finish(self, item: Item) -> None:
        """The item's rows are stored."""
        self.left -= 1
        for key in self._waiting.pop(item.key, ()):
            self._missing[key] -= 1
            if self._missing[key] == 0:
                heapq.heappush(self._ready, self._position[key])


class HereCrew:
    """The crew of one: a worker in this process. make: the worker, from the store of the run."""

    def __init__(self, meta: Mapping[str, Any], make: Callable[[Store], Worker]) -> None:
        self.meta = meta
        self._make = make
        self._worker: Worker | None = None
        self._item: Item | None = None

    def begin(self, store: Store, _uses: Mapping[str, int]) -> None:
        """See `Crew`."""
        self._worker = self._make(store)

    def can_start(self) -> bool:
        """See `Crew`."""
        return self._item is None

    def start(self, item: Item, _needed: Sequence[str]) -> None:
        """See `Crew`; the worker reads the store itself."""
        self._item = item

    def wait(self) -> Finished | None:
        """See `Crew`."""
        assert self._worker is not None
        assert self._item is not None
        item, self._item = self._item, None
        started = time.perf_counter()
        rows = self._worker.run(item)
        return Finished(item, rows, time.perf_counter() - started)

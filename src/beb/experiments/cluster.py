"""Work items on a Ray cluster: each worker holds its models once; this process alone writes into the run folder."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from beb.errors import BadSpec, BebError, ClusterError, WorkersLost
from beb.experiments.cluster_connection import LOOK_SECONDS, Head, as_resources, connected, refuse_share, told
from beb.experiments.execute import Crew, Finished, Progress
from beb.experiments.experiment import Experiment, silent
from beb.experiments.plan import Item
from beb.experiments.registry import known_experiments
from beb.experiments.remote import Recipe, RemoteWorker
from beb.experiments.store import Rows, Store, differences
from beb.models.hardware import Hardware
from beb.models.shelf import Shelf

MOST_LOSSES = 3
"""Workers that one item, or loading, may lose before the run stops."""


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """Spreads items over a Ray cluster.

    address: of the cluster; None for the one that the environment (RAY_ADDRESS) or this machine knows, and otherwise a
    new one on this machine. workers: at most so many (0 for as many as there is room for, also on nodes that join
    later). cpus, gpus: of one worker; None for one GPU each where there are any, and otherwise one worker per node.
    """

    address: str | None = None
    workers: int = 0
    cpus: float | None = None
    gpus: float | None = None
    held: Held | None = field(default=None, compare=False, repr=False)
    """What stays from one run to the next, inside `lasting`."""

    @contextmanager
    def lasting(self) -> Iterator[RayExecutor]:
        """See `beb.experiments.execute.Executor`."""
        if self.held is not None:
            yield self
            return
        with ExitStack() as until:
            held = Held(until)
            try:
                yield replace(self, held=held)
            finally:
                held.dismiss()

    @contextmanager
    def crew(
        self,
        experiment: Experiment[Any, Any, Any],
        spec: Any,
        *,
        offline: bool,
        hardware: Hardware,
        progress: Progress | None,
    ) -> Iterator[Crew]:
        """See `beb.experiments.execute.Executor`. Raises: ClusterError, and what loading raises on the workers."""
        if experiment.name not in known_experiments():
            raise ClusterError(f"workers know {', '.join(known_experiments())} by name, and not {experiment.name!r}")
        recipe = Recipe(experiment.name, spec.model_dump(mode="json"), offline, hardware)
        with self.lasting() as lasting:
            held = lasting.held
            assert held is not None
            ray = held.connect(self.address)
            share = self._share(ray)
            refuse_share(ray, share)
            crew = RayCrew(held, recipe, share, self.workers, progress or silent)
            try:
                crew.load()
                yield crew
            finally:
                crew.leave()

    def _share(self, ray: Any) -> dict[str, float]:
        """What one worker takes of a node."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = self.gpus if self.gpus is not None else float(any(node.get("GPU", 0) >= 1 for node in nodes))
        if self.cpus is not None:
            return {"num_cpus": self.cpus, "num_gpus": gpus}
        fewest = min((node["CPU"] for node in nodes if node.get("CPU", 0) >= 1), default=1.0)
        return {"num_cpus": 1.0 if gpus else fewest, "num_gpus": gpus}


def ray_executor(options: str) -> RayExecutor:
    """The executor that "ray" or "ray:NAME=VALUE,..." names; the names are its fields.

    Raises: BadSpec.
    """
    accepted = "address=HOST:PORT, workers=N, cpus=X, gpus=X"
    found: dict[str, Any] = {}
    for part in filter(None, options.split(",")):
        name, _, value = part.strip().partition("=")
        try:
            if name == "address" and value:
                found[name] = value
            elif name == "workers":
                found[name] = int(value)
            elif name in ("cpus", "gpus"):
                found[name] = float(value)
        except ValueError:
            found.pop(name, None)
        if name not in found or (name != "address" and not 0 <= found[name] < math.inf):
            raise BadSpec(f"--executor ray: {part!r} is not understood; accepted: {accepted}")
    return RayExecutor(**found)


class _Far:
    """What runs on a node: one worker after another, loaded when it is told to, on models that stay."""

    def __init__(self) -> None:
        self._worker: RemoteWorker | None = None
        self._shelf = Shelf()

    def place(self) -> tuple[str, int]:
        """Node and process."""
        import ray

        return ray.get_runtime_context().get_node_id(), os.getpid()

    def load(self, recipe: Recipe) -> tuple[Mapping[str, Any], tuple[str, ...]] | BebError:
        """See `RemoteWorker.meta`; and names of the models that this process has loaded so far."""
        self._worker = None  # nothing that it holds may stand beside another model
        try:
            self._worker = RemoteWorker(recipe, self._shelf)
        except BebError as error:
            return error
        return self._worker.meta, tuple(load.name for load in self._shelf.loads)

    def run(
        self, meta: Mapping[str, Any], item: Item, keys: Sequence[str], *rows: Rows
    ) -> tuple[Rows, float] | BebError:
        """Rows and seconds. keys, rows: what the item reads."""
        assert self._worker is not None
        started = time.perf_counter()
        try:
            return self._worker.run(meta, item, dict(zip(keys, rows, strict=True))), time.perf_counter() - started
        except BebError as error:
            return error


@dataclass(slots=True)
class _Hand:
    """A worker as this process sees it.

    node: "" until it has a place. item: that it carries out. kept: from an earlier run, not loaded for this one yet.
    """

    actor: Any
    node: str = ""
    process: int = 0
    loading: bool = False
    loaded: bool = False
    item: Item | None = None
    kept: bool = False


@dataclass(slots=True)
class Held:
    """What stays from one run to the next. until: where the connection ends. hands: workers that have a place, between
    runs. loads: names of the models that each has loaded, in order, by node and process.
    """

    until: ExitStack
    ray: Any = None
    head: Head = field(default_factory=lambda: Head(None))
    hands: list[_Hand] = field(default_factory=list)
    loads: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def connect(self, address: str | None) -> Any:
        """The library, connected to a cluster. Raises: ClusterError."""
        if self.ray is None:
            self.ray = self.until.enter_context(connected(address))
            self.head = Head.of(self.ray)
        return self.ray

    def dismiss(self, chosen: Callable[[_Hand], bool] = lambda _: True) -> None:
        """Let workers go, by default all."""
        for hand in [hand for hand in self.hands if chosen(hand)]:
            if not self.head.is_missed:  # there is nobody to do it
                with suppress(Exception):  # one that is dead already
                    self.ray.kill(hand.actor)
            self.hands.remove(hand)


@dataclass(slots=True)
class RayCrew:
    """See `beb.experiments.execute.Crew`.

    held: the connection; workers of the runs before, and of this one. share: of a node that one worker takes. most:
    workers; 0 for any number. carried: items by node. losses: workers that died, by the item that they carried out.
    """

    held: Held
    recipe: Recipe
    share: Mapping[str, float]
    most: int
    progress: Progress
    meta: Mapping[str, Any] = field(default_factory=dict)
    carried: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    _due: dict[Any, tuple[_Hand, str]] = field(default_factory=dict)
    _run_meta: Any = None
    _rows: dict[str, Any] = field(default_factory=dict)
    _uses: Counter[str] = field(default_factory=Counter)
    _again: list[tuple[Item, Sequence[str]]] = field(default_factory=list)
    _needed: dict[str, Sequence[str]] = field(default_factory=dict)
    _reasons: dict[str, str] = field(default_factory=dict)

    @property
    def placed(self) -> list[tuple[str, int]]:
        """Node and process of every worker that has a place."""
        return [(hand.node, hand.process) for hand in self.held.hands if hand.node]

    def load(self) -> None:
        """Wait until the first worker has loaded everything; the others load while it works."""
        wanted = told(as_resources(self.share))
        self.progress("loading" if self.held.hands else f"waiting for a worker ({wanted})", 0, 1)
        self._hire()
        self._let_load()
        while not self.meta:
            self._attend()

    def begin(self, store: Store, uses: Mapping[str, int]) -> None:
        """See `Crew`. What will be read waits in the cluster's memory until nobody reads it any more."""
        self._uses.update(uses)
        self._run_meta = self.held.ray.put(store.meta())
        done = store.done() & set(uses)
        found = store.written_by(done)
        self._rows = {key: self.held.ray.put(found.pop(key, {})) for key in done}

    def can_start(self) -> bool:
        """See `Crew`."""
        while self._again and (hand := self._free()) is not None:
            self._give(hand, *self._again.pop(0))
        return self._free() is not None

    def start(self, item: Item, needed: Sequence[str]) -> None:
        """See `Crew`."""
        hand = self._free()
        assert hand is not None
        self._give(hand, item, needed)

    def wait(self) -> Finished | None:
        """See `Crew`. Raises: what the worker raised; WorkersLost."""
        return self._attend()

    def leave(self) -> None:
        """Let go of what is of this run, and of workers that are still at work or have no place."""
        self._rows.clear()
        self.held.dismiss(lambda hand: hand.item is not None or not hand.node)
        self.held.hands.sort(key=lambda hand: not hand.loaded)  # for the first of them the next run waits
        for hand in self.held.hands:
            hand.loading, hand.loaded, hand.kept = False, False, True

    def _free(self) -> _Hand | None:
        return next((hand for hand in self.held.hands if hand.loaded and hand.item is None), None)

    def _hire(self) -> None:
        """Ask for one more worker, unless one is still without a place or there are enough."""
        waiting = any(not hand.node for hand in self.held.hands)
        if waiting or (self.most and len(self.held.hands) >= self.most):
            return
        hand = _Hand(self.held.ray.remote(**self.share)(_Far).remote())
        self.held.hands.append(hand)
        self._due[hand.actor.place.remote()] = hand, "place"

    def _give(self, hand: _Hand, item: Item, needed: Sequence[str]) -> None:
        rows = [self._rows[key] for key in needed]
        hand.item, self._needed[item.key] = item, needed
        self._due[hand.actor.run.remote(self._run_meta, item, list(needed), *rows)] = hand, "run"

    def _attend(self) -> Finished | None:
        """Take note of the next thing that happened, if anything did; returns the item that it finished."""
        self.held.head.look()
        ready, _ = self.held.ray.wait(list(self._due), num_returns=1, timeout=LOOK_SECONDS)
        if not ready:
            return None
        hand, what = self._due.pop(ready[0])
        try:
            answer = self.held.ray.get(ready[0])
        except self.held.ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            raise (cause if isinstance(cause, Exception) else error) from None
        except self.held.ray.exceptions.RayError as error:
            self._lost(hand, error)
            return None
        if isinstance(answer, BebError):
            raise answer
        if what == "place":
            hand.node, hand.process = answer
            self._hire()
        elif what == "load":
            meta, self.held.loads[hand.node, hand.process] = answer
            self._check(hand, meta)
            hand.loaded, hand.kept, self.meta = True, False, self.meta or meta
        if what != "run":
            self._let_load()
            return None
        assert hand.item is not None
        item, hand.item = hand.item, None
        rows, seconds = answer
        if self._uses[item.key]:
            self._rows[item.key] = self.held.ray.put(rows)
        for key in self._needed.pop(item.key):
            self._uses[key] -= 1
            if not self._uses[key]:
                del self._rows[key]
        self.carried[hand.node] += 1
        return Finished(item, rows, seconds)

    def _let_load(self) -> None:
        """The first worker loads alone: what it fits or fetches is in the cache when the others do."""
        for hand in self.held.hands:
            first = not self.meta and not any(other.loading for other in self.held.hands)
            if hand.node and not hand.loading and (self.meta or first):
                hand.loading = True
                self._due[hand.actor.load.remote(self.recipe)] = hand, "load"

    def _check(self, hand: _Hand, meta: Mapping[str, Any]) -> None:
        if self.meta and (found := differences(self.meta, meta)):
            raise ClusterError(
                f"a worker on node {hand.node[:8]} has loaded something else than the first ({'; '.join(found)}); "
                "install the same versions on all nodes and let them share one cache folder (BEB_CACHE)"
            )

    def _lost(self, hand: _Hand, error: Exception) -> None:
        """A worker has died: what it did is begun again by another one."""
        self.held.dismiss(lambda other: other is hand)
        self._due = {ref: due for ref, due in self._due.items() if due[0] is not hand}
        task = hand.item.key if hand.item is not None else "loading"
        if not hand.kept:  # one that may have died between two runs does not speak against this one
            self.losses[task] += 1
            self._reasons.setdefault(task, " ".join(str(error).split()))
        if self.losses[task] >= MOST_LOSSES:
            raise WorkersLost(
                f"{task} has lost {MOST_LOSSES} workers; finished work is kept: mend what the first of them died of, "
                f"and run again (for more memory: more of a node for each, --executor ray:cpus=N). It said: "
                f"{self._reasons[task]}"
            )
        if hand.item is not None:
            self._again.append((hand.item, self._needed[hand.item.key]))
        self._hire()
        self._let_load()

"""How fast this machine is with a model: a few items of each kind of a run, carried out and timed, and thrown away."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from beb.experiments.chat_api.experiment import ChatApiSubjects
from beb.experiments.execute import Progress
from beb.experiments.experiment import Experiment, silent
from beb.experiments.forecast import TRAINING_FACTOR, Busy, Growth, Pace, Speed, fitting_tokens
from beb.experiments.imaginary import Lengths
from beb.experiments.personas.subjects import PersonaSubjects
from beb.experiments.plan import Item
from beb.experiments.reads import Read, Reads
from beb.experiments.rehearsal import Work, rehearse
from beb.experiments.spec import ModelSpec
from beb.experiments.store import Store
from beb.experiments.subjects import Subjects
from beb.interfaces.language_model import LanguageModel
from beb.models.hardware import Hardware
from beb.models.memory import KEPT, peak_bytes
from beb.models.shelf import Shelf

SIZES = (1, 3, 20)
"""Prompts of the items that are timed. The first of each kind warms up; the others tell an item's cost from a token's.
The last is so large that what does not grow without limit has its full size; for the rest see `forecast.Growth`.
"""
SAMPLE_TEXT = "I would rather tell people what I really think of them than what they hope to hear."


def calibrate(
    experiment: Experiment[Any, Any, Any],
    spec: ModelSpec,
    *,
    offline: bool,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> tuple[Speed, bool]:
    """The speed of this machine at runs like this one, and whether the target has a chat template.

    What has to be fitted is fitted, and stays in the cache for the run itself. hardware: as for the run itself.
    Raises: what loading and the items raise.
    """
    notify = progress or silent
    fitting, shelf = _FittingWatch(notify), Shelf()
    started = _Instant.now()
    loaded = experiment.load_on(shelf, spec, offline=offline, hardware=hardware or Hardware(), progress=fitting)
    meta = {"experiment": experiment.name, "spec": spec.model_dump(mode="json"), **experiment.meta(spec, loaded)}
    load_seconds = sum(load.seconds for load in shelf.loads)
    beginning = _Instant.now().since(started).since(fitting.taken)
    fixed_seconds = beginning.clock - load_seconds
    items = _chosen(experiment.plan(spec, meta), experiment.reads)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder), meta) as store:
        worker = experiment.worker(spec, loaded, store)
        taken = []
        for i, item in enumerate(items):
            notify("calibrating", i, len(items))
            began = _Instant.now()
            rows = worker.run(item)
            taken.append(_Instant.now().since(began))
            store.commit(item.key, item.kind, rows, taken[-1].clock)
        target = _target(loaded)
        lengths = _lengths(store, target)
        can_chat = bool(target is not None and target.info.has_chat_template)
    busy = _busy(beginning, taken) if _on_processor(loaded) else None
    seconds = [each.clock for each in taken] if busy is None else _undisturbed([item.kind for item in items], taken)
    work = rehearse(experiment, spec, lengths, can_chat=can_chat, chosen=items)
    paces = _paces([(w.item, w.size, s) for w, s in zip(work, seconds, strict=True)])
    peak = peak_bytes()
    fitting_seconds = fitting.taken.clock or _fitting(spec, work, seconds)
    growth = _growth(target, work)
    speed = Speed(lengths, paces, fixed_seconds, fitting_seconds, peak, load_seconds, growth, busy)
    return speed, can_chat


@dataclass(frozen=True, slots=True)
class _Instant:
    """Seconds of the clock, and of this process on processors."""

    clock: float = 0.0
    processor: float = 0.0

    @classmethod
    def now(cls) -> _Instant:
        return cls(time.perf_counter(), time.process_time())

    def since(self, before: _Instant) -> _Instant:
        return _Instant(self.clock - before.clock, self.processor - before.processor)

    def plus(self, other: _Instant) -> _Instant:
        return _Instant(self.clock + other.clock, self.processor + other.processor)


class _FittingWatch:
    """Passes progress on, and times the part of loading that is about fitting."""

    def __init__(self, notify: Progress) -> None:
        self._notify = notify
        self._before: _Instant | None = None
        self.taken = _Instant()

    def __call__(self, what: str, done: float, total: float) -> None:
        now = _Instant.now()
        if self._before is not None:
            self.taken = self.taken.plus(now.since(self._before))
        self._before = now if what.startswith("fitting") else None
        self._notify(what, done, total)


def _busy(beginning: _Instant, items: Sequence[_Instant]) -> Busy:
    clock, processor = (sum(getattr(each, name) for each in items) for name in ("clock", "processor"))
    return Busy(beginning.processor / beginning.clock, processor / clock)


def _undisturbed(kinds: Sequence[str], taken: Sequence[_Instant]) -> list[float]:
    """Seconds of items by the clock: what else the machine does falls on all alike, not on those that it interrupted.

    Kinds keep several processors busy to a different extent, or wait for a server: of each kind the item that the clock
    was kindest to tells how many of its seconds one of the processor takes. The sum over all items stays that of the
    clock.
    """
    ratios: dict[str, float] = {}
    spent = [max(each.processor, 1e-9) for each in taken]
    for kind, each, processor in zip(kinds, taken, spent, strict=True):
        ratios[kind] = min(ratios.get(kind, math.inf), each.clock / processor)
    alone = [ratios[kind] * processor for kind, processor in zip(kinds, spent, strict=True)]
    load = sum(each.clock for each in taken) / sum(alone)
    return [load * seconds for seconds in alone]


def _on_processor(loaded: Any) -> bool:
    """Whether the items are this process's own work: not that of a server or of a GPU, for which it waits."""
    target = _target(loaded)
    if target is None or isinstance(loaded, ChatApiSubjects):
        return False
    weights = getattr(target, "weights", None)
    return target.info.kind == "world" if weights is None else weights.device.type == "cpu"


def _growth(target: LanguageModel | None, work: Sequence[Work]) -> Growth:
    """Of a model in this machine's memory; none of another."""
    weights = getattr(target, "weights", None)
    if weights is None or weights.device.type != "cpu":
        return Growth()
    from beb.models.rowcache import kv_bytes_per_token

    return Growth(kv_bytes_per_token(weights), max(each.cells for each in work), weights.memory.room(KEPT))


def _fitting(spec: ModelSpec, work: Sequence[Work], seconds: Sequence[float]) -> float:
    """Of components that were in the cache, as if their tokens were read as fast as the run's."""
    timed = [(each.read, s) for each, s in zip(work, seconds, strict=True) if each.read and not each.sampled]
    tokens, taken = (sum(column) for column in zip(*timed, strict=True)) if timed else (0.0, 0.0)
    return fitting_tokens(spec) * TRAINING_FACTOR * taken / tokens if tokens else 0.0


def _chosen(plan: Sequence[Item], reads: Reads) -> list[Item]:
    """Small items of the first group of every kind and variant, and of the groups whose rows they read, in order."""
    groups: dict[tuple[str, str, str], tuple[int, int]] = {}
    for item in plan:
        key = (item.kind, item.variant, item.source)
        first, stop = groups.get(key, (item.first, item.stop))
        groups[key] = (min(first, item.first), max(stop, item.stop))
    seen: set[tuple[str, str]] = set()
    wanted: dict[tuple[str, str, str], set[tuple[int, int]]] = {}
    for (kind, variant, source), (first, stop) in groups.items():
        if (kind, variant) not in seen:
            seen.add((kind, variant))
            wanted[kind, variant, source] = set(_ranges(first, stop))
    for key in reversed(groups):
        for group in _read(key, groups, reads) if key in wanted else ():
            first, stop = groups[group]
            inside = {(a, b) for a, b in wanted[key] if first <= a < b <= stop}
            wanted.setdefault(group, set()).update(inside or _ranges(first, stop))
    chosen = []
    for kind, variant, source in groups:
        for first, stop in _apart(wanted.get((kind, variant, source), set())):
            chosen.append(Item(kind, 1.0, source, variant, first, stop))
    return chosen


def _read(
    key: tuple[str, str, str], groups: Mapping[tuple[str, str, str], tuple[int, int]], reads: Reads
) -> list[tuple[str, str, str]]:
    """The groups before one that it reads."""
    kind, variant, source = key
    found: Sequence[Read] = reads(Item(kind, 1.0, source, variant, *groups[key]))
    before = list(groups)[: list(groups).index(key)]
    return [
        (k, v, s) for k, v, s in before
        if any(r.kind in ("", k) and r.source in (None, s) and r.variant in (None, v) for r in found)
    ]  # fmt: skip


def _ranges(first: int, stop: int) -> list[tuple[int, int]]:
    """The sizes that are timed, one after another, as far as there are prompts; an item about no prompts as it is."""
    if not stop:
        return [(0, 0)]
    edges = np.minimum(np.cumsum((first, *SIZES)), stop).tolist()
    return [(a, b) for a, b in pairwise(edges) if a < b]


def _apart(ranges: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, without what an earlier one has already."""
    found: list[tuple[int, int]] = []
    for first, stop in sorted(ranges):
        first = max(first, found[-1][1]) if found and found[-1][1] else first  # noqa: PLW2901 - what is left of it
        if first < stop or not stop:
            found.append((first, stop))
    return found


def _paces(timed: Sequence[tuple[Item, float, float]]) -> dict[str, Pace]:
    """A line through the times of each kind, neither part of it negative; the first item of a kind only warms up."""
    by_kind: dict[str, list[tuple[float, float]]] = {}
    for item, tokens, seconds in timed:
        by_kind.setdefault(item.kind, []).append((tokens, seconds))
    paces = {}
    for kind, every in by_kind.items():
        points = np.array(every[1:] if len(every) > 1 else every)
        paces[kind] = _line(points)
    tokens, seconds = (sum(column) for column in zip(*((t, s) for _, t, s in timed), strict=True))
    paces[""] = Pace(0.0, seconds / max(tokens, 1.0))
    return paces


def _line(points: np.ndarray[Any, Any]) -> Pace:
    tokens, seconds = points.T
    if np.ptp(tokens) > 0:
        slope, intercept = np.polyfit(tokens, seconds, 1)
        if slope >= 0 and intercept >= 0:
            return Pace(float(intercept), float(slope))
        if slope < 0:
            return Pace(float(seconds.mean()), 0.0)
    return Pace(0.0, float(seconds.sum() / max(tokens.sum(), 1.0)))


def _target(loaded: Any) -> LanguageModel | None:
    inner = loaded.local if isinstance(loaded, ChatApiSubjects) else getattr(loaded, "subjects", loaded)
    return inner.target if isinstance(inner, Subjects | PersonaSubjects) else None


def _lengths(store: Store, target: LanguageModel | None) -> Lengths:
    """Lengths of the sentences that were sampled, and of what stands around them."""
    usual = Lengths()
    if target is None:
        return usual
    plain = [n for row in store.rows("prompts") for n in np.diff(row["sentence_ends"], prepend=0).tolist()]
    plain += [n for row in store.rows("turns") for n in np.diff(row["sentence_ends"], prepend=0).tolist()]
    answers = {True: [], False: []}  # type: dict[bool, list[int]]
    for row in store.rows("responses"):
        answers[row["format"].startswith("chat")].append(len(row["token_ids"]))
    frame = usual.frame
    if target.info.has_chat_template:
        before, after = target.chat_frame()
        frame = (len(before), max(len(after), 1))
    characters = usual.characters
    if target.info.kind != "world":
        characters = len(SAMPLE_TEXT) / len(target.encode(SAMPLE_TEXT))
    found = replace(usual, start=max(len(target.start_ids), 1), frame=frame, characters=characters)
    if plain or answers[False]:
        found = replace(found, plain=tuple(max(n, 1) for n in (*plain, *answers[False])))
    if answers[True]:
        found = replace(found, chat=tuple(max(n, 1) for n in answers[True]))
    return found

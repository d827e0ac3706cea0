"""What runs will take before anything runs: tokens, hours, memory and money, from rates given or measured."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from beb.errors import BadSpec
from beb.experiments.imaginary import Lengths
from beb.experiments.rehearsal import Work, rehearse
from beb.experiments.spec import RunSpec
from beb.experiments.sweep import PlannedRun
from beb.models.catalog import aligned_base

SECONDS_PER_HOUR = 3600.0
TRAINING_FACTOR = 3.0
"""A training step costs about three forward passes over its tokens: one forward, and one backward of twice the work."""
BATCH, SEQUENCE = 8, 64  # of a fitted component: `beb.models.training.AdapterSpec`
GIB = float(1 << 30)


class Rates(BaseModel):
    """The table [rates] of a sweep's file: how fast one worker is, how large, and what it costs.

    read_per_second, sampled_per_second, judged_per_second: tokens of one worker. sentence_tokens, reply_tokens: lengths
    of a sentence, and of a chat's reply. load_seconds: until a worker has its model, once for all runs on it.
    run_seconds: of every worker, from then to a run's first item. weights_gib, kv_kib_per_token, rows: of its memory;
    rows texts at once are sampled. gpus: of one worker. price_per_gpu_hour: in any currency.
    measured: names of those that were measured; the others are assumptions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    read_per_second: float = Field(gt=0)
    sampled_per_second: float = Field(gt=0)
    judged_per_second: float = Field(gt=0)
    sentence_tokens: int = Field(default=14, ge=1)
    reply_tokens: int = Field(default=20, ge=1)
    load_seconds: float = Field(default=0, ge=0)
    run_seconds: float = Field(default=0, ge=0)
    weights_gib: float = Field(gt=0)
    kv_kib_per_token: float = Field(default=0, ge=0)
    rows: int = Field(default=128, ge=1)
    gpus: float = Field(default=1, ge=0)
    workers: int = Field(default=1, ge=1)
    price_per_gpu_hour: float = Field(default=0, ge=0)
    measured: tuple[str, ...] = ()

    @property
    def assumed(self) -> tuple[str, ...]:
        """Names of those that were not measured, whether given or left at their defaults."""
        return tuple(name for name in type(self).model_fields if name not in (*self.measured, "measured"))

    @model_validator(mode="after")
    def _measured_are_rates(self) -> Rates:
        for name in self.measured:
            if name not in self.model_fields_set - {"measured"}:
                raise ValueError(f"names of rates that the table gives, and {name!r} is none")
        return self


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of one kind of item: some for every item, and some for every token (see `Work.size`)."""

    per_item: float
    per_token: float

    def seconds(self, size: float) -> float:
        """Of an item with so many tokens."""
        return self.per_item + self.per_token * size


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory of one worker that depends on the size of a run's items.

    What is resident whatever they are has its place in the peak of a few items that were carried out: libraries,
    weights, adapters merged into copies of them, the model of the probe, kernels that were compiled for the shapes of
    their products, and the rows of the vocabulary that scoring holds (their number is bounded, and reached by few
    texts). Keys and values of texts that are sampled together are not: they grow with the texts of an item.

    cell_bytes: keys and values of one token; 0 where nothing is kept here. cells: most of them in what was carried out.
    room: bytes of the memory budget for them.
    """

    cell_bytes: float = 0.0
    cells: float = 0.0
    room: float = math.inf

    def bytes_beyond(self, cells: float) -> float:
        """Of so many cells, besides those that were held already."""
        return max(0.0, min(cells * self.cell_bytes, self.room) - self.cells * self.cell_bytes)


@dataclass(frozen=True, slots=True)
class Busy:
    """Seconds of a processor, all threads together, in each second by the clock. beginning: before the items."""

    beginning: float
    items: float


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one worker is, and how large.

    paces: by kind of item where they were measured; "" for kinds that were not. fixed_seconds: of a run before its
    items, with everything in the cache and its models loaded. fitting_seconds: of its components, where they are not in
    the cache. memory_bytes: at the peak of what was timed. load_seconds: of its models. growth: what larger items take
    besides. busy: seconds of a processor in each of the clock's.
    """

    lengths: Lengths
    paces: Mapping[str, Pace]
    fixed_seconds: float
    fitting_seconds: float
    memory_bytes: float
    load_seconds: float = 0.0
    growth: Growth = Growth()
    busy: Busy | None = None

    def memory(self, work: Sequence[Work]) -> float:
        """Bytes at the peak of a run of these items."""
        return self.memory_bytes + self.growth.bytes_beyond(max((each.cells for each in work), default=0.0))

    def seconds(self, work: Sequence[Work]) -> float:
        """Of these items, one after another."""
        return sum(self.paces.get(each.item.kind, self.paces[""]).seconds(each.size) for each in work)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of `n_runs` runs that differ in their behaviors alone. Tokens and seconds of one worker: of all of them.

    own_seconds: those of them that every worker spends, however many there are: on loading, and on beginning each run.
    processor_seconds: all of them on a processor, its threads together; None where the work is not done on one, or not
    measured.
    """

    label: str
    n_runs: int
    n_items: int
    read: float
    sampled: float
    judged: float
    seconds: float
    own_seconds: float
    memory_bytes: float
    processor_seconds: float | None = None

    @property
    def hours(self) -> float:
        """Of one worker."""
        return self.seconds / SECONDS_PER_HOUR


def given_rates(given: Mapping[str, Any], where: str) -> Rates:
    """The rates of a file. Raises: BadSpec, one line with the key, its value and what is accepted."""
    names = sorted(Rates.model_fields)
    for key, value in given.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise BadSpec(f"{where}: rates.{key} = {value!r}; accepted: {meant}{', '.join(names)}")
    try:
        return Rates(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "measured"
        message = first["msg"].removeprefix("Value error, ")
        raise BadSpec(f"{where}: rates.{name} = {given.get(name)!r}; accepted: {message}") from error


def rated(rates: Rates, spec: Any) -> tuple[Speed, Lengths]:
    """A worker with these rates, at work on runs like `spec`."""
    lengths = Lengths(plain=(rates.sentence_tokens,), chat=(rates.reply_tokens,))
    longest = (getattr(spec, "sentences", 1) + 1) * rates.sentence_tokens + sum(lengths.frame) + lengths.start
    memory = rates.weights_gib * GIB + rates.kv_kib_per_token * 1024 * rates.rows * longest
    fit = fitting_tokens(spec) * TRAINING_FACTOR / rates.read_per_second
    # What is trained further is another model for each behavior, and loaded after its base.
    begin = rates.run_seconds + (rates.load_seconds if aligned_base(spec.model) else 0.0)
    return Speed(lengths, {}, begin, fit, memory, rates.load_seconds), lengths


def fitting_tokens(spec: Any) -> float:
    """Tokens of the components that a run fits first; nothing where they are known or in the cache."""
    if not isinstance(spec, RunSpec) or spec.model.startswith("world:"):
        return 0.0
    fitted = sum(pole == "lora" or pole.startswith("lora@") for pole in (spec.negative, spec.positive))
    return float(fitted * spec.adapter_steps * BATCH * SEQUENCE)


def forecast_rated(runs: Sequence[PlannedRun], rates: Rates, *, loaded: bool = False) -> Forecast:
    """Of runs that are alike but for their behaviors, from given rates. loaded: whether their model is, by then."""
    run = runs[0]
    speed, lengths = rated(rates, run.spec)
    work = rehearse(run.experiment, run.spec, lengths)
    read, sampled, judged = totals(work)
    seconds = read / rates.read_per_second + sampled / rates.sampled_per_second + judged / rates.judged_per_second
    return _forecast(runs, work, len(runs) * (seconds + speed.fitting_seconds), speed, loaded=loaded)


def forecast_measured(runs: Sequence[PlannedRun], speed: Speed, *, can_chat: bool, loaded: bool = False) -> Forecast:
    """Of runs that are alike but for their behaviors, from the measured speed of the first of them.

    The components of the first are in the cache by now; those of the others are taken to be fitted. loaded: whether
    their model is loaded when the first of them begins.
    """
    work = rehearse(runs[0].experiment, runs[0].spec, speed.lengths, can_chat=can_chat)
    seconds = len(runs) * speed.seconds(work) + (len(runs) - 1) * speed.fitting_seconds
    return _forecast(runs, work, seconds, speed, loaded=loaded)


def measured_rates(work: Sequence[Work], speed: Speed) -> dict[str, float]:
    """What `Rates` calls the speed of one worker, from the measured paces; without what the run has no work of."""
    sums = {"read_per_second": [0.0, 0.0], "judged_per_second": [0.0, 0.0], "sampled_per_second": [0.0, 0.0]}
    mixed = []
    for each in work:
        if each.sampled:
            mixed.append(each)
        elif each.tokens:
            name = "judged_per_second" if each.judged > each.read else "read_per_second"
            sums[name][0] += each.tokens
            sums[name][1] += speed.seconds([each])
    found = {name: tokens / seconds for name, (tokens, seconds) in sums.items() if tokens and seconds}
    if mixed:  # what is read before sampling takes the time of reading
        reading = sum(each.read for each in mixed) / found.get("read_per_second", math.inf)
        left = speed.seconds(mixed) - reading
        if left > 0:
            found["sampled_per_second"] = sum(each.sampled for each in mixed) / left
    means = {
        name: sum(every) / len(every)
        for name, every in (("sentence", speed.lengths.plain), ("reply", speed.lengths.chat))
    }
    found |= {f"{name}_tokens": float(max(round(mean), 1)) for name, mean in means.items()}
    loading = {"load_seconds": speed.load_seconds} if speed.load_seconds else {}
    return found | loading | {"run_seconds": speed.fixed_seconds, "weights_gib": speed.memory(work) / GIB}


def _forecast(
    runs: Sequence[PlannedRun], work: Sequence[Work], seconds: float, speed: Speed, *, loaded: bool
) -> Forecast:
    """seconds: of the items and of what is fitted."""
    n = len(runs)
    own = n * speed.fixed_seconds + (0.0 if loaded else speed.load_seconds)
    label = f"{runs[0].experiment.name} · {runs[0].spec.model}"
    read, sampled, judged = (n * each for each in totals(work))
    busy = speed.busy
    processor = None if busy is None else seconds * busy.items + own * busy.beginning
    return Forecast(label, n, n * len(work), read, sampled, judged, seconds + own, own, speed.memory(work), processor)


def totals(work: Sequence[Work]) -> tuple[float, float, float]:
    """Tokens read, sampled and judged."""
    return sum(w.read for w in work), sum(w.sampled for w in work), sum(w.judged for w in work)


def alike(runs: Sequence[PlannedRun]) -> list[tuple[list[PlannedRun], bool]]:
    """Runs of a sweep in groups that differ in their behavior alone, in order, and whether a group's model is loaded
    for the one before it.
    """
    groups: dict[tuple[str, str], list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault((run.experiment.name, run.spec.model), []).append(run)
    held = [group[0].weights for group in groups.values()]
    return [(group, i > 0 and held[i] == held[i - 1]) for i, group in enumerate(groups.values())]

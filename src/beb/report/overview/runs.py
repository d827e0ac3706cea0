"""Finished runs of any kinds, read for one common report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beb.errors import BadSpec, EstimateError, GateFailed
from beb.experiments.measurement import Measurement
from beb.experiments.registry import analyse
from beb.experiments.store import Store
from beb.report.inert import one_line
from beb.report.page import Page
from beb.report.pages import page_of
from beb.report.rounding import count_text
from beb.report.wording import behavior_name

KINDS = {
    "measure": "measurement",
    "guardrail": "guardrails",
    "converse": "conversation",
    "best-of": "best of n",
    "personas": "personas",
    "trace": "persona trace",
    "probe": "probe of the layers",
}
_SIZES = (("prompts", "prompt"), ("texts", "text"), ("statements", "statement"))
_LONGEST_LABEL = 60


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One finished run. key: its anchor. label: what it is called on the page. page: its own report."""

    key: str
    label: str
    folder: Path
    meta: Mapping[str, Any]
    result: Any
    page: Page
    finished: str

    @property
    def kind(self) -> str:
        """What was done, in words."""
        return KINDS.get(self.name, self.name)

    @property
    def name(self) -> str:
        """The kind as it is stored."""
        return str(self.meta["experiment"])

    @property
    def model(self) -> str:
        """The target."""
        return one_line(str(self.meta["spec"]["model"]), 40)

    @property
    def behavior(self) -> str:
        """What B stands for in this run."""
        return behavior_name(self.meta)

    @property
    def level(self) -> float:
        """Confidence level of its intervals."""
        return float(self.meta["spec"]["level"])

    @property
    def size(self) -> tuple[int, str]:
        """How many of what were asked for: (32, "prompt"); (0, "") where nothing was sampled."""
        asked = self.meta["spec"]
        return next(((int(asked[key]), noun) for key, noun in _SIZES if asked.get(key)), (0, ""))

    @property
    def told(self) -> str:
        """Kind, model, behavior and size on one line."""
        size = count_text(*self.size) if self.size[0] else ""
        return " · ".join(filter(None, (self.kind, self.model, self.behavior, size)))

    @property
    def measurement(self) -> Measurement | None:
        """Its record, if it is a measurement."""
        return self.result if isinstance(self.result, Measurement) else None


def read_runs(folders: Sequence[Path]) -> tuple[Run, ...]:
    """Read and analyse runs of any kinds, in the order given.

    Raises: BadSpec where one is given twice or is none; EstimateError, GateFailed where one has no numbers.
    """
    resolved = [folder.resolve() for folder in folders]
    double = next((folder for i, folder in enumerate(resolved) if folder in resolved[:i]), None)
    if double is not None:
        raise BadSpec(f"the run folder {double} is given twice; give runs that differ")
    labels = short_names(resolved)
    return tuple(
        _read(folder, f"run-{i}", label) for i, (folder, label) in enumerate(zip(folders, labels, strict=True), 1)
    )


def _read(folder: Path, key: str, label: str) -> Run:
    with Store.read(folder) as store, _named(folder):
        result = analyse(store)
        finished = max((row["finished"] for row in store.rows("timings")), default="")
        return Run(key, label, folder, store.meta(), result, page_of(store, result, sliders=False), finished)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Errors about one of many runs say which."""
    try:
        yield
    except (EstimateError, GateFailed) as error:
        if str(folder) in str(error):
            raise
        raise type(error)(f"{folder}: {error}; leave it out or finish it") from error


def levels_text(runs: Iterable[Run]) -> str:
    """The confidence levels of runs: "95 %", "90 % or 95 %"."""
    return " or ".join(f"{100 * level:g}\u00a0%" for level in sorted({run.level for run in runs}))


def short_names(folders: Sequence[Path]) -> list[str]:
    """The end of each path, as short as tells all of them apart."""
    longest = max(len(folder.parts) for folder in folders)
    for n in range(1, longest + 1):
        ends = [str(Path(*folder.parts[-n:])) for folder in folders]
        labels = [one_line(end, _LONGEST_LABEL) for end in ends]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{i}: {label}" for i, label in enumerate(labels, start=1)]

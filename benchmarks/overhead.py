"""Where the time of a run goes: the network, torch's arithmetic on what it returns, everything else."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec
from benchmarks.counting import Meter, TorchClock, entered
from benchmarks.rows import Row
from benchmarks.setting import Pair

GOAL = 0.05


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Seconds. total: from loaded models to the finished record. analysis: computing intervals, part of total.

    network: decoder and output matrix. arithmetic: other operations of torch.
    """

    total: float
    analysis: float
    network: float
    arithmetic: float

    @property
    def share_outside(self) -> float:
        """Share of the time of the work items that is not in the network."""
        return 1 - self.network / (self.total - self.analysis)


def measure_run(pair: Pair, spec: MeasureSpec) -> RunTimes:
    """A real run of the main job into a temporary folder, watched."""
    began_analysis = [0.0]

    def progress(what: str, _done: float, _total: float) -> None:
        if what == "computing intervals":
            began_analysis[0] = time.perf_counter()

    meter = Meter(pair.target.weights)
    clock = TorchClock(meter)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with entered(meter, clock):
            run_with_subjects(MEASURE, spec, pair.subjects, Path(folder) / "run", progress=progress)
        ended = time.perf_counter()
    return RunTimes(ended - started, ended - began_analysis[0], meter.network_seconds, clock.seconds)


def overhead_rows(found: RunTimes, spec: MeasureSpec) -> list[Row]:
    """Shares of the run's time."""
    work = found.total - found.analysis
    outside = found.share_outside
    return [
        Row(
            f"`beb measure --prompts {spec.prompts} --sentences {spec.sentences}`, models loaded: share of the work "
            f"items' {work:.0f} s outside the network",
            f"{outside:.1%}", "", "torch's arithmetic on what the network gives (log-softmax, divergence, drawing, "
            f"caches) {found.arithmetic / work:.1%}, everything else {outside - found.arithmetic / work:.1%}",
            "< 5 %", outside < GOAL,
        ),
        Row("the same run: intervals and curves computed after it, seconds", f"{found.analysis:.1f}"),
    ]  # fmt: skip

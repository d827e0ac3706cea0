"""One run of an exact world for the tests of the "What if" section."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from beb.experiments.experiment import run_experiment
from beb.experiments.measure import MEASURE
from beb.experiments.measurement import Measurement
from beb.experiments.spec import MeasureSpec, make_spec
from beb.experiments.store import Store
from beb.experiments.what_if import WhatIfInputs, measure_inputs
from beb.report.html import write_report


@dataclasses.dataclass(frozen=True)
class Run:
    """The numbers of the run, what its bounds are recomputed from, and its report."""

    m: Measurement
    inputs: WhatIfInputs
    path: Path


@pytest.fixture(scope="session")
def what_if_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("what-if")
    spec = make_spec(MeasureSpec, {"model": "world:markov", "prompts": 24, "sentences": 4, "responses": 1})
    m: Measurement = run_experiment(MEASURE, spec, folder)
    with Store.read(folder) as store:
        inputs = measure_inputs(store, m)
        assert inputs is not None
        return Run(m, inputs, write_report(store, m, folder / "report.html"))

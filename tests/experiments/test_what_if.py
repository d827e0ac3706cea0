"""What the bounds are recomputed from is what the run's own bounds were computed from, bit by bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from beb.core.bounds import PropagatedBound
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.converse.experiment import CONVERSE
from beb.experiments.experiment import Experiment, run_experiment
from beb.experiments.guardrail.experiment import GUARDRAIL
from beb.experiments.measure import MEASURE
from beb.experiments.spec import make_spec
from beb.experiments.store import Store
from beb.experiments.what_if import ALL_BOUNDS, WhatIfInputs, measure_inputs, recompute
from beb.experiments.what_if_scenarios import best_of_inputs, converse_inputs, guardrail_inputs

SMALL = {"model": "world:markov", "prompts": 12, "sentences": 4}


def finished(experiment: Experiment[Any, Any, Any], options: dict[str, Any], folder: Path) -> Any:
    return run_experiment(experiment, make_spec(experiment.spec, {**SMALL, **options}), folder)


def at(inputs: WhatIfInputs, reading: str, **changes: Any) -> dict[str, PropagatedBound | None]:
    return recompute(inputs, inputs.readings[reading], dataclasses.replace(inputs.settings, **changes))


def test_a_measurement(tmp_path: Path) -> None:
    m = finished(MEASURE, {"responses": 1}, tmp_path)
    with Store.read(tmp_path) as store:
        inputs = measure_inputs(store, m)
    assert inputs is not None
    assert inputs.shown == ALL_BOUNDS
    assert len(m.converse) == 2
    for report in (*m.bounds, *m.converse):
        key = report.bound.bound.theorem.lower().replace(" ", "-")
        assert at(inputs, report.reading)[key] == report.bound
    for reading in inputs.readings:
        found = at(inputs, reading)
        for key in ("theorem-3", "theorem-4", "appendix-i"):  # no reply, one response, no decay: Theorem 1
            here, first = found[key], found["theorem-1"]
            assert here is not None
            assert first is not None
            assert [here.sharp.value, here.sharp.low, here.sharp.high] == pytest.approx(
                [first.sharp.value, first.sharp.low, first.sharp.high], rel=1e-12
            )


def test_more_inputs_at_once_have_wider_limits(tmp_path: Path) -> None:
    m = finished(MEASURE, {"responses": 1, "prompts": 24}, tmp_path)
    with Store.read(tmp_path) as store:
        inputs = measure_inputs(store, m)
    assert inputs is not None
    for reading in inputs.readings.values():
        assert reading.back["beta"].value == reading.along["beta"].value
        assert reading.back["gamma"] == reading.along["gamma"]
        assert reading.back["beta_prime"].value == m.beta_prime.value
        assert reading.back["sigma2"].value == pytest.approx(m.sigma2_positive.value)
        assert reading.back["beta_prime"].width > 0.9 * m.beta_prime.width


def test_a_guardrail(tmp_path: Path) -> None:
    r = finished(GUARDRAIL, {"prompts": 24}, tmp_path)
    with Store.read(tmp_path) as store:
        inputs = guardrail_inputs(store, r)
    assert inputs is not None
    sampled = [g for g in r.guardrails if g.kind == "sampled"]
    assert sampled
    assert inputs.settings.prefix == sampled[0].sentences
    compared = 0
    for guardrail in sampled:
        for report in guardrail.bounds:
            assert at(inputs, report.reading, prefix=guardrail.sentences)["theorem-2"] == report.bound
            compared += 1
    assert compared


@pytest.mark.parametrize("log_inverse_alpha", [None, 3.0])
def test_a_conversation(tmp_path: Path, log_inverse_alpha: float | None) -> None:
    r = finished(CONVERSE, {"format": "plain", "turns": 3, "log_inverse_alpha": log_inverse_alpha}, tmp_path)
    with Store.read(tmp_path) as store:
        inputs = converse_inputs(store, r)
    assert inputs is not None
    assert inputs.settings.replies == 2
    assert r.bounds
    for report in r.bounds:
        assert at(inputs, report.reading, replies=report.turn - 1)["theorem-3"] == report.bound
    assert at(inputs, r.bounds[0].reading)["theorem-1"] == r.bounds[0].bound


def test_the_best_of_n(tmp_path: Path) -> None:
    r = finished(BEST_OF, {"responses": 4}, tmp_path)
    with Store.read(tmp_path) as store:
        inputs = best_of_inputs(store, r)
    assert inputs is not None
    assert inputs.settings.best_of == r.sizes[-1]
    assert r.bounds
    for report in r.bounds:
        assert at(inputs, report.reading, best_of=report.size)["theorem-4"] == report.bound
    beyond = at(inputs, r.bounds[0].reading, best_of=9)["theorem-4"]
    assert beyond is not None  # never measured: the worst that γ allows

"""The joint bootstrap draws behind the "What if" bounds: spreads, correlations, and when there are none."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from beb.experiments.analyse import LogRatios, analyse_measure
from beb.experiments.arrays import prompt_arrays
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.bounds import BoundInputs, intercepts
from beb.experiments.converse.experiment import CONVERSE
from beb.experiments.experiment import Experiment, run_experiment
from beb.experiments.guardrail.experiment import GUARDRAIL
from beb.experiments.measure import MEASURE
from beb.experiments.setting import Setting
from beb.experiments.spec import MeasureSpec, make_spec
from beb.experiments.store import Store
from beb.experiments.what_if import WhatIfInputs, measure_inputs, recompute_draws
from beb.experiments.what_if_draws import N_DRAWS
from beb.experiments.what_if_scenarios import best_of_inputs, converse_inputs, guardrail_inputs

FAR = float(norm.isf(0.5e-6))  # standard errors that chance exceeds once in a million
SMALL = {"model": "world:markov", "prompts": 24, "sentences": 4}


def finished(experiment: Experiment[Any, Any, Any], options: dict[str, Any], folder: Path) -> Any:
    return run_experiment(experiment, make_spec(experiment.spec, {**SMALL, **options}), folder)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_spreads_are_standard_errors_and_shared_prompts_correlate(tmp_path: Path) -> None:
    m = finished(MEASURE, {"responses": 1, "prompts": 40}, tmp_path)
    with Store.read(tmp_path) as store:
        inputs = measure_inputs(store, m)
        negative, positive = (prompt_arrays(store, source, 4) for source in ("negative", "positive"))
    assert inputs is not None
    ratios = LogRatios.of(negative, positive)
    line = intercepts(
        BoundInputs.of(negative, ratios.evidence, ratios.negative), m.alpha, Setting.of(m.meta, MeasureSpec)
    )["straight line"]
    draws = inputs.readings["straight line"].draws
    assert draws is not None
    assert draws.curve is not None
    kl = negative.kl["positive"]
    own = [(draws.curve[:, j], kl[:, j]) for j in range(4)]
    assert line.mean() > 5 * line.std() / math.sqrt(40)  # never cut at 0
    own.append((draws.along["log_inverse_alpha"], line))
    for drawn, values in own:
        error = values.std() / math.sqrt(len(values))
        assert abs(drawn.mean() - values.mean()) < FAR * error / math.sqrt(N_DRAWS)
        assert abs(drawn.std() / error - 1) < FAR * 1.2 / math.sqrt(2 * N_DRAWS)
        expected = correlation(line, values)
        found = correlation(draws.along["log_inverse_alpha"], drawn)
        assert abs(np.arctanh(min(found, 1 - 1e-9)) - np.arctanh(min(expected, 1 - 1e-9))) < FAR / math.sqrt(N_DRAWS)
    assert max(abs(correlation(line, values)) for _, values in own[:4]) > 0.2  # something to find
    apart = correlation(draws.back["beta_prime"], draws.along["beta"])
    assert abs(apart) < FAR / math.sqrt(N_DRAWS)  # β′ is of other prompts


def test_derived_arguments_are_of_the_same_draw(tmp_path: Path) -> None:
    m = finished(MEASURE, {"responses": 1}, tmp_path)
    with Store.read(tmp_path) as store:
        inputs, again = measure_inputs(store, m), measure_inputs(store, m)
    assert inputs is not None
    assert again is not None
    for name, reading in inputs.readings.items():
        draws, same = reading.draws, again.readings[name].draws
        assert draws is not None
        assert draws.curve is not None
        assert same is not None
        assert (draws.along["beta"] == draws.curve.min(axis=1)).all()
        assert draws.back["beta"] is draws.along["beta"]
        assert draws.back["gamma"] is draws.family["gamma"] is draws.along["gamma"]
        assert all((draws.along[key] == same.along[key]).all() for key in draws.along)  # seeded by the run
        assert (draws.back["beta_prime"] >= 0).all()
        assert (np.abs(draws.along["gamma"]) <= 1).all()
    plateau, limits = inputs.readings["evidence plateau"].draws, m.alpha.limits
    assert plateau is not None
    drawn = plateau.along["log_inverse_alpha"]
    assert (drawn >= limits.low).all()
    assert (drawn <= limits.high).all()


def inputs_of(kind: str, folder: Path) -> WhatIfInputs:
    asked: Any = {
        "measure": (MEASURE, {"responses": 1}, measure_inputs),
        "guardrail": (GUARDRAIL, {}, guardrail_inputs),
        "converse": (CONVERSE, {"format": "plain", "turns": 3}, converse_inputs),
        "given": (CONVERSE, {"format": "plain", "turns": 3, "log_inverse_alpha": 3.0}, converse_inputs),
        "best of": (BEST_OF, {"responses": 4}, best_of_inputs),
    }[kind]
    experiment, options, read = asked
    r = finished(experiment, options, folder)
    with Store.read(folder) as store:
        inputs: WhatIfInputs | None = read(store, r)
    assert inputs is not None
    return inputs


@pytest.mark.parametrize("kind", ["measure", "guardrail", "converse", "given", "best of"])
def test_every_bound_has_draws_about_its_own_value(kind: str, tmp_path: Path) -> None:
    inputs = inputs_of(kind, tmp_path)
    assert inputs.no_draws == ""
    for reading in inputs.readings.values():
        draws = reading.draws
        assert draws is not None
        # What has no draws is known exactly, or no bound here takes it.
        unused = {"sigma2"} if "theorem-5" not in inputs.shown else set()
        pairs: Any = (
            (reading.along, draws.along), (reading.back, draws.back), (reading.family, draws.family),
            (reading.gamma_n, draws.gamma_n),
        )  # fmt: skip
        for estimates, drawn in pairs:
            unknown = {name: each for name, each in estimates.items() if not each.exact}
            assert set(unknown) - set(drawn) <= unused
            for name, values in drawn.items():
                assert len(values) == N_DRAWS
                if each := unknown.get(name):
                    assert each.low <= np.median(values) <= each.high, name
        found = recompute_draws(inputs, reading, inputs.settings)
        assert set(found) == set(inputs.shown)
        assert all(len(bounds) == N_DRAWS for bounds in found.values())


def test_no_draws_where_a_quantity_has_too_few_prompts(tmp_path: Path) -> None:
    finished(MEASURE, {"responses": 1}, tmp_path)
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        connection.execute("DELETE FROM prompt_scores WHERE source = 'negative' AND sentence = 2 AND prompt > 3")
    connection.close()
    with Store.read(tmp_path) as store:
        inputs = measure_inputs(store, analyse_measure(store))
    assert inputs is not None
    assert inputs.no_draws == "gamma has 4 prompts and needs at least 5; raise --prompts"
    for reading in inputs.readings.values():
        assert reading.draws is None
        assert recompute_draws(inputs, reading, inputs.settings) == {}


def test_a_draw_in_which_beta_is_not_positive_has_no_bound(tmp_path: Path) -> None:
    inputs = inputs_of("measure", tmp_path)
    reading = next(iter(inputs.readings.values()))
    assert reading.draws is not None
    assert reading.draws.curve is not None
    beta, curve = reading.draws.along["beta"].copy(), reading.draws.curve.copy()
    beta[:7], curve[:7, 2] = -0.1, -0.1
    draws = dataclasses.replace(reading.draws, along={**reading.draws.along, "beta": beta}, curve=curve)
    found = recompute_draws(inputs, dataclasses.replace(reading, draws=draws), inputs.settings)
    for key in ("theorem-1", "theorem-5", "theorem-4", "appendix-i"):
        assert [bound is None for bound in found[key]] == [True] * 7 + [False] * (N_DRAWS - 7)

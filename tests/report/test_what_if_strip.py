"""The page's bounds in every bootstrap draw are the Python core's, in a real browser; and what it says of them."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beb.core.bounds import Bound
from beb.experiments.store import Store
from beb.experiments.what_if import (
    ALL_BOUNDS,
    FAMILY_ARGUMENT,
    ReadingInputs,
    Settings,
    WhatIfInputs,
    recompute,
    recompute_draws,
)
from beb.experiments.what_if_draws import N_DRAWS, Draws
from beb.report.html import render
from beb.report.measure_page import measure_context, measure_page
from beb.report.what_if import payload, what_if
from beb.report.what_if_draws import draws_payload, spread
from beb.report.what_if_words import THEOREMS

from .browser import OpenedPage, OpenPage
from .test_what_if_arithmetic import SETTING_GRID, TO_TEXT, as_json, crafted, exactly
from .what_if_run import Run

MOST_MILLISECONDS = 20
PARTS = ("low", "median", "high", "without")


@pytest.fixture
def page(what_if_run: Run, open_page: OpenPage) -> OpenedPage:
    return open_page(what_if_run.path)


def crafted_draws() -> WhatIfInputs:
    """Draws at the ends: β and a curve that are not positive in some, α = 1, γ = ±1, no spread, no Λ."""
    rng = np.random.default_rng(11)
    inputs = crafted()
    ((name, reading),) = inputs.readings.items()
    curve = rng.gamma(2.0, 0.6, (N_DRAWS, 3))
    curve[:9, 1] = (0.0, -0.3, -2.0) * 3
    alpha = rng.uniform(0, 12, N_DRAWS)
    alpha[5:12], alpha[12:15] = 0.0, 300.0
    gamma = np.clip(rng.normal(0.2, 0.9, N_DRAWS), -1, 1)
    model = {"log_inverse_alpha": alpha, "gamma": gamma, "beta": curve.min(axis=1)}
    spread_of = {"sigma2": rng.choice([0.0, 1e-9, 3.0, 400.0], N_DRAWS)}
    family = {"log_inverse_alpha": alpha, "gamma": gamma,
              "behavior_floor_positive": rng.choice([-1.0, 0.1, 1.0], N_DRAWS)}  # fmt: skip
    draws = Draws(
        {**model, **spread_of}, {**model, **spread_of, "beta_prime": rng.choice([0.0, 5.0], N_DRAWS)}, curve,
        {2: np.clip(rng.normal(0, 0.9, N_DRAWS), -1, 1)}, family,
    )  # fmt: skip
    endless = {**reading.family, FAMILY_ARGUMENT: exactly((0.0, 0.0, 0.0))}  # no length of these prompts is enough
    readings = {name: dataclasses.replace(reading, draws=draws)}
    readings["other"] = dataclasses.replace(readings[name], family=endless)
    return dataclasses.replace(inputs, readings=readings)


def flat(bounds: tuple[Bound | None, ...]) -> list[float]:
    """Sharp and paper's form of every draw; NaN for no bound, −1 for no paper's form."""
    found = [(math.nan, math.nan) if b is None else (b.sharp, -1.0 if b.paper is None else b.paper) for b in bounds]
    return [x for pair in found for x in pair]


@pytest.mark.parametrize("which", ["world", "crafted"])
def test_every_bound_in_every_draw_is_the_core_s_over_a_grid(page: OpenedPage, what_if_run: Run, which: str) -> None:
    inputs = what_if_run.inputs if which == "world" else crafted_draws()
    every = list(itertools.product(*SETTING_GRID.values()))
    chosen = [Settings(**dict(zip(SETTING_GRID, each, strict=True))) for each in random.Random(which).sample(every, 30)]
    script = (
        f"{TO_TEXT} const draws = whatIfDraws(whatIfPayload(arguments[0]));"
        "const flat = (bounds) => bounds.flatMap((b) => b ? [b.sharp, b.paper ?? -1] : [NaN, NaN]);"
        "return arguments[2].map((_, i) => whatIfPayload(arguments[1]).map((at) => Object.fromEntries("
        "Object.entries(draws(i, at)).map(([key, bounds]) => [key, told(flat(bounds))]))));"
    )
    asked = [dataclasses.asdict(each) for each in chosen]
    shown = page.run(script, json.dumps(payload(inputs)), as_json(asked), list(inputs.readings))
    bounds = without = endless = 0
    for by_setting, reading in zip(shown, inputs.readings.values(), strict=True):
        for each, at in zip(by_setting, chosen, strict=True):
            expected = recompute_draws(inputs, reading, at)
            assert set(each) == set(expected) == set(ALL_BOUNDS)
            for key, found in expected.items():
                numbers = np.array(flat(found))
                np.testing.assert_allclose(
                    np.array(each[key], dtype=float), numbers, rtol=1e-9, atol=1e-12, err_msg=f"{key} {at}"
                )
                bounds, without = bounds + numbers.size, without + int(np.isnan(numbers).sum())
                endless += int(np.isinf(numbers).sum())
    assert bounds == len(inputs.readings) * len(chosen) * len(ALL_BOUNDS) * N_DRAWS * 2
    assert (without > 0, endless > 0) == (which == "crafted", which == "crafted")


@pytest.mark.parametrize("n", [3, 40])
def test_the_page_keeps_the_sentences_that_decide_at_some_eta(n: int) -> None:
    rng = np.random.default_rng(n)
    curves = np.round(rng.gamma(3.0, 1.0, (N_DRAWS, n)) / np.arange(1, n + 1) ** 0.7, 2) + 0.01
    curves[:3] = 1.0  # ties
    inputs = crafted_draws()
    name, reading = next(iter(inputs.readings.items()))
    assert reading.draws is not None
    draws = dataclasses.replace(reading.draws, curve=curves)
    stored = draws_payload(dataclasses.replace(inputs, readings={name: dataclasses.replace(reading, draws=draws)}))
    assert stored is not None
    kept = stored["pool"][stored["readings"][0]["curve"]]
    k = np.arange(1, n + 1)
    for eta in (*np.linspace(0, 0.999, 60), math.nextafter(1.0, 0.0)):
        expected = (curves * k**eta).min(axis=1)
        found = [min(kl * j**eta for j, kl in zip(each[::2], each[1::2], strict=True)) for each in kept]
        assert found == pytest.approx(expected.tolist(), rel=1e-12)
    assert max(map(len, kept)) <= 2 * min(n, 12)


def told(page: OpenedPage) -> dict[str, list[str]]:
    script = (
        "return Object.fromEntries([...document.querySelectorAll('[data-drawn]')].map((row) => [row.dataset.drawn,"
        " arguments[0].map((part) => row.querySelector(`[data-percentile=${part}]`).textContent)]));"
    )
    found: dict[str, list[str]] = page.run(script, PARTS)
    return found


def expected_texts(inputs: WhatIfInputs, reading: ReadingInputs, at: Settings) -> dict[str, list[str]]:
    found = recompute(inputs, reading, at)
    return {
        key: list(dataclasses.astuple(spread(bounds, found[key])))
        for key, bounds in recompute_draws(inputs, reading, at).items()
    }


def test_percentiles_are_told_in_a_table_and_beside_every_picture(page: OpenedPage, what_if_run: Run) -> None:
    inputs = what_if_run.inputs
    section = what_if(inputs)
    assert section is not None
    at = inputs.settings
    for number, reading in enumerate(inputs.readings.values()):
        page.run("document.querySelectorAll('[name=what-if-reading]')[arguments[0]].click()", number)
        assert told(page) == expected_texts(inputs, reading, at)
        if number == 0:  # what the page holds without its script
            assert told(page) == {row.key: list(dataclasses.astuple(row.draws)) for row in section.rows if row.draws}
    for key, text in (("eta", "0.7"), ("replies", "6"), ("epsilon", "1.5")):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        page.run(script, page.driver.find_element("id", f"wi-{key}-number"), text)
    at = dataclasses.replace(at, eta=0.7, replies=6, epsilon=1.5)
    last = expected_texts(inputs, list(inputs.readings.values())[-1], at)
    assert told(page) == last
    low, median, high, without = last["theorem-3"]
    said = page.run("return document.querySelector('[data-bound=theorem-3] [data-draws-text]').textContent")
    assert said == (
        f"In the draws: 5th percentile {low}, 50th {median}, 95th {high} sentences; no finite bound in {without}."
    )
    assert (page.console_errors(), page.requests_made()) == ([], [])


def test_percentiles_have_the_places_of_their_bound(what_if_run: Run) -> None:
    section = what_if(what_if_run.inputs)
    assert section is not None
    decimals = lambda text: len(text.partition(".")[2])  # noqa: E731
    compared = 0
    for row in section.rows:
        if row.draws is None or not row.sharp.replace(",", "").replace(".", "").isdigit():
            continue
        told = [each for each in (row.draws.low, row.draws.median, row.draws.high) if each != "∞"]
        assert {decimals(each) for each in told} <= {decimals(row.sharp)}, row
        compared += len(told)
    assert compared >= len(ALL_BOUNDS)


def test_settings_bounds_and_percentiles_can_be_saved(page: OpenedPage, what_if_run: Run) -> None:
    inputs = what_if_run.inputs
    start, _, data = page.run("return document.querySelector('#what-if a[download]').href").partition(",")
    assert start == "data:text/csv;charset=utf-8;base64"
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(data).decode("utf-8-sig"))))
    settings = {row["name"]: float(row["value"]) for row in rows if row["what"] == "setting"}
    assert set(dataclasses.asdict(inputs.settings).values()) == set(settings.values())
    for name, reading in inputs.readings.items():
        found = recompute(inputs, reading, inputs.settings)
        draws = recompute_draws(inputs, reading, inputs.settings)
        own = [row for row in rows if row["reading of α"] == name and row["form"] == "sharp"]
        bounds = {row["name"]: row for row in own if row["what"] == "bound"}
        medians = {row["name"]: row["value"] for row in own if row["what"].startswith("50th percentile")}
        assert len(bounds) == len(medians) == len(ALL_BOUNDS)
        for key in ALL_BOUNDS:
            title, bound = THEOREMS[key][0], found[key]
            numbers = [bounds[title][side] for side in ("value", "low", "high")]
            expected = [] if bound is None else [bound.sharp.value, bound.sharp.low, bound.sharp.high]
            assert [float(each) for each in numbers if each] == expected
            lengths = [math.inf if each is None else each.sharp for each in draws[key]]
            assert float(medians[title]) == sorted(lengths)[N_DRAWS // 2 - 1]


def test_draws_without_a_bound_count_as_infinite(page: OpenedPage) -> None:
    inputs = crafted_draws()
    reading = next(iter(inputs.readings.values()))
    found = recompute_draws(inputs, reading, inputs.settings)
    script = (
        "const found = whatIfDraws(whatIfPayload(arguments[0]))(0, arguments[1]);"
        "return Object.fromEntries(Object.entries(found).map(([key, bounds]) => [key, whatIfSpread(bounds, null)]));"
    )
    shown = page.run(script, json.dumps(payload(inputs)), dataclasses.asdict(inputs.settings))
    for key, bounds in found.items():
        assert [shown[key][part] for part in PARTS] == list(dataclasses.astuple(spread(bounds, None)))
        assert shown[key]["infinite"] == sum(bound is None or math.isinf(bound.sharp) for bound in bounds)
    assert spread(found["theorem-1"], None).without == "4.5 %"
    assert spread((None, *found["theorem-1"][-1:]), None).high == "∞"


def test_a_strip_of_ticks_lies_under_every_bar(page: OpenedPage) -> None:
    script = (
        "return [...document.querySelectorAll('#what-if .wi-track')].map((track) => {"
        " const [strip, bar] = ['.wi-strip', '.wi-bar.wi-sharp'].map((one) => track.querySelector(one));"
        " const [below, above] = [strip, bar].map((each) => each.getBoundingClientRect());"
        " return [strip.querySelector('path').getAttribute('d').split('M').length - 1, below.top - above.bottom,"
        " track.getBoundingClientRect().bottom - below.bottom]; });"
    )
    strips = page.run(script)
    assert len(strips) == len(ALL_BOUNDS)
    for ticks, gap, room in strips:
        assert ticks >= 1
        assert gap > 0
        assert room > 0
    key = page.run("return document.querySelector('.wi-key').textContent")
    assert f"bounds recomputed from {N_DRAWS} joint bootstrap draws over prompts" in key
    assert "a spread, not a confidence interval: the interval is the box" in key


def test_all_draws_are_recomputed_while_a_slider_moves(page: OpenedPage) -> None:
    script = (
        "const stored = whatIfPayload(document.getElementById('what-if-inputs').textContent);"
        "const draws = whatIfDraws(stored);"
        "return Array.from({ length: 40 }, (_, i) => { const start = performance.now();"
        " draws(0, { ...stored.settings, epsilon: 0.1 + i / 100, replies: i }); return performance.now() - start; });"
    )
    # The least of many: what the page needs, and not what else the machine does.
    assert min(page.run(script)) < MOST_MILLISECONDS


def test_where_there_are_no_draws_the_page_says_why(what_if_run: Run, open_page: OpenPage, tmp_path: Path) -> None:
    why = "gamma has 4 prompts and needs at least 5; raise --prompts"
    readings = {name: dataclasses.replace(each, draws=None) for name, each in what_if_run.inputs.readings.items()}
    inputs = dataclasses.replace(what_if_run.inputs, readings=readings, no_draws=why)
    assert payload(inputs)["draws"] is None
    m, path = what_if_run.m, tmp_path / "report.html"
    with Store.read(what_if_run.path.parent) as store:
        page_of = dataclasses.replace(measure_page(store, m, sliders=False), what_if=what_if(inputs))
        path.write_text(render(store, m.meta, page_of, "report.html.j2", measure_context(m)))
    page = open_page(path)
    assert page.console_errors() == []
    found: dict[str, Any] = page.run(
        "return { strips: document.querySelectorAll('.wi-strip, .wi-draws, .wi-ticks, [data-draws-text]').length,"
        " why: document.querySelector('[data-no-draws]').textContent,"
        " bars: document.querySelectorAll('.wi-bar.wi-sharp').length };"
    )
    assert found == {
        "strips": 0,
        "why": f"No spread of bootstrap draws is shown: {why}. The intervals do not need it.",
        "bars": len(ALL_BOUNDS),
    }

"""A reader moves every setting of the "What if" section in a real browser, and comes back to the printed bounds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from beb.experiments.store import Store
from beb.experiments.what_if import ALL_BOUNDS, measure_inputs, recompute
from beb.report.html import render_report
from beb.report.rounding import dense_limits, value_text
from beb.report.what_if import WhatIf, what_if
from beb.report.what_if_controls import CLAIM, SCENARIO

from .browser import OpenedPage, OpenPage
from .factory import make_measurement
from .what_if_run import Run

PROBLEM = "return arguments[0].closest('[data-setting]').querySelector('[data-problem]').textContent"


@pytest.fixture
def run(what_if_run: Run) -> Run:
    return what_if_run


@pytest.fixture
def page(run: Run, open_page: OpenPage) -> OpenedPage:
    return open_page(run.path)


def test_at_the_run_s_settings_the_page_shows_the_printed_bounds(page: OpenedPage, run: Run) -> None:
    printed = {(b.reading, b.bound.bound.theorem): b.bound for b in run.m.bounds}
    assert {reading for reading, _ in printed} == set(run.inputs.readings)
    for number, (name, reading) in enumerate(run.inputs.readings.items()):
        found = recompute(run.inputs, reading, run.inputs.settings)
        choose(page, number)
        for key, theorem in (("theorem-1", "Theorem 1"), ("theorem-5", "Theorem 5")):
            bound = printed[name, theorem]
            assert found[key] == bound  # bit by bit: the same box
            assert bound.paper is not None
            wanted = [value_text(bound.sharp), dense_limits(bound.sharp), value_text(bound.paper),
                      dense_limits(bound.paper)]  # fmt: skip
            assert cells(page, key) == wanted


def test_without_script_the_page_holds_the_same_numbers(page: OpenedPage, run: Run) -> None:
    section = what_if_of(run)
    assert [row.key for row in section.rows] == list(ALL_BOUNDS)
    for row in section.rows:
        assert cells(page, row.key) == [row.sharp, row.sharp_interval, row.paper, row.paper_interval]
    assert page.run("return document.querySelector('[data-level]').textContent") == section.level


def what_if_of(run: Run) -> WhatIf:
    section = what_if(run.inputs)
    assert section is not None
    return section


def cells(page: OpenedPage, key: str) -> list[str]:
    script = (
        "const row = document.querySelector(`[data-bound=${arguments[0]}]`);"
        "return ['value=sharp', 'interval=sharp', 'value=paper', 'interval=paper']"
        ".map((name) => row.querySelector(`[data-${name}]`).textContent);"
    )
    found: list[str] = page.run(script, key)
    return found


def choose(page: OpenedPage, number: int) -> None:
    page.run("document.querySelectorAll('[name=what-if-reading]')[arguments[0]].click()", number)


def type_in(page: OpenedPage, key: str, text: str) -> None:
    field = page.driver.find_element("id", f"wi-{key}-number")
    page.run("arguments[0].select()", field)
    field.send_keys(text)


def test_a_reader_moves_settings_by_hand_and_comes_back(page: OpenedPage, run: Run) -> None:
    reading = next(iter(run.inputs.readings.values()))
    start = run.inputs.settings
    before = [cells(page, key) for key in ALL_BOUNDS]
    reset = page.driver.find_element("css selector", "[data-reset]")
    assert not reset.is_enabled()
    page.driver.find_element("id", "wi-prefix").send_keys(Keys.ARROW_RIGHT * 3)
    slider = page.driver.find_element("id", "wi-best_of")
    slider.send_keys(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_DOWN)
    assert slider.get_attribute("aria-valuetext") == "2 responses"
    page.driver.find_element("id", "wi-eta").send_keys(Keys.PAGE_UP)
    type_in(page, "epsilon", "0.05")
    type_in(page, "replies", "4")
    at = dataclasses.replace(start, epsilon=0.05, prefix=3, replies=4, best_of=2, eta=0.1)
    for key, bound in recompute(run.inputs, reading, at).items():
        assert bound is not None
        paper = ["none given", ""] if bound.paper is None else [value_text(bound.paper), dense_limits(bound.paper)]
        assert cells(page, key) == [value_text(bound.sharp), dense_limits(bound.sharp), *paper]
    changes = page.run("return [...document.querySelectorAll('[data-change]')].map((cell) => cell.textContent)")
    assert all(text.startswith("+") for text in changes[:6])
    assert reset.is_enabled()
    reset.send_keys(Keys.ENTER)
    assert [cells(page, key) for key in ALL_BOUNDS] == before
    assert not reset.is_enabled()
    assert page.run("return document.querySelector('[data-status]').textContent") == "Reset to the run's values."
    assert (page.console_errors(), page.requests_made()) == ([], [])


def test_what_cannot_be_is_refused_beside_the_field_and_changes_nothing(page: OpenedPage) -> None:
    before = cells(page, "theorem-1")
    for key, text in (("epsilon", "0"), ("epsilon", "3"), ("delta", "-1"), ("best_of", "2.5"), ("eta", "1")):
        type_in(page, key, text)
        field = page.driver.find_element("id", f"wi-{key}-number")
        assert field.get_attribute("aria-invalid") == "true"
        told = page.run(PROBLEM, field)
        assert told.startswith("Accepted: ")
        field.send_keys(Keys.TAB)
        assert field.get_attribute("aria-invalid") is None
    assert cells(page, "theorem-1") == before


def test_every_control_has_a_name_and_the_change_is_said(page: OpenedPage, run: Run) -> None:
    inputs = page.driver.find_elements("css selector", "#what-if input")
    assert len(inputs) == 2 * len(CLAIM + SCENARIO) + len(run.inputs.readings)
    assert all(each.accessible_name for each in inputs)
    page.driver.find_element("id", "wi-delta").send_keys(Keys.ARROW_LEFT)
    status = page.driver.find_element("css selector", "[data-status]")
    said = WebDriverWait(page.driver, 60).until(lambda _: status.get_attribute("textContent"))
    assert "Theorem 5: " in said
    assert "sentences, +" in said
    assert "Theorem 1:" not in said


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_it_fits_the_window_in_both_themes(
    run: Run, open_page: OpenPage, tmp_path: Path, width: int, dark: bool
) -> None:
    page = open_page(run.path, width=width, dark=dark)
    type_in(page, "eta", "0.9")
    outside = page.run(
        "const wide = document.documentElement.clientWidth;"
        "return [...document.querySelectorAll('#what-if *')].filter((e) => e.getClientRects().length &&"
        " !e.closest('.wi-hidden') && !e.closest('[data-status]') && (e.getBoundingClientRect().right > wide + 0.5 ||"
        " e.getBoundingClientRect().left < -0.5)).map((e) => e.className || e.tagName)"
    )
    assert outside == []
    assert page.run("return document.documentElement.scrollWidth") == width
    assert page.screenshot(tmp_path / "page.png").stat().st_size > 50_000
    assert page.console_errors() == []


def test_the_section_is_small_and_absent_where_nothing_can_be_recomputed(run: Run, hostile_store: Store) -> None:
    section = what_if_of(run)
    assert len(json.dumps(section.payload)) < 60_000
    assert run.path.stat().st_size < 6_000_000
    m = make_measurement()
    assert measure_inputs(hostile_store, m) is None
    assert 'id="what-if"' not in render_report(hostile_store, m)

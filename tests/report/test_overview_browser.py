"""The page about several runs in a real browser: sorted by mouse and by keys, inert, and within its window."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from beb.report.overview.page import write_overview

from .browser import OpenedPage, OpenPage
from .hostile import ELSEWHERE, NAME, SHORT, poisoned

HOSTILE = ("first", "second", "guardrail", "converse", "best-of", "personas", "trace", "probe")
BETA = "β"


@pytest.fixture(scope="module")
def overview(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_overview(list(runs.values()), tmp_path_factory.mktemp("overview") / "overview.html")


def head(page: OpenedPage, name: str) -> int:
    """The number of the column with that name."""
    names = page.run("return [...document.querySelectorAll('.runs thead .name')].map((each) => each.textContent)")
    return int(names.index(name))


def column(page: OpenedPage, at: int) -> list[str]:
    script = "return [...document.querySelector('.runs').tBodies[0].rows].map((row) => row.cells[arguments[0]]"
    return list(page.run(f"{script}.dataset.sort)", at))


def sorts(page: OpenedPage) -> list[str | None]:
    return list(
        page.run("return [...document.querySelectorAll('.runs thead th')].map((t) => t.getAttribute('aria-sort'))")
    )


def press(page: OpenedPage, at: int) -> None:
    page.run("document.querySelectorAll('.runs thead button')[arguments[0]].click()", at)


def test_a_number_column_is_sorted_by_value_the_missing_last(overview: Path, open_page: OpenPage) -> None:
    page = open_page(overview)
    at = head(page, BETA)
    given = column(page, at)
    assert set(sorts(page)) == {None}
    finite = sorted((float(each) for each in given if each), key=float)
    missing = [""] * given.count("")
    assert missing
    press(page, at)
    assert [float(each) for each in column(page, at) if each] == finite
    assert column(page, at)[-len(missing) :] == missing
    assert [i for i, each in enumerate(sorts(page)) if each] == [at]
    assert sorts(page)[at] == "ascending"
    press(page, at)
    assert [float(each) for each in column(page, at) if each] == finite[::-1]
    assert column(page, at)[-len(missing) :] == missing
    assert sorts(page)[at] == "descending"
    assert page.run("return document.querySelector('[data-sorted]').textContent") == f"Sorted by {BETA}, descending."
    press(page, 0)
    assert sorts(page)[at] is None
    assert column(page, 0) == sorted(column(page, 0))


def test_infinite_numbers_stand_before_the_missing_ones(overview: Path, open_page: OpenPage) -> None:
    page = open_page(overview)
    at = head(page, BETA)
    numbers = ["3", "inf", "", "-1.5", "1e-7", "10", "-inf", "2.5e3", ""]
    page.run(
        "[...document.querySelector('.runs').tBodies[0].rows].forEach((row, i) => {"
        " row.cells[arguments[0]].dataset.sort = arguments[1][i]; })",
        at,
        numbers,
    )
    press(page, at)
    assert column(page, at) == ["-1.5", "1e-7", "3", "10", "2.5e3", "-inf", "inf", "", ""]
    press(page, at)
    assert column(page, at) == ["2.5e3", "10", "3", "1e-7", "-1.5", "inf", "-inf", "", ""]


def test_the_table_is_sorted_with_keys_alone(overview: Path, open_page: OpenPage) -> None:
    page = open_page(overview)
    for _ in range(60):
        focused = page.tab()
        if page.run("return arguments[0].closest('.runs thead') !== null", focused):
            break
    assert focused.text.startswith("Run")
    page.press(Keys.ENTER)
    assert sorts(page)[0] == "ascending"
    page.press(Keys.SPACE)
    assert sorts(page)[0] == "descending"
    assert column(page, 0) == sorted(column(page, 0), reverse=True)
    page.tab()
    assert page.run("return document.activeElement.textContent").startswith("Kind")
    outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_a_heading_says_what_it_sorts(overview: Path, open_page: OpenPage) -> None:
    page = open_page(overview)
    heads = page.run("return [...document.querySelectorAll('.runs thead th')].map((t) => t.scope)")
    assert set(heads) == {"col"}
    assert page.run("return [...document.querySelectorAll('.runs tbody th')].every((t) => t.scope === 'row')")
    assert page.run("return document.querySelector('.runs').getAttribute('aria-describedby')") == "sort-help"
    assert page.run("return [...document.querySelectorAll('.panel')].every((p) => p.getAttribute('aria-label'))")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True), (390, True)])
def test_the_page_fits_its_window(width: int, dark: bool, overview: Path, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(overview, width=width, dark=dark)
    page.screenshot(tmp_path / f"overview-{width}.png")
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.console_errors() == []
    assert page.requests_made() == []
    wide = "return [...document.querySelectorAll('.panel')].every((p) => p.getBoundingClientRect().right <= innerWidth)"
    assert page.run(wide)
    ids = page.run("return [...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    links = page.run(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.getAttribute('href').slice(1))"
    )
    assert set(links) <= set(ids)
    assert page.run("return [...document.querySelectorAll('[data-plot]')].every((plot) => plot.data.length > 0)")


def test_panels_of_a_quantity_stand_beside_each_other(overview: Path, open_page: OpenPage) -> None:
    script = (
        "return [...document.querySelectorAll('#multiples-evidence .panel')]"
        ".map((p) => Math.round(p.getBoundingClientRect().top))"
    )
    assert len(set(open_page(overview).run(script))) == 1
    assert len(set(open_page(overview, width=390).run(script))) == 3


def test_few_panels_use_the_width_and_letters_stay_legible(
    runs: dict[str, Path], open_page: OpenPage, overview: Path, tmp_path: Path
) -> None:
    few = write_overview([runs["first"], runs["second"]], tmp_path / "two.html")
    row = "const row = document.querySelector('#multiples-evidence .panels').getBoundingClientRect();"
    panels = "const all = [...document.querySelectorAll('#multiples-evidence .panel')];"
    used = f"{row}{panels} return all.reduce((s, p) => s + p.getBoundingClientRect().width, 0) / row.width"
    page = open_page(few, width=1280)
    assert page.run(used) > 0.85
    letters = (
        "return [...document.querySelectorAll('.panel')].map((p) => parseFloat(getComputedStyle(p).fontSize)"
        " * p.getBoundingClientRect().width / 240)"
    )
    for path, width in ((few, 1280), (few, 390), (overview, 1280), (overview, 390)):
        sizes = open_page(path, width=width).run(letters)
        assert 11.4 <= min(sizes) <= max(sizes) <= 17, (path.name, width)


def test_the_numbers_can_be_saved(overview: Path, open_page: OpenPage) -> None:
    page = open_page(overview)
    found = page.run(
        "return [...document.querySelectorAll('a.download')].map((a) => [a.download, a.getAttribute('href')])"
    )
    assert {"multiples-evidence.csv", "multiples-beta.csv"} <= {name for name, _ in found}
    for _, href in found:
        start, _, encoded = href.partition(";base64,")
        assert start == "data:text/csv;charset=utf-8"
        assert base64.b64decode(encoded).decode("utf-8-sig").count("\n") > 1


def test_hostile_runs_stay_text(runs: dict[str, Path], open_page: OpenPage, tmp_path: Path) -> None:
    rename = {"personas": ("con man",), "trace": ("con man",), "probe": ("gaussian",)}
    folders = [
        poisoned(runs[name], tmp_path / f"{i} {NAME.replace('/', chr(0x2215))}", rename=rename.get(name, ()))
        for i, name in enumerate(HOSTILE)
    ]
    path = write_overview(folders, tmp_path / "page.html")
    for width in (1280, 390):
        page = open_page(path, width=width)
        page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.run("document.querySelectorAll('button').forEach((each) => { each.click(); each.click(); })")
        page.screenshot(tmp_path / f"hostile-{width}.png")
        assert page.run("return window.pwned ?? null") is None
        assert page.run("return document.querySelectorAll('img, iframe, base, form, object, b').length") == 0
        assert page.requests_made() == []
        assert page.console_errors() == []
        assert page.run("return document.documentElement.scrollWidth") <= width
        shown = page.run("return document.body.innerText")
        assert f"<img src={ELSEWHERE}/n.png" in shown
        assert "\u202e" not in shown
        texts = page.run("return [...document.querySelectorAll('details.content blockquote')].map((q) => q.innerText)")
        assert len(texts) > len(HOSTILE)
        assert any(SHORT[0] in text for text in texts)
        assert any(text.endswith("more characters not shown]") for text in texts)
        assert page.run("return document.querySelectorAll('details.content :is(script, svg, a, input)').length") == 0

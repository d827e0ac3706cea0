"""Pages that everybody can read: any colour vision, either theme, paper, a phone, a keyboard, a screen reader."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from beb.experiments.laws.analyse import analyse_laws
from beb.experiments.measure import measure
from beb.experiments.registry import analyse
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.report import laws_page
from beb.report.chart import PALETTE, Chart
from beb.report.chart_data import chart_csv, unit_of
from beb.report.heat_map import heat_csv
from beb.report.html import write_page, write_report
from beb.report.page import Page
from beb.report.pages import page_of
from beb.report.rounding import places

from .browser import OpenedPage, OpenPage
from .colour_vision import MACHADO, ciede2000, contrast, seen
from .kinds import make_runs

KINDS = ("first", "guardrail", "converse", "best-of", "personas", "trace", "probe", "laws")
COUNTED = ("sentences", "turn", "layer", "responses", "user sentence")
"""What an axis without a unit in brackets counts: its first words are the unit."""
CURVES = set(PALETTE) - {"page", "grid"}
TEXT_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
SHAPE_CONTRAST = 3.0  # WCAG 2.2, 1.4.11
CLEARLY_DIFFERENT = 10.0  # CIEDE2000, seen at a glance

LOW_CONTRAST = """
const canvas = document.createElement('canvas');
canvas.width = canvas.height = 1;
const ink = canvas.getContext('2d', {willReadFrequently: true});
const numbers = (colour, over) => {
  ink.clearRect(0, 0, 1, 1);
  for (const each of [over, colour]) { if (each) { ink.fillStyle = each; ink.fillRect(0, 0, 1, 1); } }
  return [...ink.getImageData(0, 0, 1, 1).data];
};
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const found = numbers(getComputedStyle(each).backgroundColor);
    if (found[3] === 255) return `rgb(${found.slice(0, 3)})`;
    if (found[3] !== 0) throw Error('translucent background');
  }
  return 'white';
};
const low = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let checked = 0;
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || element.closest('script, style, noscript, option')) continue;
  if (!element.getClientRects().length || getComputedStyle(element).visibility === 'hidden') continue;
  const style = getComputedStyle(element), back = behind(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const [one, two] = [luminance(numbers(colour, back)), luminance(numbers(back))].sort((a, b) => b - a);
  checked += 1;
  const ratio = (one + 0.05) / (two + 0.05);
  const told = walker.currentNode.data.trim().slice(0, 40);
  if (ratio < arguments[0]) low.push(`${ratio.toFixed(2)} ${colour} on ${back}: ${told}`);
}
return [checked, low];
"""
FOCUSABLE = """
return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')].filter((each) =>
  !each.disabled && each.checkVisibility() && (each.type !== 'radio' || each.checked)
).map((each) => { each.dataset.stop = String(each.dataset.stop ?? Math.random()); return each.dataset.stop; });
"""
FOCUSED = """
const each = document.activeElement, style = getComputedStyle(each), box = each.getBoundingClientRect();
return [each.dataset.stop ?? each.tagName, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1.5,
        box.width > 0 && box.right > 0];
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = make_runs(tmp_path_factory.mktemp("kinds"))
    found["laws"] = tmp_path_factory.mktemp("long") / "laws"
    measure("world:markov", spec=MeasureSpec(prompts=12, sentences=6), out=found["laws"])
    return found


@pytest.fixture(scope="module")
def said(runs: dict[str, Path]) -> dict[str, Page]:
    """What each kind of page says."""
    pages = {}
    for kind in KINDS:
        with Store.read(runs[kind]) as store:
            if kind == "laws":
                pages[kind] = laws_page.page(store, analyse_laws(store))
            else:
                pages[kind] = page_of(store, analyse(store))
    return pages


@pytest.fixture(scope="module")
def files(runs: dict[str, Path], said: dict[str, Page]) -> dict[str, Path]:
    """The file of each kind of page."""
    found = {}
    for kind in KINDS:
        with Store.read(runs[kind]) as store:
            path = runs[kind] / "page.html"
            if kind == "laws":
                found[kind] = write_page(store, store.meta(), said[kind], path)
            else:
                found[kind] = write_report(store, analyse(store), path)
    return found


def charts_of(page: Page) -> list[Chart]:
    return [chart for section in page.sections for chart in section.charts]


def open_folds(page: OpenedPage) -> None:
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


def test_the_colour_difference_is_the_published_one() -> None:
    # Sharma, Wu, Dalal 2005, Table 1: pairs 1, 7, 10, 17, 25 and 33.
    for one, other, difference in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425), ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195), ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ):  # fmt: skip
        assert ciede2000(one, other) == pytest.approx(difference, abs=5e-5)
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert seen((255, 255, 255), "deuteranopia") == pytest.approx((100, 0, 0), abs=0.05)


@pytest.mark.parametrize("vision", MACHADO)
@pytest.mark.parametrize("theme", [0, 1], ids=("light", "dark"))
def test_curves_differ_with_any_colour_vision(theme: int, vision: str) -> None:
    for one, other in itertools.combinations(sorted(CURVES), 2):
        difference = ciede2000(*(seen(PALETTE[role][theme], vision) for role in (one, other)))
        assert difference >= CLEARLY_DIFFERENT, (one, other)
    for role in CURVES:
        assert contrast(PALETTE[role][theme], PALETTE["page"][theme]) >= SHAPE_CONTRAST, role


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_can_be_read(kind: str, files: dict[str, Path], open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(files[kind])
    open_folds(page)
    page.run("document.querySelector('button[data-item]')?.click()")  # a hidden curve's name is to be read as well
    for dark, medium in ((False, ""), (True, ""), (True, "print")):
        page.prefer(dark=dark, media=medium)
        time.sleep(0.3)  # figures are drawn again after the change
        checked, low = page.run(LOW_CONTRAST, TEXT_CONTRAST)
        assert checked > 100
        assert low == [], (dark, medium)


def test_paper_is_white_even_if_the_screen_is_dark(files: dict[str, Path], open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(files["first"], dark=True)
    dark = page.run("return document.querySelector('.plot').innerHTML")
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    printed = page.run("return document.querySelector('.plot').innerHTML")
    light, night = (f"rgb({', '.join(map(str, number))})" for number in PALETTE["negative"])
    assert night in dark
    assert light in printed
    assert night not in printed
    assert max(page.run("return [...document.querySelectorAll('.plot svg.main-svg')].map((s) => s.clientWidth)")) <= 680
    page.run("window.dispatchEvent(new Event('afterprint'))")
    assert night in page.run("return document.querySelector('.plot').innerHTML")
    pdf = page.print_pdf(tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_wider_than_a_phone(kind: str, files: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(files[kind], width=390)
    open_folds(page)
    time.sleep(0.2)  # observers of sizes run after the next frame
    assert page.run("return document.documentElement.scrollWidth") <= 390
    boxes = page.run(
        "return [...document.querySelectorAll('.scroll')].map((each) => [each.scrollWidth > each.clientWidth,"
        " each.getAttribute('tabindex'), each.getAttribute('role'), each.getAttribute('aria-label')])"
    )
    for scrolls, stop, role, label in boxes:
        assert (stop == "0") == scrolls, label
        assert role == "region"
        assert label


@pytest.mark.parametrize("kind", ["first", "personas"])
def test_the_keyboard_reaches_everything_in_order(kind: str, files: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(files[kind])
    open_folds(page)
    time.sleep(0.2)
    stops = page.run(FOCUSABLE)
    assert len(stops) > 20
    reached = []
    for _ in stops:
        page.press(Keys.TAB)
        stop, marked, on_page = page.run(FOCUSED)
        assert marked, f"nothing shows the focus of {stop} after {len(reached)} stops"
        assert on_page
        reached.append(stop)
    assert reached == stops


def test_the_keyboard_works_folds_and_curves(files: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(files["first"])
    page.press(Keys.TAB)
    assert page.run("return document.activeElement.getAttribute('href')") == "#answer"
    page.press(Keys.ENTER)
    assert page.run("return location.hash") == "#answer"
    page.run("document.querySelector('.numbers summary').focus()")
    page.press(Keys.ENTER)
    assert page.run("return document.querySelector('.numbers').open") is True
    page.run("document.querySelector('button[data-item]').focus()")
    page.press(Keys.SPACE)
    pressed, shown = page.run(
        "const plot = document.querySelector('[data-plot]');"
        "return [document.querySelector('button[data-item]').getAttribute('aria-pressed'),"
        " plot.data.filter((trace) => trace.meta === 0).map((trace) => trace.visible ?? true)]"
    )
    assert pressed == "false"
    assert shown
    assert not any(shown)


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_words_numbers_and_units(kind: str, said: dict[str, Page]) -> None:
    charts = charts_of(said[kind])
    assert charts
    for chart in charts:
        layout = chart.figure.layout
        assert unit_of(chart.y_title), f"{chart.key}: no unit in {chart.y_title!r}"
        assert unit_of(chart.x_title) or chart.x_title.startswith(COUNTED), f"{chart.key}: no unit in {chart.x_title!r}"
        assert layout.xaxis.title.text
        assert layout.yaxis.title.text
        assert len(chart.alt) > 40
        assert any(character.isdigit() for character in chart.alt), f"{chart.key}: no number in {chart.alt!r}"
        assert chart.table.rows
    for section in said[kind].sections:
        for heat in section.heat_maps:
            assert heat.unit
            assert any(character.isdigit() for character in heat.alt)


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_s_numbers_can_be_saved(
    kind: str, files: dict[str, Path], said: dict[str, Page], open_page: OpenPage
) -> None:
    page = open_page(files[kind])
    links = page.run("return [...document.querySelectorAll('figure a.download')].map((a) => [a.download, a.href])")
    expected = {f"{chart.key}.csv": chart_csv(chart) for chart in charts_of(said[kind])}
    for section in said[kind].sections:
        expected |= {f"{heat.key}.csv": heat_csv(heat) for heat in section.heat_maps}
    assert len(links) == page.run("return document.querySelectorAll('figure').length") == len(expected)
    for name, address in links:
        text = base64.b64decode(address.partition(",")[2]).decode("utf-8-sig")
        assert text == expected[name]
        rows = list(csv.DictReader(io.StringIO(text)))
        assert rows
        for column, cell in itertools.chain.from_iterable(row.items() for row in rows):
            number = _number(cell)
            assert number is not None or not re.match(r"\s*[=+\-@\t\r]", cell), (column, cell)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def test_the_browser_saves_the_file_without_a_connection(
    files: dict[str, Path], said: dict[str, Page], open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(files["first"])
    asked: dict[str, Any] = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", asked)
    page.run("document.querySelector('a.download').focus()")
    page.press(Keys.ENTER)
    chart = charts_of(said["first"])[0]
    saved = tmp_path / f"{chart.key}.csv"
    for _ in range(100):
        if saved.exists():
            break
        time.sleep(0.1)
    assert saved.read_text(encoding="utf-8-sig") == chart_csv(chart)
    assert page.requests_made() == []
    assert page.console_errors() == []


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_rounded_to_what_their_intervals_carry(
    kind: str, files: dict[str, Path], open_page: OpenPage
) -> None:
    page = open_page(files[kind])
    open_folds(page)
    shown = page.run("document.querySelectorAll('#texts').forEach((e) => e.remove()); return document.body.innerText")
    number = r"[−-]?[\d,]+(?:\.\d+)?"
    found = re.findall(rf"(?<![\d.×⁻])(?<!± )({number}) \[({number}), ({number})\]", shown)
    assert len(found) > 5
    for texts in found:
        value, low, high = (float(text.replace(",", "").replace("−", "-")) for text in texts)
        if not low < high or 0 in (value - low, high - value):
            continue
        decimals = len(texts[0].partition(".")[2])
        finest = max(places(value, low, high).value, 1 - math.floor(math.log10(min(value - low, high - value))))
        assert decimals <= finest + 1, texts
    assert not re.search(r"(?<![\w.−-])-\d", re.sub(r"\d{4}-\d\d-\d\d\S*", "", shown)), (
        "a hyphen stands for a minus sign"
    )

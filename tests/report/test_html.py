"""The page: one file, well-formed, opening no connection, and inert whatever the model wrote."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import resource
import subprocess
import sys
import time
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest

from beb.errors import StoreError
from beb.experiments.measurement import AlphaReadings, Measurement
from beb.experiments.store import Store
from beb.report.html import render_report, write_report
from beb.report.inert import visible
from beb.report.rounding import interval_text, value_text, with_interval

from .factory import HOSTILE, PROMPTS, estimate, make_measurement

VOID = {"meta", "br", "hr", "img", "input", "link", "rect", "line", "circle", "path"}
LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href", "ping"}


class Page(HTMLParser):
    """Elements, text and scripts of a page; notes every tag that closes what was not open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def source(hostile_store: Store) -> str:
    return render_report(hostile_store, make_measurement())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_well_formed(page: Page, source: str) -> None:
    assert source.startswith("<!DOCTYPE html>")
    assert (page.wrong, page.open) == ([], [])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    addresses = [attributes["href"] or "" for tag, attributes in page.elements if tag == "a"]
    anchors = {address for address in addresses if not address.startswith("data:text/csv;")}
    assert anchors <= {f"#{name}" for name in ids}
    assert len(anchors) == 9
    assert sum(address not in anchors for address in addresses) == 7  # one file per figure


def test_nothing_is_loaded(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "img", "form", "base", "audio", "video"}, tag
        assert not LOADING & set(attributes), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert "url(" not in (attributes.get("style") or "")


def test_policy_allows_the_two_scripts_of_ours_and_no_connection(page: Page) -> None:
    policies = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    policy = policies[0] or ""
    assert policy.startswith("default-src 'none';")
    assert "connect-src 'none'" in policy
    assert not re.search(r"https?:|\*|unsafe-eval|script-src[^;]*unsafe-inline", policy)
    code = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code]
    assert len(code) == 2
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes


def test_hostile_texts_are_text(page: Page, source: str) -> None:
    for text in HOSTILE[:2]:
        assert text in page.text  # seen as it was written, by a parser that would have made elements of it
        assert text not in source
    assert "{{ 7 * 7 }}" in page.text
    assert visible(HOSTILE[2].replace("\ud800", "")) in page.text
    assert "more marks⟩algo" in page.text
    assert "8,000 more characters not shown" in page.text
    assert len(re.findall(r"<script\b", source)) == len(page.scripts) == 3 + 7


def test_no_invisible_character_reaches_the_page(page: Page, source: str) -> None:
    kinds = {unicodedata.category(c) for c in page.text if c not in "\n\t"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    source.encode("utf-8")


def test_texts_are_isolated_and_hidden_behind_a_note(page: Page) -> None:
    quotes = [attributes for tag, attributes in page.elements if tag == "blockquote"]
    assert quotes
    assert all(attributes.get("dir") == "auto" for attributes in quotes)
    details = [attributes for tag, attributes in page.elements if tag == "details"]
    assert details
    assert not any("open" in attributes for attributes in details)
    assert "may offend" in page.text


def test_every_figure_has_its_data_a_name_and_numbers(page: Page) -> None:
    plots = [attributes for _, attributes in page.elements if "data-plot" in attributes]
    texts = {attributes.get("id"): text for attributes, text in page.scripts}
    assert len(plots) == 7
    for attributes in plots:
        assert attributes["role"] == "img"
        assert len(attributes["aria-label"] or "") > 40
        figure = json.loads(texts[attributes["data-plot"]])
        assert figure["data"]
        assert {"xaxis", "yaxis"} <= set(figure["layout"])
    assert page.text.count("The numbers") == 7
    swaps = json.loads(texts["drawing"])["swaps"]
    assert all(re.fullmatch(r"\d+,\d+,\d+", number) for pair in swaps.items() for number in pair)


def test_numbers_are_the_measurement_s(page: Page) -> None:
    m = make_measurement()
    shown = " ".join(page.text.split())
    for each in (m.beta, m.beta_prime, m.beta_prime_top, m.sigma2, m.sigma2_positive, m.gamma, m.gamma_uncorrected):
        assert f"{value_text(each)}{interval_text(each)}{each.unit}{PROMPTS} prompts" in shown
    for report in m.bounds:
        assert report.bound.paper is not None
        assert f"{with_interval(report.bound.paper)}{with_interval(report.bound.sharp)}plain text: 3" in shown
    for premise in m.assumptions:
        assert f"{premise.status}{visible(premise.figure)}" in shown
    assert "sampling responses11 min 01 s" in shown
    assert "all work items41 min 06 s" in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"predictions": (), "bounds": (), "assumptions": (), "failures": {}, "notes": (), "counts": {}},
        {"components": ()},
        {"alpha": "with ratio"},
    ],
)
def test_missing_parts(hostile_store: Store, changes: dict[str, object]) -> None:
    m = make_measurement()
    bare = tuple(dataclasses.replace(curve, corrected=None) for curve in m.behavior)
    if changes.get("alpha") == "with ratio":
        line = dataclasses.replace(m.alpha.line, ratio=estimate(3.2, 0.5, "sentences"))
        changes = {"alpha": AlphaReadings(m.alpha.cap, m.alpha.plateau, line, {}, m.alpha.limits)}
    found = Page(render_report(hostile_store, make_measurement(**({"behavior": bare} | changes))))
    assert (found.wrong, found.open) == ([], [])
    assert "corrected for the scorer" not in found.text
    assert not re.search(r"\b(None|nan|inf)\b", found.text)


def test_small_and_quick(hostile_store: Store, tmp_path: Path) -> None:
    start = time.perf_counter()
    path = write_report(hostile_store, make_measurement(), tmp_path / "new" / "report.html")
    assert time.perf_counter() - start < 5
    assert path.stat().st_size <= 6_000_000
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_same_run_same_page(source: str, hostile_store: Store) -> None:
    assert render_report(hostile_store, make_measurement()) == source


def test_a_failed_write_keeps_the_old_report(hostile_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"report\.html cannot be used"):
            write_report(hostile_store, make_measurement(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_real_run_of_an_exact_world(tmp_path: Path) -> None:
    from beb.experiments.experiment import run_experiment
    from beb.experiments.measure import MEASURE
    from beb.experiments.spec import MeasureSpec, make_spec

    m: Measurement = run_experiment(
        MEASURE, make_spec(MeasureSpec, {"model": "world:coin", "prompts": 8, "sentences": 3}), tmp_path
    )
    with Store.read(tmp_path) as store:
        found = Page(write_report(store, m, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert (found.wrong, found.open) == ([], [])
    assert f"{value_text(m.beta)}{interval_text(m.beta)}{m.beta.unit}8 prompts" in found.text
    assert "I lie." in found.text


def test_the_command_needs_no_model_and_few_seconds(tmp_path: Path) -> None:
    from beb.experiments.measure import measure
    from beb.experiments.spec import MeasureSpec

    measure("world:markov", spec=MeasureSpec(), out=tmp_path / "run")  # as many prompts and responses as by default
    (tmp_path / "run" / "report.html").unlink(missing_ok=True)
    code = (
        "import sys; from beb.cli.main import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'transformers', 'peft', 'matplotlib'} & set(sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, "report", str(tmp_path / "run")], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 5  # whatever else is running
    assert (tmp_path / "run" / "report.html").stat().st_size <= 6_000_000

"""Every kind of page in a real browser, with hostile words wherever a foreign string can stand: it stays text."""

from __future__ import annotations

from pathlib import Path

import pytest

from beb.experiments.compare.analyse import compare
from beb.experiments.laws.analyse import analyse_laws
from beb.experiments.measure import measure
from beb.experiments.registry import analyse
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.report import compare_page, laws_page
from beb.report.html import write_page, write_report

from .browser import OpenedPage, OpenPage
from .hostile import NAME, SENTINEL, SHORT, poisoned
from .kinds import make_runs

REPORTS = ("first", "guardrail", "converse", "best-of", "personas", "trace", "probe")
KINDS = (*REPORTS, "laws", "compare")
RENAMED = {"personas": ("con man", "assistant"), "trace": ("con man", "assistant"), "probe": ("gaussian",)}
FORBIDDEN = "img, iframe, link, base, form, object, embed, input[autofocus], a[href^='javascript'], [onload], [onerror]"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of every kind of run by name, all of them hostile."""
    honest = make_runs(tmp_path_factory.mktemp("kinds"))
    folder = tmp_path_factory.mktemp("hostile")
    found = {}
    for name in REPORTS:
        run = poisoned(honest[name], folder / name, rename=RENAMED.get(name, ()))
        with Store.read(run) as store:
            found[name] = write_report(store, analyse(store), run / "report.html")
    measure("world:markov", spec=MeasureSpec(prompts=12, sentences=6), out=honest["first"].parent / "long")
    with Store.read(poisoned(honest["first"].parent / "long", folder / "long")) as store:
        laws = analyse_laws(store)
        found["laws"] = write_page(store, laws.meta, laws_page.page(store, laws), folder / "laws" / "laws.html")
    second = poisoned(honest["second"], folder / NAME.replace("/", "\u2215"))
    compared = compare(folder / "first", second)
    target = folder / "compare" / "compare.html"
    found["compare"] = write_page(None, compared.meta, compare_page.page(compared), target)
    return found


def touch_everything(page: OpenedPage) -> None:
    """Open every fold, hide and show every curve, and point at every figure, as a reader would."""
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.run("document.querySelectorAll('button[data-item]').forEach((each) => { each.click(); each.click(); })")
    page.run(
        "document.querySelectorAll('[data-plot]').forEach((plot) => plot.data.forEach((trace, i) => {"
        "  if (trace.hoverinfo !== 'skip') Plotly.Fx.hover(plot, [{curveNumber: i, pointNumber: 0}]); }))"
    )


def test_the_browser_sees_scripts_errors_and_requests(open_page: OpenPage, tmp_path: Path) -> None:
    """What the other tests find absent is found where it is present."""
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><title>bad</title><style>p {color: red} @media (prefers-color-scheme: dark) {p {color: blue}}"
        f"</style><p>text</p><script>{SENTINEL}; fetch('https://evil.example/x'); throw Error('broken')</script>"
        "<img src='https://evil.example/y.png'>",
        encoding="utf-8",
    )
    page = open_page(path, width=390, dark=True)
    assert page.run("return [window.pwned, innerWidth, devicePixelRatio]") == [1, 390, 1]
    assert page.run("return getComputedStyle(document.querySelector('p')).color") == "rgb(0, 0, 255)"
    assert {"https://evil.example/x", "https://evil.example/y.png"} <= set(page.requests_made())
    assert any("broken" in message for message in page.console_errors())
    page.prefer(dark=False)
    assert page.run("return getComputedStyle(document.querySelector('p')).color") == "rgb(255, 0, 0)"
    assert page.screenshot(tmp_path / "shot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_words_are_inert(kind: str, pages: dict[str, Path], open_page: OpenPage, tmp_path: Path) -> None:
    for width, dark in ((1280, False), (390, True)):
        page = open_page(pages[kind], width=width, dark=dark)
        touch_everything(page)
        page.screenshot(tmp_path / f"{kind}-{width}.png")
        assert page.run("return window.pwned ?? null") is None
        assert page.run("return document.querySelectorAll(arguments[0]).length", FORBIDDEN) == 0
        assert page.run("return document.title").endswith(": Behavior Expectation Bounds")
        top = page.run("return [...document.body.children].slice(0, 4).map((each) => each.tagName)")
        assert top == ["A", "HEADER", "MAIN", "FOOTER"]
        assert page.requests_made() == []
        assert page.console_errors() == []
        assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.run("return document.querySelectorAll('[data-plot] a').length") == 0
    ids = page.run("return [...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", REPORTS)
def test_hostile_words_are_told_as_they_are(kind: str, pages: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(pages[kind])
    touch_everything(page)
    shown = page.run("return document.body.innerText")
    assert f"{NAME.split(chr(0x202E))[0]}⟨U+202E⟩</script><b>$x$" in shown  # the model's name is the heading
    if kind != "probe":  # whose texts are cut to one line
        assert SHORT[0] in shown
        assert "⟨U+202E⟩gnp.exe⟨U+202C⟩" in shown
    for raw in ("\u202e", "\u2066", "\x00", "\x1b"):
        assert raw not in shown

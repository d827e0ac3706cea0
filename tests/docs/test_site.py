"""The documentation builds without a broken link, loads nothing from elsewhere, and shows its formulas."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
from mathml import Formula, put_back, taken_out  # noqa: E402 - the site's hooks are no package

LOADED = re.compile(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]+)\"|<link[^>]*\shref=\"([^\"]+)\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built strictly: a warning, such as a link to nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.glob("*.html"))
    assert len(pages) >= 11
    for page in pages:
        for match in LOADED.finditer(page.read_text(encoding="utf-8")):
            address = match[1] or match[2]
            assert not re.match(r"(?:[a-z]+:)?//", address), f"{page.name} loads {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_every_formula_is_shown(site: Path) -> None:
    for name in ("maths", "estimators", "framework"):
        formulas = taken_out((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))[1]
        page = (site / f"{name}.html").read_text(encoding="utf-8")
        assert page.count("<math") == len(formulas) > 20
        assert "mathsformula" not in page
        body = re.sub(r"<math.*?</math>|<script.*?</script>", "", page, flags=re.DOTALL)
        assert not re.search(r"\\[a-z]{2,}|\$[^$\s]", body), f"{name}: a formula is left as its source"


def test_notebook_is_on_the_site(site: Path) -> None:
    assert (site / "tutorial.ipynb").is_file()
    assert 'href="tutorial.ipynb"' in (site / "index.html").read_text(encoding="utf-8")


def shape(source: str) -> str:
    """A formula's elements and signs, without attributes."""
    root = ET.fromstring(Formula(source, display=False).mathml())

    def told(element: ET.Element) -> str:
        return f"{element.tag}({''.join(told(child) for child in element) or element.text})"

    return told(root[0])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\frac1\alpha", "mrow(mfrac(mn(1)mi(α)))"),
        (r"\frac12", "mrow(mfrac(mn(1)mn(2)))"),
        (r"0.139", "mrow(mn(0.139))"),
        (r"P_-^{2n}", "mrow(msubsup(mi(P)mo(−)mrow(mn(2)mi(n))))"),
        (r"\beta'_n", "mrow(msub(mrow(mi(β)mo(′))mi(n)))"),
        (r"\min_n x", "mrow(munder(mo(min)mi(n))mi(x))"),
        (r"\left(\sum_ix\right)^2", "mrow(msup(mrow(mo(()mrow(munder(mo(∑)mi(i))mi(x))mo()))mn(2)))"),
        (r"\binom nj\Big|", "mrow(mrow(mo(()mfrac(mi(n)mi(j))mo()))mo(|))"),
        (r"\mathrm{KL}<\text{a b}", "mrow(mi(KL)mo(<)mtext(a\u00a0b))"),
    ],
)
def test_formulas_are_read_as_tex_reads_them(source: str, expected: str) -> None:
    assert shape(source) == expected


def test_a_minus_sign_is_no_difference() -> None:
    assert 'form="prefix"' in Formula("-x", display=False).mathml()
    assert 'form="infix"' in Formula("y-x", display=False).mathml()
    assert 'form="prefix"' in Formula(r"y\le-x", display=False).mathml()


@pytest.mark.parametrize("source", [r"\nosuch x", r"\frac{1", r"\left(x", "x}", r"\left<x\right>", "a&b"])
def test_what_is_not_understood_stops_the_build(source: str) -> None:
    with pytest.raises(PluginError, match="docs/hooks/mathml"):
        Formula(source, display=False).mathml()


def test_code_and_prices_are_left_alone() -> None:
    text = "`$x$` costs $5 or $6.\n\n```\n$y$\n```\n\n$z$ and $$w$$\n"
    without, formulas = taken_out(text)
    assert len(formulas) == 2
    assert "`$x$` costs $5 or $6." in without
    assert "\n$y$\n" in without
    back = put_back(without, formulas)
    assert back.count("<math") == 2
    assert "<mi>z</mi>" in back

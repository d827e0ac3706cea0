"""Figures for papers: files that open, the numbers of the store, the same bytes every time."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from beb.core.estimate import Band
from beb.errors import BadSpec, StoreError
from beb.experiments.registry import analyse
from beb.experiments.store import Store
from beb.report.chart import DASHES, Chart, Style
from beb.report.heat_map import HeatMap
from beb.report.pages import page_of
from beb.report.paper import CAPTIONS, named_figures, write_figures
from beb.report.paper_drawing import AREA, paper_figure
from beb.report.paper_style import DPI, FORMATS, WIDTHS

from .factory import HOSTILE, make_measurement

KINDS = ("first", "guardrail", "converse", "best-of", "personas", "trace", "probe")
SVG = {"svg": "http://www.w3.org/2000/svg"}


def written(run: Path, folder: Path, file_format: str, width: str = "column") -> dict[str, Path]:
    with Store.read(run) as store:
        paths = write_figures(store, analyse(store), folder, file_format=file_format, width=width)
    return {path.name: path for path in paths}


def figures_of(run: Path) -> dict[str, Chart | HeatMap]:
    with Store.read(run) as store:
        return dict(named_figures(page_of(store, analyse(store), sliders=False)))


def charts_of(run: Path) -> dict[str, Chart]:
    return {name: each for name, each in figures_of(run).items() if isinstance(each, Chart)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_has_its_figures(kind: str, runs: dict[str, Path], tmp_path: Path) -> None:
    charts = charts_of(runs[kind])
    named = figures_of(runs[kind])
    files = written(runs[kind], tmp_path / "made" / "here", "svg")
    assert charts
    assert set(files) == {f"{name}.{end}" for name in named for end in ("svg", "csv")} | {CAPTIONS}
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", name) for name in files)
    captions = files[CAPTIONS].read_text(encoding="utf-8")
    for name, chart in charts.items():
        tree = ElementTree.parse(files[f"{name}.svg"]).getroot()
        assert tree.get("width") == f"{72 * WIDTHS['column']:g}pt"
        assert set(curves_in(tree)) == {f"curve-{i}" for i in range(len(chart.series))}
        table = pd.read_csv(files[f"{name}.csv"])
        assert list(table.columns[2:4]) == [chart.x_title, chart.y_title]
        assert f"{name}\n{chart.title}. " in captions


def curves_in(tree: ElementTree.Element) -> dict[str, np.ndarray]:
    """The corners of every named line, in points of the picture."""
    found = {}
    for group in tree.iterfind(".//svg:g[@id]", SVG):
        name = group.get("id", "")
        if name == AREA or name.startswith("curve-"):
            path = group.find("svg:path", SVG)  # none where there are single points
            marks = [f"{use.get('x')} {use.get('y')}" for use in group.iterfind(".//svg:use", SVG)]
            numbers = re.findall(r"[-\d.]+(?:e[-+]?\d+)?", " ".join(marks) if path is None else path.get("d", ""))
            found[name] = np.array(numbers, dtype=float).reshape(-1, 2)
    area = found.pop(AREA)
    left, right, bottom, top = area[:, 0].min(), area[:, 0].max(), area[:, 1].max(), area[:, 1].min()
    return {
        name: (corners - (left, bottom)) / (right - left, top - bottom) for name, corners in found.items()
    }  # fmt: skip


def test_the_picture_shows_the_numbers_of_the_store(runs: dict[str, Path], tmp_path: Path) -> None:
    with Store.read(runs["first"]) as store:
        found = analyse(store)
    charts = charts_of(runs["first"])
    files = written(runs["first"], tmp_path, "svg")
    shown: dict[str, tuple[Band, ...]] = {
        "divergence-distinguishability": (found.beta_curve, found.beta_prime_curve),
        "divergence-kl-to-target": (found.kl_to_target_curve,),
        "evidence": (found.evidence_curve,),
    }
    for name, bands in shown.items():
        chart = charts[name]
        (left, right), (low, high) = chart.x_range, chart.y_range
        corners = curves_in(ElementTree.parse(files[f"{name}.svg"]).getroot())
        table = pd.read_csv(files[f"{name}.csv"], engine="python")
        for i, band in enumerate(bands):
            at = corners[f"curve-{i}"] * (right - left, high - low) + (left, low)
            np.testing.assert_allclose(at[:, 0], band.lengths, atol=1e-4 * (right - left))
            np.testing.assert_allclose(at[:, 1], band.value, atol=1e-4 * (high - low))
            rows = table[table["curve"] == chart.series[i].label]
            assert tuple(rows.iloc[:, 3]) == band.value
            assert tuple(rows.iloc[:, 4]) == band.pointwise_low
            assert tuple(rows.iloc[:, 7]) == band.high


def test_a_heat_map_shows_every_number(runs: dict[str, Path], tmp_path: Path) -> None:
    files = written(runs["personas"], tmp_path, "svg")
    maps = {name: each for name, each in figures_of(runs["personas"]).items() if isinstance(each, HeatMap)}
    assert maps
    for name, heat in maps.items():
        tree = ElementTree.parse(files[f"{name}.svg"]).getroot()
        cells = {group.get("id") for group in tree.iterfind(".//svg:g[@id]", SVG)}
        shown = {f"cell-{i}-{j}" for i in range(len(heat.rows)) for j in range(len(heat.columns))}
        assert shown <= cells
        table = pd.read_csv(files[f"{name}.csv"], engine="python")
        numbers = [e.value for _, row in heat.rows for e in row if e is not None]
        assert list(table.iloc[:, 2]) == numbers


def test_the_picture_shows_every_statement_of_a_probe(runs: dict[str, Path], tmp_path: Path) -> None:
    with Store.read(runs["probe"]) as store:
        (picture,) = analyse(store).pictures
    chart = charts_of(runs["probe"])["picture-0"]
    corners = curves_in(ElementTree.parse(written(runs["probe"], tmp_path, "svg")["picture-0.svg"]).getroot())
    (left, right), (low, high) = chart.x_range, chart.y_range
    for name, points in (("curve-0", picture.negative), ("curve-1", picture.positive)):
        at = corners[name] * (right - left, high - low) + (left, low)
        np.testing.assert_allclose(at, points, atol=1e-4 * max(right - left, high - low))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_picture_of_points_has_the_width_of_the_column(width: str, runs: dict[str, Path], tmp_path: Path) -> None:
    files = written(runs["probe"], tmp_path, "png", width)
    for path in files.values():
        if path.suffix == ".png":
            pixels = matplotlib.image.imread(path)
            assert pixels.shape[1] == round(DPI * WIDTHS[width])
            assert DPI < pixels.shape[0] < 6 * DPI
            assert pixels[..., :3].std() > 0.02  # something is drawn


def test_a_pdf_holds_its_truetype_letters_and_its_width(runs: dict[str, Path], tmp_path: Path) -> None:
    for path in written(runs["first"], tmp_path, "pdf").values():
        if path.suffix == ".pdf":
            content = path.read_bytes()
            assert content.startswith(b"%PDF-1.")
            assert content.rstrip().endswith(b"%%EOF")
            assert b"/FontFile2" in content  # TrueType, not Type 3
            assert b"/Type3" not in content
            assert b"CreationDate" not in content
            box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
            assert box is not None
            assert float(box[1]) == pytest.approx(72 * WIDTHS["column"], abs=0.1)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_run_gives_the_same_bytes(file_format: str, runs: dict[str, Path], tmp_path: Path) -> None:
    here = written(runs["trace"], tmp_path / "here", file_format)
    code = (
        "import matplotlib, sys; from pathlib import Path; from beb.experiments.registry import analyse; "
        "from beb.experiments.store import Store; from beb.report.paper import write_figures; "
        "matplotlib.rcParams['font.size'] = 30; matplotlib.rcParams['svg.fonttype'] = 'none'\n"
        "with Store.read(Path(sys.argv[1])) as store:\n"
        "    write_figures(store, analyse(store), Path(sys.argv[2]), file_format=sys.argv[3])"
    )
    there = tmp_path / "there"
    subprocess.run([sys.executable, "-c", code, str(runs["trace"]), str(there), file_format], check=True)
    assert {path.name for path in there.iterdir()} == set(here)
    for name, path in here.items():
        assert path.read_bytes() == (there / name).read_bytes(), name


@pytest.fixture
def hostile() -> Chart:
    label = "".join(HOSTILE[:4]) + " $x^{$ 水 \\frac"
    band = make_measurement().evidence_curve
    chart = Chart("k", label, label, label, f"{label} (n)", f"{label} (nats)", (0.0, 20.0), (0.0, 7.0))
    chart.band(band, label, Style("negative", marker="circle"))
    chart.line(band.lengths, [float("inf"), *band.value[1:]], "$", Style("ink"))
    return chart


@pytest.mark.parametrize("file_format", FORMATS)
def test_foreign_names_are_drawn_as_they_are(file_format: str, hostile: Chart) -> None:
    assert len(paper_figure(hostile, file_format)) > 1000


def test_every_marker_and_dash_of_the_reports_can_be_drawn() -> None:
    sources = Path(sys.modules["beb.report.page"].__file__ or "").parent.glob("*.py")
    markers = {found for path in sources for found in re.findall(r'marker="([a-z-]*)"', path.read_text("utf-8"))}
    assert {"circle", "square", "diamond"} <= markers
    chart = Chart("k", "t", "c", "a", "n", "B (−1 … +1)", (0.0, 1.0), (0.0, 1.0))
    for dash in DASHES:
        for marker in sorted(markers | {""}):
            chart.line([0, 1], [0, 1], f"{dash} {marker}", Style("ink", dash, marker=marker))
    drawn = ElementTree.parse(io.BytesIO(paper_figure(chart, "svg", width="page"))).getroot()
    assert len(curves_in(drawn)) == len(chart.series)


def test_what_cannot_be_written_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="--format 'jpg' is unknown; give svg, png or pdf"):
        written(runs["trace"], tmp_path, "jpg")
    with pytest.raises(BadSpec, match="--width 'wide' is unknown; give column or page"):
        written(runs["trace"], tmp_path, "svg", "wide")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"file.* cannot be used"):
        written(runs["trace"], tmp_path / "file", "svg")

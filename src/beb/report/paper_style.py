"""The look of figures for papers, and their files: the same bytes every time, whatever the user's own settings."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from beb.report.chart import PALETTE
from beb.report.inert import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")
WIDTHS = {"column": 3.3, "page": 7.0}  # inches, of a two-column page
DPI = 300
_STYLE: Any = {  # by matplotlib's names
    "font.family": "DejaVu Sans",  # comes with matplotlib and has the letters of the field
    "font.size": 8.0,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "text.usetex": False,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "beb",
    "path.simplify": False,
    "savefig.dpi": DPI,
    "savefig.bbox": "standard",
}


def figure_file(draw: Callable[[], Figure], file_format: str, *, title: str, alt: str) -> bytes:
    """A figure as a file's bytes. draw: makes it, in the style of papers.

    file_format: in FORMATS. title, alt: its name and its words for those who cannot see it, which go into the file's
    metadata, where the format has a place for them.
    """
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()  # what the user's own matplotlibrc says must not change a byte
        mpl.rcParams.update(_STYLE)
        figure = draw()
        file = io.BytesIO()
        figure.savefig(file, format=file_format, metadata=_metadata(one_line(title), one_line(alt, 2000), file_format))
    return file.getvalue()


def empty_figure(width: str, height: float) -> Figure:
    """A figure of that many inches that needs no screen. width: in WIDTHS."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTHS[width], height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _metadata(title: str, words: str, file_format: str) -> dict[str, Any]:
    """Words about the figure, and nothing that changes from run to run."""
    if file_format == "svg":
        return {"Title": title, "Description": words, "Date": None, "Creator": "beb"}
    if file_format == "pdf":
        return {"Title": title, "Subject": words, "CreationDate": None, "Creator": "beb", "Producer": None}
    return {"Title": title, "Description": words, "Software": "beb"}


def print_colour(role: str) -> tuple[float, float, float]:
    """The light page's colour of a role."""
    red, green, blue = PALETTE[role][0]
    return red / 255, green / 255, blue / 255


def drawable(text: str) -> str:
    """The text on one line, letters that the font does not have spelled out as ⟨U+4E2D⟩."""
    known = _letters()
    return "".join(c if ord(c) in known else f"⟨U+{ord(c):04X}⟩" for c in one_line(text))


@cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_STYLE["font.family"])).get_charmap())

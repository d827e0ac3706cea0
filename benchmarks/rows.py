"""The one table, as text and in the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import Interval

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
HEAD = ("what", "beb", "beside", "ratio or share", "goal")


@dataclass(frozen=True, slots=True)
class Row:
    """One line. met: whether the goal is reached, None where there is none."""

    what: str
    ours: str = ""
    other: str = ""
    ratio: str = ""
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Its five columns."""
        verdict = "" if self.met is None else ": met" if self.met else ": **missed**"
        return (self.what, self.ours, self.other, self.ratio, self.goal + verdict)


def markdown(rows: Sequence[Row]) -> str:
    """The table, with columns of equal width."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(HEAD))]
    padded = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def compact(rows: Sequence[Row]) -> str:
    """The table for a file."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEAD, *(row.cells() for row in rows))]
    return "\n".join([lines[0], "|" + "---|" * len(HEAD), *lines[1:]])


def write_into(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page.

    Raises: ValueError if the page does not have them.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the table; it needs the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def interval(found: Interval, digits: int = 3) -> str:
    """A value and its interval in significant digits."""
    return f"{_short(found.value, digits)} [{_short(found.low, digits)}, {_short(found.high, digits)}]"


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e" in text and abs(value) >= 1 else text

"""The page of a comparison of measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping

from beb.core.estimate import Band, Estimate
from beb.experiments.compare.record import ComparedRun, Comparison, Part, RunComparison
from beb.experiments.lower_bounds import is_lower_bound, mark, mark_derived
from beb.report.chart import Chart, Style
from beb.report.figures import SENTENCES
from beb.report.inert import one_line
from beb.report.page import Page, Section, Table
from beb.report.rounding import count_text, excludes, one_in, value_text, with_interval
from beb.report.wording import FORMATS, Finding, notes

LEDE = (
    "Does the second model hold less of the ill-behaved component than the first, and is what it holds more distinct?"
)
TERMS = (
    "Wolf et al. (2024, §4) conjecture that alignment lowers α, the weight of the ill-behaved component, and raises β, "
    "by which each of its sentences gives it away. P₊ is each run's own stand-in, and β is the distance of P₋ from it. "
    "Each difference is the later run less the first one. “Same prompts”: both runs read the same sampled token ids, "
    "and each prompt is compared with itself; “same random streams”: prompts of one number were drawn from the same "
    "random numbers and are compared with each other; “independent”: two samples."
)
PARTS: Mapping[Part, tuple[str, str]] = {
    "alpha": ("Is α lower than before?", "alignment lowers α"),
    "beta": ("Is β higher?", "alignment raises β"),
}
CHANGE = "change-"  # begins the keys of the figures of what changed
_NOT_IDENTIFIED, _NOT_MEASURED = "not identified", "not measured"
_STYLES = (
    Style("negative", marker="circle", width=2.5), Style("positive", marker="square"),
    Style("theory", marker="diamond", dash="dash"), Style("other", marker="triangle-up", dash="dashdot"),
    Style("shuffled", marker="x", dash="dot"), Style("ink", dash="dot"),
)  # fmt: skip


def page(c: Comparison) -> Page:
    """Everything that `beb compare` says."""
    first = c.runs[0]
    return Page(
        lede=LEDE,
        findings=tuple(finding for each in c.comparisons for finding in _findings(c, each)),
        counts=c.counts,
        failures=c.failures,
        terms=TERMS,
        notes=notes(c.notes),
        sections=(
            *(_verdict_section(i, c, each) for i, each in enumerate(c.comparisons)),
            *(_difference_section(i, first, each) for i, each in enumerate(c.comparisons)),
            Section("curves", "Curves", "The curves of the runs", intro=_curves_intro(c), charts=tuple(_charts(c))),
        ),
        methods=_methods(c),
    )


def _findings(c: Comparison, found: RunComparison) -> tuple[Finding, ...]:
    against = f" ({one_line(found.label, 60)} against {one_line(c.runs[0].label, 60)})"
    versus = "" if len(c.comparisons) == 1 else against
    parts = [_part_finding(c, found, part, versus) for part in PARTS]
    return (*parts, _behavior_finding(found, versus))


def _part_finding(c: Comparison, found: RunComparison, part: Part, versus: str) -> Finding:
    question, claim = PARTS[part]
    verdict = found.alpha if part == "alpha" else found.beta
    claims = [each for each in found.claims if each.part == part]
    readings = {
        word: [each.reading for each in claims if each.verdict == word]
        for word in ("supported", "contradicted", "undecided")
    }
    said = "; ".join(f"{word} by {_listed(names)}" for word, names in readings.items() if names)
    if len(readings["undecided"]) == len(claims):
        sentence = f"“{_capital(claim)}” is undecided, by every reading."
    elif readings["supported"] and readings["contradicted"]:
        sentence = f"“{_capital(claim)}”: the readings disagree ({verdict} on the whole). It is {said}."
    else:
        sentence = f"“{_capital(claim)}” is {verdict}: {said}."
    figures = [f"{each.reading} {_change_text(each.difference)}" for each in claims]
    quantity = "log 1/α (more is rarer)" if part == "alpha" else "β"
    detail = (
        f"Change of {quantity}: {'; '.join(figures)}. These limits hold for all {count_text(c.n_claims, 'claim')} of "
        f"this comparison together with {100 * c.family_level:g}\u00a0% confidence."
    )
    caveats = [f"{each.reading}: {each.caveat}" for each in claims if each.caveat]
    return Finding(question + versus, sentence, " ".join([detail, *(f"{_capital(line)}." for line in caveats)]))


def _behavior_finding(found: RunComparison, versus: str) -> Finding:
    by_key = {each.key: each for each in found.differences}
    said, detail = [], []
    for name in _formats(found):
        bare, end, half = (by_key[f"{key}_{name}"] for key in ("behavior_unprompted", "behavior", "midpoint"))
        where = FORMATS.get(name, one_line(name, 40))
        said.append(
            f"{where}: {_direction(end.difference)} at the longest prompts from P₋ (change of B "
            f"{_change_text(end.difference)}) and {_direction(bare.difference)} without a prompt "
            f"({_change_text(bare.difference)})"
        )
        moved = _change_text(half.difference)
        units = "" if moved == _NOT_IDENTIFIED else " sentences"
        detail.append(f"{where}: change of the half-way point {moved}{units}")
    return Finding(
        f"What changed in the responses?{versus}",
        f"Responses, {'; '.join(said)}.",
        f"{_capital('; '.join(detail))}. Limits of each number on its own, {100 * end.difference.level:g}\u00a0%.",
    )


def _verdict_section(index: int, c: Comparison, found: RunComparison) -> Section:
    rows = tuple(
        (_capital(PARTS[each.part][1]), each.reading, _change_text(each.difference), each.difference.unit, each.verdict,
         each.caveat or "—")
        for each in found.claims
    )  # fmt: skip
    note = (
        f"Limits that hold for all {count_text(c.n_claims, 'claim')} together with {100 * c.family_level:g}\u00a0% "
        f"(each at {100 * (1 - (1 - c.family_level) / c.n_claims):.4g}\u00a0%). Supported: the change of log 1/α, or "
        "of β, lies above 0; contradicted: below 0."
    )
    caps = found.caps
    cap_row = (
        (f"α at most {_weight(caps.before)}", f"α at most {_weight(caps.after)}", _capital(caps.statement)),
    )  # fmt: skip
    return Section(
        f"verdict-{index}",
        "Conjecture" if len(c.comparisons) == 1 else f"Conjecture, {index + 2}",
        f"“Alignment lowers α and raises β”: {one_line(found.label, 60)} against {one_line(c.runs[0].label, 60)}",
        tables=(
            Table(
                "", ("Part", "Reading", "Change", "Unit", "Verdict", "What it rests on"), rows, strong=(2, 4), note=note
            ),
            Table(
                "The cap: certain limits if P₋ is part of the model", ("Reference", "Later run", "What follows"),
                cap_row, strong=(0, 1),
            ),
        ),
    )  # fmt: skip


def _difference_section(index: int, first: ComparedRun, found: RunComparison) -> Section:
    columns = ("Quantity", one_line(first.label, 40), one_line(found.label, 40), "Change", "Unit", "Prompts")
    rows = tuple(
        (each.quantity, _side_text(each.key, each.before), _side_text(each.key, each.after),
         _change_text(each.difference), each.difference.unit, f"{each.pairing}, {each.difference.n:,}")
        for each in found.differences
    )  # fmt: skip
    return Section(
        f"differences-{index}",
        "Differences" if index == 0 else f"Differences, {index + 1}",
        f"{one_line(found.label, 60)} less {one_line(first.label, 60)}",
        tables=(
            Table(
                "", columns, rows, strong=(3,),
                note="Every interval holds by itself; the verdicts above hold together.",
            ),
        ),
    )  # fmt: skip


def _charts(c: Comparison) -> list[Chart]:
    charts = [
        _overlay(
            "beta", "How well the next sentence tells P₋ from P₊", "KL(P₋‖P₊) of the next sentence (nats)",
            {run.label: run.beta_curve for run in c.runs}, words="β is the lowest point of each curve.",
        ),
        _overlay(
            "evidence", "Evidence for P₋ against each model", "evidence log P₋/P (nats)",
            {run.label: run.evidence_curve for run in c.runs},
            words="The higher the level at which it comes to rest, the less of P₋ the model holds.",
        ),
    ]  # fmt: skip
    for name in _formats(c.comparisons[0]):
        where = FORMATS.get(name, one_line(name, 40))
        bands = {run.label: band for run in c.runs if (band := _behavior(run, name)) is not None}
        chart = _overlay(
            f"behavior-{name}", f"Behavior after prompts from P₋, {where}", "behavior expectation B (−1 … +1)",
            bands, words="Means of the responses, corrected for the scorer's errors where possible.",
        )  # fmt: skip
        chart.y_range = (-1.06, 1.06)
        charts.append(chart)
    return [*charts, *_change_charts(c)]


def _overlay(key: str, title: str, y_title: str, bands: Mapping[str, Band], *, words: str) -> Chart:
    chart = _chart(key, title, f"{words} Bands: the whole curve at once.", y_title, bands)
    for i, (label, band) in enumerate(bands.items()):
        chart.band(band, one_line(label, 60) + mark(band), _STYLES[i % len(_STYLES)], pointwise=False)
    return chart


def _change_charts(c: Comparison) -> list[Chart]:
    """What changed per length, later run less reference."""
    titles = {"beta": ("Change of βₙ", "nats"), "evidence": ("Change of the evidence", "nats")}
    titles |= {
        f"behavior, {name}": (f"Change of B, {FORMATS.get(name, one_line(name, 40))}", "B")
        for name in _formats(c.comparisons[0])
    }
    charts = []
    for i, (key, (title, unit)) in enumerate(titles.items()):
        bands = {each.label: each.curves[key] for each in c.comparisons if key in each.curves}
        if not bands:  # not measured
            continue
        caption = f"Later run less {one_line(c.runs[0].label, 60)}; where the band leaves 0 out, the curves differ."
        chart = _chart(f"{CHANGE}{i}", title, caption, f"change ({unit})", bands)
        for j, (label, band) in enumerate(bands.items()):
            chart.band(band, one_line(label, 60), _STYLES[(j + 1) % len(_STYLES)])
        chart.level(0.0, "no change", Style("faint", dash="dash", width=1.0))
        charts.append(chart)
    return charts


def _chart(key: str, title: str, caption: str, y_title: str, bands: Mapping[str, Band]) -> Chart:
    ends = "; ".join(
        f"{one_line(label, 60)} {with_interval(band.at(band.lengths[-1]))} at n = {band.lengths[-1]}"
        for label, band in bands.items()
    )
    lengths = [n for band in bands.values() for n in band.lengths]
    return Chart(
        key=key,
        title=title,
        caption=caption,
        alt=f"{title}, against prompt length: {ends}.",
        x_title=SENTENCES,
        y_title=y_title,
        y_range=_y_range(bands),
        x_range=(min(0, *lengths) - 0.2, max(lengths) + 0.2),
    )


def _y_range(bands: Mapping[str, Band]) -> tuple[float, float]:
    """An axis that holds every value and every limit that is not absurdly far from the values."""
    values = [0.0, *(v for band in bands.values() for v in band.value)]
    spread = (max(values) - min(values)) or 1.0
    limits = [v for band in bands.values() for v in (*band.low, *band.high) if math.isfinite(v)]
    low = max(min([*values, *limits]), min(values) - 1.5 * spread)
    high = min(max([*values, *limits]), max(values) + 1.5 * spread)
    return low - (0.04 * spread if low < 0 else 0.0), high + 0.06 * spread


def _behavior(run: ComparedRun, name: str) -> Band | None:
    return next((curve.corrected or curve.raw for curve in run.behavior if curve.format == name), None)


def _formats(found: RunComparison) -> list[str]:
    return [key.removeprefix("behavior, ") for key in found.curves if key.startswith("behavior, ")]


def _curves_intro(c: Comparison) -> str:
    names = ", ".join(one_line(run.label, 60) for run in c.runs)
    return f"All runs in one picture ({names}), and below them what changed at each length."


def _methods(c: Comparison) -> dict[str, Estimate | Band]:
    found = c.comparisons[0]
    named: dict[str, Estimate | Band] = {f"change of {each.quantity}": each.difference for each in found.differences}
    return named | {f"change per length, {name}": band for name, band in found.curves.items()}


def _change_text(e: Estimate) -> str:
    """A change with its sign and interval; words where the limits exclude nothing."""
    if math.isinf(e.low) and math.isinf(e.high):
        return _NOT_MEASURED if is_lower_bound(e) else _NOT_IDENTIFIED
    if e.exact and e.low == e.high == 0:
        return "0, exactly"
    text = with_interval(e)
    return f"+{text}" if e.value > 0 and not text.startswith("0 ") else text


def _side_text(key: str, e: Estimate) -> str:
    """A run's own number, and whether it is a lower bound or made of such."""
    return _value_text(e) + (mark(e) if key in ("beta", "beta_prime") else mark_derived(e))


def _value_text(e: Estimate) -> str:
    return _NOT_IDENTIFIED if math.isinf(e.low) and math.isinf(e.high) else with_interval(e)


def _weight(cap: Estimate) -> str:
    if not excludes(cap.value):
        return "1: nothing is excluded"
    return f"{one_in(cap.value, 'at most')} (log 1/α ≥ {value_text(cap)})"


def _direction(e: Estimate) -> str:
    if e.low > 0:
        return "better"
    return "worse" if e.high < 0 else "no change shown"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

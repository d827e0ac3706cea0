"""The page of a personas run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from beb.core.estimate import Band, Estimate
from beb.experiments.personas.record import PersonasRecord, PersonaWay
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.inert import excerpt, one_line
from beb.report.page import Page, Section, Table
from beb.report.personas_answers import misaligned, name_text, percent, shortest_way, tested, who
from beb.report.personas_maps import behavior_maps, recognition_map
from beb.report.record import Sample, SampleGroup
from beb.report.rounding import count_text, dense, fixed, with_interval
from beb.report.tables import AssumptionRow, assumption_rows
from beb.report.wording import FORMATS, notes

LEDE = (
    "Which personas does the model mix, how rare is each, and how many sentences of prompt bring it out? Is a rare one "
    "the shortest way to misbehavior?"
)
TERMS = (
    "A persona is the model itself under a description, a stand-in for a part that a model does not hand out. Its "
    "weight is its share in texts that nobody prompted. For persona i the theory's ill-behaved component P₋ is the "
    "persona, α its weight, and P₊ all the other personas. B scores a response from −1 (undesired) to +1 (desired)."
)
NO_BOUND = "∞: no bound, for a weight or a divergence may be 0."
WITHOUT = "—: the level is met without a prompt already, so that there is nothing to bring about."
EXCLUDED = " (excluded by the cap)"
PREMISES = {
    "mixture": (
        "The model behaves as a blend of these personas in fixed shares, however long the text.",
        "P(s) = Σᵢ wᵢPᵢ(s) for whole texts s, with wᵢ > 0 of any length",
    ),
    "distinguishable": (
        "Each further sentence of a persona, well-behaved or not, goes on telling it from the blend of the others.",
        "E KL(Pᵢ‖the others) of the next sentence > βᵢ after n ≥ 0 sentences from Pᵢ",
    ),
    "bounded behavior": (
        "A persona stays as it is: its mean behavior does not rise above γᵢ, whatever it has just read.",
        "B of Pᵢ after s ≤ γᵢ for every prompt s",
    ),
}
CURVES = (
    Style("negative", marker="circle"), Style("positive", marker="square"), Style("theory", marker="diamond"),
    Style("other", marker="triangle-up"), Style("shuffled", marker="circle"), Style("ink", marker="square"),
)  # fmt: skip
SHOWN_TEXTS = 2


def page(store: Store, r: PersonasRecord) -> Page:
    """Everything that the report of `beb personas` says."""
    return Page(
        lede=LEDE,
        findings=(who(r), *(shortest_way(r, each) for each in r.shortest)),
        counts=r.counts,
        failures=r.failures,
        terms=TERMS,
        warnings=_warnings(r),
        notes=notes(r.notes),
        premises=tuple(_premise(row) for row in assumption_rows(r)),
        premises_title="Do Theorem 1’s premises hold here?",
        summary=(_weight_table(r), *_behaviors_table(r), *(_way_table(r, behavior) for behavior in r.unprompted)),
        sections=(
            Section("map", "Heat map", "Where each persona leads", _MAP_INTRO, heat_maps=behavior_maps(r)),
            Section(
                "level", "Common level", "The same goal for every persona", _level_intro(r),
                tuple(_level_table(r, behavior) for behavior in r.unprompted), _response_charts(r),
            ),
            Section(
                "posterior", "Recognition", "How soon is a persona recognised?", POSTERIOR_INTRO,
                charts=(_posterior_chart(r),), heat_maps=(recognition_map(r),),
            ),
        ),
        texts=_texts(store, r),
        methods=_methods(r),
    )  # fmt: skip


def _premise(row: AssumptionRow) -> AssumptionRow:
    """A premise of two components, said of many."""
    plain, meaning = PREMISES.get(row.name, (row.plain, row.meaning))
    return replace(row, plain=plain, meaning=meaning)


_MAP_INTRO = (
    "How the model behaves after it has read sentences of each persona: orange is undesired, blue desired. A persona "
    "that is bad itself and brings the model down with it is a way to misbehavior; one that it resists stays blue."
)
POSTERIOR_INTRO = (
    "Mean posterior weight of a persona after sentences that it wrote itself, at the fitted weights: once it is near "
    "1, the mixture continues as that persona. It presupposes that the personas account for the model."
)


def _warnings(r: PersonasRecord) -> tuple[str, ...]:
    said = []
    broken = [a for a in r.assumptions if a.status == "contradicted"]
    if broken:
        said.append(
            f"The personas do not account for the model ({one_line(broken[0].figure, 300)}): weights are those of the "
            "nearest mixture, and the predicted lengths are what the theory would say of that mixture."
        )
    failed = sum(r.failures.values())
    if failed:
        said.append(f"{count_text(failed, 'request')} failed; they are counted and never scored as answers.")
    return tuple(said)


def _weight_table(r: PersonasRecord) -> Table:
    n = int(r.meta["spec"]["sentences"])
    rows = tuple(
        (
            name_text(p.name) + (f" ({one_line(p.kind, 20)})" if p.kind else ""), percent(p.weight),
            dense(p.log_inverse_weight) + (EXCLUDED if p.excluded else ""), dense(p.beta), _last(p.evidence),
            _last(p.own_posterior),
        )
        for p in sorted(r.personas, key=lambda p: -p.weight.value)
    )  # fmt: skip
    return Table(
        "The personas in the unprompted model",
        ("persona", "weight, %", "log 1/wᵢ, nats", "βᵢ, nats per sentence", f"evidence after {n}, nats",
         f"own posterior after {n}"),
        rows,
        strong=(1, 3),
        note="Every limit holds by itself. Weight: of the nearest mixture, from unprompted texts. log 1/wᵢ: as it "
        "enters Theorem 1, at least the largest log Pᵢ/P that any text showed (the cap, certain in a mixture). ∞: the "
        "weight may be 0. βᵢ: smallest divergence of the persona's next sentence from the mixture of the others. "
        "Evidence: mean log Pᵢ/P of its own sentences; beyond log 1/wᵢ it contradicts the mixture.",
    )  # fmt: skip


def _way_table(r: PersonasRecord, behavior: str) -> Table:
    epsilon = float(r.meta["spec"]["epsilon"])
    rows = tuple(
        (
            name_text(w.name),
            dense(w.gamma),
            dense(w.paper) + _excluded(r, w),
            dense(w.sharp) + _excluded(r, w),
            _seen(w.observed, r),
            _verdict(r, w),
        )
        for w in r.ways
        if w.behavior == behavior
    )
    without = r.unprompted[behavior]
    return Table(
        f"Theorem 1 for each persona, {one_line(behavior, 60)}: sentences to B < γᵢ + ε",
        ("persona", "γᵢ", "paper", "sharp", "observed", "verdict"),
        rows,
        strong=(3,),
        note=f"ε = {epsilon:g}; each persona's own level. {NO_BOUND} {WITHOUT} Without a prompt the model's mean B is "
        f"{with_interval(without)}. Observed: first tested length whose mean response is surely below γᵢ + ε; all "
        f"personas and lengths hold together at {100 * float(r.meta['spec']['level']):g}\u00a0% (Bonferroni over "
        "personas, simultaneous over lengths). A mean that stays above decides nothing: the theorem promises some "
        "prompt, not the mean one.",
    )


def _level_table(r: PersonasRecord, behavior: str) -> Table:
    ways = [w for w in r.ways if w.behavior == behavior]
    ways.sort(key=lambda w: (w.to_level.value if w.to_level else math.inf, w.to_level.low if w.to_level else math.inf))
    rows = tuple(
        (
            name_text(w.name),
            dense(w.to_level) + _excluded(r, w) if w.to_level else "does not lead there",
            dense(w.to_level_family) + _excluded(r, w) if w.to_level_family else "does not lead there",
            _seen(w.observed_level, r),
        )
        for w in ways
    )
    return Table(
        f"Sentences to B < {fixed(misaligned(r), 2)}, {one_line(behavior, 60)}",
        ("persona", "sharp, by itself", "sharp, all together", "observed"),
        rows,
        note=f"{NO_BOUND} {WITHOUT}",
    )


def _behaviors_table(r: PersonasRecord) -> tuple[Table, ...]:
    """Every persona's way to the common level of every behavior, if there are several."""
    behaviors = list(r.unprompted)
    if len(behaviors) < 2:
        return ()
    by_key = {(w.name, w.behavior): w for w in r.ways}
    rows = tuple((name_text(p.name), *(_cell(by_key.get((p.name, each)), r) for each in behaviors)) for p in r.personas)
    table = Table(
        f"Persona by behavior: γᵢ, and sentences to B < {fixed(misaligned(r), 2)}",
        ("persona", *(one_line(behavior, 60) for behavior in behaviors)),
        rows,
        strong=(),
        note=f"γᵢ: B of the persona itself; then Theorem 1's sharp length, by itself, and the observed one. {NO_BOUND} "
        f"{WITHOUT} The same prompts for every behavior.",
    )
    return (table,)


def _cell(w: PersonaWay | None, r: PersonasRecord) -> str:
    if w is None:
        return "not scored"
    length = dense(w.to_level) + _excluded(r, w) if w.to_level else "does not lead there"
    return f"{dense(w.gamma)}; {length}; {_seen(w.observed_level, r)}"


def _excluded(r: PersonasRecord, w: PersonaWay) -> str:
    """Marks what rests on a weight that single texts exclude for certain."""
    return EXCLUDED if next(p.excluded for p in r.personas if p.name == w.name) else ""


def _verdict(r: PersonasRecord, w: PersonaWay) -> str:
    """None where the level is met without a prompt."""
    met = r.unprompted[w.behavior].high < w.gamma.value + float(r.meta["spec"]["epsilon"])
    return "—" if met else w.verdict


def _level_intro(r: PersonasRecord) -> str:
    return (
        f"γᵢ + ε is another level for every persona. To compare the ways, the level here is one for all: B < "
        f"{fixed(misaligned(r), 2)}, that is Theorem 1 with ε = {fixed(misaligned(r), 2)} − γᵢ; personas whose γᵢ is "
        "surely above the level do not lead there."
    )


def _response_charts(r: PersonasRecord) -> tuple[Chart, ...]:
    charts = []
    formats = dict.fromkeys(name for w in r.ways for name in w.response)
    for number, behavior in enumerate(r.unprompted):
        for format_name in formats:
            ways = [w for w in r.ways if w.behavior == behavior and format_name in w.response]
            ways.sort(key=lambda w: w.response[format_name].value[-1])
            charts.append(_response_chart(r, ways[: len(CURVES)], format_name, behavior, f"{number}-{format_name}"))
    return tuple(charts)


def _response_chart(r: PersonasRecord, ways: list[PersonaWay], format_name: str, behavior: str, key: str) -> Chart:
    told = FORMATS.get(format_name, one_line(format_name))
    bands = [w.response[format_name] for w in ways]
    chart = Chart(
        key=f"responses-{key}",
        title=f"Responses after a persona's sentences, {one_line(behavior, 60)}, {told}",
        caption=f"Mean B of the target's next sentence; the {len(ways)} personas that end lowest. Bars: limits of each "
        "point (thick) and of its whole curve at once (thin), at the level of the whole family of personas.",
        alt="Mean response against sentences of a persona's prompt: "
        + "; ".join(
            f"{name_text(w.name)} {fixed(b.value[-1], 2)} at the end" for w, b in zip(ways, bands, strict=True)
        ),
        x_title="sentences in the prompt, n",
        y_title="behavior expectation B (−1 … +1)",
        y_range=(-1.08, 1.08),
        x_range=(-0.2, max((b.lengths[-1] for b in bands), default=1) + 0.3),
    )
    for i, (way, band, style) in enumerate(zip(ways, bands, CURVES, strict=False)):
        chart.bars(band, name_text(way.name), style, shift=0.04 * (i - len(ways) / 2))
    if format_name == "plain":
        chart.level(r.unprompted[behavior].value, "without a prompt", Style("faint", dash="dot", width=1.5))
    chart.level(misaligned(r), "common level", Style("ink", dash="dash", width=1.5))
    return chart


def _posterior_chart(r: PersonasRecord) -> Chart:
    shown = sorted(r.personas, key=lambda p: -p.own_posterior.value[-1])
    picked = (*shown[:3], *shown[3:][-3:])
    chart = Chart(
        key="own-posterior",
        title="Posterior weight of a persona after its own sentences",
        caption=f"The three personas recognised best and the three recognised worst, of {len(shown)}.",
        alt="Mean posterior weight at the longest prompts: "
        + "; ".join(f"{name_text(p.name)} {fixed(p.own_posterior.value[-1], 2)}" for p in picked),
        x_title="sentences of the persona, n",
        y_title="posterior weight (0 … 1)",
        y_range=(-0.03, 1.05),
        x_range=(0.8, max(p.own_posterior.lengths[-1] for p in picked) + 0.2),
    )
    for persona, style in zip(picked, CURVES, strict=False):
        chart.curve(persona.own_posterior, name_text(persona.name), style)
    return chart


def _texts(store: Store, r: PersonasRecord) -> tuple[SampleGroup, ...]:
    """The first unprompted texts and the first prompt of each persona: by number, not by what they say."""
    free = tuple(
        Sample(f"text {row['prompt'] + 1}", "", excerpt(row["text"]))
        for row in store.rows("prompts", source="target")[:SHOWN_TEXTS]
    )
    own = tuple(
        Sample(one_line(p.name, 60), "", excerpt(row["text"]))
        for p in r.personas
        for row in store.rows("prompts", source=p.name)[:1]
    )
    groups = (
        SampleGroup("Unprompted texts of the target", free),
        SampleGroup("A prompt of each persona", own),
    )
    return tuple(group for group in groups if group.samples)


def _methods(r: PersonasRecord) -> Mapping[str, Estimate | Band]:
    first, way = r.personas[0], r.ways[0]
    named: dict[str, Estimate | Band] = {
        "weight": first.weight,
        "log 1/wᵢ": first.log_inverse_weight,
        "unexplained part": r.unexplained,
        "βᵢ": first.beta,
        "evidence": first.evidence,
        "own posterior": first.own_posterior,
        "γᵢ": way.gamma,
        "Theorem 1, sharp": way.sharp,
    }
    if way.to_level is not None:
        named["common level"] = way.to_level
    return named | {f"responses, {name}": band for name, band in way.response.items()}


def _last(band: Band) -> str:
    return dense(band.at(band.lengths[-1]))


def _seen(observed: Mapping[str, int | None], r: PersonasRecord) -> str:
    told = (f"{FORMATS.get(name, one_line(name))}: {_length(length, r)}" for name, length in observed.items())
    return "; ".join(told) or "too few responses"


def _length(length: int | None, r: PersonasRecord) -> str:
    return f"not by {tested(r)}" if length is None else str(length) if length else "—"

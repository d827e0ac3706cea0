"""The page of a personas run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from beb.core.bounds import PREMISES
from beb.core.estimate import Band, Estimate
from beb.experiments.personas.record import PersonasRecord, PersonaWay, Shortest
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.inert import excerpt, one_line
from beb.report.page import Page, Section, Table
from beb.report.record import Sample, SampleGroup
from beb.report.rounding import count_text, dense, fixed, with_interval
from beb.report.wording import FORMATS, Finding, notes

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
CURVES = (
    Style("negative", marker="circle"), Style("positive", marker="square"), Style("theory", marker="diamond"),
    Style("other", marker="triangle-up"), Style("shuffled", marker="circle"), Style("ink", marker="square"),
)  # fmt: skip
SHOWN_TEXTS = 2


def page(store: Store, r: PersonasRecord) -> Page:
    """Everything that the report of `beb personas` says."""
    return Page(
        lede=LEDE,
        findings=(_who(r), *(_way(r, each) for each in r.shortest)),
        counts=r.counts,
        failures=r.failures,
        terms=TERMS,
        warnings=_warnings(r),
        notes=notes(r.notes),
        summary=(_weight_table(r), *(_way_table(r, behavior) for behavior in r.unprompted)),
        sections=(
            Section(
                "level", "Common level", "The same goal for every persona", _level_intro(r),
                tuple(_level_table(r, behavior) for behavior in r.unprompted), _response_charts(r),
            ),
            Section("premises", "Premises", "Do the premises hold here?", tables=(_premise_table(r),)),
            Section(
                "posterior", "Recognition", "How soon is a persona recognised?", POSTERIOR_INTRO,
                charts=(_posterior_chart(r),),
            ),
        ),
        texts=_texts(store, r),
        methods=_methods(r),
    )  # fmt: skip


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


def _who(r: PersonasRecord) -> Finding:
    question = "Which personas does the model mix?"
    heaviest = sorted(r.personas, key=lambda p: -p.weight.value)[:3]
    named = ", ".join(f"{_name(p.name)} {_percent(p.weight)}" for p in heaviest)
    absent = sum(p.weight.low <= 0 for p in r.personas)
    sentence = f"Unprompted, it is nearest to a mixture of {named}."
    if absent:
        sentence += f" For {absent} of {len(r.personas)} personas a weight of 0 is not excluded."
    detail = (
        f"Unexplained by any mixture of them: {with_interval(r.unexplained)} nats per sentence. Weights by maximum "
        f"likelihood from {count_text(r.unexplained.n, 'unprompted text')}, certified: no other weights are better by "
        f"more than {r.certificate:.1g} nats per text. Each weight's interval holds by itself."
    )
    return Finding(question, sentence, detail)


def _way(r: PersonasRecord, found: Shortest) -> Finding:
    question = f"Which persona is the shortest way to misbehavior, and is it rare? ({one_line(found.behavior, 60)})"
    level = f"B below {fixed(_misaligned(r), 2)}"
    if not found.candidates:
        return Finding(
            question, f"None of them: no persona's own mean behavior can lie below the level ({level}).", _detail(r)
        )
    first = next(way for way in r.ways if (way.behavior, way.name) == (found.behavior, found.candidates[0]))
    length = first.to_level_family
    assert length is not None
    if found.resolved:
        sentence = f"{_name(first.name)}: some prompt of {with_interval(length)} sentences is enough for {level}."
    else:
        others = len(found.candidates) - 1
        sentence = (
            f"Not resolved: {count_text(others + 1, 'persona')} may be the shortest way to {level}"
            f" ({', '.join(_name(name) for name in found.candidates[:6])}{', …' if others > 5 else ''})."
        )
        if math.isfinite(length.value):
            sentence += f" By its estimate {_name(first.name)} comes first, {with_interval(length)} sentences."
    rare = {
        "yes": "It is rare, as the theory says a distinct persona may be: its weight lies below an equal share",
        "no": "It is not rare: its weight lies above an equal share",
        "not resolved": "Whether it is rare is not resolved: its weight's limits include an equal share",
    }[found.rare]
    tail = f" {rare} (1 in {len(r.personas)})." if found.resolved or math.isfinite(length.value) else ""
    return Finding(question, sentence + tail, _detail(r))


def _detail(r: PersonasRecord) -> str:
    return (
        f"Limits of the compared lengths hold for all {len(r.personas)} personas together (Bonferroni; weights, βᵢ and "
        "γᵢ a third of the error each). “No upper limit” (∞ in tables) where a weight or a divergence may be 0: "
        "log 1/α has no upper limit then, and the theorem promises nothing."
    )


def _weight_table(r: PersonasRecord) -> Table:
    n = int(r.meta["spec"]["sentences"])
    rows = tuple(
        (
            _name(p.name) + (f" ({one_line(p.kind, 20)})" if p.kind else ""), _percent(p.weight),
            dense(p.log_inverse_weight), dense(p.beta), _last(p.evidence), _last(p.own_posterior),
        )
        for p in sorted(r.personas, key=lambda p: -p.weight.value)
    )  # fmt: skip
    return Table(
        "The personas in the unprompted model",
        ("persona", "weight, %", "log 1/wᵢ, nats", "βᵢ, nats per sentence", f"evidence after {n}, nats",
         f"own posterior after {n}"),
        rows,
        strong=(1, 3),
        note="Weight: by itself. ∞: the weight may be 0. log 1/wᵢ and βᵢ as they enter Theorem 1: with γᵢ, their "
        "limits hold together for each persona. βᵢ: smallest divergence of the persona's next sentence from the "
        "mixture of the others. Evidence: mean log Pᵢ/P of its own sentences; beyond log 1/wᵢ it contradicts the "
        "mixture.",
    )  # fmt: skip


def _way_table(r: PersonasRecord, behavior: str) -> Table:
    epsilon = float(r.meta["spec"]["epsilon"])
    rows = tuple(
        (_name(w.name), dense(w.gamma), dense(w.paper), dense(w.sharp), _seen(w.observed, r), w.verdict)
        for w in r.ways
        if w.behavior == behavior
    )
    without = r.unprompted[behavior]
    return Table(
        f"Theorem 1 for each persona, {one_line(behavior, 60)}: sentences to B < γᵢ + ε",
        ("persona", "γᵢ", "paper", "sharp", "observed", "verdict"),
        rows,
        strong=(3,),
        note=f"ε = {epsilon:g}; each persona's own level. {NO_BOUND} Without a prompt the model's mean B is "
        f"{with_interval(without)}. Observed: first tested length whose mean response is surely below γᵢ + ε; all "
        f"personas and lengths hold together at {100 * float(r.meta['spec']['level']):g} % (Bonferroni over personas, "
        "simultaneous over lengths). A mean that stays above decides nothing: the theorem promises some prompt, not "
        "the mean one.",
    )


def _level_table(r: PersonasRecord, behavior: str) -> Table:
    ways = [w for w in r.ways if w.behavior == behavior]
    ways.sort(key=lambda w: (w.to_level.value if w.to_level else math.inf, w.to_level.low if w.to_level else math.inf))
    rows = tuple(
        (
            _name(w.name),
            dense(w.to_level) if w.to_level else "does not lead there",
            dense(w.to_level_family) if w.to_level_family else "does not lead there",
            _seen(w.observed_level, r),
        )
        for w in ways
    )
    return Table(
        f"Sentences to B < {fixed(_misaligned(r), 2)}, {one_line(behavior, 60)}",
        ("persona", "sharp, by itself", "sharp, all together", "observed"),
        rows,
        note=NO_BOUND,
    )


def _level_intro(r: PersonasRecord) -> str:
    return (
        f"γᵢ + ε is another level for every persona. To compare the ways, the level here is one for all: B < "
        f"{fixed(_misaligned(r), 2)}, that is Theorem 1 with ε = {fixed(_misaligned(r), 2)} − γᵢ; personas whose γᵢ is "
        "surely above the level do not lead there."
    )


def _premise_table(r: PersonasRecord) -> Table:
    rows = tuple((a.name, PREMISES[a.name].meaning, a.status, one_line(a.figure, 400)) for a in r.assumptions)
    return Table("Premises of Theorem 1", ("premise", "meaning", "verdict", "figure"), rows, strong=())


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
        "point at the level of the whole family of personas.",
        alt="Mean response against sentences of a persona's prompt: "
        + "; ".join(f"{_name(w.name)} {fixed(b.value[-1], 2)} at the end" for w, b in zip(ways, bands, strict=True)),
        x_title="sentences in the prompt, n",
        y_title="behavior expectation B",
        y_range=(-1.08, 1.08),
        x_range=(-0.2, max((b.lengths[-1] for b in bands), default=1) + 0.3),
    )
    for i, (way, band, style) in enumerate(zip(ways, bands, CURVES, strict=False)):
        chart.bars(band, _name(way.name), style, shift=0.04 * (i - len(ways) / 2))
    if format_name == "plain":
        chart.level(r.unprompted[behavior].value, "without a prompt", Style("faint", dash="dot", width=1.5))
    chart.level(_misaligned(r), "common level", Style("ink", dash="dash", width=1.5))
    return chart


def _posterior_chart(r: PersonasRecord) -> Chart:
    shown = sorted(r.personas, key=lambda p: -p.own_posterior.value[-1])
    picked = (*shown[:3], *shown[3:][-3:])
    chart = Chart(
        key="own-posterior",
        title="Posterior weight of a persona after its own sentences",
        caption=f"The three personas recognised best and the three recognised worst, of {len(shown)}.",
        alt="Mean posterior weight at the longest prompts: "
        + "; ".join(f"{_name(p.name)} {fixed(p.own_posterior.value[-1], 2)}" for p in picked),
        x_title="sentences of the persona, n",
        y_title="posterior weight",
        y_range=(-0.03, 1.05),
        x_range=(0.8, max(p.own_posterior.lengths[-1] for p in picked) + 0.2),
    )
    for persona, style in zip(picked, CURVES, strict=False):
        chart.curve(persona.own_posterior, _name(persona.name), style)
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


def _misaligned(r: PersonasRecord) -> float:
    return float(r.meta["spec"]["misaligned"])


def _name(name: str) -> str:
    return one_line(name, 60)


def _percent(weight: Estimate) -> str:
    sides = (weight.low, weight.value, weight.high)
    low, value, high = (f"{100 * x:.0f}" if x >= 0.1 else f"{100 * x:.1f}" for x in sides)
    return f"{value} % [{low}, {high}]"


def _last(band: Band) -> str:
    return dense(band.at(band.lengths[-1]))


def _seen(observed: Mapping[str, int | None], r: PersonasRecord) -> str:
    tested = int(r.meta["spec"]["sentences"])
    told = (
        f"{FORMATS.get(name, one_line(name))}: {length if length is not None else f'not by {tested}'}"
        for name, length in observed.items()
    )
    return "; ".join(told) or "too few responses"

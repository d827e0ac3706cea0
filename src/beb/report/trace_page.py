"""The page of a trace: which persona a text is by, sentence by sentence."""

from __future__ import annotations

from beb.core.estimate import Estimate
from beb.experiments.personas.record import TracedPersona, TraceRecord
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.inert import excerpt, one_line
from beb.report.page import Page, Section, Table
from beb.report.record import Sample, SampleGroup
from beb.report.rounding import count_text, fixed, significant
from beb.report.wording import Finding, notes

LEDE = "If the model is a mixture of these personas, which of them is speaking after each sentence of this text?"
TERMS = (
    "Posterior weight: wᵢPᵢ(text so far)/Σⱼ wⱼPⱼ(text so far), from the personas' weights before the text and the "
    "probability that each gives to every sentence. A mixture goes on after the text as the personas do, so weighted."
)
STYLES = (
    Style("negative"), Style("positive"), Style("theory"), Style("other"), Style("shuffled"), Style("ink"),
    Style("negative", dash="dot"), Style("positive", dash="dot"), Style("theory", dash="dot"),
)  # fmt: skip
NAMED = 3  # personas named per sentence


def page(_: Store, r: TraceRecord) -> Page:
    """Everything that the report of `beb personas trace` says."""
    return Page(
        lede=LEDE,
        findings=(_speaker(r),),
        counts=r.counts,
        failures=r.failures,
        terms=TERMS,
        notes=notes(r.notes),
        summary=(_table(r),),
        sections=(
            Section(
                "weights", "Weights", "Posterior weights along the text", "Stacked: the areas add up to 1.",
                (_last_table(r),), (_chart(r),),
            ),
        ),
        texts=(SampleGroup("The text, by sentence", tuple(_samples(r))),),
        methods={"posterior weight": r.personas[0].weights[-1]},
    )  # fmt: skip


def _speaker(r: TraceRecord) -> Finding:
    first, last = (max(r.personas, key=lambda p, i=i: p.weights[i].value) for i in (0, -1))  # type: ignore[misc]
    weight = last.weights[-1]
    changes = sum(_leader(r, i) is not _leader(r, i + 1) for i in range(1, len(r.sentences)))
    sentence = (
        f"After {count_text(len(r.sentences), 'sentence')} the likeliest speaker is {one_line(last.name, 60)}, with "
        f"posterior weight {_share(weight)}; before the text it was "
        + (f"{one_line(first.name, 60)}." if _differ(r) else "a tie.")
    )
    if all(p.weights[-1].high < weight.low for p in r.personas if p is not last) or weight.exact:
        sure = "It leads whatever the personas' weights within their limits." if not weight.exact else ""
    else:
        sure = "The limits of the personas' weights leave it open whether another one leads."
    return Finding(
        "Which persona is speaking?",
        sentence,
        f"{sure} On the way the leader changes {count_text(changes, 'time')}.".strip(),
    )


def _differ(r: TraceRecord) -> bool:
    values = [p.weights[0].value for p in r.personas]
    return max(values) - sorted(values)[-2] > 1e-12


def _leader(r: TraceRecord, i: int) -> TracedPersona:
    return max(r.personas, key=lambda p: p.weights[i].value)


def _table(r: TraceRecord) -> Table:
    rows = []
    for i in range(len(r.sentences) + 1):
        ranked = sorted(r.personas, key=lambda p: -p.weights[i].value)[:NAMED]
        told = ", ".join(f"{one_line(p.name, 40)} {_share(p.weights[i])}" for p in ranked)
        said = one_line(r.sentences[i - 1].strip(), 60) if i else "(before the text)"
        surprise = fixed(r.target_surprise[i - 1], 1) if i else "—"
        rows.append((str(i), said, told, surprise))
    return Table(
        "Sentence by sentence",
        ("n", "sentence", "likeliest personas, posterior weight", "−log P, nats"),
        tuple(rows),
        strong=(2,),
        note="−log P: how surprising the sentence is to the model itself without a persona.",
    )


def _last_table(r: TraceRecord) -> Table:
    ranked = sorted(r.personas, key=lambda p: -p.weights[-1].value)
    rows = tuple(
        (
            one_line(p.name, 60), one_line(p.kind, 20) or "—", _share(p.weights[0]), _share(p.weights[-1]),
            fixed(sum(p.surprise), 1),
        )
        for p in ranked
    )  # fmt: skip
    return Table(
        "Before and after the text", ("persona", "kind", "before", "after", "−log Pᵢ of the text, nats"), rows, (3,)
    )


def _chart(r: TraceRecord) -> Chart:
    """The personas that ever matter most have an area of their own, the others share one."""
    n = list(range(len(r.sentences) + 1))
    ranked = sorted(r.personas, key=lambda p: -max(e.value for e in p.weights))
    shown, rest = ranked[: len(STYLES)], ranked[len(STYLES) :]
    ends = ", ".join(f"{one_line(p.name, 40)} {fixed(p.weights[-1].value, 2)}" for p in shown[:3])
    chart = Chart(
        key="trace",
        title="Who is speaking?",
        caption="Posterior weight of each persona after each sentence; n = 0 is before the text.",
        alt=f"Stacked posterior weights of the personas; after the last sentence: {ends}.",
        x_title="sentences read, n",
        y_title="posterior weight (0 … 1)",
        y_range=(0.0, 1.0),
        x_range=(0.0, float(max(n[-1], 1))),
    )
    for persona, style in zip(shown, STYLES, strict=False):
        chart.area(n, [e.value for e in persona.weights], one_line(persona.name, 40), style)
    if rest:
        total = [sum(p.weights[i].value for p in rest) for i in n]
        chart.area(n, total, f"{count_text(len(rest), 'other persona')}", Style("faint"))
    return chart


def _samples(r: TraceRecord) -> list[Sample]:
    return [Sample(f"sentence {i + 1}", "", excerpt(sentence)) for i, sentence in enumerate(r.sentences)]


def _share(weight: Estimate) -> str:
    if weight.exact:
        return _digits(weight.value)
    return f"{_digits(weight.value)} [{_digits(weight.low)}, {_digits(weight.high)}]"


def _digits(value: float) -> str:
    if value in (0.0, 1.0) or 0.005 <= value <= 0.995:
        return f"{value:.2f}"
    return significant(value, 2) if value < 0.5 else f"1 − {significant(1 - value, 1)}"

"""The page of a comparison of laws."""

from __future__ import annotations

import math
from collections import Counter

from beb.core.bounds import PropagatedBound
from beb.core.estimate import Band, Estimate
from beb.estimate.laws import LawComparison, LawDifference
from beb.experiments.laws.record import CurveLaws, DecayReport, LawsRecord
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.inert import one_line
from beb.report.page import Page, Section, Table
from beb.report.record import sampled_texts
from beb.report.rounding import count_text, with_interval
from beb.report.wording import Finding, notes, proxies

LEDE = (
    "Which law do the curves follow as the prompt grows, how fast does the divergence fall along it, and what does "
    "that do to the bound?"
)
LAWS = (
    "Logistic: Wolf et al., Lemma 7. Power law: C (n + 1)^−a + K, of many-shot prompting (Anil et al. 2024). Bayesian: "
    "two components and a learner (Arora et al., arXiv 2410.16531)."
)
_STYLES = {
    "logistic": Style("theory", dash="dash"),
    "power law": Style("positive", dash="dot"),
    "Bayesian": Style("other", dash="dashdot"),
}


def page(store: Store, r: LawsRecord) -> Page:
    """Everything that `beb laws` says."""
    sections = [_curve_section(i, curve) for i, curve in enumerate(r.curves)]
    if r.decay is not None:
        sections.append(_decay_section(r.decay))
    return Page(
        lede=LEDE,
        findings=(*(_law_finding(curve) for curve in r.curves), *_decay_findings(r.decay)),
        counts={f"prompts, {one_line(curve.name)}": curve.band.n for curve in r.curves},
        failures=dict(Counter(f"{row['subject']}: {row['kind']}" for row in store.rows("failures"))),
        terms=f"{proxies(r.meta)} {LAWS}",
        notes=notes((*r.notes, *(f"not compared: {line}" for line in r.skipped))),
        sections=tuple(sections),
        texts=sampled_texts(store),
        methods=_methods(r),
    )


def _law_finding(curve: CurveLaws) -> Finding:
    question = f"Which law does it follow: {one_line(curve.name)}?"
    decided = [d for d in curve.comparison.differences if d.verdict != "undecided"]
    if not decided:
        sentence = (
            "The prompts do not decide: none of the three laws predicts new prompts better than another for sure."
        )
    else:
        sentence = "; ".join(_preference(d) for d in decided)
        sentence = f"{_capital(sentence)}."
        if len(decided) < len(curve.comparison.differences):
            sentence += " The other differences are not decided."
    left_out = f" {count_text(curve.n_left_out, 'prompt')} without a value at every length left out."
    detail = (
        f"{curve.comparison.n_folds}-fold cross-validation over {count_text(curve.band.n, 'prompt')}; the limits of "
        "the three differences hold together. Of two laws that hold equally, the one with fewer parameters predicts a "
        f"little better.{left_out if curve.n_left_out else ''}"
    )
    return Finding(question, sentence, detail)


def _preference(d: LawDifference) -> str:
    other = d.second if d.verdict == d.first else d.first
    gain = with_interval(d.difference if d.verdict == d.first else _negated(d.difference))
    return f"the {d.verdict} predicts new prompts better than the {other}, by {gain} nats per prompt"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _negated(e: Estimate) -> Estimate:
    return Estimate(-e.value, -e.high, -e.low, e.level, e.n, e.unit, e.method, e.exact)


def _decay_findings(d: DecayReport | None) -> tuple[Finding, ...]:
    if d is None:
        return ()
    words = {
        "falls": "Yes: a sentence tells less, the later it stands in the prompt",
        "does not fall": "No: later sentences tell as much as the first, or more",
        "undecided": "Not decided",
    }
    sentence = (
        f"{words[d.falls]}: the divergence of sentence k goes like β/k^η with η = "
        f"{with_interval(d.decay.eta_measured)}."
    )
    under = f"The largest β whose β/k^η stays under the curve is {with_interval(d.beta_under)} nats per sentence"
    told = [_length(bound.reading, bound.relaxed, bound.constant) for bound in d.bounds]
    detail = f"{under}. Sentences for some misaligning prompt, if the decay goes on so: {'; '.join(told)}."
    if d.decay.note:
        detail += f" {_capital(one_line(d.decay.note))}."
    return (Finding("Does a sentence tell less, the later it comes?", sentence, detail),)


def _length(reading: str, relaxed: PropagatedBound | None, constant: PropagatedBound | None) -> str:
    return f"α by {reading}, Appendix I {_sharp(relaxed)}, Theorem 1 {_sharp(constant)}"


def _sharp(bound: PropagatedBound | None) -> str:
    return with_interval(bound.sharp) if bound is not None else "no bound"


def _curve_section(number: int, curve: CurveLaws) -> Section:
    name = one_line(curve.name)
    return Section(
        f"curve-{number}",
        _capital(name),
        f"Laws of {name}" if name.startswith("target") else f"Laws of the {name}",
        tables=(_difference_table(name, curve.comparison), _parameter_table(name, curve.comparison)),
        charts=(_chart(number, curve),),
    )


def _difference_table(name: str, comparison: LawComparison) -> Table:
    rows = tuple((f"{d.first} less {d.second}", with_interval(d.difference), d.verdict) for d in comparison.differences)
    title = f"{_capital(name)}: log-likelihood of prompts left out, nats per prompt"
    return Table(title, ("difference", "value", "better"), rows, note="Limits of all differences hold together.")


def _parameter_table(name: str, comparison: LawComparison) -> Table:
    rows = []
    for law in comparison.laws:
        rows += [(law.name, p.name, _parameter(p.estimate), p.estimate.unit) for p in law.parameters]
        rows.append(
            (law.name, "log-likelihood, left out", with_interval(law.held_out_log_likelihood), "nats per prompt")
        )
    told = "; ".join(one_line(law.note) for law in comparison.laws if law.note)
    note = f"{_capital(told)}." if told else ""
    return Table(
        f"{_capital(name)}: parameters", ("law", "parameter", "value", "unit"), tuple(rows), strong=(2,), note=note
    )


def _parameter(e: Estimate) -> str:
    """A parameter that the curve does not determine has a value that is none."""
    undetermined = math.isinf(e.high) and (math.isinf(e.low) or e.low == 0)
    return "not determined" if undetermined else with_interval(e)


def _chart(number: int, curve: CurveLaws) -> Chart:
    band, is_behavior = curve.band, curve.comparison.scale == "behavior"
    fits = [value for law in curve.comparison.laws for value in law.fitted]
    chart = Chart(
        key=f"laws-{number}",
        title=f"{_capital(one_line(curve.name))}, and the laws nearest to it",
        caption=f"Band: the whole curve at once (light), each point (darker). {count_text(band.n, 'prompt')}.",
        alt=(
            f"{one_line(curve.name)} against the number of {curve.unit_of_length}, from "
            f"{with_interval(band.at(band.lengths[0]))} to {with_interval(band.at(band.lengths[-1]))}, with three fits."
        ),
        x_title="turn" if curve.unit_of_length == "turns" else "sentences before, n",
        y_title="behavior expectation B (−1 … +1)" if is_behavior else "negative log-likelihood (nats per sentence)",
        y_range=(-1.06, 1.06) if is_behavior else _range((*band.low, *band.high, *fits), band.value),
        x_range=(band.lengths[0] - 0.25, band.lengths[-1] + 0.25),
    )
    chart.band(band, "measured", Style("negative", marker="circle", width=2.5))
    for law in curve.comparison.laws:
        chart.line(curve.comparison.lengths, law.fitted, law.name, _STYLES.get(law.name, Style("ink")))
    return chart


def _range(values: tuple[float, ...], middle: tuple[float, ...]) -> tuple[float, float]:
    """Holds every value that is not absurdly far from the curve."""
    spread = (max(middle) - min(middle)) or 1.0
    near = [v for v in values if min(middle) - 3 * spread <= v <= max(middle) + 3 * spread]
    low, high = min((*near, *middle)), max((*near, *middle))
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def _decay_section(d: DecayReport) -> Section:
    rows = tuple(
        (
            bound.reading,
            _sharp(bound.relaxed),
            _sharp(bound.constant),
            with_interval(bound.constant.paper) if bound.constant is not None and bound.constant.paper else "none",
        )
        for bound in d.bounds
    )
    fitted = (
        ("η", with_interval(d.decay.eta_measured), "1", "exponent of the decay"),
        ("β of the fit", with_interval(d.decay.beta), "nats per sentence", "of the first sentence; least squares"),
        ("β under the curve", with_interval(d.beta_under), "nats per sentence", "largest at this η; enters the bound"),
    )
    tested = count_text(len(d.curve.lengths), "sentence")
    return Section(
        "decay",
        "Decay",
        "Does a sentence tell less, the later it comes?",
        "Appendix I of Wolf et al. lets sentence k be worth β/k^η only. Theorem 1 takes the smallest value of the "
        f"curve for every sentence. Both hold on the curve as far as it was tested, {tested}; beyond it neither is "
        "known to hold, and a longer length than that supposes that the decay goes on as it was. The limits of each "
        "bound carry those of all its inputs together.",
        tables=(
            Table("The fitted decay", ("quantity", "value", "unit", "meaning"), fitted),
            Table(
                "Sentences for some misaligning prompt",
                ("α by", "Appendix I", "Theorem 1, sharp", "Theorem 1, paper"), rows,
            ),
        ),
        charts=(_decay_chart(d),),
    )  # fmt: skip


def _decay_chart(d: DecayReport) -> Chart:
    band = d.curve
    under = [d.beta_under.value * (n + 1) ** -d.decay.eta.value for n in band.lengths]
    values = (*band.low, *(v for v in band.high if math.isfinite(v)), *d.decay.fitted, *under)
    chart = Chart(
        key="decay-curve",
        title="Divergence along the prompt, and its decay",
        caption=(
            f"Sentence k = n + 1. Band: the whole curve at once (light), each point (darker). η = "
            f"{with_interval(d.decay.eta_measured)}; {count_text(band.n, 'prompt')}."
        ),
        alt=f"KL divergence of the next sentence against prompt length, with β/k^η, η = {with_interval(d.decay.eta)}.",
        x_title="sentences before, n",
        y_title="divergence of the next sentence (nats)",
        y_range=_range(values, band.value),
        x_range=(band.lengths[0] - 0.25, band.lengths[-1] + 0.25),
    )
    chart.band(band, "KL(P₋‖P₊)", Style("negative", marker="circle", width=2.5))
    chart.line(band.lengths, d.decay.fitted, "β/k^η, least squares", Style("theory", dash="dash"))
    chart.line(band.lengths, under, "β/k^η under the curve", Style("ink", dash="dot"))
    return chart


def _methods(r: LawsRecord) -> dict[str, Estimate | Band]:
    named: dict[str, Estimate | Band] = {}
    if r.curves:
        first = r.curves[0].comparison
        named = {
            "difference of laws": first.differences[0].difference,
            "log-likelihood, left out": first.laws[0].held_out_log_likelihood,
            "parameters": first.laws[0].parameters[0].estimate,
        }
    if r.decay is not None:
        named |= {"η": r.decay.decay.eta_measured, "β under the curve": r.decay.beta_under}
        bound = next((b.relaxed for b in r.decay.bounds if b.relaxed is not None), None)
        if bound is not None:
            named["Appendix I"] = bound.sharp
    return named

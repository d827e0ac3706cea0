"""The page of a guardrail run."""

from __future__ import annotations

import math

from beb.core.estimate import Band, Estimate
from beb.experiments.guardrail.record import Baseline, Guardrail, GuardrailRecord
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.figures import SENTENCES, axis_lengths, axis_range, ends_text
from beb.report.inert import excerpt, one_line
from beb.report.page import VERDICTS, Page, Section, Table
from beb.report.record import sampled_texts
from beb.report.rounding import count_text, fixed, with_interval
from beb.report.tables import NOT_IDENTIFIED, assumption_rows
from beb.report.wording import FORMATS, PREFERRED_READING, Finding, notes, observed_text, proxies, share, warnings

LEDE = "How many sentences of a misaligning prompt does a system prompt hold off, and is that what the theory says?"
NO_EXTRA = "none given"
_STYLES = (
    Style("positive", marker="square"),
    Style("theory", marker="diamond"),
    Style("other", marker="triangle-up"),
    Style("shuffled", marker="x"),
    Style("ink", dash="dash", marker="square"),
    Style("faint", dash="dash", marker="diamond"),
)


def page(store: Store, r: GuardrailRecord) -> Page:
    """Everything that the report of `beb guardrail` says."""
    return Page(
        lede=LEDE,
        findings=(_what_it_buys(r), _what_theory_says(r), _premises_here(r)),
        counts=r.counts,
        failures=r.failures,
        terms=proxies(r.meta),
        warnings=warnings(r),
        notes=notes(r.notes),
        summary=(_observed_table(r), _prediction_table(r)),
        sections=(
            Section("behavior", "Behavior", "The same prompts with and without", _BEHAVIOR, charts=_behavior_charts(r)),
            Section("lengths", "Lengths", "Theorem 2’s lengths", _LENGTHS.format(**_numbers(r)), (_length_table(r),)),
            Section(
                "divergence", "Divergence", "What the theorem is computed from", _DIVERGENCE, (_figure_table(r),),
                _divergence_charts(r),
            ),
            Section("premises", "Premises", "Do Theorem 2’s premises hold here?", tables=(_premise_table(r),)),
            Section("texts", "Guardrails", "The guardrails", tables=(_text_table(r),)),
        ),
        texts=sampled_texts(store),
        methods=_methods(r),
    )  # fmt: skip


_BEHAVIOR = (
    "Each prompt is read with every guardrail and without, so that all differences are between answers to the same "
    "prompts. The prompts without guardrail are the control; n = 0 is the guardrail alone."
)
_LENGTHS = (
    "Sentences from which, with probability {sure} over prefixes from P₊, some prompt after the prefix brings B below "
    "γ + ε. A given text has no spread: its own log-ratio takes the place of β′m, and σ that of 0. “Observed” is the "
    "first tested length at which the mean over the sampled prompts lies below γ + ε for certain: it witnesses the "
    "theorem where it is not longer. Not having reached it is no contradiction: the theorem speaks of some prompt."
)
_DIVERGENCE = (
    "Definition 3 asks how much a sentence of P₋ tells it from P₊ after text that ends in a negative sentence: the "
    "prompts of that curve go on after a neutral sentence and a negative one, as in Appendix N of Wolf et al."
)


def _numbers(r: GuardrailRecord) -> dict[str, str]:
    return {"sure": f"{100 * (1 - float(r.meta['spec']['delta'])):g} %"}


def _level(r: GuardrailRecord) -> str:
    return f"{100 * float(r.meta['spec']['level']):g} %"


def _tested(r: GuardrailRecord) -> int:
    return int(r.meta["spec"]["sentences"])


def _identified(estimate: Estimate) -> bool:
    """Whether the data determine the number."""
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)


def _shown(estimate: Estimate | None, missing: str = NOT_IDENTIFIED) -> str:
    """A number with its interval; a single limit in words, since the value beside it is no finding."""
    if estimate is None:
        return missing
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        return with_interval(estimate)
    if math.isfinite(estimate.low):
        return f"at least {fixed(estimate.low, 1)}"
    return f"at most {fixed(estimate.high, 1)}" if math.isfinite(estimate.high) else NOT_IDENTIFIED


def _theory(estimate: Estimate | None) -> str:
    """A predicted number with its interval."""
    if estimate is None:
        return NO_EXTRA
    return NOT_IDENTIFIED if math.isinf(estimate.low) and math.isinf(estimate.high) else with_interval(estimate)


def _of_format(r: GuardrailRecord, name: str) -> list[Guardrail]:
    return [g for g in r.guardrails if g.format == name]


def _what_it_buys(r: GuardrailRecord) -> Finding:
    parts = [_bought(base, _of_format(r, base.format), _tested(r)) for base in r.baselines]
    family = (
        f"The shifts of all {r.family} guardrails hold together with {_level(r)} confidence, midpoints and areas each "
        "by themselves. "
        if r.family > 1
        else f"Confidence {_level(r)}. "
    )
    detail = (
        f"{family}Midpoint: where mean B as scored crosses 0, joined by straight lines. Area: the area between the two "
        "curves over the fall from 1 to −1, without any law; it is less than the displacement where the curves fall "
        f"less. Paired over {count_text(r.guardrails[0].area_shift.n, 'prompt')} of up to "
        f"{count_text(_tested(r), 'sentence')}."
    )
    return Finding("How much does a guardrail hold off?", " ".join(parts), detail)


def _bought(base: Baseline, guardrails: list[Guardrail], tested: int) -> str:
    """One format's answer in words; where B does not fall, it says so and gives no shift."""
    where = FORMATS.get(base.format, one_line(base.format))
    where = f"In {where}"
    if base.fall.low <= 0:
        return (
            f"{where}, the prompts do not lower B for certain even without a guardrail (fall over {tested} sentences: "
            f"{with_interval(base.fall)}), so there is no shift in sentences to measure."
        )
    known = [g for g in guardrails if _identified(g.midpoint_shift)]
    if known:
        best = max(known, key=lambda g: g.midpoint_shift.value)
        told = f"“{one_line(best.name)}” moves the midpoint by {with_interval(best.midpoint_shift)} sentences"
        rest = len(guardrails) - len(known)
        more = f"; for {rest} of {len(guardrails)} guardrails the midpoint is not identified" if rest else ""
        return f"{where}, {told}, {'the only guardrail' if len(guardrails) == 1 else 'the most of those known'}{more}."
    held_off = [g for g in guardrails if g.midpoint_shift.low > 0]
    if held_off:
        best = max(held_off, key=lambda g: g.midpoint_shift.low)
        return (
            f"{where}, “{one_line(best.name)}” moves the midpoint by {_shown(best.midpoint_shift)} sentences; how many "
            f"more, {tested} sentences do not say."
        )
    best = max(guardrails, key=lambda g: g.area_shift.value)
    why = "without a guardrail" if not _identified(base.midpoint) else "with a guardrail"
    return (
        f"{where}, B falls, but {why} it does not cross 0 for certain within {tested} sentences: the shift of the "
        f"midpoint is not identified. By area, “{one_line(best.name)}” holds off {with_interval(best.area_shift)} "
        f"sentences{', the most of all' if len(guardrails) > 1 else ''}."
    )


def _what_theory_says(r: GuardrailRecord) -> Finding:
    counted = {name: [g for g in r.guardrails if g.verdict == name] for name in VERDICTS}
    total = len(r.guardrails)
    said = []
    if counted["contradicted"]:
        names = ", ".join(f"“{one_line(g.name)}”" for g in counted["contradicted"])
        said.append(f"{names} held off more sentences than Theorem 2 allows with these components")
    if counted["held"]:
        names = ", ".join(f"“{one_line(g.name)}”" for g in counted["held"])
        said.append(f"{names} held off no more than Theorem 2 allows")
    if counted["not measured"]:
        some = "the guardrail" if total == 1 else f"{len(counted['not measured'])} of {total} guardrails"
        said.append(f"for {some} the measurement does not decide")
    sampled = next((g for g in r.guardrails if g.kind == "sampled"), None)
    detail = ""
    if sampled is not None:
        detail = (
            f"{count_text(sampled.sentences, 'sentence')} from P₊ carry {with_interval(sampled.log_ratio)} nats "
            f"against P₋: {_theory(sampled.log_ratio_shift)} sentences of P₋ on average, and by Theorem 2 with "
            f"probability {_numbers(r)['sure']} at most {_theory(sampled.extra)} extra sentences for some "
            "prompt."
        )
    sentence = "; ".join(said)
    return Finding("Is that what the theory says?", f"{sentence[:1].upper()}{sentence[1:]}.", detail)


def _premises_here(r: GuardrailRecord) -> Finding:
    question = "Do the components behave as the theorem assumes?"
    if r.positivity is None or r.beta_after is None:
        return Finding(
            question, "Not measured: P₋ hardly writes a sentence that is scored negative.",
            f"β without a prefix: {with_interval(r.beta)} nats per sentence.",
        )  # fmt: skip
    kept = (
        "Sentences of P₋ still tell it from P₊ after text that ends in a negative sentence"
        if r.beta_after.low > 0
        else "That sentences of P₋ still tell it from P₊ after text that ends in a negative sentence is not shown"
    )
    return Finding(
        question,
        f"{share(r.positivity)} of the sentences that P₋ wrote and that are scored negative are likelier under P₋ than "
        f"under P₊ (Definition 6). {kept} (Definition 3).",
        f"β = {with_interval(r.beta)} nats per sentence without a prefix, {with_interval(r.beta_after)} after one; the "
        "smallest value over the tested lengths each. The share is a mean over prompts.",
    )


def _observed_table(r: GuardrailRecord) -> Table:
    last = _tested(r)
    rows = []
    for base in r.baselines:
        band = base.curve.raw
        rows.append(
            (_label(base.format, ""), with_interval(band.at(0)), with_interval(band.at(last)), _shown(base.midpoint),
             "—", "—")
        )  # fmt: skip
        for g in _of_format(r, base.format):
            band = g.curve.raw
            rows.append(
                (_label(g.format, g.name), with_interval(band.at(0)), with_interval(band.at(last)), _shown(g.midpoint),
                 _shift(g.midpoint_shift, base), _shift(g.area_shift, base))
            )  # fmt: skip
    note = (
        "B from −1 to +1 as scored. Shifts in sentences against the same prompts without guardrail; those of one "
        f"column hold together with {_level(r)} confidence ({count_text(r.family, 'guardrail')})."
    )
    columns = ("guardrail", "B, n = 0", f"B, n = {last}", "midpoint", "shift of midpoint", "shift by area")
    return Table("Observed", columns, tuple(rows), strong=(4, 5), note=note)


def _shift(estimate: Estimate, base: Baseline) -> str:
    return _shown(estimate) if base.fall.low > 0 else "no fall to shift"


def _label(format_name: str, name: str) -> str:
    return f"{FORMATS.get(format_name, one_line(format_name))}, {one_line(name, 40) or 'none'}"


def _prediction_table(r: GuardrailRecord) -> Table:
    rows = []
    for g in r.guardrails:
        base = next(b for b in r.baselines if b.format == g.format)
        told = _identified(g.midpoint_shift) or g.midpoint_shift.low > 0
        seen = g.midpoint_shift if told else g.area_shift
        how = "" if seen is g.midpoint_shift else " (area)"
        observed = f"{_shown(seen)}{how}" if base.fall.low > 0 else "no fall to shift"
        rows.append(
            (_label(g.format, g.name), str(g.sentences), with_interval(g.log_ratio), _theory(g.log_ratio_shift),
             _theory(g.extra), observed, g.verdict)
        )  # fmt: skip
    note = (
        "log P₊/P₋ in nats: of the text itself, or the mean over the sampled prefixes; negative means that the text "
        "is likelier under P₋. By log-ratio: that over the mean divergence of a sentence of P₋. At most: Theorem 2’s "
        "extra sentences, sharp form, with C = 0. Verdict on the observed shift being at most that."
    )
    columns = ("guardrail", "m", "log P₊/P₋", "by log-ratio", "at most (Th 2)", "observed", "verdict")
    return Table("Prediction beside observation, in sentences", columns, tuple(rows), strong=(5,), note=note)


def _length_table(r: GuardrailRecord) -> Table:
    rows = []
    for g in r.guardrails:
        for report in g.bounds:
            paper = with_interval(report.bound.paper) if report.bound.paper is not None else NO_EXTRA
            length = next(iter(report.observed.values()))
            witnessed = length is not None and length <= report.bound.sharp.value
            rows.append(
                (_label(g.format, g.name), report.reading, paper, with_interval(report.bound.sharp),
                 observed_text(report.observed, _tested(r)), "held" if witnessed else "not measured")
            )  # fmt: skip
    columns = ("guardrail", "α by", "paper", "sharp", "observed", "verdict")
    empty = "No length: β after a negative sentence is not positive, or could not be measured."
    return Table("Theorem 2, sentences of prompt", columns, tuple(rows), strong=(3,), empty=empty)


def _figure_table(r: GuardrailRecord) -> Table:
    plateau, line = r.alpha.plateau.log_inverse_alpha, r.alpha.line.log_inverse_alpha
    rows: list[tuple[str, Estimate | None, str]] = [
        ("β", r.beta, "KL(P₋‖P₊) per sentence along prompts from P₋, smallest"),
        (
            "β after a negative sentence",
            r.beta_after,
            "the same after a neutral and a negative sentence",
        ),
        ("β′", r.beta_prime, "KL(P₊‖P₋) per sentence along prompts from P₊, largest"),
        ("σ², under P₊", r.sigma2_positive, "variance of log P₊/P₋ per sentence along prompts from P₊, largest"),
        ("positivity", r.positivity, "share of negative sentences likelier under P₋ (Definition 6)"),
        ("γ, tested prompts", r.gamma, "the best mean behavior that P₋ itself showed"),
        (f"log 1/α, {PREFERRED_READING}", plateau, f"{r.alpha.plateau.verdict}"),
        ("log 1/α, straight line", line, "Wolf et al.: first three points of KL(P₋‖P)"),
    ]
    cells = tuple((name, _shown(e, "not measured"), e.unit if e else "", meaning) for name, e, meaning in rows)
    return Table("Key figures", ("quantity", "value [interval]", "unit", "meaning"), cells)


def _premise_table(r: GuardrailRecord) -> Table:
    rows = tuple((row.name, row.meaning, row.status, row.figure) for row in assumption_rows(r))
    return Table("Premises of Theorem 2", ("premise", "meaning", "verdict", "figure"), rows, strong=())


def _text_table(r: GuardrailRecord) -> Table:
    rows = []
    for base in r.baselines:
        inside = f"the template’s own system text: {one_line(base.default, 400)}" if base.default else "no system text"
        told = inside if base.format == "chat" else one_line(base.context, 400)
        rows.append((_label(base.format, ""), "baseline", told))
    for g in r.guardrails:
        drawn = f"{count_text(g.sentences, 'sentence')} sampled from P₊, fresh for each prompt"
        rows.append((_label(g.format, g.name), g.kind, excerpt(g.text, 600) if g.text else drawn))
    return Table("What stands before the prompt", ("guardrail", "kind", "words"), tuple(rows), strong=())


def _behavior_charts(r: GuardrailRecord) -> tuple[Chart, ...]:
    charts = []
    for base in r.baselines:
        charts.append(_behavior_chart(r, base, corrected=False))
        if base.curve.corrected is not None:
            charts.append(_behavior_chart(r, base, corrected=True))
    return tuple(charts)


def _behavior_chart(r: GuardrailRecord, base: Baseline, *, corrected: bool) -> Chart:
    label = FORMATS.get(base.format, one_line(base.format))
    how = "corrected for the scorer’s errors" if corrected else "as scored"
    control = _picked(base.curve.corrected, base.curve.raw, corrected=corrected)
    guardrails = _of_format(r, base.format)
    chart = Chart(
        key=f"guardrail-{base.format}-{'corrected' if corrected else 'raw'}",
        title=f"{label[:1].upper()}{label[1:]}, {how}",
        caption=(
            f"Prompts from P₋ of n sentences; {count_text(control.n, 'prompt')}, the same with every guardrail. Band: "
            "the curve without guardrail at once (light) and each point (darker); bars: each point with a guardrail."
        ),
        alt=f"Behavior expectation against prompt length, {label}, {how}; without guardrail {ends_text(control)}.",
        x_title=SENTENCES,
        y_title="behavior expectation B (−1 … +1)",
        y_range=(-1.06, 1.06),
        x_range=(-0.3, control.lengths[-1] + 0.3),
        height=430,
    )
    chart.band(control, "no guardrail", Style("negative", marker="circle", width=2.5))
    for i, g in enumerate(guardrails):
        band = _picked(g.curve.corrected, g.curve.raw, corrected=corrected)
        shift = 0.06 * (1 + i // 2) * (1 if i % 2 == 0 else -1)
        chart.bars(band, one_line(g.name, 40), _STYLES[i % len(_STYLES)], shift=shift)
    chart.level(0.0, "B = 0, where the midpoint is read", Style("faint", dash="dash", width=1.0))
    return chart


def _picked(corrected_band: Band | None, raw: Band, *, corrected: bool) -> Band:
    return corrected_band if corrected and corrected_band is not None else raw


def _divergence_charts(r: GuardrailRecord) -> tuple[Chart, ...]:
    bands = [r.beta_curve, r.beta_prime_curve, *([r.beta_after_curve] if r.beta_after_curve else [])]
    chart = Chart(
        key="guardrail-divergence",
        title="How well the next sentence tells the components apart",
        caption=(
            "Light band: the whole curve at once; darker: each point on its own. After a prefix, n counts the "
            f"sentences that P₋ has written since. β = {with_interval(r.beta)}"
            + (f", after a prefix {with_interval(r.beta_after)}" if r.beta_after else "")
            + f", β′ = {with_interval(r.beta_prime)} nats per sentence."
        ),
        alt=f"KL divergence of the next sentence against prompt length: {ends_text(r.beta_curve)} without a prefix.",
        x_title=SENTENCES,
        y_title="divergence of the next sentence (nats)",
        y_range=axis_range(*bands),
        x_range=axis_lengths(*bands),
    )
    chart.band(r.beta_curve, "KL(P₋‖P₊), prompts from P₋", Style("negative", marker="circle", width=2.5))
    if r.beta_after_curve is not None:
        chart.band(r.beta_after_curve, "KL(P₋‖P₊) after a negative sentence", Style("other", marker="diamond"))
    chart.band(r.beta_prime_curve, "KL(P₊‖P₋), prompts from P₊", Style("positive", marker="square"))
    return (chart,)


def _methods(r: GuardrailRecord) -> dict[str, Estimate | Band]:
    first = r.guardrails[0]
    named: dict[str, Estimate | Band] = {
        "β": r.beta,
        "β′": r.beta_prime,
        "σ² under P₊": r.sigma2_positive,
        "γ": r.gamma,
        "shift of the midpoint": first.midpoint_shift,
        "shift by area": first.area_shift,
        "difference of B": first.difference,
        "fall of B": r.baselines[0].fall,
    }
    optional = {
        "β after a negative sentence": r.beta_after,
        "positivity": r.positivity,
        "by log-ratio": first.log_ratio_shift,
        "at most (Theorem 2)": first.extra,
    }
    return named | {name: e for name, e in optional.items() if e is not None}

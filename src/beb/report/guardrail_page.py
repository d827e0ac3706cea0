"""The page of a guardrail run."""

from __future__ import annotations

import math

from beb.core.estimate import Band, Estimate
from beb.experiments.guardrail.predictions import LARGER
from beb.experiments.guardrail.record import Baseline, Guardrail, GuardrailRecord
from beb.experiments.store import Store
from beb.experiments.verdicts import length_verdict
from beb.experiments.what_if_scenarios import guardrail_inputs
from beb.report.guardrail_charts import behavior_charts, divergence_charts
from beb.report.inert import excerpt, one_line
from beb.report.page import Page, Section, Table
from beb.report.record import sampled_texts
from beb.report.rounding import count_text, limit_text, with_interval
from beb.report.scenario_figures import alpha_figures, level_warnings
from beb.report.tables import NOT_IDENTIFIED, assumption_rows
from beb.report.what_if import what_if
from beb.report.wording import FORMATS, Finding, alpha_label, notes, observed_text, proxies, share, warnings

LEDE = "How many sentences of a misaligning prompt does a system prompt hold off, and is that what the theory says?"
NO_EXTRA = "none given"


def page(store: Store, r: GuardrailRecord) -> Page:
    """Everything that the report of `beb guardrail` says."""
    return Page(
        lede=LEDE,
        findings=(_what_it_buys(r), _what_theory_says(r), _premises_here(r)),
        counts=r.counts,
        failures=r.failures,
        terms=proxies(r.meta),
        warnings=(*warnings(r), *_level_warnings(r)),
        notes=notes(r.notes),
        premises=assumption_rows(r),
        premises_title="Do Theorem 2’s premises hold here?",
        summary=(_observed_table(r), _prediction_table(r)),
        sections=(
            Section("behavior", "Behavior", "The same prompts with and without", _BEHAVIOR, charts=behavior_charts(r)),
            Section("lengths", "Lengths", "Theorem 2’s lengths", _LENGTHS.format(**_numbers(r)), (_length_table(r),)),
            Section(
                "divergence", "Divergence", "What the theorem is computed from", _DIVERGENCE, (_figure_table(r),),
                divergence_charts(r),
            ),
            Section("guardrails", "Guardrails", "The guardrails", tables=(_text_table(r),)),
        ),
        what_if=what_if(guardrail_inputs(store, r)),
        texts=sampled_texts(store),
        methods=_methods(r),
    )  # fmt: skip


_BEHAVIOR = (
    "Each prompt is read with every guardrail and without, so that all differences are between answers to the same "
    "prompts. The prompts without guardrail are the control; n = 0 is the guardrail alone."
)
_LENGTHS = (
    "Sentences from which, with probability {sure} over prefixes from P₊, some prompt after the prefix brings B below "
    "γ + ε (γ at its estimate). A given text has no spread: its own log-ratio takes the place of β′m, and 0 that of σ. "
    "“Observed” is the first tested length at which the mean over the sampled prompts lies below γ + ε for certain. "
    "After a given text it witnesses the theorem (“held”) where it is surely not longer. After sampled prefixes it "
    "witnesses nothing: a mean over prefixes does not say for how many of them it is so. Not having reached it is no "
    "contradiction: the theorem speaks of some prompt. A length from an α that the cap excludes says nothing."
)
_DIVERGENCE = (
    "Definition 3 asks how much a sentence of P₋ tells it from P₊ after text that ends in a negative sentence: the "
    "prompts of that curve go on after a neutral sentence and a negative one, as in Appendix N of Wolf et al."
)


def _numbers(r: GuardrailRecord) -> dict[str, str]:
    return {"sure": f"{100 * (1 - float(r.meta['spec']['delta'])):g}\u00a0%"}


def _level_warnings(r: GuardrailRecord) -> tuple[str, ...]:
    """Where the level below which a prompt counts as misaligning says little."""
    unprompted = min((base.curve.corrected or base.curve.raw).at(0).value for base in r.baselines)
    return level_warnings(r.gamma, float(r.meta["spec"]["epsilon"]), "response without any prompt", unprompted)


def _level(r: GuardrailRecord) -> str:
    return f"{100 * float(r.meta['spec']['level']):g}\u00a0%"


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
        return f"at least {limit_text(estimate.low, 1, 'at least')}"
    most = limit_text(estimate.high, 1, "at most")
    return f"at most {most}" if math.isfinite(estimate.high) else NOT_IDENTIFIED


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
        f"The shifts of the {r.family} guardrails hold together with {_level(r)} confidence, midpoints and areas each "
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
    larger = [g for g in r.guardrails if g.reason == LARGER]
    within = [g for g in r.guardrails if g.verdict == "held"]
    total, open_ = len(r.guardrails), len(r.guardrails) - len(larger) - len(within)
    said = []
    if larger:
        said.append(
            f"{_named(larger)} held off more sentences of the mean prompt than Theorem 2 adds for the worst one, which "
            "contradicts nothing"
        )
    if within:
        said.append(f"{_named(within)} held off no more of the mean prompt than Theorem 2 adds for the worst one")
    if open_ == total > 1:
        said.append(f"for none of {total} guardrails does the measurement decide")
    elif open_:
        some = "the guardrail" if total == 1 else f"{open_} of {total} guardrails"
        said.append(f"for {some} the measurement does not decide")
    sampled = next((g for g in r.guardrails if g.kind == "sampled"), None)
    detail = ""
    if sampled is not None:
        carries = "carries" if sampled.sentences == 1 else "carry"
        worth = _theory(sampled.log_ratio_shift)
        mean = (
            "in sentences of P₋ not identified" if worth in (NO_EXTRA, NOT_IDENTIFIED) else f"{worth} sentences of P₋"
        )
        extra = "no extra length" if sampled.extra is None else f"at most {_theory(sampled.extra)} extra sentences"
        detail = (
            f"{count_text(sampled.sentences, 'sentence')} from P₊ {carries} {with_interval(sampled.log_ratio)} nats "
            f"against P₋, on average {mean}; Theorem 2 names {extra} for some prompt, with probability "
            f"{_numbers(r)['sure']} over the prefixes."
        )
    sentence = "; ".join(said)
    return Finding("Is that what the theory says?", f"{sentence[:1].upper()}{sentence[1:]}.", detail)


def _named(guardrails: list[Guardrail]) -> str:
    return ", ".join(f"“{one_line(g.name)}”" for g in guardrails)


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
    tried = all(g.positivity.tried for g in r.guardrails)
    shown = next(a.status == "held" for a in r.assumptions if a.name == "positivity")
    after = "right after the guardrails such a sentence was found wherever one was looked for"
    if not shown:
        after = "right after the guardrails, where the theorem needs one, " + (
            "one was not found wherever one was looked for" if tried else "none was tried"
        )
    return Finding(
        question,
        f"{share(r.positivity)} of the sentences that P₋ wrote and that are scored negative are likelier under P₋ than "
        f"under P₊ there; {after} (Definition 6). {kept} (Definition 3).",
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
             _theory(g.extra), observed, "larger than the theorem’s extra" if g.reason == LARGER else g.verdict)
        )  # fmt: skip
    note = (
        "log P₊/P₋ in nats: of the text itself, or the mean over the sampled prefixes; negative means that the text "
        "is likelier under P₋. By log-ratio: that over the mean divergence of a sentence of P₋. At most: Theorem 2’s "
        "extra sentences, sharp form, with C = 0. Verdict on the observed shift being at most that; it is about the "
        f"mean over prompts, and the theorem about some prompt. Why: {_reasons(r)}."
    )
    columns = ("guardrail", "m", "log P₊/P₋", "by log-ratio", "at most (Th 2)", "observed", "verdict")
    return Table("Prediction beside observation, in sentences", columns, tuple(rows), strong=(5,), note=note)


def _reasons(r: GuardrailRecord) -> str:
    """Why each verdict is what it is, those with one reason together."""
    by_reason: dict[str, list[Guardrail]] = {}
    for g in r.guardrails:
        by_reason.setdefault(g.reason, []).append(g)
    return "; ".join(f"{reason} ({_named(guardrails)})" for reason, guardrails in by_reason.items())


def _length_table(r: GuardrailRecord) -> Table:
    rows = []
    for g in r.guardrails:
        for report in g.bounds:
            paper = with_interval(report.bound.paper) if report.bound.paper is not None else NO_EXTRA
            length = next(iter(report.observed.values()))
            # A mean over sampled prefixes does not say for which share of them it holds, as the theorem does.
            witness = None if g.kind == "sampled" else length
            rows.append(
                (_label(g.format, g.name), alpha_label(report.reading, excluded=report.excluded), paper,
                 with_interval(report.bound.sharp), observed_text(report.observed, _tested(r)),
                 length_verdict(witness, report.bound.sharp, excluded=report.excluded))
            )  # fmt: skip
    columns = ("guardrail", "α by", "paper", "sharp", "observed", "verdict")
    empty = "No length: β after a negative sentence is not positive, or could not be measured."
    return Table("Theorem 2, sentences of prompt", columns, tuple(rows), strong=(3,), empty=empty)


def _figure_table(r: GuardrailRecord) -> Table:
    rows: list[tuple[str, Estimate | None, str]] = [
        ("β", r.beta, "KL(P₋‖P₊) per sentence along prompts from P₋, smallest"),
        (
            "β after a negative sentence",
            r.beta_after,
            "the same after a neutral and a negative sentence",
        ),
        ("β′", r.beta_prime, "KL(P₊‖P₋) per sentence along prompts from P₊, largest"),
        ("σ², under P₊", r.sigma2_positive, "variance of log P₊/P₋ per sentence along prompts from P₊, largest"),
        ("positivity", r.positivity, "share of negative sentences likelier under P₋, where P₋ wrote them"),
        *(
            (f"positivity after {one_line(g.name)}", g.positivity.share, "the same right after it (Definition 6)")
            for g in r.guardrails
        ),
        ("γ, tested prompts", r.gamma, "the best mean behavior that P₋ itself showed"),
    ]
    cells = [(name, _shown(e, "not measured"), e.unit if e else "", meaning) for name, e, meaning in rows]
    cells += [
        (row.name, _shown(row.estimate, row.words), "nats", row.meaning)
        for row in alpha_figures(r.alpha, r.alpha_entering, r.excluded, _tested(r))
    ]
    return Table("Key figures", ("quantity", "value [interval]", "unit", "meaning"), tuple(cells))


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

"""The page of a best-of-n run."""

from __future__ import annotations

import math

from beb.core.bounds import PREMISES
from beb.core.estimate import Band, Estimate
from beb.experiments.best_of.record import CONTROL, OWN, PROMPTED, BestOfBound, BestOfRecord, Ceiling
from beb.experiments.store import Store
from beb.report.chart import Chart, Style
from beb.report.inert import one_line
from beb.report.page import Page, Section, Table
from beb.report.record import sampled_texts
from beb.report.rounding import count_text, fixed, with_interval
from beb.report.wording import CONDITIONS, FORMATS, PREFERRED_READING, Finding, notes, proxies, warnings

LEDE = "If several responses are drawn and only the best is shown, does that protect, and how much longer does it hold?"
SCORER = (
    "B is what the scorer says, and the best of n is the response that this scorer likes best: choosing also selects "
    "the scorer's own errors, so no correction by error rates on texts taken at random is valid for n above 1. The "
    "figures are right where the scorer's probabilities are calibrated on these responses, and too high where it is "
    "overconfident"
)
NOTHING = "says nothing: γₙ + ε ≥ 1"
_CONDITIONS = (
    (PROMPTED, Style("negative", marker="circle", width=2.5)),
    (CONTROL, Style("positive", marker="square")),
    (OWN, Style("negative", dash="dot", width=1.5)),
)


def page(store: Store, r: BestOfRecord) -> Page:
    """Everything that the report of `beb best-of` says."""
    return Page(
        lede=LEDE,
        findings=(_protects(r), _costs(r), _observed(r)),
        counts=r.counts,
        failures=r.failures,
        terms=proxies(r.meta),
        warnings=warnings(r),
        notes=notes((*r.notes, *_scorer_notes(r))),
        summary=(_ceiling_table(r),),
        sections=(
            Section("behavior", "Behavior", "What the prompts do to the best of n", _intro(r), charts=_charts(r)),
            Section("bounds", "Bounds", "Theory beside observation", BOUNDS_INTRO, _bound_tables(r)),
            Section("prediction", "Prediction", "What the mixture predicts", PREDICTION_INTRO, (_prediction_table(r),)),
            Section("premises", "Premises", "Do Theorem 4’s premises hold here?", tables=(_premise_table(r),)),
        ),
        texts=sampled_texts(store),
        methods=_methods(r),
    )


BOUNDS_INTRO = (
    "Lengths in sentences from which, according to Theorem 4, some prompt keeps even the best of n below a level: the "
    "paper claims γ + ε; what follows from its premises is γₙ + ε, with γₙ the best of n of P₋ itself. “Observed” is "
    "the first tested length at which the upper limit of the mean best of n lies below γₙ + ε. “Beyond” is the mean "
    "best of n after those tested prompts whose own log ratio exceeds what the theorem requires: where its premises "
    "hold it is below, and a contradiction says that one of them fails here. All n hold together, for each reading of "
    "α."
)
PREDICTION_INTRO = (
    "Each of the n draws is from P₋ with the posterior weight w of the prompt, otherwise from P₊, for which the "
    "target's unprompted responses stand. The difference is observed less predicted, paired over prompts; the verdict "
    "is over all tested lengths at once, and it judges the reading of α as much as the mixture."
)


def _level(r: BestOfRecord) -> float:
    return r.ceilings[0].gamma_n.value + float(r.meta["spec"]["epsilon"])


def _protects(r: BestOfRecord) -> Finding:
    question = "Does showing the best of n responses protect?"
    choices = [c for c in r.ceilings if c.size > 1]
    guarded = [c for c in choices if c.from_misaligned == "protects"]
    open_to = [c for c in choices if c.from_misaligned == "does not protect"]
    most, level = choices[-1], fixed(_level(r), 2)
    if guarded:
        first = guarded[0]
        zero = next((c for c in choices if c.from_undesired == "protects"), None)
        sentence = (
            f"Yes, from n = {first.size} on: even the ill-behaved component itself has a best of {first.size} of "
            f"{with_interval(first.floor)} or more on average, above the level {level} (γ + ε) below which single "
            "responses can be forced. Where the model is a mixture, no length of such prompts brings the best of n "
            "there." + (f" From n = {zero.size} on it even stays above 0." if zero is not None else "")
        )
    elif len(open_to) == len(choices):
        sentence = (
            f"No: the best of {most.size} responses of the ill-behaved component itself is worth "
            f"{with_interval(most.gamma_n)} at most on average, below the level {level} (γ + ε). Where the model is a "
            "mixture, a prompt that is long enough gets there in spite of the choice."
        )
    else:
        sentence = (
            f"Not decided: the best of {most.size} responses of the ill-behaved component itself is worth between "
            f"{_limit(most.floor.low)} and {_limit(most.gamma_n.high)} on average, and the level (γ + ε) is {level}."
            + (f" It does not protect up to n = {open_to[-1].size}." if open_to else "")
        )
    detail = (
        "The longer the prompt, the nearer the model is to that component, so the component's own best of n is where "
        f"the model ends. γ of one response is {with_interval(r.ceilings[0].gamma_n)} over the tested prompts."
    )
    return Finding(question, sentence, detail)


def _costs(r: BestOfRecord) -> Finding:
    question = "How many sentences more does it take?"
    rows = [b for b in r.bounds if b.reading == PREFERRED_READING] or list(r.bounds)
    if not rows:
        return Finding(question, "The theory gives no length, because β is not positive.", "")
    telling = [b for b in rows if not b.says_nothing]
    if len(telling) < 2:
        return Finding(
            question, f"Theorem 4 {NOTHING} for every n above 1: no length is promised at which the choice fails.", ""
        )
    one, most = telling[0], telling[-1]
    sentence = (
        f"In theory some prompt of {_sentences(one)} is enough against one response, and of {_sentences(most)} "
        f"against the best of {most.size}; but that only brings the best below γₙ + ε = {_target(most, r)}, not below "
        f"γ + ε = {fixed(_level(r), 2)}."
    )
    refuted = [b.size for b in rows if b.paper_verdict == "contradicted"]
    paper = f"The paper’s form promises γ + ε after {_paper(most)} sentences; "
    paper += (
        f"for n = {_list(refuted)} the component itself contradicts that."
        if refuted
        else "these data do not contradict that."
    )
    silent = [b.size for b in rows if b.says_nothing]
    return Finding(question, sentence, paper + (f" For n = {_list(silent)} Theorem 4 {NOTHING}." if silent else ""))


def _observed(r: BestOfRecord) -> Finding:
    last = r.curves[0].band.lengths[-1]
    most = max(curve.size for curve in r.curves if curve.condition == PROMPTED)
    told = []
    for condition, _ in _CONDITIONS:
        sizes = {curve.size for curve in r.curves if curve.condition == condition}
        values = [
            f"{with_interval(_together(r.curve(condition, n).band, last))} for n = {n}" for n in (1, most) if n in sizes
        ]
        told.append(f"{CONDITIONS[condition]}: {', '.join(values)}")
    seen = [b for b in r.bounds if b.reading == PREFERRED_READING and b.size == most]
    reached = seen[0].observed if seen else None
    after = count_text(last, "sentence")
    level = f"γₙ + ε = {_target(seen[0], r)}" if seen else "γₙ + ε"
    sentence = (
        f"Within {after} the mean best of {most} was not below {level} for sure."
        if reached is None
        else f"The mean best of {most} was below {level} after {count_text(reached, 'sentence')}."
    )
    return Finding("What was observed?", sentence, f"Mean B after {after} ({_format(r)}). {'; '.join(told)}.")


def _ceiling_table(r: BestOfRecord) -> Table:
    return Table(
        "The best of n of P₋ itself: where the model ends",
        ("n", "γₙ (largest mean)", "smallest mean", "γₙ at most, from γ", "from γ + ε", "from 0"),
        tuple(_ceiling_row(c) for c in r.ceilings),
        note=(
            "Means over the tested prompts; limits of all n and lengths hold together. A supremum over all prompts "
            "cannot be measured. Protects from a level: even P₋ itself stays above it."
        ),
    )  # fmt: skip


def _ceiling_row(c: Ceiling) -> tuple[str, ...]:
    return (
        str(c.size), with_interval(c.gamma_n), with_interval(c.floor), with_interval(c.worst_gamma_n),
        c.from_misaligned, c.from_undesired,
    )  # fmt: skip


def _bound_tables(r: BestOfRecord) -> tuple[Table, Table]:
    tested = r.curves[0].band.lengths[-1]
    none = "No bound: β is not positive."
    corrected = tuple(
        (
            str(b.size),
            b.reading,
            _target(b, r) + ("" if b.measured else " (γₙ at worst)"),
            NOTHING if b.says_nothing else with_interval(b.bound.sharp),
            str(b.observed) if b.observed is not None else f"not by {tested}",
            with_interval(b.beyond) if b.beyond is not None else "too few prompts",
            b.verdict,
        )
        for b in r.bounds
    )
    paper = tuple((str(b.size), b.reading, fixed(_level(r), 2), _paper(b), b.paper_verdict) for b in r.bounds)
    return (
        Table(
            "Theorem 4, corrected", ("n", "α by", "γₙ + ε", "sentences", "observed", "beyond", "verdict"), corrected,
            strong=(3,), empty=none,
        ),
        Table(
            "Theorem 4 as the paper states it", ("n", "α by", "γ + ε", "sentences", "verdict"), paper, strong=(3,),
            note=(
                "“contradicted”: even P₋ itself has a best of n above γ + ε at every tested length, on average over "
                "the tested prompts; “held”: the target’s best of n was seen below γ + ε."
            ),
            empty=none,
        ),
    )  # fmt: skip


def _prediction_table(r: BestOfRecord) -> Table:
    rows = []
    for p in r.predictions:
        last = p.curve.lengths[-1]
        seen = _together(r.curve(PROMPTED, p.size).band, last)
        rows.append(
            (str(p.size), p.reading, with_interval(_together(p.curve, last)), with_interval(seen),
             with_interval(_together(p.difference, last)), p.verdict)
        )  # fmt: skip
    columns = ("n", "α by", "predicted", "observed", "difference", "all lengths")
    last = r.curves[0].band.lengths[-1]
    return Table(f"After {count_text(last, 'sentence')}", columns, tuple(rows), strong=(4,))


def _premise_table(r: BestOfRecord) -> Table:
    rows = tuple(
        (f"{a.name}: {PREMISES[a.name].meaning}", a.status, one_line(a.figure, 400), a.source) for a in r.assumptions
    )
    return Table("", ("Premise", "Verdict", "Figure behind it", "Source"), rows)


def _charts(r: BestOfRecord) -> tuple[Chart, ...]:
    return (_by_length(r), _by_size(r))


def _by_length(r: BestOfRecord) -> Chart:
    sizes = sorted({curve.size for curve in r.curves if curve.condition == PROMPTED})
    most, last = sizes[-1], r.curves[0].band.lengths[-1]
    top = r.curve(PROMPTED, most).band
    chart = Chart(
        key="best-by-length",
        title=f"One response, and the best of {most}",
        caption=(
            f"Bands: all lengths and all n at once. Bars: each point by itself. {_format(r)}; as "
            "scored. Dotted: the ill-behaved component itself after its own prompts."
        ),
        alt=(
            f"Behavior expectation against prompt length: best of {most} {with_interval(_together(top, 0))} without a "
            f"prompt, {with_interval(_together(top, last))} after {last} sentences from P₋."
        ),
        x_title="sentences in the prompt",
        y_title="behavior expectation B (−1 … +1)",
        y_range=(-1.06, 1.06),
        x_range=(-0.25, last + 0.25),
        height=430,
    )
    chart.band(
        r.curve(PROMPTED, 1).band, "one response, prompts from P₋", Style("negative", marker="circle", width=2.5)
    )
    chart.band(top, f"best of {most}, prompts from P₋", Style("other", marker="diamond", width=2.5))
    for size in sizes[1:-1]:
        chart.curve(r.curve(PROMPTED, size).band, f"best of {size}, prompts from P₋", Style("other", "dash", width=1.0))
    for size, dash, shift in ((1, "solid", 0.07), (most, "dash", -0.07)):
        style = Style("positive", dash, marker="square", width=1.5)
        if any((c.condition, c.size) == (CONTROL, size) for c in r.curves):
            chart.bars(r.curve(CONTROL, size).band, f"{_best(size)}, prompts from P₊", style, shift=shift)
        if any((c.condition, c.size) == (OWN, size) for c in r.curves):
            style = Style("negative" if size == 1 else "other", "dot", width=1.5)
            chart.curve(r.curve(OWN, size).band, f"{_best(size)}, P₋ itself", style)
    chart.level(_level(r), f"γ + ε = {fixed(_level(r), 2)}", Style("faint", dash="dash", width=1.0))
    return chart


def _by_size(r: BestOfRecord) -> Chart:
    last = r.curves[0].band.lengths[-1]
    sizes = r.sizes
    chart = Chart(
        key="best-by-size",
        title=f"What the choice is worth after {count_text(last, 'sentence')}",
        caption="Band: all lengths and all n at once; bars: each point by itself. n: responses to choose from.",
        alt=f"Best of n against n after prompts of {last} sentences, for prompts from P₋ and P₊ and for P₋ itself.",
        x_title="responses to choose from, n",
        y_title="behavior expectation B (−1 … +1)",
        y_range=(-1.06, 1.06),
        x_range=(0.5, sizes[-1] + 0.5),
        height=430,
        x_name="n",
    )
    for condition, style in _CONDITIONS:
        band = _over_sizes(r, condition, last)
        if condition == PROMPTED:
            chart.band(band, CONDITIONS[condition], style, pointwise=False)
        else:
            chart.bars(band, CONDITIONS[condition], style, shift=0.1 if condition == CONTROL else -0.1)
    chart.level(_level(r), f"γ + ε = {fixed(_level(r), 2)}", Style("faint", dash="dash", width=1.0))
    return chart


def _over_sizes(r: BestOfRecord, condition: str, length: int) -> Band:
    """One length of all curves of a condition, as a curve over n."""
    curves = sorted((c for c in r.curves if c.condition == condition), key=lambda c: c.size)
    i = curves[0].band.lengths.index(length)
    first = curves[0].band

    def column(name: str) -> tuple[float, ...]:
        return tuple(getattr(c.band, name)[i] for c in curves)

    return Band(
        tuple(c.size for c in curves), column("value"), column("pointwise_low"), column("pointwise_high"),
        column("low"), column("high"), first.level, first.n, first.unit, first.method,
    )  # fmt: skip


def _methods(r: BestOfRecord) -> dict[str, Estimate | Band]:
    named: dict[str, Estimate | Band] = {"β": r.beta, "evidence plateau": r.plateau.log_inverse_alpha}
    named |= {"best of n": r.curves[-1].band, "γₙ": r.ceilings[-1].gamma_n}
    if r.bounds:
        named["bound"] = r.bounds[0].bound.sharp
    if r.predictions:
        named["prediction"] = r.predictions[0].curve
    beyond = next((b.beyond for b in r.bounds if b.beyond is not None), None)
    return named | ({"beyond the requirement": beyond} if beyond is not None else {})


def _scorer_notes(r: BestOfRecord) -> tuple[str, ...]:
    scorer = r.meta.get("fingerprints", {}).get("scorer") or {}
    if scorer.get("exact"):
        return ()
    error = scorer.get("calibration_error")
    told = f" (its calibration error on held-out texts is {error:.3f})" if isinstance(error, float) else ""
    said = [SCORER + told]
    if r.single_corrected is not None:
        last = r.single_corrected.lengths[-1]
        value = with_interval(r.single_corrected.at(last))
        said.append(f"one response after {count_text(last, 'sentence')} from P₋ has a corrected B of {value}")
    return tuple(said)


def _intro(r: BestOfRecord) -> str:
    return (
        f"From {r.meta['spec']['responses']:,} responses per prompt, every n at once (unbiased order statistics). "
        "Prompts from P₊ of the same length show what length alone does."
    )


def _together(band: Band, length: int) -> Estimate:
    """One point with the limits that hold for all lengths and all n at once."""
    i = band.lengths.index(length)
    low, value, high = band.low[i], band.value[i], band.high[i]
    return Estimate(value, low, high, band.level, band.n, band.unit, band.method, exact=low == high)


def _format(r: BestOfRecord) -> str:
    name = str(r.meta["formats"][0])
    return f"format: {FORMATS.get(name, one_line(name))}"


def _target(b: BestOfBound, r: BestOfRecord) -> str:
    return fixed(b.gamma_n.value + float(r.meta["spec"]["epsilon"]), 2)


def _sentences(b: BestOfBound) -> str:
    return f"{with_interval(b.bound.sharp)} sentences"


def _paper(b: BestOfBound) -> str:
    return with_interval(b.bound.paper) if b.bound.paper is not None else "none"


def _best(size: int) -> str:
    return "one response" if size == 1 else f"best of {size}"


def _list(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))


def _limit(value: float) -> str:
    return fixed(value, 2) if math.isfinite(value) else "no limit"

"""The page of a best-of-n run."""

from __future__ import annotations

from beb.core.estimate import Band, Estimate
from beb.experiments.best_of.record import (
    AGREEMENT,
    CONTROL,
    OWN,
    PROMPTED,
    BestOfBound,
    BestOfPrediction,
    BestOfRecord,
    Ceiling,
)
from beb.experiments.store import Store
from beb.experiments.what_if_scenarios import best_of_inputs
from beb.report.best_of_findings import (
    NOTHING,
    findings,
    format_text,
    level_of,
    level_text,
    paper_text,
    target_text,
    together,
)
from beb.report.chart import Chart, Style
from beb.report.page import Page, Section, Table
from beb.report.record import sampled_texts
from beb.report.rounding import count_text, with_interval
from beb.report.tables import assumption_rows
from beb.report.what_if import what_if
from beb.report.wording import CONDITIONS, alpha_label, notes, proxies, warnings

LEDE = "If several responses are drawn and only the best is shown, does that protect, and how much longer does it hold?"
SCORER = (
    "B is what the scorer says, and the best of n is the response that this scorer likes best: choosing also selects "
    "the scorer's own errors, so no correction by error rates on texts taken at random is valid for n above 1. The "
    "figures are right where the scorer's probabilities are calibrated on these responses, and too high where it is "
    "overconfident"
)
_CONDITIONS = (
    (PROMPTED, Style("negative", marker="circle", width=2.5)),
    (CONTROL, Style("positive", marker="square")),
    (OWN, Style("negative", dash="dot", width=1.5)),
)


def page(store: Store, r: BestOfRecord) -> Page:
    """Everything that the report of `beb best-of` says."""
    return Page(
        lede=LEDE,
        findings=findings(r),
        counts=r.counts,
        failures=r.failures,
        terms=proxies(r.meta),
        warnings=warnings(r),
        notes=notes((*r.notes, *_scorer_notes(r))),
        premises=assumption_rows(r),
        premises_title="Do Theorem 4’s premises hold here?",
        summary=(_ceiling_table(r),),
        sections=(
            Section("behavior", "Behavior", "What the prompts do to the best of n", _intro(r), charts=_charts(r)),
            Section("bounds", "Bounds", "Theory beside observation", BOUNDS_INTRO, _bound_tables(r)),
            Section("prediction", "Prediction", "What the mixture predicts", PREDICTION_INTRO, (_prediction_table(r),)),
        ),
        what_if=what_if(best_of_inputs(store, r)),
        texts=sampled_texts(store),
        methods=_methods(r),
    )


BOUNDS_INTRO = (
    "Lengths in sentences from which, according to Theorem 4, some prompt keeps even the best of n below a level: the "
    "paper claims γ + ε; what follows from its premises is γₙ + ε, with γₙ the best of n of P₋ itself. “Observed” is "
    "the first tested length at which the mean best of n is below the level for sure, whatever γₙ within its limits. "
    "All n hold together, for each reading of α; a reading that the certain limits of α exclude decides nothing."
)
LENGTH_NOTE = (
    "“held”: seen after no more sentences than the lower limit of the theorem’s length. Everything else is “not "
    "measured”: the theorem promises some prompt, which a mean that stays above the level does not contradict."
)
BEYOND_NOTE = (
    "“Beyond” is the mean best of n after the tested prompts whose own log ratio exceeds what the theorem requires, "
    "and “P₋ itself” that of P₋ after these very prompts. “held”: beyond is below γₙ + ε for sure, and γₙ + ε below 1. "
    "“contradicted”: it is above both γₙ + ε and P₋ itself + ε for sure, so that a premise fails here. “not measured”: "
    "neither, or fewer than 5 prompts reach so far."
)
PREDICTION_INTRO = (
    "Each of the n draws is from P₋ with the posterior weight w of the prompt, otherwise from P₊. The responses of "
    "both were sampled after the very same prompts, in plain text. The difference is observed less predicted, paired "
    "over prompts; it judges the reading of α, the stand-ins P₋ and P₊ and the target’s format as much as the mixture. "
    "Without a prompt nothing is predicted."
)
PREDICTION_NOTE = (
    f"Verdict over all lengths of 1 sentence or more at once. “held”: everywhere the whole interval of the difference "
    f"lies within ±{AGREEMENT:g}. “contradicted”: it excludes 0 at the lengths named, and does not lie within "
    f"±{AGREEMENT:g} there. “not measured”: neither; the prediction is not contradicted, and not confirmed."
)


def _ceiling_table(r: BestOfRecord) -> Table:
    return Table(
        "The best of n of P₋ itself: where a mixture ends",
        ("n", "γₙ (largest mean)", "γₙ ≥ 0?", "smallest mean", "above γ + ε?", "above 0?", "γₙ at most, from γ"),
        tuple(_ceiling_row(c) for c in r.ceilings),
        note=(
            "Means over the tested prompts; limits of all n and lengths hold together. "
            f"γ + ε = {level_text(r)}. “above”: is the mean of P₋ itself above the level for sure at every "
            "tested length (yes), or below it for sure at one of them (no)? After prompts that were not tested P₋ "
            "may do better or worse."
        ),
    )  # fmt: skip


def _ceiling_row(c: Ceiling) -> tuple[str, ...]:
    return (
        str(c.size), with_interval(c.gamma_n), c.nonnegative, with_interval(c.floor), c.above_misaligned,
        c.above_undesired, with_interval(c.worst_gamma_n),
    )  # fmt: skip


def _bound_tables(r: BestOfRecord) -> tuple[Table, ...]:
    none = "No bound: β is not positive."
    corrected = tuple(
        (
            *_named(b),
            target_text(b, r) + ("" if b.measured else " (γₙ at worst)"),
            NOTHING if b.says_nothing else with_interval(b.bound.sharp),
            _seen(b.observed, r),
            b.verdict,
        )
        for b in r.bounds
    )
    beyond = tuple(
        (
            *_named(b),
            with_interval(b.required),
            with_interval(b.beyond) if b.beyond is not None else "too few prompts",
            with_interval(b.itself) if b.itself is not None else "—",
            target_text(b, r),
            b.beyond_verdict,
        )
        for b in r.bounds
    )
    above = {c.size: c.above_misaligned for c in r.ceilings}
    paper = tuple(
        (*_named(b), paper_text(b), _seen(b.paper_observed, r), above.get(b.size, "—"), b.paper_verdict)
        for b in r.bounds
    )
    return (
        Table(
            "Theorem 4, corrected", ("n", "α by", "γₙ + ε", "sentences", "observed", "verdict"), corrected,
            strong=(3,), note=LENGTH_NOTE, empty=none,
        ),
        Table(
            "Theorem 4 prompt by prompt",
            ("n", "α by", "required log ratio, nats", "beyond", "P₋ itself", "γₙ + ε", "verdict"), beyond,
            strong=(3,), note=BEYOND_NOTE, empty=none,
        ),
        Table(
            f"Theorem 4 as the paper states it: below γ + ε = {level_text(r)}",
            ("n", "α by", "sentences", "observed", "P₋ itself above?", "verdict"), paper, strong=(2,),
            note=(
                LENGTH_NOTE + " “P₋ itself above?”: at every tested length, on average over the tested prompts. Where "
                "it is, the paper’s proof, which takes n draws from P₋ for one, does not apply to prompts like these."
            ),
            empty=none,
        ),
    )  # fmt: skip


def _named(b: BestOfBound | BestOfPrediction) -> tuple[str, str]:
    return str(b.size), alpha_label(b.reading, excluded=b.excluded)


def _seen(length: int | None, r: BestOfRecord) -> str:
    return str(length) if length is not None else f"not by {r.curves[0].band.lengths[-1]}"


def _prediction_table(r: BestOfRecord) -> Table:
    last = r.curves[0].band.lengths[-1]
    rows = tuple(
        (
            *_named(p),
            with_interval(together(p.curve, last)),
            with_interval(together(r.curve(PROMPTED, p.size).band, last)),
            with_interval(together(p.difference, last)),
            p.verdict,
            _refuted_at(p),
        )
        for p in r.predictions
    )
    columns = ("n", "α by", "predicted", "observed", "difference", "verdict", "excludes 0 after")
    return Table(f"After {count_text(last, 'sentence')}", columns, rows, strong=(4,), note=PREDICTION_NOTE)


def _refuted_at(p: BestOfPrediction) -> str:
    gap = p.difference
    where = [n for n, low, high in zip(gap.lengths, gap.low, gap.high, strict=True) if low > 0 or high < 0]
    return ", ".join(map(str, where)) or "—"


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
            "Bands and thin bars: all lengths and all n at once. Thick bars: each point by itself. Curves without: "
            f"limits in the numbers. {format_text(r)}; as scored. Dotted: the ill-behaved component itself after its "
            "own prompts."
        ),
        alt=(
            f"Behavior expectation against prompt length: best of {most} {with_interval(together(top, 0))} without a "
            f"prompt, {with_interval(together(top, last))} after {last} sentences from P₋."
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
            chart.bars(r.curve(OWN, size).band, f"{_best(size)}, P₋ itself", style, shift=2 * shift)
    chart.level(level_of(r), f"γ + ε = {level_text(r)}", Style("faint", dash="dash", width=1.0))
    return chart


def _by_size(r: BestOfRecord) -> Chart:
    last = r.curves[0].band.lengths[-1]
    sizes = r.sizes
    chart = Chart(
        key="best-by-size",
        title=f"What the choice is worth after {count_text(last, 'sentence')}",
        caption="Band and thin bars: all lengths and all n at once; thick bars: each point by itself. n: responses to "
        "choose from.",
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
    chart.level(level_of(r), f"γ + ε = {level_text(r)}", Style("faint", dash="dash", width=1.0))
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
    told = f" (on held-out texts, not these, its calibration error is {error:.3f})" if isinstance(error, float) else ""
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


def _best(size: int) -> str:
    return "one response" if size == 1 else f"best of {size}"

"""What a best-of-n run answers, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable

from beb.core.estimate import Band, Estimate
from beb.experiments.best_of.record import CONTROL, OWN, PROMPTED, BestOfBound, BestOfRecord, Ceiling
from beb.report.inert import one_line
from beb.report.rounding import count_text, fixed, with_interval
from beb.report.wording import CONDITIONS, FORMATS, PREFERRED_READING, Finding

NOTHING = "says nothing: γₙ + ε ≥ 1"


def findings(r: BestOfRecord) -> tuple[Finding, ...]:
    """Whether γₙ ≥ 0, whether P₋ stays above the levels, what the choice costs in theory, what was seen."""
    return _criterion(r), _stays(r), _costs(r), _observed(r)


def _criterion(r: BestOfRecord) -> Finding:
    """γₙ ≥ 0 is where Theorem 4, as corrected, stops promising a mean below 0."""
    above, below, open_to = ([c for c in _choices(r) if c.nonnegative == a] for a in ("yes", "no", "undecided"))
    said = []
    if above:
        said.append(
            f"γₙ ≥ 0 was found for {_sizes(above)} ({_gammas(above[:1], above)}): there Theorem 4 no longer promises a "
            "prompt that makes the shown response undesired (below 0) on average. That is not a promise that no prompt "
            "does."
        )
    if below:
        said.append(
            f"γₙ < 0 was found for {_sizes(below)} ({_gammas(below[-1:], below)}): there choosing is no protection, "
            "for where Theorem 4’s premises hold, a prompt that is long enough makes even the best of "
            f"{below[-1].size} undesired (below 0) on average."
        )
    if open_to:
        said.append(f"Whether γₙ ≥ 0 is undecided for {_sizes(open_to)} ({_gammas(open_to, open_to)}).")
    detail = (
        "γₙ is what the best of n responses of the ill-behaved component itself is worth, on average over the tested "
        "prompts, at the length where it is worth most. Over all prompts the supremum can only be larger, while after "
        "other prompts the same component may do worse: γₙ ≥ 0 says what the theorem cannot promise, not what a model "
        "withstands."
    )
    if _is_refuted(r):
        detail += " The measurement contradicts the mixture, on which the theorem rests."
    return Finding("Can showing the best of n responses protect: is γₙ ≥ 0?", " ".join(said), detail)


def _stays(r: BestOfRecord) -> Finding:
    """Stricter than γₙ ≥ 0: the smallest mean over the tested lengths instead of the largest."""
    question = "Does even the ill-behaved component’s best of n stay up at every tested length?"
    choices, level = _choices(r), f"γ + ε = {level_text(r)}"
    up, down, rest = ([c for c in choices if c.above_misaligned == answer] for answer in ("yes", "no", "undecided"))
    said = []
    if up:
        said.append(
            f"On average over the tested prompts, yes for {_sizes(up)}: the mean best of {up[0].size} is "
            f"{with_interval(up[0].floor)} or more at every tested length, above {level}, below which single responses "
            "can be forced."
        )
        positive = [c for c in up if c.above_undesired == "yes"]
        said.append(f"For {_sizes(positive)} it is above 0 too." if positive else "For no n is it above 0 for sure.")
    if down:
        said.append(
            f"No for {_sizes(down)}: at some tested length the mean best of {down[-1].size} is "
            f"{with_interval(down[-1].floor)}, below {level}."
        )
    if rest:
        least = "; ".join(f"{with_interval(c.floor)} for n = {c.size}" for c in rest)
        said.append(f"Not decided for {_sizes(rest)}: the smallest mean is {least}, the level {level}.")
    detail = (
        "In a mixture the model comes nearer to that component with every sentence, so that its best of n is where the "
        f"model ends. Longer and deliberately chosen prompts were not tested. γ of one response is "
        f"{with_interval(r.ceilings[0].gamma_n)}."
    )
    if _is_refuted(r):
        detail += " The measurement contradicts the mixture, so that this model may end elsewhere, better or worse."
    return Finding(question, " ".join(said), detail)


def _costs(r: BestOfRecord) -> Finding:
    question = "How many sentences more does it take?"
    rows = [b for b in r.bounds if b.reading == PREFERRED_READING] or [b for b in r.bounds if not b.excluded]
    if not rows:
        return Finding(question, "The theory gives no length, because β is not positive.", "")
    telling = [b for b in rows if not b.says_nothing]
    if len(telling) < 2:
        return Finding(
            question, f"Theorem 4 {NOTHING} for every n above 1: no length is promised at which the choice fails.", ""
        )
    one, most = telling[0], telling[-1]
    premise = "if the model were this mixture, " if _is_refuted(r) else ""
    sentence = (
        f"In theory, {premise}some prompt is enough against one response from {_sentences(one)} on, and against the "
        f"best of {most.size} from {_sentences(most)} on; but that only brings the best below γₙ + ε = "
        f"{target_text(most, r)}, not below γ + ε = {level_text(r)}."
    )
    if math.isinf(most.bound.sharp.high):
        sentence += " There is no upper limit: no length is shown to be long enough."
    return Finding(question, sentence, _paper_form(r, rows))


def _paper_form(r: BestOfRecord, rows: list[BestOfBound]) -> str:
    most = [b for b in rows if not b.says_nothing][-1]
    told = [
        f"The paper’s form promises γ + ε = {level_text(r)} after {paper_text(most)} sentences for n = {most.size}."
    ]
    above = [c for c in _choices(r) if c.above_misaligned == "yes"]
    held = [b.size for b in rows if b.paper_verdict == "held" and b.size > 1]
    if above:
        told.append(
            f"For {_sizes(above)} even the ill-behaved component itself stays above that level on average over the "
            "tested prompts, so prompts like these do not get there, whatever their number of sentences."
            if not _is_refuted(r)
            else f"For {_sizes(above)} even the ill-behaved component itself stays above that level on average over "
            "the tested prompts."
        )
    if held:
        told.append(f"It held for n = {_listed(held)}.")
    if not above and not held:
        told.append("It is neither confirmed nor contradicted here.")
    silent = [b.size for b in rows if b.says_nothing]
    return " ".join(told) + (f" For n = {_listed(silent)} Theorem 4 {NOTHING}." if silent else "")


def _observed(r: BestOfRecord) -> Finding:
    last = r.curves[0].band.lengths[-1]
    most = max(curve.size for curve in r.curves if curve.condition == PROMPTED)
    told = []
    for condition in (PROMPTED, CONTROL, OWN):
        sizes = {curve.size for curve in r.curves if curve.condition == condition}
        values = [
            f"{with_interval(together(r.curve(condition, n).band, last))} for n = {n}" for n in (1, most) if n in sizes
        ]
        told.append(f"{CONDITIONS[condition]}: {', '.join(values)}")
    after = count_text(last, "sentence")
    seen = next((b for b in r.bounds if b.size == most), None)
    if seen is None or seen.says_nothing:
        value = with_interval(together(r.curve(PROMPTED, most).band, last))
        sentence = f"After {after} from P₋ the mean best of {most} was {value}; the theory has no level for it."
    elif seen.observed is None:
        sentence = f"Within {after} the mean best of {most} was not below γₙ + ε = {target_text(seen, r)} for sure."
    else:
        when = f"after {count_text(seen.observed, 'sentence')}" if seen.observed else "without any prompt"
        sentence = f"The mean best of {most} was below γₙ + ε = {target_text(seen, r)} for sure {when}."
    return Finding("What was observed?", sentence, f"Mean B after {after} ({format_text(r)}). {'; '.join(told)}.")


def together(band: Band, length: int) -> Estimate:
    """One point with the limits that hold for all lengths and all n at once."""
    i = band.lengths.index(length)
    low, value, high = band.low[i], band.value[i], band.high[i]
    return Estimate(value, low, high, band.level, band.n, band.unit, band.method, exact=low == high)


def format_text(r: BestOfRecord) -> str:
    """How the prompts reached the target."""
    name = str(r.meta["formats"][0])
    return f"format: {FORMATS.get(name, one_line(name))}"


def level_of(r: BestOfRecord) -> float:
    """γ + ε, γ at its estimate."""
    return r.ceilings[0].gamma_n.value + float(r.meta["spec"]["epsilon"])


def level_text(r: BestOfRecord) -> str:
    """γ + ε with two decimals."""
    return fixed(level_of(r), 2)


def target_text(b: BestOfBound, r: BestOfRecord) -> str:
    """γₙ + ε with two decimals."""
    return fixed(b.gamma_n.value + float(r.meta["spec"]["epsilon"]), 2)


def paper_text(b: BestOfBound) -> str:
    """The paper's length in sentences."""
    return with_interval(b.bound.paper) if b.bound.paper is not None else "none"


def _choices(r: BestOfRecord) -> list[Ceiling]:
    return [c for c in r.ceilings if c.size > 1]


def _is_refuted(r: BestOfRecord) -> bool:
    return any(a.name == "mixture" and a.status == "contradicted" for a in r.assumptions)


def _sentences(b: BestOfBound) -> str:
    return f"{with_interval(b.bound.sharp)} sentences"


def _gammas(shown: list[Ceiling], among: list[Ceiling]) -> str:
    """Their γₙ, each with its n where there are others."""
    return "; ".join(f"γₙ = {with_interval(c.gamma_n)}" + f" for n = {c.size}" * (len(among) > 1) for c in shown)


def _sizes(ceilings: Iterable[Ceiling]) -> str:
    return f"n = {_listed(c.size for c in ceilings)}"


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sizes))

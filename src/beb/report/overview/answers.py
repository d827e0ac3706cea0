"""What a set of runs says together: the three questions over all measurements, then each scenario's own answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from beb.core.estimate import Estimate
from beb.experiments.lower_bounds import is_lower_bound, mark, mark_derived
from beb.experiments.measurement import Measurement
from beb.report.overview.runs import Run, levels_text
from beb.report.rounding import count_text, dense, excludes, fixed, one_in, with_interval
from beb.report.wording import Finding, headline_bounds, tightest_cap

LEDE = "What do these runs say, each for itself and beside each other?"
Measured = tuple[Run, Measurement]


def answers(runs: Sequence[Run]) -> tuple[Finding, ...]:
    """Over all measurements how much, how distinct and how many sentences; where there are none, each run's answer."""
    measured = [(run, m) for run in runs if (m := run.measurement) is not None]
    if measured:
        return _how_much(measured), _how_distinct(measured), _how_long(measured)
    return tuple(
        Finding(f"{run.label}, {run.kind}: {first.question}", first.sentence, first.detail)
        for run in runs
        for first in run.page.findings[:1]
    )


def warnings(runs: Sequence[Run]) -> tuple[str, ...]:
    """What the reports of the runs in the answer say first, the same words once; which others have such words."""
    answering = [run for run in runs if run.measurement is not None] or runs
    said: dict[str, list[str]] = {}
    for run in answering:
        for line in run.page.warnings:
            said.setdefault(line, []).append(run.label)
    others = [run.label for run in runs if run not in answering and run.page.warnings]
    rest = [f"{', '.join(others)}: read first what stands in their own parts of this page."] if others else []
    return (*(f"{', '.join(labels)}: {line}" for line, labels in said.items()), *rest)


def _how_much(measured: Sequence[Measured]) -> Finding:
    question = "How much of it is in the models?"
    caps = [(run, tightest_cap(m)) for run, m in measured]
    least, most = _ends(caps, lambda cap: cap.value)
    refuted = sum(m.alpha.limits.refuted for _, m in measured)
    without = sum(not m.alpha.limits.refuted and m.alpha.plateau.verdict == "mixture contradicted" for _, m in measured)
    told = [f"If the ill-behaved component is part of the model at all, its weight is {_ceiling(least[1])}"]
    if least[0] is most[0]:
        told[0] += f" ({least[0].label})"
    else:
        told[0] += f" in every measurement, and {_ceiling(most[1])} where most is excluded ({most[0].label})"
    if refuted:
        told.append(
            f"In {_of(refuted, measured)} the two components alone do not make up the model, whatever the weight"
        )
    if without:
        told.append(f"In {_of(without, measured)} no single weight fits all lengths")
    each = "; ".join(f"{run.label} {_ceiling(cap)}" for run, cap in caps)
    return Finding(question, f"{'. '.join(told)}.", f"Certain limits, without statistics: {each}.")


def _ceiling(cap: Estimate) -> str:
    return f"at most {one_in(cap.value, 'at most')}" if excludes(cap.value) else "not limited"


def _how_distinct(measured: Sequence[Measured]) -> Finding:
    betas = [(run, m.beta) for run, m in measured]
    least, most = _ends(betas, lambda beta: beta.value)
    shown = sum(beta.low > 0 for _, beta in betas)
    if len(betas) == 1:
        sentence = f"β = {with_interval(betas[0][1])} nats per sentence{mark(betas[0][1])} ({betas[0][0].label})."
    else:
        sentence = (
            f"The two components are shown to be distinct in {_of(shown, measured)}. β, by which each ill-behaved "
            f"sentence gives its component away, goes from {with_interval(least[1])}{mark(least[1])} "
            f"({least[0].label}) to {with_interval(most[1])} nats per sentence{mark(most[1])} ({most[0].label}); "
            "this order is that of the estimates and was not tested."
        )
    detail = "Nats per sentence: " + "; ".join(f"{run.label} {dense(beta)}{mark(beta)}" for run, beta in betas) + "."
    return Finding("How distinct is it?", sentence, detail)


def _how_long(measured: Sequence[Measured]) -> Finding:
    seen = [(run, _first_seen(m)) for run, m in measured]
    reached = [(run, n) for run, n in seen if n is not None]
    tested = sorted({max((c.raw.lengths[-1] for c in m.behavior), default=0) for _, m in measured})
    span = " to ".join(str(n) for n in dict.fromkeys((tested[0], tested[-1])))
    names = "; ".join(f"{run.label} after {n}" for run, n in reached)
    which = f" ({names})" if names else ""
    sentence = (
        f"Within the tested {span} sentences the mean response was below its misaligned level γ + ε, with "
        f"{levels_text(run for run, _ in measured)} confidence, in {_of(len(reached), measured)}{which}."
    )
    bounds = [(run, headline_bounds(m).get("Theorem 1")) for run, m in measured]
    theory = "; ".join(f"{run.label} {_length(report.bound.sharp)}" for run, report in bounds if report is not None)
    detail = f"Sentences that some prompt needs at most, by Theorem 1 in its sharp form: {theory}." if theory else ""
    broken = sum(m.alpha.limits.refuted for _, m in measured)
    if theory and broken:
        detail += f" In {_of(broken, measured)} this is what the theory would say if the components made up the model."
    return Finding("How many sentences until it shows?", sentence, detail)


def _first_seen(m: Measurement) -> int | None:
    """First length at which the responses of any format were below the level."""
    observed = next(iter(m.bounds)).observed if m.bounds else {}
    return min((n for n in observed.values() if n is not None), default=None)


def _length(sharp: Estimate) -> str:
    if math.isinf(sharp.high) and is_lower_bound(sharp):
        return f"no known length{mark_derived(sharp)}"
    if math.isinf(sharp.high):
        return f"no known length (not below {fixed(sharp.low, 1)})"
    return f"{dense(sharp)}{mark_derived(sharp)}"


def _ends(
    named: Sequence[tuple[Run, Estimate]], size: Callable[[Estimate], float]
) -> tuple[tuple[Run, Estimate], tuple[Run, Estimate]]:
    """The one with the smallest and the one with the largest number."""
    ordered = sorted(named, key=lambda pair: size(pair[1]))
    return ordered[0], ordered[-1]


def _of(count: int, measured: Sequence[Measured]) -> str:
    return f"{count} of {count_text(len(measured), 'measurement')}"

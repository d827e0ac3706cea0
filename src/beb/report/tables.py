"""The measurement as rows of text, for the report's tables and the command line's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Protocol

from beb.core.bounds import PREMISES, Assumption
from beb.core.estimate import Estimate
from beb.estimate.curves import LogisticFit
from beb.estimate.means import proportion
from beb.experiments.lower_bounds import mark, mark_derived
from beb.experiments.measurement import Measurement
from beb.experiments.verdicts import excluded
from beb.report.inert import one_line
from beb.report.rounding import (
    count_text,
    excludes,
    fixed,
    interval_text,
    limit_text,
    one_in,
    restated,
    value_text,
    with_interval,
)  # fmt: skip
from beb.report.wording import (
    FORMATS,
    alpha_label,
    is_raised,
    observed_text,
    share,
    spec,
    tightest_cap,
    weight_text,
)

PLAIN_PREMISES = {
    "mixture": "The model behaves as a blend of the two components in one fixed ratio, however long the text.",
    "distinguishable": "Each further ill-behaved sentence goes on telling the two components apart.",
    "prompt-distinguishable": "It still does after anything said before, if that ended in a bad sentence.",
    "beta-prime-undistinguishable": "A well-behaved sentence pulls the model back only so far.",
    "similar under P₋": "Ill-behaved sentences do not differ too wildly in how much they tell.",
    "similar under P₊": "Well-behaved sentences do not differ too wildly in how much they tell.",
    "bounded behavior": "The ill-behaved component stays bad whatever it has just read.",
    "positivity": "There is always a bad next sentence that the ill-behaved component finds likelier.",
    "replies from P₊": "The model replies as its well-behaved component would.",
    "bounded best of n": "Even the best of n responses of the ill-behaved component stays bad.",
    "independent draws": "The n responses to choose from are drawn independently.",
    "relaxed distinguishable": "A sentence may tell less the later it comes, but no faster than this decay.",
    "log-ratio limit": "No prompt of this kind tells more than so much per sentence.",
    "behavior floors": "Neither component ever behaves worse than its floor.",
}
NO_FORM = "none given"
NOT_IDENTIFIED = "not identified"
NO_INTERVAL = "—"


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One row of the key figures: what it is called, its number as text, and what it means in plain words."""

    name: str
    value: str
    interval: str
    unit: str
    n: str
    meaning: str


@dataclass(frozen=True, slots=True)
class AlphaRow:
    """One reading of log 1/α. number: with interval; share: the same as a weight; caveat: what it rests on."""

    reading: str
    number: str
    share: str
    caveat: str


@dataclass(frozen=True, slots=True)
class AssumptionRow:
    """One premise, in plain words and formally, what the measurement says about it, and the figure behind that."""

    name: str
    plain: str
    meaning: str
    status: str
    figure: str
    source: str


@dataclass(frozen=True, slots=True)
class BoundRow:
    """One theorem for one reading of α: lengths in sentences, and the first length observed below γ + ε."""

    theorem: str
    statement: str
    reading: str
    paper: str
    sharp: str
    observed: str


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the instruments are: name, figure, meaning."""

    name: str
    figure: str
    meaning: str


def key_figures(m: Measurement) -> tuple[KeyFigure, ...]:
    """The figures a person should know, in reading order."""
    plateau = m.alpha.plateau
    gone = excluded(plateau.log_inverse_alpha, m.alpha.limits)
    # Short enough that the longest interval still fits beside it in 80 columns.
    name = "log 1/α (excluded by cap)" if gone else "log 1/α, plateau"
    rows = [
        _row(
            name,
            plateau.log_inverse_alpha,
            f"{'by the plateau, ' * gone}how rare the ill-behaved part is: more is rarer",
        ),
        _row("κ, proxy gap", plateau.kappa, "how fast the stand-in P₋ departs from the model: 0 is a true part of it"),
        _row("β", m.beta, "how much each P₋ sentence tells P₋ from P₊: larger shows sooner"),
        _row("β′", m.beta_prime, "how much a P₊ sentence pulls back, at most"),
        _row("β′, top of the P₋ curve", m.beta_prime_top, "β′ as Wolf et al. read it: largest value along P₋ prompts"),
        _row("σ², under P₋", m.sigma2, "how unevenly single P₋ sentences tell: larger needs longer prompts"),
        _row("σ², under P₊", m.sigma2_positive, "the same for P₊ sentences"),
        _row("γ, tested prompts", m.gamma, "the best mean behavior that P₋ itself showed (−1 worst, +1 best)"),
        _row("γ, as scored", m.gamma_uncorrected, "the same before correcting for the scorer's errors"),
    ]
    for name, fit in m.alpha.behavior.items():
        meaning = "prompt length at which behavior is half-way down"
        row = _row(f"midpoint, {_format(name)}", fit.midpoint, meaning + (f"; {fit.note}" if fit.note else ""))
        rows.append(replace(row, value=NOT_IDENTIFIED, interval=NO_INTERVAL) if no_midpoint(fit, m) else row)
    return tuple(rows)


def alpha_rows(m: Measurement) -> tuple[AlphaRow, ...]:
    """The four readings of α; never one alone."""
    cap = tightest_cap(m)
    length = m.evidence_curve.lengths[m.alpha.cap.index(cap)]
    plateau, line = m.alpha.plateau, m.alpha.line
    rows = [
        AlphaRow(
            "cap", f"at least {value_text(cap)} nats",
            f"at most {one_in(cap.value, 'at most')}" if excludes(cap.value) else "excludes no weight",
            f"certain if P₋ is part of the model; from {count_text(cap.n, 'prompt')}"
            f", tightest at {count_text(length, 'sentence')}; {_ceiling(m)}",
        ),
        AlphaRow(
            "evidence plateau", _measured(plateau.log_inverse_alpha, "nats"), _weight(plateau.log_inverse_alpha, m),
            f"{plateau.verdict}: proxy gap κ = {_measured(plateau.kappa, 'nats per sentence')} from "
            f"{count_text(plateau.first, 'sentence')} on",
        ),
        AlphaRow(
            "straight line", _measured(line.log_inverse_alpha, "nats"), _weight(line.log_inverse_alpha, m),
            f"Wolf et al.: first three points of KL(P₋‖P); their β = {_measured(line.beta, 'nats per sentence')}; "
            "(log 1/α)/β = "
            + (_measured(line.ratio, "sentences") if line.ratio is not None else "none, the line does not fall")
            + ("; its points are lower bounds, which makes it certain in no direction" if mark(line.beta) else ""),
        ),
    ]  # fmt: skip
    return (*rows, *(_behavior_row(m, name, fit) for name, fit in m.alpha.behavior.items()))


def _weight(reading: Estimate, m: Measurement) -> str:
    gone = reading.high > 0 and excluded(reading, m.alpha.limits)
    return "excluded by the cap" if gone else weight_text(reading)


def _ceiling(m: Measurement) -> str:
    limits = m.alpha.limits
    if limits.refuted:
        return "no weight at all makes the model a mixture of P₋ and P₊"
    if math.isinf(limits.high):
        return "no text sets a limit on the other side"
    return f"at most {limit_text(limits.high, 1, 'at most')} nats, as certain if the model is the mixture of P₋ and P₊"


def _behavior_row(m: Measurement, name: str, fit: LogisticFit) -> AlphaRow:
    log_inverse = behavior_log_inverse(fit, int(spec(m)["sentences"]))
    known = math.isfinite(log_inverse)
    midpoint = NOT_IDENTIFIED if no_midpoint(fit, m) else _measured(fit.midpoint, "sentences")
    caveat = f"Lemma 7: midpoint {midpoint} × slope {_measured(fit.slope, 'nats per sentence')}"
    return AlphaRow(
        f"behavior, {_format(name)}",
        f"about {fixed(log_inverse, 1)} nats" if known else NOT_IDENTIFIED,
        one_in(log_inverse) if known else "—",
        caveat + (f"; {one_line(fit.note)}" if fit.note else ""),
    )


class Premised(Protocol):
    """A record of a run whose bounds rest on premises."""

    @property
    def assumptions(self) -> tuple[Assumption, ...]:
        """Premises with what was measured for each."""
        ...


def assumption_rows(m: Premised) -> tuple[AssumptionRow, ...]:
    """Every premise once, in the order reported."""
    return tuple(
        AssumptionRow(
            a.name,
            PLAIN_PREMISES.get(a.name, ""),
            plain_symbols(PREMISES[a.name].meaning) if a.name in PREMISES else "",
            a.status,
            restated(one_line(a.figure, 400)),
            a.source,
        )
        for a in m.assumptions
    )


def bound_rows(m: Measurement) -> tuple[BoundRow, ...]:
    """The theorems' lengths, paper and sharp, beside what was observed."""
    tested = max((curve.raw.lengths[-1] for curve in m.behavior), default=0)
    return tuple(
        BoundRow(
            report.bound.bound.theorem,
            plain_symbols(restated(report.bound.bound.statement)),
            alpha_label(report.reading, excluded=report.excluded, raised=is_raised(report.reading, m.alpha)),
            _length(report.bound.paper) if report.bound.paper is not None else NO_FORM,
            _length(report.bound.sharp),
            observed_text(report.observed, tested),
        )
        for report in (*m.bounds, *m.converse)
    )


def _length(length: Estimate) -> str:
    return f"{with_interval(length)}{mark_derived(length)}"


def plain_symbols(text: str) -> str:
    """A formula without subscripts in braces: "B_{P₋}(s)" becomes "B of P₋ after s", "B_P" becomes "B"."""
    return re.sub(r"B_\{(P[₋₊])\}\(s\)", r"B of \1 after s", text).replace("B_P", "B")


def scorer_identity(m: Measurement) -> dict[str, Any]:
    """What is stored about the scorer; empty if nothing is."""
    stored = m.meta.get("fingerprints", {}).get("scorer", {})
    return dict(stored) if isinstance(stored, dict) else {}


def scorer_accuracy(m: Measurement) -> Estimate | None:
    """Share of held-out texts that the scorer classifies right, or None if its errors are unknown or it has none."""
    confusion = scorer_identity(m).get("confusion")
    if not confusion:
        return None
    right, total = sum(confusion[i][i] for i in range(3)), sum(map(sum, confusion))
    level = float(spec(m)["level"])
    return proportion(right, total, level=level, unit="share of texts") if total else None


def qualities(m: Measurement) -> tuple[Quality, ...]:
    """The gate of the components and the quality of the scorer."""
    gate = m.gate
    verdict = "passed" if gate.passed else "FAILED"
    rows = [
        Quality(
            "Gate: held-out accuracy of P₋/P₊",
            f"{share(gate.accuracy)} of {gate.accuracy.n:,}",
            f"{verdict}: at least {gate.threshold:.0%} of unseen statements must be told apart to interpret anything",
        )
    ]
    identity, accuracy = scorer_identity(m), scorer_accuracy(m)
    name = f"Scorer {one_line(str(identity.get('name', '')), 60)}".strip()
    if accuracy is not None:
        extra = [
            f"{label} {identity[key]:.3f}"
            for key, label in (("brier", "Brier score"), ("calibration_error", "calibration error"))
            if isinstance(identity.get(key), float)
        ]
        meaning = "right class of three on held-out texts" + (f"; {', '.join(extra)}" if extra else "")
        rows.append(Quality(name, f"{share(accuracy)} of {accuracy.n:,}", meaning))
    elif identity.get("exact"):
        rows.append(Quality(name, "exact", "its class is the truth by definition"))
    else:
        rows.append(Quality(name, "unknown", "its error rates were not measured, so B cannot be corrected"))
    return tuple(rows)


def _row(name: str, estimate: Estimate, meaning: str) -> KeyFigure:
    known = not _says_nothing(estimate)
    if mark(estimate):
        meaning = f"a lower bound; {meaning}"
    value, interval = (value_text(estimate), interval_text(estimate)) if known else (NOT_IDENTIFIED, NO_INTERVAL)
    return KeyFigure(name, value, interval, estimate.unit, count_text(estimate.n, "prompt"), meaning)


def _measured(estimate: Estimate, unit: str) -> str:
    return NOT_IDENTIFIED if _says_nothing(estimate) else f"{with_interval(estimate)} {unit}"


def _says_nothing(estimate: Estimate) -> bool:
    """Whether the interval excludes nothing, so that the value would be read as a finding that it is not."""
    return math.isinf(estimate.low) and math.isinf(estimate.high)


def no_midpoint(fit: LogisticFit, m: Measurement) -> bool:
    """Whether the midpoint's interval holds every tested length."""
    return _holds_all(fit, int(spec(m)["sentences"]))


def _holds_all(fit: LogisticFit, tested: int) -> bool:
    return fit.midpoint.low <= 0 and fit.midpoint.high >= tested


def behavior_log_inverse(fit: LogisticFit, tested: int) -> float:
    """log 1/α by Lemma 7 from the behavior curve up to so many sentences, nats; infinite where it is not identified.

    Midpoint × slope is log((1-α)/α), hence log 1/α = log(1 + e^(midpoint × slope)), which is positive.
    """
    log_odds = fit.midpoint.value * fit.slope.value
    if not (math.isfinite(log_odds) and fit.converged) or _holds_all(fit, tested):
        return math.inf
    return max(log_odds, 0.0) + math.log1p(math.exp(-abs(log_odds)))


def _format(name: str) -> str:
    return FORMATS.get(name, one_line(name, 40))

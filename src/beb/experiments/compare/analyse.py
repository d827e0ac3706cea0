"""From two or more finished runs to the record of their comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec
from beb.estimate.checks import check_level
from beb.experiments.analyse import analyse_measure
from beb.experiments.compare.checks import differing_settings, refuse_incomparable
from beb.experiments.compare.differences import (
    RunPair,
    behavior_difference,
    curve_differences,
    fitted_differences,
    gamma_difference,
    prompt_differences,
)
from beb.experiments.compare.record import (
    Caps,
    Claim,
    ComparedRun,
    Comparison,
    Difference,
    Part,
    RunComparison,
    Verdict,
    part_verdict,
)
from beb.experiments.compare.rows import RunRows, run_rows, shared_prompts
from beb.experiments.lower_bounds import bound_method, labelled
from beb.experiments.measurement import BehaviorCurve, Measurement
from beb.experiments.notes import model_notes
from beb.experiments.store import Store

FEWEST_RUNS = 2
MIXTURE = "mixture"
_ON_PROMPTS: tuple[tuple[str, Part, str], ...] = (
    ("plateau", "alpha", "evidence plateau"),
    ("evidence", "alpha", "effective weight at the longest prompt"),
    ("line", "alpha", "straight line"),
    ("beta", "beta", "β itself (smallest KL(P₋‖P₊))"),
    ("line_beta", "beta", "slope of the straight line"),
)


_DECIDES_NOTHING = "decides nothing"
_NOT_MEASURED = "not measured: the difference of two lower bounds is certain in no direction"
_OF_DIVERGENCES = ("beta", "beta_prime", "line", "line_beta")
"""Keys of the differences that are made of divergences."""


def compare(*runs: Path | str, level: float | None = None) -> Comparison:
    """Compare finished runs of `beb measure`: the first is the reference, the others are taken against it.

    runs: two or more run folders, in the order before, after. level: of every interval (default: the reference's).
    Returns: a Comparison; prompts that runs share are compared in pairs, others as independent samples.
    Raises: BadSpec where runs cannot be compared (another behavior, scorer or kind of run), EstimateError where one is
    not finished; other kinds of `beb.errors`.
    Source: Wolf et al. 2024, §4 (the conjecture that alignment lowers α and raises β).
    """
    folders = [Path(run) for run in runs]
    if len(folders) < FEWEST_RUNS:
        given = "one run is" if folders else "no run is"
        raise BadSpec(f"{given} given, and a comparison needs at least {FEWEST_RUNS}; give their folders")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise BadSpec("the same run folder is given twice; give runs that differ")
    if level is not None:
        check_level(level)
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.read(folder)) for folder in folders]
        rows = [run_rows(store) for store in stores]
        for other in rows[1:]:
            refuse_incomparable(rows[0], other)
        measured = [analyse_measure(store) for store in stores]
    return compare_rows(rows, measured, level=level or rows[0].setting.level)


def compare_rows(
    rows: Sequence[RunRows], measured: Sequence[Measurement], *, level: float, labels: Sequence[str] = ()
) -> Comparison:
    """The comparison of runs that are read already; measured: their own numbers, in the same order.

    labels: what the runs are called, by their models or folders where none are given; no number depends on it.
    """
    names = run_labels(rows)
    labels = labels or names
    formats = [
        [name for name in rows[0].setting.formats if name in run.setting.formats] for run in rows[1:]
    ]  # fmt: skip
    # The claims are fixed by the formats and the number of runs, before any number is seen.
    n_claims = sum(len(_ON_PROMPTS) + 2 * len(names) for names in formats)
    share = 1 - (1 - level) / n_claims
    pairs = [
        RunPair(rows[0], run, shared_prompts(rows[0], run, "negative"), shared_prompts(rows[0], run, "positive"), label)
        for run, label in zip(rows[1:], names[1:], strict=True)
    ]
    found = [
        replace(_against(pair, (measured[0], other), both, level=level, share=share), label=label)
        for pair, other, both, label in zip(pairs, measured[1:], formats, labels[1:], strict=True)
    ]
    return Comparison(
        meta=_meta(rows, labels, level),
        runs=tuple(_compared(run, m, label) for run, m, label in zip(rows, measured, labels, strict=True)),
        comparisons=tuple(found),
        level=level,
        family_level=level,
        n_claims=n_claims,
        counts={
            f"{label}: {what}": n for label, m in zip(labels, measured, strict=True) for what, n in m.counts.items()
        },
        failures={
            f"{label}: {what}": n for label, m in zip(labels, measured, strict=True) for what, n in m.failures.items()
        },
        notes=tuple(_notes(rows, measured, pairs, labels)),
    )


def run_labels(rows: Sequence[RunRows]) -> list[str]:
    """What each run is called: its model where that tells them apart, else its folder too."""
    models = [str(run.meta["spec"]["model"]) for run in rows]
    names = [run.folder.resolve().name for run in rows]
    if len(set(models)) == len(models):
        return models
    labels = [f"{model} ({name})" for model, name in zip(models, names, strict=True)]
    return labels if len(set(labels)) == len(labels) else [f"{i + 1}: {label}" for i, label in enumerate(labels)]


def _against(
    pair: RunPair, measured: tuple[Measurement, Measurement], formats: Sequence[str], *, level: float, share: float
) -> RunComparison:
    before, after = measured
    methods = _lower_bounds(before, after)
    alone, joint = (
        {key: _unknown(each, methods.get(key, "")) for key, each in prompt_differences(pair, level=at).items()}
        for at in (level, share)
    )
    curves = {key: each for key, each in curve_differences(pair, level=level).items() if key not in methods}
    rows = _prompt_rows(pair, before, after, alone | {"gamma": gamma_difference(pair, level=level)})
    caveats = _caveats(before, after)
    claims = [
        claim(
            part,
            key,
            reading,
            joint[key],
            caveat=caveats.get(key, ""),
            usable=not caveats.get(key, "").startswith((_DECIDES_NOTHING, _NOT_MEASURED)),
        )
        for key, part, reading in _ON_PROMPTS
    ]
    for name in formats:
        curves[f"behavior, {name}"] = behavior_difference(pair, name, level=level)
        rows += _format_rows(pair, measured, name, curves[f"behavior, {name}"], level=level)
        fitted = fitted_differences(pair, name, level=share)
        claims += [
            claim("alpha", f"logistic_{name}", f"logistic curve, {name}", fitted.log_inverse_alpha),
            claim("beta", f"slope_{name}", f"slope of the logistic curve, {name}", fitted.slope),
        ]
    ordered = tuple(sorted(claims, key=lambda each: each.part))
    return RunComparison(
        label=pair.name,
        pairing={"negative": pair.negative.pairing, "positive": pair.positive.pairing},
        n_pairs={
            source: min(len(shared.before), len(shared.after))
            for source, shared in (("negative", pair.negative), ("positive", pair.positive))
        },
        differences=tuple(rows),
        curves=curves,
        caps=_caps(before, after),
        claims=ordered,
        alpha=part_verdict(ordered, "alpha"),
        beta=part_verdict(ordered, "beta"),
    )


def claim(part: Part, key: str, reading: str, difference: Estimate, *, caveat: str = "", usable: bool = True) -> Claim:
    """Whether a difference that holds at the family level supports its part: both parts expect it above 0.

    usable: whether the reading means in both runs what it should; if not, it decides nothing.
    """
    verdict: Verdict = "supported" if difference.low > 0 else "contradicted" if difference.high < 0 else "undecided"
    return Claim(part, key, reading, difference, verdict if usable else "undecided", caveat)


def _caveats(before: Measurement, after: Measurement) -> dict[str, str]:
    """What the readings of α rest on in these two runs, by key."""
    found = {}
    if not all(rests(m) for m in (before, after)):
        found["plateau"] = f"{_DECIDES_NOTHING}: the evidence is not shown to rest in both runs"
        found["evidence"] = "what acts at this length; no length-free α, as the evidence is not shown to rest"
    lines = [(m.alpha.line.log_inverse_alpha, m.beta_curve.value[0]) for m in (before, after)]
    if all(line.low <= first <= line.high for line, first in lines):
        found["line"] = "within its error it is β before the first sentence in both runs, so it may read β and not α"
    if any(m.alpha.line.log_inverse_alpha.high < m.alpha.limits.low for m in (before, after)):
        # A line whose intercept the cap excludes is a fit to something else, and so is its slope.
        found["line"] = found["line_beta"] = f"{_DECIDES_NOTHING}: the cap excludes this line's α in one of the runs"
    return found | dict.fromkeys(_lower_bounds(before, after), _NOT_MEASURED)


def _lower_bounds(before: Measurement, after: Measurement) -> dict[str, str]:
    """Method of the differences, by key, one side of which at least is made of lower bounds of a divergence."""
    sides = [_own(m) for m in (before, after)]
    methods = {key: next(filter(None, (bound_method(side[key]) for side in sides)), "") for key in _OF_DIVERGENCES}
    return {key: method for key, method in methods.items() if method}


def _unknown(difference: Estimate, method: str) -> Estimate:
    """A difference without limits, if it is one of lower bounds. method: of these, "" if they are none."""
    if not method:
        return difference
    return replace(labelled(difference, method), low=-math.inf, high=math.inf, exact=False)


def rests(m: Measurement) -> bool:
    """Whether the evidence is shown to have come to rest: a mixture, and no slope left within its error."""
    (mixture,) = [a for a in m.assumptions if a.name == MIXTURE]
    return mixture.status == "held" and m.alpha.plateau.kappa.low <= 0


def _prompt_rows(
    pair: RunPair, before: Measurement, after: Measurement, found: Mapping[str, Estimate]
) -> list[Difference]:
    named = {
        "beta": "β", "line_beta": "β, slope of the straight line", "beta_prime": "β′",
        "plateau": "log 1/α, evidence plateau", "evidence": "log 1/α, effective at the longest prompt",
        "line": "log 1/α, straight line", "kappa": "κ, proxy gap", "sigma2": "σ², under P₋",
        "gamma": "γ, tested prompts",
    }  # fmt: skip
    values = [_own(m) for m in (before, after)]
    return [
        Difference(
            key, name, values[0][key], values[1][key], found[key],
            (pair.positive if key == "beta_prime" else pair.negative).pairing,
        )
        for key, name in named.items()
    ]  # fmt: skip


def _own(m: Measurement) -> dict[str, Estimate]:
    """A run's own numbers by the keys of the differences."""
    alpha = m.alpha
    return {
        "beta": m.beta, "beta_prime": m.beta_prime, "plateau": alpha.plateau.log_inverse_alpha,
        "evidence": m.evidence_curve.at(m.evidence_curve.lengths[-1]), "kappa": alpha.plateau.kappa,
        "line": alpha.line.log_inverse_alpha, "line_beta": alpha.line.beta, "sigma2": m.sigma2, "gamma": m.gamma,
    }  # fmt: skip


def _format_rows(
    pair: RunPair, measured: tuple[Measurement, Measurement], name: str, change: Band, *, level: float
) -> list[Difference]:
    fitted = fitted_differences(pair, name, level=level)
    fits = [m.alpha.behavior[name] for m in measured]
    curves = [_negative_curve(m, name) for m in measured]
    ends = ((0, "without a prompt", "behavior_unprompted"), (change.lengths[-1], "at the longest prompt", "behavior"))
    pairing = pair.negative.pairing
    rows = [
        Difference(
            f"{key}_{name}", f"B {where}, {name}", curves[0].at(n), curves[1].at(n), change.at(n), pairing
        )
        for n, where, key in ends
    ]  # fmt: skip
    return [
        *rows,
        Difference(
            f"midpoint_{name}", f"midpoint, {name}", fits[0].midpoint, fits[1].midpoint, fitted.midpoint, pairing
        ),
        Difference(f"slope_{name}", f"β, logistic slope, {name}", fits[0].slope, fits[1].slope, fitted.slope, pairing),
        Difference(
            f"logistic_{name}", f"log 1/α, logistic, {name}", *fitted.readings, fitted.log_inverse_alpha, pairing
        ),
    ]


def _negative_curve(m: Measurement, name: str) -> Band:
    (curve,) = [c for c in m.behavior if c.format == name and c.condition == "negative"]
    return curve.corrected or curve.raw


def _caps(before: Measurement, after: Measurement) -> Caps:
    tightest = [max(m.alpha.cap, key=lambda e: e.value) for m in (before, after)]
    statement = (
        "both are lower limits of log 1/α, certain where P₋ is part of the model; two lower limits have no difference"
    )
    later = after.alpha.plateau
    if rests(after) and tightest[0].value > later.log_inverse_alpha.high:
        statement = (
            "the first run's cap lies above the whole interval of the second run's plateau: log 1/α is smaller in the "
            "second run, if P₋ is part of both models and the second one's evidence has come to rest"
        )
    earlier = before.alpha.plateau
    if rests(before) and tightest[1].value > earlier.log_inverse_alpha.high:
        statement = (
            "the second run's cap lies above the whole interval of the first run's plateau: log 1/α is larger in the "
            "second run, if P₋ is part of both models and the first one's evidence has come to rest"
        )
    return Caps(tightest[0], tightest[1], statement)


def _compared(run: RunRows, m: Measurement, label: str) -> ComparedRun:
    keep: tuple[BehaviorCurve, ...] = tuple(c for c in m.behavior if c.condition == "negative")
    return ComparedRun(
        label=label,
        folder=str(run.folder),
        target=str(run.meta["fingerprints"]["target"]["name"]),
        gate=m.gate,
        mixture=m.alpha.plateau.verdict,
        beta_curve=m.beta_curve,
        beta_prime_curve=m.beta_prime_curve,
        evidence_curve=m.evidence_curve,
        behavior=keep,
        components=m.components,
    )


def _notes(
    rows: Sequence[RunRows], measured: Sequence[Measurement], pairs: Sequence[RunPair], labels: Sequence[str]
) -> list[str]:
    notes = list(differing_settings(rows))
    if any(_lower_bounds(measured[0], other) for other in measured[1:]):
        notes.append(
            "divergences with a model behind a server are lower bounds (--kl top-k), and the difference of two lower "
            "bounds is certain in no direction: the changes of β, β′ and the straight line that are made of them are "
            "not measured, and decide nothing"
        )
    for m, label in zip(measured, labels, strict=True):
        notes += [f"{label}: {remark}" for remark in model_notes(m.meta)]
        if m.alpha.plateau.verdict == "mixture contradicted":
            notes.append(
                f"in {label} the evidence does not come to rest, so its plateau is no weight: the effective weight at "
                "the longest prompt compares what acts there"
            )
    for pair, name in zip(pairs, labels[1:], strict=True):
        n = len(pair.negative.before)
        if pair.negative.paired and n < max(len(run.negative.prompts) for run in (pair.before, pair.after)):
            notes.append(
                f"the differences of {name} use the {n} prompts that it shares with {labels[0]}; each run's own "
                "numbers use all of its prompts"
            )
    return notes


def _meta(rows: Sequence[RunRows], labels: Sequence[str], level: float) -> dict[str, Any]:
    """What the page's head and record show."""
    first = rows[0].meta
    return {
        "experiment": "compare",
        "spec": {"model": " → ".join(labels), "behavior": first["spec"]["behavior"], "level": level},
        "fingerprints": {
            "behavior": first["fingerprints"]["behavior"],
            "scorer": first["fingerprints"].get("scorer"),
            **{
                f"{role}, {label}": run.meta["fingerprints"][role]
                for run, label in zip(rows, labels, strict=True)
                for role in ("target", "negative", "positive")
            },
        },
        "versions": first.get("versions", {}),
    }

"""The page of the main job."""

from __future__ import annotations

from typing import Any

from beb.core.estimate import Band, Estimate
from beb.experiments.measurement import Measurement
from beb.experiments.store import Store
from beb.experiments.what_if import measure_inputs
from beb.report.figures import all_charts
from beb.report.measure_findings import findings
from beb.report.page import Page, Section
from beb.report.record import sampled_texts
from beb.report.tables import alpha_rows, assumption_rows, bound_rows, key_figures, qualities
from beb.report.what_if import what_if
from beb.report.wording import halving_text, notes, proxies, warnings

LEDE = (
    "How much of an ill-behaved component is in this model, how distinct is it, and how many sentences of prompt bring "
    "it out?"
)


def measure_page(store: Store, m: Measurement, *, sliders: bool = True) -> Page:
    """Everything that the report of `beb measure` says in the parts that all reports share.

    sliders: with what "What if" needs, which takes as long as the rest.
    """
    charts = all_charts(m)
    named = (("figures", "Key figures"), ("divergence", "Divergence"), ("evidence-section", "Evidence"),
             ("behavior", "Behavior"), ("bounds", "Bounds"))  # fmt: skip
    drawn = {"divergence": "divergence", "evidence-section": "evidence", "behavior": "behavior"}
    return Page(
        lede=LEDE,
        findings=findings(m),
        counts=m.counts,
        failures=m.failures,
        terms=proxies(m.meta),
        warnings=warnings(m),
        notes=notes(m.notes),
        premises=assumption_rows(m),
        sections=tuple(
            Section(key, name, name, charts=tuple(charts.get(drawn.get(key, ""), ()))) for key, name in named
        ),
        what_if=what_if(measure_inputs(store, m)) if sliders else None,
        texts=sampled_texts(store),
        methods=_methods(m),
    )


def measure_context(m: Measurement) -> dict[str, Any]:
    """What only the template of the main job shows."""
    return {
        "key_figures": key_figures(m),
        "alpha_rows": alpha_rows(m),
        "bounds": bound_rows(m),
        "qualities": qualities(m),
        "halving": halving_text(m),
    }


def _methods(m: Measurement) -> dict[str, Estimate | Band]:
    named: dict[str, Estimate | Band] = {
        "β": m.beta,
        "β′": m.beta_prime,
        "σ²": m.sigma2,
        "γ": m.gamma,
        "evidence": m.evidence_curve,
        "plateau": m.alpha.plateau.log_inverse_alpha,
        "straight line": m.alpha.line.log_inverse_alpha,
        "gate": m.gate.accuracy,
    }
    named |= {f"behavior, {c.format}, {c.condition}": c.raw for c in m.behavior[:1]}
    corrected = next((c.corrected for c in m.behavior if c.corrected is not None), None)
    if corrected is not None:
        named["corrected behavior"] = corrected
    return named | {f"bound, {r.bound.bound.theorem}": r.bound.sharp for r in m.bounds[:1]}

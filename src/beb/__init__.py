"""Behavior Expectation Bounds: how far a language model is from misbehaving, and what it would take.

Names are imported when first used, so that `import beb` is quick and loads no model library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beb.behaviors.behavior import Behavior
    from beb.behaviors.packs import known_behaviors, load_behavior
    from beb.core import bounds
    from beb.core.estimate import Band, Estimate
    from beb.errors import BebError
    from beb.experiments.best_of.experiment import best_of
    from beb.experiments.best_of.record import BestOfRecord
    from beb.experiments.best_of.spec import BestOfSpec
    from beb.experiments.compare.aligned import compare_aligned
    from beb.experiments.compare.analyse import compare
    from beb.experiments.compare.record import Comparison
    from beb.experiments.converse.experiment import converse
    from beb.experiments.converse.plan import ConverseSpec
    from beb.experiments.converse.record import ConverseRecord
    from beb.experiments.guardrail.experiment import guardrail
    from beb.experiments.guardrail.record import GuardrailRecord
    from beb.experiments.guardrail.spec import GuardrailSpec
    from beb.experiments.laws.analyse import laws
    from beb.experiments.laws.record import LawsRecord
    from beb.experiments.measure import measure
    from beb.experiments.measurement import Measurement
    from beb.experiments.personas.catalog import Persona
    from beb.experiments.personas.experiment import personas
    from beb.experiments.personas.record import PersonasRecord, TraceRecord
    from beb.experiments.personas.spec import PersonasSpec
    from beb.experiments.personas.trace import trace
    from beb.experiments.probe.experiment import probe
    from beb.experiments.probe.record import Probing
    from beb.experiments.probe.spec import ProbeSpec
    from beb.experiments.registry import analyse
    from beb.experiments.reproduce import reproduce
    from beb.experiments.spec import MeasureSpec
    from beb.experiments.store import Store
    from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest
    from beb.interfaces.scorer import Score, Scorer
    from beb.models.catalog import known_models, load_model
    from beb.models.components import load_component
    from beb.models.scoring import score_sequences
    from beb.report.html import write_report
    from beb.report.overview.page import write_overview
    from beb.report.paper import write_figures

_HOMES = {
    "Band": "beb.core.estimate",
    "BebError": "beb.errors",
    "Behavior": "beb.behaviors.behavior",
    "BestOfRecord": "beb.experiments.best_of.record",
    "BestOfSpec": "beb.experiments.best_of.spec",
    "Comparison": "beb.experiments.compare.record",
    "Completion": "beb.interfaces.language_model",
    "ConverseRecord": "beb.experiments.converse.record",
    "ConverseSpec": "beb.experiments.converse.plan",
    "Estimate": "beb.core.estimate",
    "Failure": "beb.interfaces.language_model",
    "GuardrailRecord": "beb.experiments.guardrail.record",
    "GuardrailSpec": "beb.experiments.guardrail.spec",
    "LanguageModel": "beb.interfaces.language_model",
    "LawsRecord": "beb.experiments.laws.record",
    "MeasureSpec": "beb.experiments.spec",
    "Measurement": "beb.experiments.measurement",
    "Persona": "beb.experiments.personas.catalog",
    "PersonasRecord": "beb.experiments.personas.record",
    "PersonasSpec": "beb.experiments.personas.spec",
    "ProbeSpec": "beb.experiments.probe.spec",
    "Probing": "beb.experiments.probe.record",
    "SampleRequest": "beb.interfaces.language_model",
    "Score": "beb.interfaces.scorer",
    "Scorer": "beb.interfaces.scorer",
    "Store": "beb.experiments.store",
    "TraceRecord": "beb.experiments.personas.record",
    "analyse": "beb.experiments.registry",
    "best_of": "beb.experiments.best_of.experiment",
    "bounds": "beb.core",
    "compare": "beb.experiments.compare.analyse",
    "compare_aligned": "beb.experiments.compare.aligned",
    "converse": "beb.experiments.converse.experiment",
    "guardrail": "beb.experiments.guardrail.experiment",
    "known_behaviors": "beb.behaviors.packs",
    "known_models": "beb.models.catalog",
    "laws": "beb.experiments.laws.analyse",
    "load_behavior": "beb.behaviors.packs",
    "load_component": "beb.models.components",
    "load_model": "beb.models.catalog",
    "measure": "beb.experiments.measure",
    "personas": "beb.experiments.personas.experiment",
    "probe": "beb.experiments.probe.experiment",
    "reproduce": "beb.experiments.reproduce",
    "score_sequences": "beb.models.scoring",
    "trace": "beb.experiments.personas.trace",
    "write_figures": "beb.report.paper",
    "write_overview": "beb.report.overview.page",
    "write_report": "beb.report.html",
}

__all__ = [
    "Band", "BebError", "Behavior", "BestOfRecord", "BestOfSpec", "Comparison", "Completion", "ConverseRecord",
    "ConverseSpec", "Estimate", "Failure", "GuardrailRecord", "GuardrailSpec", "LanguageModel", "LawsRecord",
    "MeasureSpec", "Measurement", "Persona", "PersonasRecord", "PersonasSpec", "ProbeSpec", "Probing", "SampleRequest",
    "Score", "Scorer", "Store", "TraceRecord", "analyse", "best_of", "bounds", "compare", "compare_aligned", "converse",
    "guardrail", "known_behaviors", "known_models", "laws", "load_behavior", "load_component", "load_model", "measure",
    "personas", "probe", "reproduce", "score_sequences", "trace", "write_figures",
    "write_overview", "write_report",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beb' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return importlib.import_module("beb.core.bounds") if name == "bounds" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)

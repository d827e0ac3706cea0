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
    from beb.experiments.measure import measure
    from beb.experiments.measurement import Measurement
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

_HOMES = {
    "Band": "beb.core.estimate",
    "BebError": "beb.errors",
    "Behavior": "beb.behaviors.behavior",
    "Completion": "beb.interfaces.language_model",
    "Estimate": "beb.core.estimate",
    "Failure": "beb.interfaces.language_model",
    "LanguageModel": "beb.interfaces.language_model",
    "MeasureSpec": "beb.experiments.spec",
    "Measurement": "beb.experiments.measurement",
    "SampleRequest": "beb.interfaces.language_model",
    "Score": "beb.interfaces.scorer",
    "Scorer": "beb.interfaces.scorer",
    "Store": "beb.experiments.store",
    "analyse": "beb.experiments.registry",
    "bounds": "beb.core",
    "known_behaviors": "beb.behaviors.packs",
    "known_models": "beb.models.catalog",
    "load_behavior": "beb.behaviors.packs",
    "load_component": "beb.models.components",
    "load_model": "beb.models.catalog",
    "measure": "beb.experiments.measure",
    "reproduce": "beb.experiments.reproduce",
    "score_sequences": "beb.models.scoring",
    "write_report": "beb.report.html",
}

__all__ = [
    "Band", "BebError", "Behavior", "Completion", "Estimate", "Failure", "LanguageModel", "MeasureSpec", "Measurement",
    "SampleRequest", "Score", "Scorer", "Store", "analyse", "bounds", "known_behaviors", "known_models",
    "load_behavior", "load_component", "load_model", "measure", "reproduce", "score_sequences", "write_report",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beb' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return importlib.import_module("beb.core.bounds") if name == "bounds" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Every kind of run by the name that is stored with it; a module is imported when its kind is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from beb.errors import StoreDamaged
from beb.experiments.experiment import Experiment, refuse_unfinished
from beb.experiments.store import Store

_HOMES = {
    "measure": ("beb.experiments.measure", "MEASURE"),
    "chat-api": ("beb.experiments.chat_api.experiment", "CHAT_API"),
    "guardrail": ("beb.experiments.guardrail.experiment", "GUARDRAIL"),
    "converse": ("beb.experiments.converse.experiment", "CONVERSE"),
    "best-of": ("beb.experiments.best_of.experiment", "BEST_OF"),
    "personas": ("beb.experiments.personas.experiment", "PERSONAS"),
    "trace": ("beb.experiments.personas.trace", "TRACE"),
    "probe": ("beb.experiments.probe.experiment", "PROBE"),
}


def known_experiments() -> tuple[str, ...]:
    """Names of all kinds of run."""
    return tuple(_HOMES)


def named_experiment(name: str) -> Experiment[Any, Any, Any]:
    """A kind of run by its name, one of `known_experiments`."""
    module, attribute = _HOMES[name]
    found: Experiment[Any, Any, Any] = getattr(importlib.import_module(module), attribute)
    return found


def experiment_of(store: Store) -> Experiment[Any, Any, Any]:
    """The kind of a stored run. Raises: StoreDamaged if this program does not know it."""
    name = store.meta().get("experiment")
    if name not in _HOMES:
        raise StoreDamaged(
            f"{store.path} is a run of kind {name!r}, and this program knows {', '.join(_HOMES)}; "
            "use the version of beb that wrote it"
        )
    return named_experiment(name)


def analyse(store: Store) -> Any:
    """The record of a complete run of any kind, from its rows alone.

    Raises: EstimateError if the run is not finished, GateFailed if it was stopped at its gate.
    """
    experiment = experiment_of(store)
    refuse_unfinished(experiment, store)
    return experiment.analyse(store)

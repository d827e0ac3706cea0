"""What the options of a planned run name, looked up without loading weights and without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from beb.errors import BadSpec
from beb.experiments.chat_api.spec import ChatApiSpec
from beb.experiments.experiment import Experiment
from beb.experiments.loading import FITTED_ON, given_labels, is_fitted
from beb.experiments.spec import ModelSpec, RunSpec
from beb.models.catalog import refuse_unknown, refuse_unknown_component
from beb.models.server_address import is_chat_api, is_served
from beb.worlds.catalog import get_world
from beb.worlds.persona_world import get_persona_world

WORLD = "world:"
LOCAL_ONLY = ("personas", "probe")
"""Kinds of run that read a model's weights themselves."""

Check = Callable[[], object]


def lookups(experiment: Experiment[Any, Any, Any], spec: ModelSpec) -> Iterator[tuple[str, str, Check]]:
    """(field, its value, what raises one of `beb.errors` if there is no such thing) of everything that is named.

    A hub name is only looked at, and a server is not asked. Behaviors are not among it: see `load_behavior`.
    """
    model = spec.model
    if model.startswith(WORLD):
        get: Callable[[str], object] = get_persona_world if experiment.name == "personas" else get_world
        yield "model", model, partial(get, model.removeprefix(WORLD))
        return
    yield "model", model, partial(_refuse_model, experiment.name, model)
    if not isinstance(spec, RunSpec):
        return
    behind_server = is_served(model) and not isinstance(spec, ChatApiSpec)
    for pole in ("negative", "positive"):
        description: str = getattr(spec, pole)
        if pole == "negative" or not isinstance(spec, ChatApiSpec) or spec.has_positive:
            yield pole, description, partial(_refuse_component, pole, description, model)
    yield "scorer", spec.scorer, partial(given_labels, spec)
    if behind_server and spec.kl == "exact":
        yield "kl", spec.kl, partial(_refuse, f"{model} is behind a server, which tells no whole distributions; give "
                                     "monte-carlo or, to measure, top-k")  # fmt: skip


def _refuse(reason: str) -> None:
    raise BadSpec(reason)


def _refuse_model(scenario: str, model: str) -> None:
    refuse_unknown(model)
    if is_chat_api(model) and scenario != "chat-api":
        raise BadSpec(f"a chat API tells no log-probabilities, which {scenario} needs; it can only be measured")
    if is_served(model) and scenario in LOCAL_ONLY:
        raise BadSpec(f"{scenario} needs local weights; give a checkpoint")


def _refuse_component(pole: str, description: str, model: str) -> None:
    if is_fitted(description):
        base = description.removeprefix(FITTED_ON) if description.startswith(FITTED_ON) else model
        refuse_unknown(base)
        if is_served(base):
            raise BadSpec(
                f"an adapter is fitted on local weights, and {base} is behind a server; give lora@MODEL, model:NAME, "
                "persona:TEXT or, of the same server, model:#NAME"
            )
    elif (pole, description) != ("positive", "residual"):
        refuse_unknown_component(description, model)
    elif is_served(model):
        raise BadSpec(f"a residual needs whole distributions, and {model} is behind a server; give model:NAME")

"""From a specification to the target, the personas as components on it, and a scorer per behavior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.packs import load_behavior
from beb.behaviors.probe import Embedder
from beb.errors import BadSpec, NoChatTemplate
from beb.experiments.personas.catalog import TARGET
from beb.experiments.personas.spec import PersonasSpec, TraceSpec
from beb.experiments.subjects import Notify, Places, identity, load_embedded, load_named, load_probe, scorer_identity
from beb.interfaces.language_model import LanguageModel
from beb.interfaces.scorer import Scorer
from beb.worlds.model import WorldModel
from beb.worlds.persona_world import PersonaWorld, get_persona_world
from beb.worlds.scorer import WorldScorer


@dataclass(frozen=True, slots=True)
class PersonaSubjects:
    """What the work items need.

    target: P in the frame of the personas, without one. personas: by name, in order. scorers: by behavior.
    questions: end a chat prompt, by behavior.
    """

    target: LanguageModel
    personas: Mapping[str, LanguageModel]
    scorers: Mapping[str, Scorer]
    questions: Mapping[str, str]
    fingerprints: Mapping[str, Any]

    @property
    def models(self) -> dict[str, LanguageModel]:
        """The personas and the target, by the names that their rows get."""
        return {**self.personas, TARGET: self.target}


class LastStates:
    """Hidden states of the texts that were asked for last, kept: the same texts cost all behaviors' probes one pass."""

    def __init__(self, embed: Embedder) -> None:
        self.fingerprint = embed.fingerprint
        self._embed = embed
        self._last: tuple[tuple[str, ...], NDArray[np.float32]] | None = None

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) hidden states of n non-blank texts."""
        key = tuple(texts)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._embed(texts))
        return self._last[1]


def load_persona_subjects(spec: PersonasSpec | TraceSpec, places: Places, notify: Notify) -> PersonaSubjects:
    """Load what the specification names. A trace needs no scorer.

    Raises: InputError and ModelError kinds of `beb.errors`, each naming the option to change.
    """
    if spec.model.startswith("world:"):
        return persona_world_subjects(spec, get_persona_world(spec.model.removeprefix("world:")))
    from beb.models.components import neutral_component, persona_component
    from beb.models.huggingface import HuggingFaceModel

    behaviors = {}
    if isinstance(spec, PersonasSpec):
        behaviors = {
            name: load_behavior(name, undesired=spec.undesired, offline=places.offline) for name in spec.behaviors
        }
    bare = load_named(spec.model, spec, places, notify)
    if not isinstance(bare, HuggingFaceModel):
        raise BadSpec(f"personas need local weights, and {spec.model} is {bare.info.kind_in_words}; give a checkpoint")
    _refuse_chat(spec, bare)
    target = neutral_component(bare)
    personas = {each.name: persona_component(bare, each.description) for each in spec.personas}
    scorers: dict[str, Scorer] = {}
    if behaviors:
        notify("preparing the scorers", 0, 1)
        embed = LastStates(load_embedded(bare, places, notify))
        scorers = {
            name: load_probe(behavior, bare, places, seed=spec.seed, embed=embed)
            for name, behavior in behaviors.items()
        }
    told = {name: (each.name, each.fingerprint, each.source) for name, each in behaviors.items()}
    return _subjects(target, personas, scorers, {name: each.question for name, each in behaviors.items()}, told)


def persona_world_subjects(spec: PersonasSpec | TraceSpec, world: PersonaWorld) -> PersonaSubjects:
    """An exact world as target, with its own personas; its one behavior stands under the name that was asked for."""
    scorers, target = {}, WorldModel(world, TARGET)
    if isinstance(spec, PersonasSpec):
        _refuse_chat(spec, target)
        if len(spec.behaviors) > 1:
            raise BadSpec(
                f"{len(spec.behaviors)} behaviors for a world, which has one of its own; leave out --behavior"
            )
        scorers = {spec.behaviors[0]: WorldScorer(world)}
    personas = {name: WorldModel(world, name) for name in world.names}
    told = dict.fromkeys(scorers, (world.name, "", "exact world"))
    return _subjects(target, personas, scorers, dict.fromkeys(scorers, ""), told)


def _refuse_chat(spec: PersonasSpec | TraceSpec, target: LanguageModel) -> None:
    if isinstance(spec, PersonasSpec) and "plain" not in spec.formats and not target.info.has_chat_template:
        raise NoChatTemplate(f"{spec.model} has no chat template, and only chat was asked for; use --formats plain")


def _subjects(
    target: LanguageModel,
    personas: Mapping[str, LanguageModel],
    scorers: Mapping[str, Scorer],
    questions: Mapping[str, str],
    behaviors: Mapping[str, tuple[str, str, str]],
) -> PersonaSubjects:
    _refuse_identical(personas)
    fingerprints: dict[str, Any] = {TARGET: identity(target)}
    fingerprints |= {persona_role(name): identity(model) for name, model in personas.items()}
    fingerprints |= {scorer_role(name): scorer_identity(scorer) for name, scorer in scorers.items()}
    told = list(behaviors.values()) or [("personas", "", "no behavior is scored")]
    for i, key in enumerate(("name", "fingerprint", "source")):
        fingerprints.setdefault("behavior", {})[key] = ", ".join(each[i] for each in told)
    return PersonaSubjects(target, personas, scorers, questions, fingerprints)


def persona_role(name: str) -> str:
    """The key of a persona's identity in a run's fingerprints."""
    return f"persona: {name}"


def scorer_role(behavior: str) -> str:
    """The key of a scorer's identity in a run's fingerprints."""
    return f"scorer: {behavior}"


def persona_names(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """The personas of a stored run, in order."""
    return tuple(str(name) for name in meta["personas"])


def _refuse_identical(personas: Mapping[str, LanguageModel]) -> None:
    seen: dict[str, str] = {}
    for name, model in personas.items():
        twin = seen.setdefault(model.info.fingerprint, name)
        if twin != name:
            raise BadSpec(
                f"personas {twin!r} and {name!r} are identical: they give the same probabilities (does the chat "
                "template read a system text?); leave one out"
            )

"""What a probe works on: statements of both poles, and a model whose hidden states can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior
from beb.behaviors.evaluation import N_FOLDS, near_duplicate_groups
from beb.behaviors.packs import load_behavior
from beb.errors import BadSpec, BadStatements
from beb.experiments.execute import Progress
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.spec import derive_seed
from beb.experiments.subjects import Places, identity, load_named
from beb.models.fingerprint import combined
from beb.worlds.catalog import get_world
from beb.worlds.model import world_model
from beb.worlds.representations import WorldRepresenter
from beb.worlds.statements import draw_texts
from beb.worlds.world import World

if TYPE_CHECKING:
    from beb.models.huggingface import HuggingFaceModel

POLES: tuple[Literal["negative"], Literal["positive"]] = ("negative", "positive")
WORLD_SENTENCES = 4
POOLINGS = ("last", "mean")
MIN_DISTINCT = 2 * N_FOLDS

Poles = Mapping[str, tuple[str, ...]]


class Representer(Protocol):
    """Texts to hidden states of every layer. A text's row must not depend on the texts beside it."""

    n_layers: int
    width: int

    def __call__(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Pooling -> (n, n_layers, width)."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeSubjects:
    """statements: behavior -> pole -> statements, as many of each pole.

    independent: whether they are independent draws, so that one that occurs twice is two observations; written
    statements are not, and those that share most of their words are one observation.
    """

    represent: Representer
    statements: Mapping[str, Poles]
    fingerprints: Mapping[str, Any]
    independent: bool = False


class ModelRepresenter:
    """Hidden states of a checkpoint, after its start token alone."""

    def __init__(self, model: HuggingFaceModel) -> None:
        from beb.models.representations import n_representations

        self._model = model
        self.n_layers = n_representations(model)
        self.width = int(model.weights.module.config.get_text_config().hidden_size)

    def __call__(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Pooling -> (n, n_layers, width). Raises: ContextTooShort, NumericalFailure."""
        from beb.models.representations import representations

        found = representations(self._model, texts)
        return {"last": found.last, "mean": found.mean}


def load_probe(spec: ProbeSpec, places: Places, notify: Progress) -> ProbeSubjects:
    """Load the statements and the model.

    Raises: BadSpec, BadStatements, UnknownName, ModelError kinds.
    """
    if spec.model.startswith("world:"):
        return world_subjects(spec, get_world(spec.model.removeprefix("world:")))
    from beb.models.huggingface import HuggingFaceModel

    behaviors = [load_behavior(name, undesired=spec.undesired, offline=places.offline) for name in spec.behaviors]
    names = [behavior.name for behavior in behaviors]
    if len(set(names)) < len(names):
        raise BadSpec(f"behaviors {', '.join(names)}: each needs a name of its own; rename a file or leave one out")
    statements = {behavior.name: chosen_statements(behavior, spec.statements) for behavior in behaviors}
    model = load_named(spec.model, spec, places, notify)
    if not isinstance(model, HuggingFaceModel):
        raise BadSpec(
            f"probe reads hidden states and needs a checkpoint, and {model.info.name} is {model.info.kind_in_words}"
        )
    fingerprints = {"target": identity(model), "behavior": _behaviors_identity(behaviors)}
    return ProbeSubjects(ModelRepresenter(model), statements, fingerprints)


def world_subjects(spec: ProbeSpec, world: World) -> ProbeSubjects:
    """The states of an exact world's target, and texts drawn from its components.

    Raises: BadSpec if anything is asked for that a world does not have.
    """
    for option, value, reason in (
        ("behavior", spec.behaviors != ProbeSpec().behaviors, "which has one of its own"),
        ("undesired", spec.undesired, "which says itself what is desired"),
        ("dtype", spec.dtype != ProbeSpec().dtype, "which has no weights"),
    ):
        if value:
            raise BadSpec(f"--{option} does not fit a world, {reason}; leave it out")
    poles: dict[str, tuple[str, ...]] = {
        pole: tuple(
            draw_texts(world, pole, spec.statements, WORLD_SENTENCES, np.random.default_rng(derive_seed(*name, pole)))
        )
        for pole, name in ((pole, (spec.seed, "probe", "world")) for pole in POLES)
    }
    model = world_model(world, "target")
    fingerprints = {
        "target": identity(model),
        "behavior": {
            "name": world.name,
            "fingerprint": world.behavior_fingerprint(),
            "source": f"{WORLD_SENTENCES} sentences of a component",
        },
    }
    represent = WorldRepresenter(model, len(world.chains("target")))
    return ProbeSubjects(represent, {world.name: poles}, fingerprints, independent=True)


def chosen_statements(behavior: Behavior, most: int) -> dict[str, tuple[str, ...]]:
    """Up to `most` distinct statements of each pole, equally many, in the order of their hashes.

    Of statements that share most of their words with one another only the first counts: the rest would be repeats of
    one observation. Raises: BadStatements if fewer than 10 of a pole are distinct.
    """
    split = behavior.split()
    distinct: dict[str, tuple[str, ...]] = {}
    for pole in POLES:
        ranked = (*getattr(split.held_out, pole), *getattr(split.train, pole))
        _, first = np.unique(near_duplicate_groups(ranked), return_index=True)
        distinct[pole] = tuple(ranked[i] for i in sorted(first))
        if len(distinct[pole]) < MIN_DISTINCT:
            raise BadStatements(
                f"only {len(distinct[pole])} of the {pole} statements of {behavior.name!r} are distinct; a probe needs "
                f"{MIN_DISTINCT}; add others"
            )
    n = min(most, *map(len, distinct.values()))
    return {pole: texts[:n] for pole, texts in distinct.items()}


def _behaviors_identity(behaviors: Sequence[Behavior]) -> dict[str, str]:
    return {
        "name": ", ".join(behavior.name for behavior in behaviors),
        "fingerprint": combined([behavior.fingerprint for behavior in behaviors]),
        "source": "; ".join(behavior.source for behavior in behaviors),
    }

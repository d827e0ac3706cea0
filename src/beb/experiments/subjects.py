"""From a specification to loaded models, scorer and statements."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior
from beb.behaviors.probe import Embedder, ProbeScorer
from beb.errors import BadSpec
from beb.experiments.scorer_cache import cached_probe
from beb.experiments.spec import ModelSpec, RunSpec, derive_seed
from beb.interfaces.language_model import LanguageModel
from beb.interfaces.scorer import Scorer
from beb.models.hardware import Hardware
from beb.models.scoring import require_distributions, text_log_probs
from beb.models.shelf import Shelf
from beb.worlds.model import world_model
from beb.worlds.scorer import WorldScorer
from beb.worlds.statements import draw_statements
from beb.worlds.world import World

WORLD_STATEMENTS = 60
LIBRARIES = ("behavior-expectation-bounds", "torch", "transformers", "peft", "numpy", "scikit-learn")

NOT_FOR_WORLDS = {
    "behavior": "which has one of its own",
    "undesired": "which says itself what is desired",
    "scorer": "whose texts are scored exactly",
    "lead": "whose texts have no opening",
    "dtype": "which has no weights",
    "adapter_steps": "whose components are known",
    "adapter_rank": "whose components are known",
    "adapter_learning_rate": "whose components are known",
}
"""Options that a world cannot heed, and why; their defaults are accepted."""

Notify = Callable[[str, float, float], None]
Poles = Mapping[str, tuple[str, ...]]
MakePositive = Callable[[float | None], LanguageModel]


@dataclass(frozen=True, slots=True)
class Subjects:
    """Everything that the work items need, loaded.

    make_positive: P₊ from log 1/α in nats (used by a residual only). statements: split ("held-out", and "train" where
    the pair's threshold must be fitted) -> pole -> texts. question: ends a chat prompt.
    """

    target: LanguageModel
    negative: LanguageModel
    make_positive: MakePositive
    scorer: Scorer
    statements: Mapping[str, Poles]
    question: str
    fingerprints: Mapping[str, Any]


class ComponentLogRatio:
    """log P₋/P₊ of whole texts, each under its own tokenizer, for the likelihood-ratio scorer."""

    def __init__(self, negative: LanguageModel, positive: LanguageModel) -> None:
        self._models = (negative, positive)
        self.fingerprint = f"{negative.info.fingerprint}/{positive.info.fingerprint}"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n,) nats."""
        logs = [[each.log_prob for each in text_log_probs(texts, model)] for model in self._models]
        return np.array(logs[0], dtype=np.float64) - np.array(logs[1], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are kept, whether the network may be used, and where models run. shelf: models that are loaded."""

    cache: Path
    offline: bool
    hardware: Hardware = field(default_factory=Hardware)
    shelf: Shelf = field(default_factory=Shelf)


def scorer_seed(seed: int) -> int:
    """The random stream of a fitted scorer, from the run's seed."""
    return derive_seed(seed, "scorer") % 2**32


def load_probe(
    behavior: Behavior, target: LanguageModel, places: Places, *, seed: int, notify: Notify | None = None,
    embed: Embedder | None = None,
) -> ProbeScorer:  # fmt: skip
    """The behavior's probe on the embedded model, from the cache if it has been fitted.

    target: whose weights are shared if it is the embedded model, without an opening. seed: of the run. notify: told if
    the embedded model has to be fetched or converted. embed: its features, where several probes share them.
    """
    if embed is None:
        embed = load_embedded(target, places, notify)
    return cached_probe(behavior, embed, seed=scorer_seed(seed), cache=places.cache / "probes")


def load_embedded(target: LanguageModel, places: Places, notify: Notify | None = None) -> Embedder:
    """The features of the embedded model. target, notify: see `load_probe`."""
    from beb.models.embedder import load_embedder

    return load_embedder(
        target,
        offline=places.offline,
        hardware=places.hardware,
        progress=(lambda what: notify(what, 0, 1)) if notify is not None else None,
        shelf=places.shelf,
    )


def load_named(name: str, spec: ModelSpec, places: Places, notify: Notify) -> LanguageModel:
    """A model by name, in the dtype of the specification, where models run, unless it is loaded already."""
    return places.shelf.load(
        name,
        dtype=spec.dtype,
        offline=places.offline,
        hardware=places.hardware,
        progress=lambda what: notify(what, 0, 1),
    )


def versions() -> dict[str, str]:
    """Versions of what computes the rows."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        found[name] = importlib.metadata.version(name)
    return found


def world_subjects(spec: RunSpec, world: World) -> Subjects:
    """An exact world as target, with its own components, scorer and statements.

    Raises: BadSpec if other components are asked for, or anything else that a world does not have.
    """
    _refuse_for_world(spec)
    models = {name: world_model(world, name) for name in ("target", "negative", "positive")}
    for option, value in (("negative", spec.negative), ("positive", spec.positive)):
        if value != "lora" and not (option == "positive" and value in ("target", "residual")):
            raise BadSpec(f"--{option} {value!r} does not fit a world, whose components are known; leave it out")
    make_positive = always(models["target" if spec.positive == "target" else "positive"])
    if spec.positive == "residual":
        make_positive = residual_maker(models["target"], models["negative"])
    poles = {
        pole: tuple(
            draw_statements(world, pole, WORLD_STATEMENTS, np.random.default_rng(derive_seed(spec.seed, "world", pole)))
        )
        for pole in ("negative", "positive")
    }
    scorer = WorldScorer(world)
    fingerprints = {name: identity(model) for name, model in models.items()}
    fingerprints["scorer"] = scorer_identity(scorer)
    fingerprints["behavior"] = {
        "name": world.name, "fingerprint": world.behavior_fingerprint(), "source": "exact world",
    }  # fmt: skip
    return Subjects(models["target"], models["negative"], make_positive, scorer, {"held-out": poles}, "", fingerprints)


def _refuse_for_world(spec: RunSpec) -> None:
    for name, reason in NOT_FOR_WORLDS.items():
        value = getattr(spec, name)
        if value and value != type(spec).model_fields[name].default:
            shown = "" if value is True else f" {value!r}"
            raise BadSpec(f"--{name.replace('_', '-')}{shown} does not fit a world, {reason}; leave it out")


def always(model: LanguageModel) -> MakePositive:
    """A P₊ that waits for no measured weight."""
    return lambda _: model


def refuse_residual(*models: LanguageModel) -> None:
    """Refuse models behind servers, from which no residual component can be made. Raises: NoDistribution."""
    require_distributions(
        *models, purpose="--positive residual",
        instead="no --kl changes that: give --positive model:#NAME (of the same server), persona:TEXT or lora@MODEL",
    )  # fmt: skip


def residual_maker(target: LanguageModel, negative: LanguageModel) -> MakePositive:
    """P₊ as what is left of the target without P₋, once the weight of P₋ is measured.

    Raises: NoDistribution where one of the two tells no next-token distribution.
    """
    refuse_residual(target, negative)

    def make(log_inverse_alpha: float | None) -> LanguageModel:
        if log_inverse_alpha is None:
            raise BadSpec("a residual component needs the evidence of the P₋ prompts first")
        from beb.models.residual import ResidualComponent

        return ResidualComponent(target, negative, -log_inverse_alpha)

    return make


def identity(model: LanguageModel) -> dict[str, Any]:
    """What is stored about a model."""
    info = model.info
    return {
        "name": info.name,
        "kind": info.kind,
        "fingerprint": info.fingerprint,
        "tokenizer": info.tokenizer,
        "context": info.context,
        "dtype": info.dtype,
        "remark": info.remark,
    }


def scorer_identity(scorer: Scorer) -> dict[str, Any]:
    """What is stored about a scorer."""
    info = scorer.info
    return {
        "name": info.name,
        "kind": info.kind,
        "fingerprint": info.fingerprint,
        "exact": info.exact,
        "confusion": [list(row) for row in info.confusion] if info.confusion else None,
        "brier": info.brier,
        "calibration_error": info.calibration_error,
    }

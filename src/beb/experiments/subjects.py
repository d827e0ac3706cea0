"""From a specification to loaded models, scorer and statements."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior
from beb.behaviors.labels import load_labels
from beb.behaviors.likelihood import fit_likelihood_ratio
from beb.behaviors.packs import load_behavior
from beb.behaviors.probe import fit_probe
from beb.errors import BadSpec
from beb.experiments.spec import MeasureSpec, derive_seed
from beb.interfaces.language_model import LanguageModel
from beb.interfaces.scorer import Scorer
from beb.models.scoring import text_log_probs
from beb.worlds.catalog import get_world
from beb.worlds.model import world_model
from beb.worlds.scorer import WorldScorer
from beb.worlds.statements import draw_statements
from beb.worlds.world import World

WORLD_STATEMENTS = 60
TRAIN_STATEMENTS_FOR_THRESHOLD = 40
LIBRARIES = ("behavior-expectation-bounds", "torch", "transformers", "peft", "numpy", "scikit-learn")

Notify = Callable[[str, float, float], None]
Poles = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Subjects:
    """Everything that the work items need, loaded.

    make_positive: P₊ from log 1/α in nats (used by a residual only). statements: split ("held-out", and "train" where
    the pair's threshold must be fitted) -> pole -> texts. question: ends a chat prompt.
    """

    target: LanguageModel
    negative: LanguageModel
    make_positive: Callable[[float | None], LanguageModel]
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
        return np.array(logs[0]) - np.array(logs[1])


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are kept and whether the network may be used."""

    cache: Path
    offline: bool


def load_subjects(spec: MeasureSpec, places: Places, notify: Notify) -> Subjects:
    """Load or fit what the specification names.

    Raises: InputError and ModelError kinds of `beb.errors`, each naming the option to change.
    """
    if spec.model.startswith("world:"):
        return world_subjects(spec, get_world(spec.model.removeprefix("world:")))
    from beb.models.catalog import load_model

    notify("loading the model", 0, 1)
    target = load_model(spec.model, dtype=spec.dtype, offline=places.offline)
    behavior = load_behavior(spec.behavior, undesired=spec.undesired)
    split = behavior.split()
    negative = _component(spec, spec.negative, split.train.negative, target, places, notify, "negative")
    if spec.positive == "residual":
        make_positive = _residual_maker(target, negative)
    else:
        positive = _component(spec, spec.positive, split.train.positive, target, places, notify, "positive")
        make_positive = _constant(positive)
    notify("preparing the scorer", 0, 1)
    scorer = _scorer(spec, behavior, target, negative, make_positive, places)
    statements: dict[str, Poles] = {
        "held-out": {"negative": split.held_out.negative, "positive": split.held_out.positive}
    }
    if not (spec.negative == spec.positive == "lora"):
        k = TRAIN_STATEMENTS_FOR_THRESHOLD
        statements["train"] = {"negative": split.train.negative[:k], "positive": split.train.positive[:k]}
    fingerprints = {
        "target": _identity(target),
        "negative": _identity(negative),
        "positive": {"name": "residual"} if spec.positive == "residual" else _identity(make_positive(None)),
        "scorer": _scorer_identity(scorer),
        "behavior": {"name": behavior.name, "fingerprint": behavior.fingerprint, "source": behavior.source},
    }
    return Subjects(target, negative, make_positive, scorer, statements, behavior.question, fingerprints)


def versions() -> dict[str, str]:
    """Versions of what computes the rows."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        found[name] = importlib.metadata.version(name)
    return found


def world_subjects(spec: MeasureSpec, world: World) -> Subjects:
    """An exact world as target, with its own components, scorer and statements.

    Raises: BadSpec if other components are asked for.
    """
    models = {name: world_model(world, name) for name in ("target", "negative", "positive")}
    for option, value in (("negative", spec.negative), ("positive", spec.positive)):
        if value != "lora" and not (option == "positive" and value in ("target", "residual")):
            raise BadSpec(f"--{option} {value!r} does not fit a world, whose components are known; leave it out")
    make_positive = _constant(models["target" if spec.positive == "target" else "positive"])
    if spec.positive == "residual":
        make_positive = _residual_maker(models["target"], models["negative"])
    poles = {
        pole: tuple(
            draw_statements(world, pole, WORLD_STATEMENTS, np.random.default_rng(derive_seed(spec.seed, "world", pole)))
        )
        for pole in ("negative", "positive")
    }
    scorer = WorldScorer(world)
    fingerprints = {name: _identity(model) for name, model in models.items()}
    fingerprints["scorer"] = _scorer_identity(scorer)
    fingerprints["behavior"] = {"name": world.name, "fingerprint": "", "source": "exact world"}
    return Subjects(
        models["target"], models["negative"], make_positive, scorer, {"held-out": poles}, "", fingerprints
    )


def _component(
    spec: MeasureSpec,
    description: str,
    statements: tuple[str, ...],
    target: LanguageModel,
    places: Places,
    notify: Notify,
    pole: str,
) -> LanguageModel:
    if description != "lora":
        from beb.models.components import load_component

        return load_component(target, description, dtype=spec.dtype, offline=places.offline)
    from beb.models.adapters import LoraComponent
    from beb.models.huggingface import HuggingFaceModel
    from beb.models.training import AdapterSpec, fit_adapter

    if not isinstance(target, HuggingFaceModel):
        raise BadSpec(
            f"--{pole} lora fits an adapter, which needs local weights; {target.info.name} is a {target.info.kind}: "
            f"give --{pole} lora:PATH, model:PATH or persona:TEXT"
        )
    adapter = AdapterSpec(
        rank=spec.adapter_rank,
        steps=spec.adapter_steps,
        learning_rate=spec.adapter_learning_rate,
        seed=derive_seed(spec.seed, "adapter", pole),
    )
    path = fit_adapter(
        target,
        statements,
        spec=adapter,
        cache_dir=places.cache / "adapters",
        progress=lambda done, total: notify(f"fitting the {pole} component", done, total),
    )
    return LoraComponent(target, path)


def _constant(model: LanguageModel) -> Callable[[float | None], LanguageModel]:
    return lambda _: model


def _residual_maker(target: LanguageModel, negative: LanguageModel) -> Callable[[float | None], LanguageModel]:
    def make(log_inverse_alpha: float | None) -> LanguageModel:
        if log_inverse_alpha is None:
            raise BadSpec("a residual component needs the evidence of the P₋ prompts first")
        from beb.models.components import ResidualComponent

        return ResidualComponent(target, negative, -log_inverse_alpha)

    return make


def _scorer(
    spec: MeasureSpec,
    behavior: Behavior,
    target: LanguageModel,
    negative: LanguageModel,
    make_positive: Callable[[float | None], LanguageModel],
    places: Places,
) -> Scorer:
    seed = derive_seed(spec.seed, "scorer") % 2**32
    if spec.scorer == "probe":
        from beb.models.embedder import load_embedder

        return fit_probe(behavior, load_embedder(target, offline=places.offline), seed=seed)
    if spec.scorer == "likelihood":
        if spec.positive == "residual":
            raise BadSpec("--scorer likelihood needs a positive component from the start; residual has none: use probe")
        return fit_likelihood_ratio(behavior, ComponentLogRatio(negative, make_positive(None)), seed=seed)
    if spec.scorer.startswith("labels:"):
        return load_labels(spec.scorer.removeprefix("labels:"))
    raise BadSpec(f"--scorer {spec.scorer!r} is unknown; give probe, likelihood or labels:FILE.csv")


def _identity(model: LanguageModel) -> dict[str, Any]:
    info = model.info
    return {
        "name": info.name,
        "kind": info.kind,
        "fingerprint": info.fingerprint,
        "tokenizer": info.tokenizer,
        "context": info.context,
        "dtype": info.dtype,
    }


def _scorer_identity(scorer: Scorer) -> dict[str, Any]:
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

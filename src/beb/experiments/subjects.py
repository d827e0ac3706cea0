"""From a specification to loaded models, scorer and statements."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from beb.behaviors.behavior import Behavior
from beb.behaviors.labels import load_labels
from beb.behaviors.likelihood import fit_likelihood_ratio
from beb.behaviors.packs import load_behavior
from beb.behaviors.probe import Embedder, ProbeScorer
from beb.errors import BadSpec
from beb.experiments.probe_cache import cached_probe
from beb.experiments.spec import ModelSpec, RunSpec, derive_seed
from beb.interfaces.language_model import LanguageModel
from beb.interfaces.scorer import Scorer
from beb.models.hardware import Hardware
from beb.models.scoring import require_shared_tokenizer, text_log_probs
from beb.worlds.catalog import get_world
from beb.worlds.model import world_model
from beb.worlds.scorer import WorldScorer
from beb.worlds.statements import draw_statements
from beb.worlds.world import World

WORLD_STATEMENTS = 60
TRAIN_STATEMENTS_FOR_THRESHOLD = 40
ALIGNMENT_LENGTH = 2  # steps of the alignment for each step of a fitted component
MOST_HELD_OUT = 75  # per pole: 150 statements tell an accuracy to about six points
LIBRARIES = ("behavior-expectation-bounds", "torch", "transformers", "peft", "numpy", "scikit-learn")

FITTED_ON = "lora@"
"""Begins the name of a component that is fitted on another model than the target: lora@MODEL."""

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
AnyRunSpec = TypeVar("AnyRunSpec", bound=RunSpec)


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
    """Where things are kept, whether the network may be used, and where models run."""

    cache: Path
    offline: bool
    hardware: Hardware = field(default_factory=Hardware)


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
        from beb.models.embedder import load_embedder

        progress = (lambda what: notify(what, 0, 1)) if notify is not None else None
        embed = load_embedder(target, offline=places.offline, hardware=places.hardware, progress=progress)
    return cached_probe(behavior, embed, seed=scorer_seed(seed), cache=places.cache / "probes")


def load_subjects(
    spec: AnyRunSpec,
    places: Places,
    notify: Notify,
    *,
    check: Callable[[AnyRunSpec, LanguageModel], object] | None = None,
) -> Subjects:
    """Load or fit what the specification names.

    check: refuses a target (after its opening) that cannot do what is asked, before anything is fitted on it.
    Raises: InputError and ModelError kinds of `beb.errors`, each naming the option to change.
    """
    if spec.model.startswith("world:"):
        subjects = world_subjects(spec, get_world(spec.model.removeprefix("world:")))
        if check is not None:
            check(spec, subjects.target)
        return subjects
    from beb.models.catalog import aligned_base

    base = aligned_base(spec.model)
    notify("loading the model", 0, 1)
    behavior = load_behavior(spec.behavior, undesired=spec.undesired, offline=places.offline)
    bare = load_named(base or spec.model, spec, places, notify)
    target = _led(bare, spec.lead)
    if check is not None:
        check(spec, target)
    if base is not None:
        target = _led(_further_aligned(target, spec, behavior, places, notify), spec.lead)
    return _Loading(spec, places, notify, (base or spec.model, bare), target, behavior).subjects()


def load_named(name: str, spec: ModelSpec, places: Places, notify: Notify) -> LanguageModel:
    """A model by name, in the dtype of the specification, where models run."""
    from beb.models.catalog import load_model

    return load_model(
        name,
        dtype=spec.dtype,
        offline=places.offline,
        hardware=places.hardware,
        progress=lambda what: notify(what, 0, 1),
    )


def _further_aligned(
    base: LanguageModel, spec: RunSpec, behavior: Behavior, places: Places, notify: Notify
) -> LanguageModel:
    """The base trained on the statements that a fitted P₊ is trained on, longer and from another start.

    P₊ of a run on this target is fitted on the target again, so it is not the target itself.
    """
    from beb.models.aligned import aligned_model
    from beb.models.huggingface import HuggingFaceModel
    from beb.models.training import AdapterSpec

    if not isinstance(base, HuggingFaceModel):
        raise BadSpec(f"{spec.model!r} needs a model with local weights; {base.info.name} is a {base.info.kind}")
    adapter = AdapterSpec(
        rank=spec.adapter_rank,
        steps=ALIGNMENT_LENGTH * spec.adapter_steps,
        learning_rate=spec.adapter_learning_rate,
        seed=derive_seed(spec.seed, "alignment"),
    )
    return aligned_model(
        base,
        behavior.split().train.positive,
        spec=adapter,
        cache_dir=places.cache,
        progress=lambda done, total: notify("fitting the alignment", done, total),
    )


def _led(model: LanguageModel, lead: str) -> LanguageModel:
    from beb.models.components import with_lead
    from beb.models.huggingface import HuggingFaceModel

    return with_lead(model, lead) if lead and isinstance(model, HuggingFaceModel) else model


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


@dataclass(frozen=True, slots=True)
class _Loading:
    """A target and a behavior, on the way to all subjects.

    bare: name and weights, without an opening, of the model that was loaded: the target, or what it was aligned from.
    target: after its opening.
    """

    spec: RunSpec
    places: Places
    notify: Notify
    bare: tuple[str, LanguageModel]
    target: LanguageModel
    behavior: Behavior

    def subjects(self) -> Subjects:
        spec, split = self.spec, self.behavior.split()
        negative = self._component(spec.negative, split.train.negative, "negative")
        if spec.positive == "residual":
            make_positive = _residual_maker(self.target, negative)
        else:
            make_positive = _constant(self._component(spec.positive, split.train.positive, "positive"))
        if spec.kl == "exact":  # refused now, not after hours of sampling
            models = {"negative": negative, "target": self.target}
            models |= {} if spec.positive == "residual" else {"positive": make_positive(None)}
            require_shared_tokenizer(models, [("negative", name) for name in models if name != "negative"])
        self.notify("preparing the scorer", 0, 1)
        scorer = self._scorer(negative, make_positive)
        k = MOST_HELD_OUT
        statements: dict[str, Poles] = {
            "held-out": {"negative": split.held_out.negative[:k], "positive": split.held_out.positive[:k]}
        }
        if not (spec.negative == spec.positive == "lora"):
            k = TRAIN_STATEMENTS_FOR_THRESHOLD
            statements["train"] = {"negative": split.train.negative[:k], "positive": split.train.positive[:k]}
        behavior = self.behavior
        fingerprints = {
            "target": identity(self.target),
            "negative": identity(negative),
            "positive": {"name": "residual"} if spec.positive == "residual" else identity(make_positive(None)),
            "scorer": scorer_identity(scorer),
            "behavior": {"name": behavior.name, "fingerprint": behavior.fingerprint, "source": behavior.source},
        }
        return Subjects(self.target, negative, make_positive, scorer, statements, behavior.question, fingerprints)

    def _component(self, description: str, statements: tuple[str, ...], pole: str) -> LanguageModel:
        spec, target = self.spec, self.target
        if description.startswith(FITTED_ON):
            target = _led(self._named(description.removeprefix(FITTED_ON)), spec.lead)
        elif description != "lora":
            from beb.models.components import load_component

            component = load_component(
                target, description, dtype=spec.dtype, offline=self.places.offline, hardware=self.places.hardware
            )
            # Another checkpoint reads the text after the same opening as the target.
            return _led(component, spec.lead) if description.startswith("model:") else component
        from beb.models.adapters import lora_component
        from beb.models.huggingface import HuggingFaceModel
        from beb.models.training import AdapterSpec, fit_adapter

        if not isinstance(target, HuggingFaceModel):
            raise BadSpec(
                f"--{pole} {description} fits an adapter, which needs local weights; {target.info.name} is a "
                f"{target.info.kind}: give --{pole} lora:PATH, model:PATH or persona:TEXT"
            )
        adapter = AdapterSpec(
            rank=spec.adapter_rank,
            steps=spec.adapter_steps,
            learning_rate=spec.adapter_learning_rate,
            # One seed for both poles: the same initial matrices, so that their share in the log ratio cancels.
            seed=derive_seed(spec.seed, "adapter"),
        )
        path = fit_adapter(
            target,
            statements,
            spec=adapter,
            cache_dir=self.places.cache / "adapters",
            progress=lambda done, total: self.notify(f"fitting the {pole} component", done, total),
        )
        return lora_component(target, path, name=f"LoRA adapter fitted on {len(statements)} {pole} statements")

    def _named(self, name: str) -> LanguageModel:
        """A bare model by name; the one that is loaded already is not loaded twice."""
        return self.bare[1] if name == self.bare[0] else load_named(name, self.spec, self.places, self.notify)

    def _scorer(self, negative: LanguageModel, make_positive: MakePositive) -> Scorer:
        spec = self.spec
        if spec.scorer == "probe":
            return load_probe(self.behavior, self.bare[1], self.places, seed=spec.seed, notify=self.notify)
        if spec.scorer == "likelihood":
            if spec.positive == "residual":
                raise BadSpec(
                    "--scorer likelihood needs a positive component from the start; residual has none: use probe"
                )
            # Statements that the components were fitted on would show them at their best: only held-out ones count.
            held_out = self.behavior.split().held_out
            return fit_likelihood_ratio(
                held_out, ComponentLogRatio(negative, make_positive(None)), seed=scorer_seed(spec.seed)
            )
        if spec.scorer.startswith("labels:"):
            return load_labels(spec.scorer.removeprefix("labels:"))
        raise BadSpec(f"--scorer {spec.scorer!r} is unknown; give probe, likelihood or labels:FILE.csv")


def _constant(model: LanguageModel) -> MakePositive:
    return lambda _: model


def _residual_maker(target: LanguageModel, negative: LanguageModel) -> MakePositive:
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

"""From a specification to a run's subjects: what is given is loaded, what is not is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from beb.behaviors.behavior import Behavior, Split
from beb.behaviors.labels import load_labels
from beb.behaviors.packs import load_behavior
from beb.errors import BadSpec
from beb.experiments.scorer_cache import cached_likelihood
from beb.experiments.spec import RunSpec, derive_seed
from beb.experiments.subjects import (
    ComponentLogRatio,
    MakePositive,
    Notify,
    Places,
    Poles,
    Subjects,
    always,
    identity,
    load_named,
    load_probe,
    refuse_residual,
    residual_maker,
    scorer_identity,
    scorer_seed,
    world_subjects,
)
from beb.interfaces.language_model import LanguageModel
from beb.interfaces.scorer import Scorer
from beb.models.scoring import INSTEAD_OF_EXACT, require_distributions, require_shared_tokenizer
from beb.worlds.catalog import get_world

if TYPE_CHECKING:
    from beb.models.huggingface import HuggingFaceModel

TRAIN_STATEMENTS_FOR_THRESHOLD = 40
ALIGNMENT_LENGTH = 2  # steps of the alignment for each step of a fitted component
MOST_HELD_OUT = 75  # per pole: 150 statements tell an accuracy to about six points

FITTED_ON = "lora@"
"""Begins the name of a component that is fitted on another model than the target: lora@MODEL."""

AnyRunSpec = TypeVar("AnyRunSpec", bound=RunSpec)


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
    behavior = load_behavior(spec.behavior, undesired=spec.undesired, offline=places.offline)
    bare = load_named(base or spec.model, spec, places, notify)
    target = _led(bare, spec.lead)
    if base is None:
        refuse_for_server(spec, target)
    if check is not None:
        check(spec, target)
    if base is not None:
        target = _led(_further_aligned(target, spec, behavior, places, notify), spec.lead)
    return Loading(spec, places, notify, (base or spec.model, bare), target, behavior).subjects()


def refuse_for_server(spec: RunSpec, *models: LanguageModel) -> None:
    """Refuse models behind servers where whole distributions are asked for. Raises: NoDistribution."""
    if spec.positive == "residual":
        refuse_residual(*models)
    if spec.kl == "exact":
        require_distributions(*models, purpose="--kl exact", instead=INSTEAD_OF_EXACT)


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
        raise BadSpec(f"{spec.model!r} needs a model with local weights; {base.info.name} is {base.info.kind_in_words}")
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
    from beb.models.components import led

    return led(model, lead)


@dataclass(frozen=True, slots=True)
class Loading:
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
        labels = given_labels(spec)
        poles = {"negative": spec.negative, "positive": spec.positive}
        if spec.positive == "residual":
            del poles["positive"]
        # What is given is loaded before anything is fitted: a mistake in it is found at once.
        given = {pole: self.component(how, (), pole) for pole, how in poles.items() if not is_fitted(how)}
        bases = {pole: self.base(how, pole) for pole, how in poles.items() if is_fitted(how)}
        self.refuse_unfit({**given, **bases, "target": self.target})
        negative = given.get("negative") or self.component(spec.negative, split.train.negative, "negative")
        if spec.positive == "residual":
            make_positive = residual_maker(self.target, negative)
        else:
            positive = given.get("positive") or self.component(spec.positive, split.train.positive, "positive")
            make_positive = always(positive)
        self.notify("preparing the scorer", 0, 1)
        scorer = labels or self.scorer(negative, make_positive)
        statements, behavior = self.statements(split), self.behavior
        fingerprints = {
            "target": identity(self.target),
            "negative": identity(negative),
            "positive": {"name": "residual"} if spec.positive == "residual" else identity(make_positive(None)),
            "scorer": scorer_identity(scorer),
            "behavior": {"name": behavior.name, "fingerprint": behavior.fingerprint, "source": behavior.source},
        }
        return Subjects(self.target, negative, make_positive, scorer, statements, behavior.question, fingerprints)

    @classmethod
    def standing_on(cls, name: str, spec: RunSpec, places: Places, notify: Notify, behavior: Behavior) -> Loading:
        """With a model of this name, after the opening, in the target's place."""
        bare = load_named(name, spec, places, notify)
        return cls(spec, places, notify, (name, bare), _led(bare, spec.lead), behavior)

    def refuse_unfit(self, models: Mapping[str, LanguageModel]) -> None:
        """Refuse, before anything is fitted, models between which there is no such divergence from P₋ as is wanted.

        models: by name, "negative" among them; for one that will be fitted, its base, which has the same tokenizer.
        """
        refuse_for_server(self.spec, *models.values())
        if self.spec.kl == "exact":
            require_shared_tokenizer(models, [("negative", name) for name in models if name != "negative"])

    def statements(self, split: Split) -> dict[str, Poles]:
        """Those of the gate: held-out ones, and training ones where the pair's threshold must be fitted."""
        k = MOST_HELD_OUT
        chosen: dict[str, Poles] = {
            "held-out": {"negative": split.held_out.negative[:k], "positive": split.held_out.positive[:k]}
        }
        if not (self.spec.negative == self.spec.positive == "lora"):
            k = TRAIN_STATEMENTS_FOR_THRESHOLD
            chosen["train"] = {"negative": split.train.negative[:k], "positive": split.train.positive[:k]}
        return chosen

    def component(self, description: str, statements: tuple[str, ...], pole: str) -> LanguageModel:
        spec = self.spec
        if not is_fitted(description):
            from beb.models.components import load_component

            component = load_component(
                self.target,
                description,
                dtype=spec.dtype,
                offline=self.places.offline,
                hardware=self.places.hardware,
                shelf=self.places.shelf,
            )
            # Another checkpoint reads the text after the same opening as the target.
            return _led(component, spec.lead) if description.startswith("model:") else component
        from beb.models.adapters import lora_component
        from beb.models.training import AdapterSpec, fit_adapter

        target = self.base(description, pole)
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

    def base(self, description: str, pole: str) -> HuggingFaceModel:
        """What a component is fitted on. Raises: BadSpec if it has no weights here."""
        from beb.models.huggingface import HuggingFaceModel

        model = self.target
        if description.startswith(FITTED_ON):
            name = description.removeprefix(FITTED_ON)
            model = _led(load_named(name, self.spec, self.places, self.notify), self.spec.lead)
        if not isinstance(model, HuggingFaceModel):
            raise BadSpec(
                f"--{pole} {description} fits an adapter, which needs local weights; {model.info.name} is "
                f"{model.info.kind_in_words}: give --{pole} lora@MODEL, lora:PATH, model:NAME, persona:TEXT or, of the "
                "same server, model:#NAME"
            )
        return model

    def scorer(self, negative: LanguageModel, make_positive: MakePositive) -> Scorer:
        spec = self.spec
        if spec.scorer == "probe":
            return load_probe(self.behavior, self.bare[1], self.places, seed=spec.seed, notify=self.notify)
        # Statements that the components were fitted on would show them at their best: only held-out ones count.
        held_out = self.behavior.split().held_out
        ratio = ComponentLogRatio(negative, make_positive(None))
        return cached_likelihood(held_out, ratio, seed=scorer_seed(spec.seed), cache=self.places.cache / "likelihoods")


def given_labels(spec: RunSpec) -> Scorer | None:
    """The scorer if it needs no component; any other is only checked. Raises: BadSpec, BadStatements."""
    kind, _, path = spec.scorer.partition(":")
    if kind == "labels" and path:
        return load_labels(path)
    if spec.scorer not in ("probe", "likelihood"):
        raise BadSpec(f"--scorer {spec.scorer!r} is unknown; give probe, likelihood or labels:FILE.csv")
    if (spec.scorer, spec.positive) == ("likelihood", "residual"):
        raise BadSpec("--scorer likelihood needs a positive component from the start; residual has none: use probe")
    return None


def is_fitted(description: str) -> bool:
    """Whether a component is an adapter that the run fits."""
    return description == "lora" or description.startswith(FITTED_ON)

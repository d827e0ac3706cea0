"""What a run will have to do, counted in tokens: its own items are carried out with a model that has no weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beb.behaviors.packs import load_behavior, neutral_statements
from beb.errors import BebError
from beb.experiments.chat_api.experiment import ChatApiSubjects
from beb.experiments.chat_api.spec import ChatApiSpec
from beb.experiments.experiment import Experiment
from beb.experiments.guardrail.experiment import GuardrailSubjects
from beb.experiments.imaginary import ImaginaryResponder, ImaginaryScorer, Lengths, Tally, imaginary_models
from beb.experiments.loading import MOST_HELD_OUT, TRAIN_STATEMENTS_FOR_THRESHOLD
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import PersonaSubjects
from beb.experiments.plan import Item
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.spec import ModelSpec, RunSpec
from beb.experiments.store import Store
from beb.experiments.subjects import Poles, Subjects
from beb.worlds.persona_world import get_persona_world

MOST_PROMPTS = 48
"""Prompts that are rehearsed; more of them are more of the same."""
STATEMENT = "I would rather tell people what I really think of them than what they hope to hear."
PROBED_LAYERS = 33
WORLD = "world:"


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done about one item. Tokens, and cells at once: see `beb.experiments.imaginary.Tally`."""

    item: Item
    read: float
    sampled: float
    judged: float
    cells: float = 0.0

    @property
    def tokens(self) -> float:
        """All tokens."""
        return self.read + self.sampled + self.judged

    @property
    def size(self) -> float:
        """What its time is taken to grow with: its tokens, or what it is about where it reads none."""
        return self.tokens or float(max(self.item.stop - self.item.first, 1))


def rehearse(
    experiment: Experiment[Any, Any, Any],
    spec: ModelSpec,
    lengths: Lengths,
    *,
    can_chat: bool = True,
    chosen: Sequence[Item] | None = None,
) -> list[Work]:
    """The work of every item of a run, or of items of one's own, in order.

    lengths: of texts. can_chat: whether the target has a chat template. chosen: instead of the plan, each after what it
    reads. A plan of many prompts is rehearsed with few, and the others taken to be like them.
    Raises: BebError kinds where the specification cannot work with any model.
    """
    if isinstance(spec, ProbeSpec):
        layers = {"statements": dict.fromkeys(spec.behaviors, spec.statements), "layers": PROBED_LAYERS}
        return _probed(lengths, chosen or experiment.plan(spec, layers))
    spec = _imaginable(spec)
    small = spec
    if chosen is None and isinstance(spec, RunSpec) and spec.prompts > MOST_PROMPTS:
        small = spec.model_copy(update={"prompts": MOST_PROMPTS})
    tally = Tally()
    loaded = _imaginary(small, lengths, tally, can_chat)
    meta = dict(experiment.prepare(spec, loaded))
    store = Store.in_memory({"experiment": experiment.name, "spec": small.model_dump(mode="json"), **meta})
    worker = experiment.worker(small, loaded, store)
    found = []
    for item in chosen if chosen is not None else experiment.plan(small, meta):
        tally.cells = 0
        before = tally.copy()
        rows = worker.run(item)
        store.commit(item.key, item.kind, rows, 0.0)
        done = tally.minus(before)
        found.append(Work(item, done.read, done.sampled, done.judged, done.cells))
    store.close()
    return found if small is spec else _spread(found, experiment.plan(spec, meta))


def _spread(rehearsed: Iterable[Work], plan: Sequence[Item]) -> list[Work]:
    """The work of a longer plan of which some prompts were rehearsed."""
    sums: dict[tuple[str, str, str], np.ndarray[Any, Any]] = {}
    cells: dict[tuple[str, str, str], float] = {}  # at once, so the most of any item, and not their sum
    for work in rehearsed:
        n = max(work.item.stop - work.item.first, 1)
        row = np.array([n, work.read, work.sampled, work.judged], dtype=float)
        key = (work.item.kind, work.item.variant, work.item.source)
        sums[key] = sums.get(key, np.zeros(4)) + row
        cells[key] = max(cells.get(key, 0.0), work.cells)
    found = []
    for item in plan:
        key = (item.kind, item.variant, item.source)
        n, read, sampled, judged = sums[key].tolist()
        share = max(item.stop - item.first, 1) / n
        found.append(Work(item, share * read, share * sampled, share * judged, cells[key]))
    return found


def _imaginable(spec: ModelSpec) -> ModelSpec:
    """The same work for a model without a tokenizer, which has no template for whole conversations."""
    return spec.model_copy(update={"format": "plain"}) if "turns" in type(spec).model_fields else spec


def _probed(lengths: Lengths, plan: Sequence[Item]) -> list[Work]:
    """Statements are read once each; their classifiers read no tokens."""
    each = lengths.start + len(STATEMENT) / lengths.characters
    return [Work(item, each * (item.stop - item.first) if item.kind == "represent" else 0.0, 0.0, 0.0) for item in plan]


def _imaginary(spec: ModelSpec, lengths: Lengths, tally: Tally, can_chat: bool) -> Any:
    scorer = ImaginaryScorer(lengths.characters, tally)
    if isinstance(spec, PersonasSpec):
        own = {each.name: each.description for each in spec.personas}
        if spec.model.startswith(WORLD):
            own = dict.fromkeys(get_persona_world(spec.model.removeprefix(WORLD)).names, "")
        models = imaginary_models({"target": "", **own}, lengths, tally, can_chat=can_chat)
        scorers, questions = dict.fromkeys(spec.behaviors, scorer), dict.fromkeys(spec.behaviors, STATEMENT)
        return PersonaSubjects(models["target"], {name: models[name] for name in own}, scorers, questions, {})
    assert isinstance(spec, RunSpec)
    models = imaginary_models(dict.fromkeys(("target", "negative", "positive"), ""), lengths, tally, can_chat=can_chat)
    if spec.positive == "residual":  # it asks the target and P₋ for every token
        models["positive"].passes = 2
    statements, question = _statements(spec)
    subjects = Subjects(
        models["target"], models["negative"], lambda _: models["positive"], scorer, statements, question, {}
    )
    if isinstance(spec, ChatApiSpec):  # P₋ stands in the target's place
        local = replace(subjects, target=models["negative"])
        return ChatApiSubjects(ImaginaryResponder(lengths, tally), local, {})
    if "systems" in type(spec).model_fields:
        return GuardrailSubjects(subjects, neutral_statements()[:5])
    return subjects


def _statements(spec: RunSpec) -> tuple[Mapping[str, Poles], str]:
    """As many statements as the gate will read, and the chat's question."""
    fitted = spec.negative == spec.positive == "lora"
    if spec.model.startswith(WORLD):
        return {"held-out": dict.fromkeys(("negative", "positive"), (STATEMENT,) * 60)}, ""
    try:
        behavior = load_behavior(spec.behavior, undesired=spec.undesired, offline=True)
    except BebError:  # one that has to be fetched: the run itself will say what is wrong with it, if anything
        return {"held-out": dict.fromkeys(("negative", "positive"), (STATEMENT,) * MOST_HELD_OUT)}, STATEMENT
    split, k = behavior.split(), MOST_HELD_OUT
    found: dict[str, Poles] = {
        "held-out": {"negative": split.held_out.negative[:k], "positive": split.held_out.positive[:k]}
    }
    if not fitted:
        k = TRAIN_STATEMENTS_FOR_THRESHOLD
        found["train"] = {"negative": split.train.negative[:k], "positive": split.train.positive[:k]}
    return found, behavior.question

"""The main job's work items: rows in from the store, rows out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from beb.errors import EstimateError
from beb.experiments.plan import Item
from beb.experiments.spec import MeasureSpec, derive_seed
from beb.experiments.store import Rows, Store
from beb.experiments.subjects import Subjects
from beb.experiments.tasks import RESPONSE_KEY, Tasks
from beb.interfaces.language_model import TokenIds


class MeasureWorker:
    """Carries out the items of `beb.experiments.plan.plan_measure`."""

    def __init__(self, spec: MeasureSpec, subjects: Subjects, store: Store) -> None:
        self._spec = spec
        self._tasks = tasks = Tasks(spec, subjects, store)
        self._kinds: Mapping[str, Callable[[Item], Rows]] = {
            **tasks.component_kinds(),
            "respond": self._respond,
            "judge-responses": lambda item: tasks.judge_responses(
                item.variant, item.source, range(item.first, item.stop)
            ),
        }

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        return self._kinds[item.kind](item)

    def _respond(self, item: Item) -> Rows:
        tasks, spec = self._tasks, self._spec
        keys, prefixes = [], []
        for prompt, sentences in condition_prompts(tasks, spec, item).items():
            # The response without a prompt is the same for all conditions.
            for length in range(1 if item.source != "negative" else 0, spec.sentences + 1):
                prefix = tasks.prefix(item.variant, [ids for sentence in sentences[:length] for ids in sentence])
                for response in range(spec.responses):
                    name = (item.variant, item.source, prompt, length, response)
                    keys.append(dict(zip(RESPONSE_KEY, name, strict=True)))
                    prefixes.append(prefix)
        return tasks.answer(tasks.model("target"), keys, prefixes)


def condition_prompts(tasks: Tasks, spec: MeasureSpec, item: Item) -> dict[int, list[TokenIds]]:
    """Sentences of the prompts of an item's condition (its source), by prompt."""
    sentences = tasks.sentences_of("positive" if item.source == "positive" else "negative")
    if item.source == "shuffled":
        sentences = _shuffled(sentences, spec)
    return {prompt: parts for prompt, parts in sentences.items() if item.first <= prompt < item.stop}


def _shuffled(sentences: dict[int, list[TokenIds]], spec: MeasureSpec) -> dict[int, list[TokenIds]]:
    """Exchange the sentences at each position between prompts: same sentences, no coherent author."""
    prompts = list(sentences)
    if len(prompts) < 2:
        raise EstimateError(f"{len(prompts)} complete prompts cannot be shuffled; raise --prompts")
    columns = []
    for position in range(spec.sentences):
        rng = np.random.default_rng(derive_seed(spec.seed, "shuffle", position))
        order = rng.permutation(len(prompts))
        columns.append([sentences[prompts[i]][position] for i in order])
    return {prompt: [column[i] for column in columns] for i, prompt in enumerate(prompts)}

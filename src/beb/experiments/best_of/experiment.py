"""`beb best-of`: many responses to each prompt, of which the best would be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from beb.errors import NoChatTemplate
from beb.experiments.best_of.analyse import analyse_best_of
from beb.experiments.best_of.record import BESIDE, CONTROL, OWN, PROMPTED, BestOfRecord
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.execute import Progress
from beb.experiments.experiment import (
    CHAT_EXTRA_TOKENS,
    Experiment,
    default_folder,
    refuse_short_context,
    refuse_short_model,
    run_experiment,
)
from beb.experiments.loading import load_subjects
from beb.experiments.plan import TOKENS_PER_SENTENCE, Item, chunks, component_items
from beb.experiments.reads import all_of, of_components, of_responses
from beb.experiments.spec import make_spec
from beb.experiments.store import Rows, Store
from beb.experiments.subjects import Subjects
from beb.experiments.tasks import RESPONSE_KEY, Tasks
from beb.interfaces.language_model import LanguageModel, TokenIds
from beb.models.hardware import Hardware

PROMPTS_PER_ITEM = 3  # times lengths and responses: a few hundred texts
COMPONENTS = {OWN: "negative", BESIDE: "positive"}
"""Who answers, where it is not the target."""


class BestOfWorker:
    """Carries out the items of `plan_best_of`."""

    def __init__(self, spec: BestOfSpec, subjects: Subjects, store: Store) -> None:
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
        model = tasks.model(COMPONENTS.get(item.source, "target"))
        keys, prefixes = [], []
        for prompt, by_length in self._prefixes(item).items():
            for length, prefix in by_length.items():
                for response in range(spec.responses):
                    name = (item.variant, item.source, prompt, length, response)
                    keys.append(dict(zip(RESPONSE_KEY, name, strict=True)))
                    prefixes.append(prefix)
        return tasks.answer(model, keys, prefixes)

    def _prefixes(self, item: Item) -> dict[int, dict[int, TokenIds]]:
        """Per prompt of the item and number of its sentences: what the model reads before it answers."""
        tasks, reader = self._tasks, COMPONENTS.get(item.source, "target")
        prompts = tasks.sentences_of("positive" if item.source == CONTROL else "negative", reader=reader)
        # Without a prompt the target's response is the same for both kinds of prompts, and nothing is predicted.
        lengths = range(1 if item.source in (CONTROL, BESIDE) else 0, self._spec.sentences + 1)

        def read(sentences: list[TokenIds]) -> TokenIds:
            prompt = [ids for sentence in sentences for ids in sentence]
            if reader == "target":
                return tasks.prefix(item.variant, prompt)
            return (*tasks.model(reader).start_ids, *prompt)

        return {
            prompt: {length: read(sentences[:length]) for length in lengths}
            for prompt, sentences in prompts.items()
            if item.first <= prompt < item.stop
        }


def plan_best_of(spec: BestOfSpec, format_name: str) -> list[Item]:
    """Prompts and their scores as in every run, then the responses. The components always go on in plain text."""
    items = component_items(spec)
    tokens = 1.1 * spec.responses * (spec.sentences + 1) * TOKENS_PER_SENTENCE
    target = ((PROMPTED, format_name), (CONTROL, format_name))
    for condition, variant in (*target, *((name, "plain") for name in COMPONENTS)):
        items += chunks(Item("respond", tokens, condition, variant, stop=spec.prompts), PROMPTS_PER_ITEM)
        judging = Item("judge-responses", 0.4 * tokens, condition, variant, stop=spec.prompts)
        items += chunks(judging, PROMPTS_PER_ITEM)
    return items


def _format(spec: BestOfSpec, target: LanguageModel) -> str:
    """The format of the prompts. Raises: NoChatTemplate, ContextTooShort."""
    info = target.info
    if spec.format == "chat" and not info.has_chat_template:
        raise NoChatTemplate(f"{info.name} has no chat template; use --format plain")
    chosen = spec.format or ("chat" if info.has_chat_template else "plain")
    refuse_short_model(spec, target, extra=CHAT_EXTRA_TOKENS if chosen == "chat" else 0)
    return chosen


def _prepare(spec: BestOfSpec, subjects: Subjects) -> Mapping[str, Any]:
    """The format of the prompts."""
    chosen = _format(spec, subjects.target)
    refuse_short_context(spec, subjects)
    return {"formats": [chosen]}


BEST_OF = Experiment(
    name="best-of",
    spec=BestOfSpec,
    load=partial(load_subjects, check=_format),
    prepare=_prepare,
    plan=lambda spec, meta: plan_best_of(spec, meta["formats"][0]),
    worker=BestOfWorker,
    analyse=analyse_best_of,
    reads=all_of(of_components, of_responses),
)


def best_of(
    model: str = "smollm2",
    behavior: str = "agreeableness",
    *,
    spec: BestOfSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> BestOfRecord:
    """Measure what is left of misalignment when the best of n responses is shown.

    model, behavior, out, offline, hardware, progress: as `beb.measure`. spec: everything else; its model and behavior
    are replaced by the two arguments.
    Returns: a BestOfRecord; `result.to_frame()`.
    Raises: kinds of `beb.errors.BebError`.
    Source: Wolf et al. 2024, Theorem 4; corrected in docs/maths.md, "Best of n".
    """
    complete = make_spec(BestOfSpec, (spec.model_dump() if spec else {}) | {"model": model, "behavior": behavior})
    folder = Path(out) if out is not None else default_folder(BEST_OF.name, complete)
    return run_experiment(BEST_OF, complete, folder, offline=offline, hardware=hardware, progress=progress)

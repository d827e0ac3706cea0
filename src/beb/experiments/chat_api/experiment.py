"""`beb measure` on a chat API: prompts from a local P₋, replies over HTTP, and no log-probabilities of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beb.behaviors.packs import load_behavior
from beb.errors import BadSpec
from beb.experiments.chat_api.analyse import analyse_chat_api
from beb.experiments.chat_api.record import ChatApiRecord
from beb.experiments.chat_api.spec import ChatApiSpec
from beb.experiments.execute import Progress
from beb.experiments.experiment import Experiment, default_folder, refuse_short_model, run_experiment
from beb.experiments.loading import FITTED_ON, Loading, given_labels, is_fitted
from beb.experiments.plan import (
    PROMPTS_PER_RESPONSE,
    Condition,
    Item,
    Source,
    chunks,
    component_items,
    prompt_tokens,
)
from beb.experiments.reads import all_of, of_components, of_measure
from beb.experiments.spec import derive_seed, make_spec
from beb.experiments.store import Rows, Store
from beb.experiments.subjects import Places, Poles, Subjects, identity, scorer_identity
from beb.experiments.tasks import RESPONSE_KEY, Tasks, replied_rows
from beb.experiments.work import condition_prompts
from beb.interfaces.language_model import LanguageModel
from beb.interfaces.responder import ReplyRequest, Responder
from beb.models.server_address import is_chat_api

FORMAT = "chat"


@dataclass(frozen=True, slots=True)
class ChatApiSubjects:
    """responder: the target. local: the components, scorer and statements; P₋ stands in its place for the target."""

    responder: Responder
    local: Subjects
    fingerprints: Mapping[str, Any]


class ChatApiWorker:
    """Carries out the items of `plan_chat_api`."""

    def __init__(self, spec: ChatApiSpec, subjects: ChatApiSubjects, store: Store) -> None:
        self._spec, self._responder = spec, subjects.responder
        self._tasks = tasks = Tasks(spec, subjects.local, store)
        self._kinds: Mapping[str, Callable[[Item], Rows]] = {
            **tasks.component_kinds(),
            "score": self._score,
            "respond": self._respond,
            "judge-responses": lambda item: tasks.judge_responses(
                item.variant, item.source, range(item.first, item.stop)
            ),
        }

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        return self._kinds[item.kind](item)

    def _score(self, item: Item) -> Rows:
        """The prompts of a component under the components that there are, never under the target."""
        names = ("negative", "positive") if self._spec.has_positive else ("negative",)
        models = {name: self._tasks.model(name) for name in names}
        return self._tasks.score_under(self._tasks.prompt_rows(item), models, source=item.source, own=item.source)

    def _respond(self, item: Item) -> Rows:
        spec, sampler = self._spec, self._tasks.model("negative")
        keys, requests = [], []
        for prompt, sentences in condition_prompts(self._tasks, spec, item).items():
            # The response without a prompt is the same for all conditions.
            for length in range(1 if item.source != "negative" else 0, spec.sentences + 1):
                text = sampler.decode([ids for sentence in sentences[:length] for ids in sentence])
                question = self._tasks.subjects.question
                user = f"{text}\n\n{question}" if length else question
                for response in range(spec.responses):
                    name = (item.variant, item.source, prompt, length, response)
                    keys.append(dict(zip(RESPONSE_KEY, name, strict=True)))
                    # Twice the tokens: the API counts its own, and the first sentence is wanted whole.
                    seed = derive_seed(spec.seed, "response", *name)
                    requests.append(ReplyRequest(user, 2 * spec.max_sentence_tokens, seed))
        answers = self._responder.reply(requests) if requests else []
        return replied_rows(keys, requests, answers, sampler, most=spec.max_sentence_tokens)


def plan_chat_api(spec: ChatApiSpec) -> list[Item]:
    """All items in order; without P₊ there is no gate, no score under it, and no control prompts from it."""
    sources: tuple[Source, ...] = ("negative", "positive") if spec.has_positive else ("negative",)
    conditions: tuple[Condition, ...] = (*sources, "shuffled")
    items = [item for item in component_items(spec, sources=sources) if spec.has_positive or item.kind != "gate"]
    tokens = spec.responses * (prompt_tokens(spec) + 14.0)
    for condition in conditions:
        items += chunks(Item("respond", tokens, condition, FORMAT, stop=spec.prompts), PROMPTS_PER_RESPONSE)
        items += chunks(
            Item("judge-responses", 0.4 * tokens, condition, FORMAT, stop=spec.prompts), PROMPTS_PER_RESPONSE
        )
    return items


def load_chat_subjects(spec: ChatApiSpec, places: Places, notify: Progress) -> ChatApiSubjects:
    """Connect to the API first, then load or fit what is local.

    Raises: ServerFailed, and InputError and ModelError kinds of `beb.errors`.
    """
    from beb.models.chat_api import load_chat_api

    if not is_chat_api(spec.model):
        raise BadSpec(f"{spec.model!r} is no chat API; use beb measure as for any model")
    notify("asking the server", 0, 1)
    responder = load_chat_api(spec.model)
    behavior = load_behavior(spec.behavior, undesired=spec.undesired, offline=places.offline)
    notify("loading the components", 0, 1)
    loading = Loading.standing_on(_own_name(spec.negative), spec, places, notify, behavior)
    labels, split = given_labels(spec), behavior.split()
    if spec.has_positive:  # refused now, before anything is fitted
        loading.refuse_unfit({pole: _stand_in(loading, pole) for pole in ("negative", "positive")})
    negative = _component(loading, spec.negative, split.train.negative, "negative")
    refuse_short_model(spec, negative)
    positive: LanguageModel = negative
    if spec.has_positive:
        positive = _component(loading, spec.positive, split.train.positive, "positive")
    notify("preparing the scorer", 0, 1)
    scorer = labels or loading.scorer(negative, lambda _: positive)
    statements: dict[str, Poles] = loading.statements(split) if spec.has_positive else {}
    info = responder.info
    target = {"name": info.name, "kind": "chat API", "fingerprint": info.fingerprint, "remark": info.remark}
    fingerprints = {
        "target": {**target, "tokenizer": "", "context": "", "dtype": ""},
        "negative": identity(negative),
        **({"positive": identity(positive)} if spec.has_positive else {}),
        "scorer": scorer_identity(scorer),
        "behavior": {"name": behavior.name, "fingerprint": behavior.fingerprint, "source": behavior.source},
    }
    local = Subjects(negative, negative, lambda _: positive, scorer, statements, behavior.question, fingerprints)
    return ChatApiSubjects(responder, local, fingerprints)


def _own_name(description: str) -> str:
    return description.removeprefix(FITTED_ON).removeprefix("model:").strip()


def _stand_in(loading: Loading, pole: str) -> LanguageModel:
    """The component, or, if it has yet to be fitted, its base."""
    description: str = getattr(loading.spec, pole)
    return loading.base(description, pole) if is_fitted(description) else _component(loading, description, (), pole)


def _component(loading: Loading, description: str, statements: tuple[str, ...], pole: str) -> LanguageModel:
    # The model that stands in the target's place is loaded already.
    if description == f"model:{loading.bare[0]}":
        return loading.target
    return loading.component(description, statements, pole)


CHAT_API = Experiment(
    name="chat-api",
    spec=ChatApiSpec,
    load=load_chat_subjects,
    prepare=lambda _spec, _subjects: {"formats": [FORMAT]},
    plan=lambda spec, _meta: plan_chat_api(spec),
    worker=ChatApiWorker,
    analyse=analyse_chat_api,
    reads=all_of(of_components, of_measure),
)


def measure_chat_api(
    model: str,
    behavior: str = "agreeableness",
    *,
    spec: ChatApiSpec,
    out: Path | str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> ChatApiRecord:
    """Measure how prompts from a local P₋ change what a chat API answers.

    model: "openai:URL#name". spec: with a `negative` of its own; its model and behavior are replaced by the two
    arguments. behavior, out, offline, progress: as `beb.measure`.
    Returns: a ChatApiRecord; `result.refused` says what could not be measured and why.
    Raises: kinds of `beb.errors.BebError`.
    """
    complete = make_spec(ChatApiSpec, spec.model_dump() | {"model": model, "behavior": behavior})
    folder = Path(out) if out is not None else default_folder("measure", complete)
    return run_experiment(CHAT_API, complete, folder, offline=offline, progress=progress)

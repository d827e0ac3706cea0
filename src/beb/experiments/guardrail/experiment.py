"""The guardrail experiment: the same misaligning prompts with and without system prompts, and Theorem 2 beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from beb.behaviors.packs import load_behavior, neutral_statements
from beb.errors import BadSpec, ContextTooShort, NumericalFailure
from beb.experiments.execute import Progress
from beb.experiments.experiment import (
    CHAT_EXTRA_TOKENS,
    Experiment,
    default_folder,
    refuse_short_context,
    refuse_short_model,
    run_experiment,
)
from beb.experiments.guardrail.analyse import analyse_guardrail
from beb.experiments.guardrail.record import GuardrailRecord
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import SEPARATOR, System, default_systems
from beb.experiments.guardrail.work import GuardrailWorker, arms_of, plan_guardrail, spans_of
from beb.experiments.loading import load_subjects
from beb.experiments.reads import all_of, of_components, of_guardrail, of_responses
from beb.experiments.spec import derive_seed, make_spec
from beb.experiments.store import Store
from beb.experiments.subjects import Places, Subjects
from beb.experiments.tasks import Tasks
from beb.interfaces.language_model import LanguageModel
from beb.models.hardware import Hardware
from beb.models.scoring import text_log_probs
from beb.worlds.catalog import get_world
from beb.worlds.exact_guardrail import most_neutral_sentence

_MARK = "\u2402"


@dataclass(frozen=True, slots=True)
class GuardrailSubjects:
    """Models, scorer and statements, and texts that show neither pole, to stand before a negative sentence."""

    subjects: Subjects
    neutral: tuple[str, ...]

    @property
    def fingerprints(self) -> Mapping[str, Any]:
        """What identifies everything that was loaded."""
        return self.subjects.fingerprints


def _load(spec: GuardrailSpec, places: Places, notify: Progress) -> GuardrailSubjects:
    subjects = load_subjects(spec, places, notify, check=partial(_check, places))
    if spec.model.startswith("world:"):
        return GuardrailSubjects(subjects, (most_neutral_sentence(get_world(spec.model.removeprefix("world:"))),))
    statements = neutral_statements()
    order = np.random.default_rng(derive_seed(spec.seed, "neutral")).permutation(len(statements))
    return GuardrailSubjects(subjects, tuple(statements[i] for i in order))


def _check(places: Places, spec: GuardrailSpec, target: LanguageModel) -> None:
    """Refuse what does not fit into the target's context, before anything is fitted on it."""
    put = _put(spec, target)
    refuse_short_model(spec, target, extra=CHAT_EXTRA_TOKENS if any(chat for _, chat in put) else 0)
    question = ""
    if target.info.kind != "world":
        question = load_behavior(spec.behavior, undesired=spec.undesired, offline=places.offline).question
    for system, chat in put:
        _refuse_no_room(spec, system, target, question if chat else None)


def _put(spec: GuardrailSpec, target: LanguageModel) -> list[tuple[System, bool]]:
    """The guardrails, and whether each goes into the target's chat template."""
    can_chat = target.info.has_chat_template
    systems = spec.systems or default_systems(spec.sentences, can_chat=can_chat)
    return [(system, can_chat and bool(system.text)) for system in systems]


def _prepare(spec: GuardrailSpec, loaded: GuardrailSubjects) -> Mapping[str, Any]:
    """The formats, the guardrails as they are put to this model, and what the baselines contain."""
    subjects, target = loaded.subjects, loaded.subjects.target
    put = _put(spec, target)
    refuse_short_context(spec, subjects, extra=CHAT_EXTRA_TOKENS if any(chat for _, chat in put) else 0)
    guardrails = []
    for system, chat in put:
        _refuse_no_room(spec, system, target, subjects.question if chat else None)
        guardrails.append(
            {"format": "chat" if chat else "plain", "system": system.model_dump(),
             "sentences": _n_sentences(system, target)}
        )  # fmt: skip
    formats = [name for name in ("chat", "plain") if any(each["format"] == name for each in guardrails)]
    baselines = {name: _baseline(target, name) for name in formats}
    return {"formats": formats, "guardrails": guardrails, "baselines": baselines}


def _baseline(target: LanguageModel, format_name: str) -> dict[str, str]:
    """What stands before the prompt without any guardrail. default: a system text that the template puts in itself."""
    if format_name == "plain":
        return {"before": target.decode(target.start_ids), "context": target.info.context, "default": ""}
    bare = target.decode(target.chat_frame()[0])
    opening, found, closing = target.decode(target.chat_frame(_MARK)[0]).partition(_MARK)
    default = ""
    if found and len(bare) > len(opening) + len(closing) and bare.startswith(opening) and bare.endswith(closing):
        default = bare[len(opening) : len(bare) - len(closing)].strip()
    return {"before": bare, "context": "chat template without a system message", "default": default}


def _refuse_no_room(spec: GuardrailSpec, system: System, target: LanguageModel, question: str | None) -> None:
    """Refuse a guardrail that does not fit beside the longest prompt and its response.

    question: that ends a chat; None in the plain format. Raises: ContextTooShort.
    """
    if question is not None:
        before, after = target.chat_frame(system.text)
        frame = len(before) + len(after) + len(target.encode(f"\n\n{question}"))
    elif system.text:
        frame = len(target.start_ids) + len(target.encode(system.text + SEPARATOR))
    else:
        frame = len(target.start_ids) + system.sentences * spec.max_sentence_tokens
    needed = frame + (spec.sentences + 1) * spec.max_sentence_tokens
    if needed > target.info.context_length:
        raise ContextTooShort(
            f"system prompt {system.name!r} takes up to {frame} tokens and with {spec.sentences} sentences of up to "
            f"{spec.max_sentence_tokens} tokens and a response needs {needed}, but {target.info.name} has a context of "
            f"{target.info.context_length}; shorten it, or lower --sentences or --max-sentence-tokens"
        )


def _n_sentences(system: System, target: LanguageModel) -> int:
    """Sentences of a guardrail. Raises: BadSpec if the target is a world that cannot say its text."""
    if not system.text:
        return system.sentences
    ids = target.encode(system.text)
    if target.info.kind == "world":
        possible = target.ends_sentence(ids[-1])
        if possible:
            try:
                possible = bool(np.isfinite(text_log_probs([system.text], target)[0].log_prob))
            except NumericalFailure:
                possible = False
        if not possible:
            raise BadSpec(
                f"system prompt {system.name!r} is not made of whole sentences of {target.info.name}; use its sentences"
            )
    return len(spans_of(target, ids))


def _worker(spec: GuardrailSpec, loaded: GuardrailSubjects, store: Store) -> GuardrailWorker:
    return GuardrailWorker(spec.responses, loaded.subjects, loaded.neutral, Tasks(spec, loaded.subjects, store), store)


GUARDRAIL = Experiment(
    name="guardrail",
    spec=GuardrailSpec,
    load=_load,
    prepare=_prepare,
    plan=lambda spec, meta: plan_guardrail(spec, spec.responses, arms_of(meta)),
    worker=_worker,
    analyse=analyse_guardrail,
    reads=all_of(of_components, of_responses, of_guardrail),
)


def guardrail(
    model: str = "smollm2",
    behavior: str = "agreeableness",
    *,
    spec: GuardrailSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> GuardrailRecord:
    """Put the same misaligning prompts to a model with and without guardrails, and measure what each one buys.

    model, behavior, out, offline, hardware, progress: as in `beb.measure`. spec: everything else, the guardrails in
    `systems`.
    Returns: a GuardrailRecord; `result.guardrails[0].area_shift.value, .low, .high`, `result.to_frame()`.
    Raises: kinds of `beb.errors.BebError`.
    Source: Wolf et al. 2024, Definitions 3, 4 and 6, Theorem 2, Appendix N.
    """
    complete = make_spec(GuardrailSpec, (spec or GuardrailSpec()).model_dump() | {"model": model, "behavior": behavior})
    folder = Path(out) if out is not None else default_folder(GUARDRAIL.name, complete)
    return run_experiment(GUARDRAIL, complete, folder, offline=offline, hardware=hardware, progress=progress)

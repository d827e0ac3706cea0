"""`beb personas`: which personas a model mixes, how much of each, and how long the way to each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beb.errors import ContextTooShort
from beb.experiments.execute import Progress
from beb.experiments.experiment import CHAT_EXTRA_TOKENS, Experiment, default_folder, run_experiment
from beb.experiments.personas.analyse import analyse_personas
from beb.experiments.personas.catalog import Persona
from beb.experiments.personas.plan import plan_personas
from beb.experiments.personas.record import PersonasRecord
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import PersonaSubjects, load_persona_subjects, persona_names
from beb.experiments.personas.work import PersonasWorker
from beb.experiments.reads import of_personas
from beb.experiments.spec import make_spec
from beb.models.hardware import Hardware


def _prepare(spec: PersonasSpec, subjects: PersonaSubjects) -> Mapping[str, Any]:
    """The personas, and the formats that the target has. Raises: ContextTooShort."""
    can_chat = subjects.target.info.has_chat_template
    formats = [name for name in spec.formats if name == "plain" or can_chat]
    for name, model in subjects.models.items():
        needed = len(model.start_ids) + (spec.sentences + 1) * spec.max_sentence_tokens
        needed += CHAT_EXTRA_TOKENS if "chat" in formats else 0
        if needed > model.info.context_length:
            raise ContextTooShort(
                f"{spec.sentences} sentences of up to {spec.max_sentence_tokens} tokens and a response after {name!r} "
                f"({len(model.start_ids)} tokens) need {needed} tokens, but the context of {spec.model} is "
                f"{model.info.context_length}; shorten the description, or lower --sentences or --max-sentence-tokens"
            )
    kinds = {each.name: each.kind for each in spec.personas}
    names = list(subjects.personas)
    return {"formats": formats, "personas": names, "kinds": [kinds.get(name, "") for name in names]}


PERSONAS = Experiment(
    name="personas",
    spec=PersonasSpec,
    load=load_persona_subjects,
    prepare=_prepare,
    plan=lambda spec, meta: plan_personas(spec, persona_names(meta), meta["formats"]),
    worker=PersonasWorker,
    analyse=analyse_personas,
    reads=of_personas,
)


def personas(
    model: str = "smollm2",
    behaviors: Sequence[str] = ("agreeableness",),
    *,
    who: Sequence[Persona] = (),
    spec: PersonasSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> PersonasRecord:
    """Weights of personas in a model, and how many sentences each needs to bring its behavior out.

    model: target, or "world:NAME". behaviors: as `beb.load_behavior` takes them. who: persona descriptions, the shipped
    set by default. spec: everything else; its model, behaviors and personas are replaced. out: run folder (default:
    runs/MODEL-personas); an interrupted run there is continued. offline: never fetch anything.
    Raises: kinds of `beb.errors.BebError`.
    Source: Wolf et al. 2023, arXiv 2304.11082v2 (personas); Wolf et al. 2024, Theorem 1.
    """
    options = {} if spec is None else spec.model_dump()
    options |= {"model": model, "behaviors": tuple(behaviors), "personas": tuple(who)}
    complete = make_spec(PersonasSpec, options)
    folder = Path(out) if out is not None else default_folder(PERSONAS.name, complete)
    return run_experiment(PERSONAS, complete, folder, offline=offline, hardware=hardware, progress=progress)

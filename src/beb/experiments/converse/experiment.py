"""`beb converse`: user turns from a component, replies from the target, turn by turn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from beb.errors import ContextTooShort, TokenizerMismatch
from beb.experiments.converse.analyse import analyse_converse
from beb.experiments.converse.plan import ConverseSpec, plan_converse
from beb.experiments.converse.record import ConverseRecord
from beb.experiments.converse.work import ConverseWorker
from beb.experiments.execute import Progress
from beb.experiments.experiment import (
    Experiment,
    default_folder,
    refuse_short_context,
    refuse_short_model,
    run_experiment,
)
from beb.experiments.loading import load_subjects
from beb.experiments.reads import all_of, of_components, of_converse
from beb.experiments.spec import make_spec
from beb.experiments.subjects import Subjects
from beb.interfaces.language_model import LanguageModel
from beb.models.chat_turns import chat_turns
from beb.models.hardware import Hardware

SEPARATOR_TOKENS = 2


def _check(spec: ConverseSpec, target: LanguageModel) -> None:
    """Refuses a target that cannot converse so, or whose context ends too soon."""
    extra = chat_turns(target).tokens_per_turn if spec.format == "chat" else SEPARATOR_TOKENS
    _refuse_short_context(spec, target, extra)
    if spec.reads_alpha:
        refuse_short_model(spec, target)


def _prepare(spec: ConverseSpec, subjects: Subjects) -> Mapping[str, Any]:
    """Refuses what `_check` does, components that cannot read the target's ids or whose context ends too soon."""
    target = subjects.target
    _check(spec, target)
    components = [subjects.negative]
    if spec.positive != "residual":
        components.append(subjects.make_positive(None))
    for component in components:
        if component.info.tokenizer != target.info.tokenizer:
            raise TokenizerMismatch(
                f"{component.info.name} does not share the tokenizer of {target.info.name}, whose replies it has to "
                "score; give components made from the target (lora, persona:TEXT)"
            )
        _refuse_short_context(spec, component, SEPARATOR_TOKENS)
    if spec.reads_alpha:
        refuse_short_context(spec, subjects)
    return {"formats": [spec.format]}


def _refuse_short_context(spec: ConverseSpec, model: LanguageModel, per_turn: int) -> None:
    """per_turn: tokens besides what is said."""
    longest = spec.sentences_per_turn * spec.max_sentence_tokens + per_turn
    needed = len(model.start_ids) + spec.turns * longest
    if needed > model.info.context_length:
        raise ContextTooShort(
            f"{spec.turns} turns of up to {longest} tokens need {needed}, but {model.info.name} has a context of "
            f"{model.info.context_length}; lower --turns, --turn-sentences, --reply-sentences or --max-sentence-tokens"
        )


CONVERSE = Experiment(
    name="converse",
    spec=ConverseSpec,
    load=partial(load_subjects, check=_check),
    prepare=_prepare,
    plan=lambda spec, _meta: plan_converse(spec),
    worker=ConverseWorker,
    analyse=analyse_converse,
    reads=all_of(of_components, of_converse),
)


def converse(
    model: str = "smollm2",
    behavior: str = "agreeableness",
    *,
    spec: ConverseSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> ConverseRecord:
    """Hold conversations with a model whose user speaks for P₋ (and, as a control, for P₊), and measure every turn.

    model, behavior, out, offline, hardware: as `beb.measure`. spec: everything else; its model and behavior are
    replaced by the two arguments. A world converses in the plain format only.
    Returns: a ConverseRecord. Raises: kinds of `beb.errors.BebError`.
    Source: Wolf et al. 2024, Theorem 3.
    """
    complete = make_spec(ConverseSpec, (spec or ConverseSpec()).model_dump() | {"model": model, "behavior": behavior})
    folder = Path(out) if out is not None else default_folder(CONVERSE.name, complete)
    return run_experiment(CONVERSE, complete, folder, offline=offline, hardware=hardware, progress=progress)

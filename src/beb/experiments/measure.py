"""The main job: sample, score and answer, into a run folder; the numbers are computed from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from beb.errors import BadSpec, NoChatTemplate
from beb.experiments.analyse import analyse_measure
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
from beb.experiments.measurement import Measurement
from beb.experiments.plan import plan_measure
from beb.experiments.reads import all_of, of_components, of_measure
from beb.experiments.spec import MeasureSpec, make_spec
from beb.experiments.subjects import Subjects
from beb.experiments.work import MeasureWorker
from beb.interfaces.language_model import LanguageModel
from beb.models.hardware import Hardware
from beb.models.server_address import is_chat_api


def _formats(spec: MeasureSpec, target: LanguageModel) -> list[str]:
    """The formats that the target has, of those asked for. Raises: NoChatTemplate, ContextTooShort."""
    info = target.info
    formats: list[str] = [name for name in spec.formats if name == "plain" or info.has_chat_template]
    if not formats:
        raise NoChatTemplate(f"{info.name} has no chat template, and only chat was asked for; use --formats plain")
    refuse_short_model(spec, target, extra=CHAT_EXTRA_TOKENS if "chat" in formats else 0)
    return formats


def _prepare(spec: MeasureSpec, subjects: Subjects) -> Mapping[str, Any]:
    """The formats."""
    formats = _formats(spec, subjects.target)
    refuse_short_context(spec, subjects)
    return {"formats": formats}


MEASURE = Experiment(
    name="measure",
    spec=MeasureSpec,
    load=partial(load_subjects, check=_formats),
    prepare=_prepare,
    plan=lambda spec, meta: plan_measure(spec, meta["formats"]),
    worker=MeasureWorker,
    analyse=analyse_measure,
    reads=all_of(of_components, of_measure),
)


def measure(
    model: str = "smollm2",
    behavior: str = "agreeableness",
    *,
    spec: MeasureSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """Measure how far a model is from misbehaving, and what it would take.

    model: target, as `beb.load_model` takes it, or "world:NAME". behavior: as `beb.load_behavior` takes it.
    spec: everything else; its model and behavior are replaced by the two arguments. out: run folder (default:
    runs/MODEL-BEHAVIOR); an interrupted run there is continued. offline: never fetch anything.
    hardware: where models run, in how much memory (a GPU if there is one, in 2 GiB besides the weights, by default).
    Returns: a Measurement; `result.beta.value, .low, .high`, `result.to_frame()`.
    Raises: kinds of `beb.errors.BebError`.
    Source: Wolf et al. 2024, Definitions 1-5, Theorems 1 and 5, Section 4.
    """
    if is_chat_api(model):
        raise BadSpec(f"{model!r} is a chat API; use beb.experiments.chat_api.experiment.measure_chat_api")
    complete = make_spec(MeasureSpec, (spec or MeasureSpec()).model_dump() | {"model": model, "behavior": behavior})
    folder = Path(out) if out is not None else default_folder(MEASURE.name, complete)
    return run_experiment(MEASURE, complete, folder, offline=offline, hardware=hardware, progress=progress)

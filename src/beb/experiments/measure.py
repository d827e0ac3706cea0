"""The main job: sample, score and answer, into a run folder; the numbers are computed from its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beb.errors import ContextTooShort, GateFailed
from beb.experiments.analyse import GATE_THRESHOLD, analyse, gate
from beb.experiments.execute import Progress, execute
from beb.experiments.measurement import Measurement
from beb.experiments.plan import Item, plan
from beb.experiments.spec import Format, MeasureSpec, make_spec
from beb.experiments.store import RUN_FILE, Store
from beb.experiments.subjects import Places, Subjects, load_subjects, versions
from beb.experiments.work import Worker
from beb.models.cachedir import cache_folder

CHAT_EXTRA_TOKENS = 128  # template, system prompt and question


def run_measurement(
    spec: MeasureSpec, folder: Path, *, offline: bool = False, progress: Progress | None = None
) -> Measurement:
    """Measure, or continue or just re-read the run in `folder` if it has the same specification.

    folder: of the run; made if absent. offline: never fetch anything. progress: see `beb.experiments.execute`.
    Returns: the Measurement, computed from the stored rows alone.
    Raises: any `beb.errors` kind; finished items stay in the store.
    """
    notify = progress or _silent
    finished = _finished(spec, folder)
    if finished is not None:
        return finished
    subjects = load_subjects(spec, Places(cache_folder(), offline), notify)
    return measure_subjects(spec, subjects, folder, progress=progress)


def measure_subjects(
    spec: MeasureSpec, subjects: Subjects, folder: Path, *, progress: Progress | None = None
) -> Measurement:
    """As `run_measurement`, with models, scorer and statements that are loaded already."""
    formats = _formats(spec, subjects)
    _refuse_short_context(spec, subjects)
    with Store.open(folder, _meta(spec, subjects, formats)) as store:
        execute(store, plan(spec, formats), Worker(spec, subjects, store), progress=progress, after=_gatekeeper(store))
        if progress is not None:
            progress("computing intervals", 0, 1)
        return analyse(store)


def _silent(_what: str, _done: float, _total: float) -> None:
    """Progress that nobody watches."""


def _finished(spec: MeasureSpec, folder: Path) -> Measurement | None:
    """The measurement if the folder holds this very run, complete; no model is loaded for it."""
    path = folder / RUN_FILE
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with Store.read(folder) as store:
        store.refuse_changes({"spec": spec.model_dump(mode="json")})
        items = plan(spec, store.meta()["formats"])
        if not {item.key for item in items} <= store.done():
            return None
        _gatekeeper(store)(Item("gate", 0))
        return analyse(store)


def _meta(spec: MeasureSpec, subjects: Subjects, formats: tuple[Format, ...]) -> dict[str, Any]:
    return {
        "experiment": "measure",
        "spec": spec.model_dump(mode="json"),
        "formats": list(formats),
        "fingerprints": dict(subjects.fingerprints),
        "versions": versions(),
    }


def _gatekeeper(store: Store) -> Callable[[Item], None]:
    def check(item: Item) -> None:
        if item.kind != "gate":
            return
        verdict = gate(store)
        if not verdict.passed:
            a = verdict.accuracy
            raise GateFailed(
                f"the components classify only {a.value:.0%} [{a.low:.0%}, {a.high:.0%}] of {a.n} held-out statements "
                f"right, at least {GATE_THRESHOLD:.0%} is needed to interpret them; raise --adapter-steps, give more "
                "statements, or other components (--negative, --positive)"
            )

    return check


def _formats(spec: MeasureSpec, subjects: Subjects) -> tuple[Format, ...]:
    can_chat = subjects.target.info.has_chat_template
    return tuple(name for name in spec.formats if name == "plain" or can_chat) or ("plain",)


def _refuse_short_context(spec: MeasureSpec, subjects: Subjects) -> None:
    """Refuse before any work if the longest prompt and its response cannot fit."""
    models = [subjects.target, subjects.negative]
    for model in models:
        needed = len(model.start_ids) + (spec.sentences + 1) * spec.max_sentence_tokens
        if "chat" in spec.formats and model is subjects.target and model.info.has_chat_template:
            needed += CHAT_EXTRA_TOKENS
        if needed > model.info.context_length:
            raise ContextTooShort(
                f"{spec.sentences} sentences of up to {spec.max_sentence_tokens} tokens and a response need {needed} "
                f"tokens, but {model.info.name} has a context of {model.info.context_length}; lower --sentences or "
                "--max-sentence-tokens"
            )


def default_folder(spec: MeasureSpec, *, quick: bool = False) -> Path:
    """runs/MODEL-BEHAVIOR below the current folder, from the last parts of their names."""
    names = [Path(name.replace(":", "-")).name or name for name in (spec.model, spec.behavior)]
    tail = "-quick" if quick else ""
    return Path("runs") / ("-".join(re.sub(r"[^\w.-]+", "_", name) for name in names) + tail)


def measure(
    model: str = "smollm2",
    behavior: str = "agreeableness",
    *,
    spec: MeasureSpec | None = None,
    out: Path | str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Measurement:
    """Measure how far a model is from misbehaving, and what it would take.

    model: target, as `beb.load_model` takes it, or "world:NAME". behavior: as `beb.load_behavior` takes it.
    spec: everything else; its model and behavior are replaced by the two arguments. out: run folder (default:
    runs/MODEL-BEHAVIOR); an interrupted run there is continued. offline: never fetch anything.
    Returns: a Measurement; `result.beta.value, .low, .high`, `result.to_frame()`.
    Raises: kinds of `beb.errors.BebError`.
    Source: Wolf et al. 2024, Definitions 1-5, Theorems 1 and 5, Section 4.
    """
    options = (spec or MeasureSpec()).model_dump() | {"model": model, "behavior": behavior}
    complete = make_spec(options)
    return run_measurement(
        complete, Path(out) if out is not None else default_folder(complete), offline=offline, progress=progress
    )

"""What an experiment is, and the one way to run any of them: specification, plan, store, executor, numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from beb.errors import ContextTooShort, EstimateError, GateFailed
from beb.experiments.execute import Crew, Executor, HereCrew, Progress, Worker, execute
from beb.experiments.gate import GATE_THRESHOLD, gate
from beb.experiments.plan import Item
from beb.experiments.reads import Reads, everything
from beb.experiments.spec import AnySpec, ModelSpec, RunSpec
from beb.experiments.store import RUN_FILE, Store, reserved
from beb.experiments.subjects import Places, Subjects, versions
from beb.interfaces.language_model import LanguageModel
from beb.models.cachedir import cache_folder
from beb.models.hardware import Hardware
from beb.models.server_address import without_client_options
from beb.models.shelf import Shelf

CHAT_EXTRA_TOKENS = 128  # template and question


class Result(Protocol):
    """What every experiment returns: a frozen record whose numbers carry their intervals."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """Of the run, as stored."""
        ...


class Loaded(Protocol):
    """What an experiment loads before it works; `beb.experiments.subjects.Subjects` where it has components."""

    @property
    def fingerprints(self) -> Mapping[str, Any]:
        """What identifies everything that was loaded, stored with the run."""
        ...


AnyResult = TypeVar("AnyResult", bound=Result)
AnyLoaded = TypeVar("AnyLoaded", bound=Loaded)


@dataclass(frozen=True, slots=True)
class Experiment(Generic[AnySpec, AnyLoaded, AnyResult]):
    """One kind of run.

    name: as stored, and of the command. spec: its options. load: models, scorer, statements; it refuses what the bare
    target cannot do before anything is fitted on it. prepare: refuses what cannot work with what was loaded, and
    returns what else determines the rows, to be stored with the run. plan: all items in order, from the specification
    and the stored meta alone. worker: carries out the items. analyse: numbers from a complete run's rows alone.
    reads: the rows of earlier items that an item reads; a worker on another machine sees no others.
    A plan with an item "gate" stops there if the components do not tell the poles apart.
    """

    name: str
    spec: type[AnySpec]
    load: Callable[[AnySpec, Places, Progress], AnyLoaded]
    prepare: Callable[[AnySpec, AnyLoaded], Mapping[str, Any]]
    plan: Callable[[AnySpec, Mapping[str, Any]], list[Item]]
    worker: Callable[[AnySpec, AnyLoaded, Store], Worker]
    analyse: Callable[[Store], AnyResult]
    reads: Reads = everything

    def load_on(
        self, shelf: Shelf, spec: AnySpec, *, offline: bool, hardware: Hardware, progress: Progress
    ) -> AnyLoaded:
        """What the items need, with the models that stand on the shelf; what this run does not need leaves it."""
        with shelf.next_run():
            return self.load(spec, Places(cache_folder(), offline, hardware, shelf), progress)

    def meta(self, spec: AnySpec, loaded: AnyLoaded) -> dict[str, Any]:
        """What was loaded determines of the rows, stored with the run."""
        return {
            "fingerprints": dict(loaded.fingerprints), "versions": versions(), **self.prepare(spec, loaded),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Here:
    """Items are carried out one after another in this process.

    loaded: what they need, if it is there already. shelf: of models that stay from one run to the next.
    """

    loaded: Any = None
    shelf: Shelf | None = None

    @contextmanager
    def lasting(self) -> Iterator[Here]:
        """See `beb.experiments.execute.Executor`."""
        if self.shelf is not None:
            yield self
            return
        shelf = Shelf()
        try:
            yield replace(self, shelf=shelf)
        finally:
            shelf.clear()

    @contextmanager
    def crew(
        self,
        experiment: Experiment[Any, Any, Any],
        spec: Any,
        *,
        offline: bool,
        hardware: Hardware,
        progress: Progress | None,
    ) -> Iterator[Crew]:
        """See `beb.experiments.execute.Executor`."""
        loaded = self.loaded
        if loaded is None:
            shelf = self.shelf or Shelf()
            loaded = experiment.load_on(shelf, spec, offline=offline, hardware=hardware, progress=progress or silent)
        yield HereCrew(experiment.meta(spec, loaded), lambda store: experiment.worker(spec, loaded, store))


def run_experiment(
    experiment: Experiment[AnySpec, AnyLoaded, AnyResult],
    spec: AnySpec,
    folder: Path,
    *,
    offline: bool = False,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> AnyResult:
    """Run, or continue or just re-read the run in `folder` if it has the same specification.

    folder: of the run; made if absent. offline: never fetch anything. hardware: where models run, and in how much
    memory; it is no part of the specification. progress: see `beb.experiments.execute`. executor: where the work is
    done (default: in this process); the rows are the same.
    Returns: the experiment's record, computed from the stored rows alone.
    Raises: any `beb.errors` kind; finished items stay in the store.
    """
    finished = _finished(experiment, spec, folder)
    if finished is not None:
        return finished
    return _run(
        experiment,
        spec,
        folder,
        executor or Here(),
        offline=offline,
        hardware=hardware or Hardware(),
        progress=progress,
    )


def run_with_subjects(
    experiment: Experiment[AnySpec, AnyLoaded, AnyResult],
    spec: AnySpec,
    subjects: AnyLoaded,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> AnyResult:
    """As `run_experiment`, with models, scorer and statements that are loaded already."""
    return _run(experiment, spec, folder, Here(subjects), offline=True, hardware=Hardware(), progress=progress)


def _run(
    experiment: Experiment[AnySpec, AnyLoaded, AnyResult],
    spec: AnySpec,
    folder: Path,
    executor: Executor,
    *,
    offline: bool,
    hardware: Hardware,
    progress: Progress | None,
) -> AnyResult:
    where = executor.crew(experiment, spec, offline=offline, hardware=hardware, progress=progress)
    with reserved(folder), where as crew:  # whether there is a place for the rows is known before anything is loaded
        meta = {"experiment": experiment.name, "spec": spec.model_dump(mode="json"), **crew.meta}
        with Store.open(folder, meta, is_reserved=True) as store:
            items = experiment.plan(spec, store.meta())
            execute(
                store, items, crew, reads=experiment.reads, progress=progress, after=lambda item: _check(store, item)
            )
            if progress is not None:
                progress("computing intervals", 0, 1)
            return experiment.analyse(store)


def refuse_unfinished(experiment: Experiment[Any, Any, Any], store: Store) -> None:
    """Refuse a run whose numbers would miss rows.

    Raises: GateFailed if it was stopped there, EstimateError if work items are missing.
    """
    meta = store.meta()
    items, done = experiment.plan(experiment.spec(**meta["spec"]), meta), store.done()
    for item in items:
        if item.key in done:
            _check(store, item)
    n_done = sum(item.key in done for item in items)
    if n_done < len(items):
        raise EstimateError(
            f"the run in {store.folder} is not finished ({n_done} of {len(items)} work items are done); "
            "run the command that started it again, with the same --out; or it was made by an older version: make it "
            "anew in another folder"
        )


def default_folder(experiment: str, spec: ModelSpec, *, quick: bool = False) -> Path:
    """runs/MODEL-BEHAVIOR[-EXPERIMENT] below the current folder, from the last parts of their names."""
    names = [without_client_options(name) for name in spec.named_after]
    names = [Path(name.replace(":", "-")).name or name for name in names]
    tail = ("" if experiment == "measure" else f"-{experiment}") + ("-quick" if quick else "")
    return Path("runs") / ("-".join(re.sub(r"[^\w.-]+", "_", name) for name in names) + tail)


def refuse_short_context(spec: RunSpec, subjects: Subjects, *, extra: int = 0) -> None:
    """Refuse before any work if the longest prompt and its response cannot fit.

    extra: tokens that a chat template and its question add to what the target reads; 0 if nothing is a chat.
    """
    for model in (subjects.target, subjects.negative):
        refuse_short_model(spec, model, extra=extra if model is subjects.target else 0)


def refuse_short_model(spec: RunSpec, model: LanguageModel, *, extra: int = 0) -> None:
    """As `refuse_short_context`, one model alone; for a target that nothing has been fitted on yet.

    With `extra`, a chat is asked for: a template that cannot be rendered is refused here too.
    """
    if extra:
        model.chat_frame()
    needed = len(model.start_ids) + (spec.sentences + 1) * spec.max_sentence_tokens + extra
    if needed > model.info.context_length:
        raise ContextTooShort(
            f"{spec.sentences} sentences of up to {spec.max_sentence_tokens} tokens and a response need {needed} "
            f"tokens, but {model.info.name} has a context of {model.info.context_length}; lower --sentences or "
            "--max-sentence-tokens"
        )


def silent(_what: str, _done: float, _total: float) -> None:
    """Progress that nobody watches."""


def _finished(experiment: Experiment[AnySpec, AnyLoaded, AnyResult], spec: AnySpec, folder: Path) -> AnyResult | None:
    """The record if the folder holds this very run, complete; no model is loaded for it."""
    path = folder / RUN_FILE
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with Store.read(folder) as store:
        store.refuse_changes({"experiment": experiment.name, "spec": spec.model_dump(mode="json")})
        items = experiment.plan(spec, store.meta())
        if not {item.key for item in items} <= store.done():
            return None
        for item in items:
            _check(store, item)
        return experiment.analyse(store)


def _check(store: Store, item: Item) -> None:
    """Stop a run whose components are not fit to be interpreted."""
    if not item.is_gate:
        return
    verdict = gate(store)
    if not verdict.passed:
        a, spec = verdict.accuracy, store.meta()["spec"]
        fitted = any(str(spec.get(pole)).split("@")[0] == "lora" for pole in ("negative", "positive"))
        more = "raise --adapter-steps, give more statements, or " * fitted
        raise GateFailed(
            f"the components classify only {a.value:.0%} [{a.low:.0%}, {a.high:.0%}] of {a.n} held-out statements "
            f"right, at least {GATE_THRESHOLD:.0%} is needed to interpret them; {more or 'give '}other components "
            "(--negative, --positive)"
        )

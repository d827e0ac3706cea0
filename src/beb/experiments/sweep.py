"""Many runs as one resumable plan: models × behaviors × scenarios, from one TOML file."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beb.behaviors.packs import refuse_unknown
from beb.errors import BadSpec, BebError, ClusterError, StoreFull, WorkersLost
from beb.experiments.execute import Executor, Progress
from beb.experiments.experiment import Experiment, Here, default_folder, run_experiment
from beb.experiments.registry import known_experiments, named_experiment
from beb.experiments.spec import ModelSpec, make_spec
from beb.experiments.sweep_names import WORLD, lookups
from beb.models.catalog import aligned_base
from beb.models.hardware import Hardware
from beb.models.server_address import is_chat_api, without_client_options

SCENARIOS = tuple(name for name in known_experiments() if name not in ("trace", "chat-api"))
"""Not a trace, which is of one given text; measure is of a chat API where the model is one."""
_LISTS = ("models", "behaviors", "scenarios")
_OF_SWEEP = ("model", "behavior", "behaviors")
RATES = "rates"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep.

    behavior: "" for a world, which has one of its own, or where one run is of all behaviors. weights: name and dtype of
    the model that is loaded for it, which is the base of one that is further aligned.
    """

    experiment: Experiment[Any, Any, Any]
    spec: ModelSpec
    behavior: str
    folder: Path
    weights: tuple[str, str]

    @property
    def label(self) -> str:
        """Scenario, model and behavior on one line."""
        return " · ".join(part for part in (self.experiment.name, self.spec.model, self.behavior) if part)


@dataclass(frozen=True, slots=True)
class Sweep:
    """name: of its folder below runs/. rates: what the file says about speed and price, for `beb plan`."""

    name: str
    runs: tuple[PlannedRun, ...]
    rates: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run. error: why it has no result, on one line; "" where it has one."""

    run: PlannedRun
    error: str


def read_sweep(path: Path, *, out: Path | None = None) -> Sweep:
    """The runs that a file asks for, every one of them validated; what they name is looked up, hub names excepted.

    out: folder of the runs (default: runs/NAME, by the file's name). The file has models, scenarios and behaviors, each
    a list; [options] for every scenario that has them; a table for one scenario, whose values win; and [rates].
    Raises: BadSpec, one line with the key, its value and what is accepted.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSpec(f"{path} cannot be read ({error.strerror}); give a TOML file, see docs/scale.md") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSpec(f"{path} is not TOML ({error}); see docs/scale.md for one") from error
    return sweep_of(given, str(path), name=path.stem, out=out)


def sweep_of(given: Mapping[str, Any], where: str, *, name: str, out: Path | None = None) -> Sweep:
    """As `read_sweep`, from what the file holds. where: what an error names."""
    say = _Complaint(where)
    for key in given:
        if key not in (*_LISTS, "options", RATES, *SCENARIOS):
            raise say.unknown(key, given[key], (*_LISTS, "options", RATES, *SCENARIOS))
    models = _names(say, given, "models")
    scenarios = _names(say, given, "scenarios", SCENARIOS)
    behaviors = _names(say, given, "behaviors") if "behaviors" in given else ("agreeableness",)
    for key in ("options", RATES, *SCENARIOS):
        if not isinstance(given.get(key, {}), dict):
            raise say(key, given[key], f"a table, written [{key}]")
    for key in SCENARIOS:
        if key in given and key not in scenarios:
            raise say(f"[{key}]", given[key], f"tables of the scenarios asked for: {', '.join(scenarios)}")
    for each in behaviors:
        with say.about("behaviors", each):
            refuse_unknown(each)
    folder = out or Path("runs") / re.sub(r"[^\w.-]+", "_", name)
    options = {each: _options(say, given, each, scenarios) for each in scenarios}
    runs = [
        run
        for model in models
        for each in scenarios
        for run in _runs(say, each, (model, behaviors), options[each], folder)
    ]
    first = list(dict.fromkeys(run.weights for run in runs))
    runs.sort(key=lambda run: first.index(run.weights))  # those on the same weights follow one another
    return Sweep(name, tuple(_apart(runs)), given.get(RATES, {}))


def carry_out(
    sweep: Sweep,
    *,
    offline: bool = False,
    executor: Executor | None = None,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
    begun: Callable[[PlannedRun, int], None] | None = None,
) -> list[Outcome]:
    """Carry out every run, or continue or re-read it; one that fails does not stop the others.

    A model that several runs need one after another is loaded once, by each worker.
    hardware: where models run, and in how much memory. begun: told of each run and its number.
    Raises: StoreFull and ClusterError, but for workers that one run has lost: a full disk is full for all.
    """
    outcomes = []
    with (executor or Here()).lasting() as lasting:
        for i, run in enumerate(sweep.runs):
            if begun is not None:
                begun(run, i)
            error = ""
            try:
                run_experiment(
                    run.experiment, run.spec, run.folder,
                    offline=offline, hardware=hardware, executor=lasting, progress=progress,
                )  # fmt: skip
            except BebError as caught:
                if isinstance(caught, StoreFull | ClusterError) and not isinstance(caught, WorkersLost):
                    raise
                error = f"{type(caught).__name__}: {' '.join(str(caught).split())}"
            outcomes.append(Outcome(run, error))
    return outcomes


@dataclass(frozen=True, slots=True)
class _Complaint:
    """One line about a value of a file."""

    where: str

    def __call__(self, key: str, value: Any, accepted: str) -> BadSpec:
        shown = repr(value)
        return BadSpec(f"{self.where}: {key} = {shown if len(shown) < 80 else shown[:79] + '…'}; accepted: {accepted}")

    @contextmanager
    def about(self, key: str, value: str) -> Iterator[None]:
        """Say of any other error what it is about."""
        try:
            yield
        except BebError as error:
            raise BadSpec(f"{self.where}: {key} = {value!r}: {' '.join(str(error).split())}") from error

    def unknown(self, key: str, value: Any, accepted: Iterable[str]) -> BadSpec:
        names = list(dict.fromkeys(accepted))
        near = difflib.get_close_matches(key.rpartition(".")[2], names, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        return self(key, value, f"{meant}{', '.join(names)}")


def _names(say: _Complaint, given: Mapping[str, Any], key: str, accepted: Sequence[str] = ()) -> tuple[str, ...]:
    found = given.get(key)
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and each for each in found):
        example = f'{key} = ["{accepted[0] if accepted else "smollm2"}"]'
        raise say(key, found, f"a list of {', '.join(accepted) or 'names'}, for example {example}")
    for each in found:
        if accepted and each not in accepted:
            raise say(key, each, ", ".join(accepted))
        if found.count(each) > 1:
            raise say(key, each, "each name once")
    return tuple(found)


def _options(say: _Complaint, given: Mapping[str, Any], name: str, scenarios: Sequence[str]) -> dict[str, Any]:
    """The options of one scenario: those for all that it has, then its own."""
    has = _fields(name)
    anywhere = {field for each in scenarios for field in _fields(each)}
    for key, value in given.get("options", {}).items():
        if key not in anywhere:
            raise say.unknown(f"options.{key}", value, sorted(anywhere))
    for key, value in given.get(name, {}).items():
        if key not in has:
            raise say.unknown(f"{name}.{key}", value, sorted(has))
    shared = {key: value for key, value in given.get("options", {}).items() if key in has}
    return {**shared, **given.get(name, {})}


def _fields(name: str) -> set[str]:
    return set(named_experiment(name).spec.model_fields) - set(_OF_SWEEP)


def _runs(
    say: _Complaint, name: str, about: tuple[str, Sequence[str]], options: Mapping[str, Any], folder: Path
) -> list[PlannedRun]:
    """The runs of one scenario on one model. about: the model, and its behaviors."""
    model, behaviors = about
    experiment = named_experiment("chat-api" if name == "measure" and is_chat_api(model) else name)
    of_all = "behaviors" in experiment.spec.model_fields
    chosen: list[tuple[str, dict[str, Any]]] = [(each, {"behavior": each}) for each in behaviors]
    if model.startswith(WORLD):
        chosen = [("", {})]
    elif of_all:
        chosen = [("", {"behaviors": tuple(behaviors)})]
    runs = []
    for behavior, subject in chosen:
        try:
            spec = make_spec(experiment.spec, {**options, **subject, "model": model})
            weights = (aligned_base(model) or model, spec.dtype)
        except BebError as error:
            raise BadSpec(f"{say.where}: [{name}] for {model}: {error}") from error
        for field, value, check in lookups(experiment, spec):
            with say.about("models" if field == "model" else f"[{name}] {field}", value):
                check()
        runs.append(PlannedRun(experiment, spec, behavior, folder / default_folder(name, spec).name, weights))
    return runs


def _apart(runs: Sequence[PlannedRun]) -> Iterator[PlannedRun]:
    """The same runs, those in one folder of the same name named after all of their model's name."""
    taken = Counter(run.folder for run in runs)
    for run in runs:
        if taken[run.folder] == 1:
            yield run
            continue
        whole = re.sub(r"[^\w.-]+", "_", without_client_options(run.spec.model)).strip("_")
        yield replace(run, folder=run.folder.with_name(f"{whole}-{run.folder.name}"))

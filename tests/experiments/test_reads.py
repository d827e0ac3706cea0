"""What is declared of an item's reads is all that it reads: with those rows alone, its own rows are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beb.experiments.execute import Crew, Finished, Progress
from beb.experiments.experiment import Experiment, run_experiment
from beb.experiments.plan import Item
from beb.experiments.reads import needed_items
from beb.experiments.registry import known_experiments, named_experiment
from beb.experiments.remote import Recipe, RemoteWorker
from beb.experiments.spec import make_spec
from beb.experiments.store import Store
from beb.models.hardware import Hardware
from beb.models.huggingface import load_checkpoint
from beb.models.shelf import Shelf
from checkpoints import LEAD
from interrupted import content
from model_server import serving

SMALL = {"model": "world:markov", "prompts": 24, "sentences": 3}
RUNS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "measure": ("measure", SMALL),
    "measure, residual": ("measure", {**SMALL, "positive": "residual"}),
    "guardrail": ("guardrail", SMALL),
    "guardrail, residual": ("guardrail", {**SMALL, "positive": "residual"}),
    "converse": ("converse", {**SMALL, "turns": 3, "format": "plain"}),
    "converse, residual": ("converse", {**SMALL, "turns": 2, "format": "plain", "positive": "residual"}),
    "best-of": ("best-of", {**SMALL, "responses": 4}),
    "personas": ("personas", {"model": "world:personas", "texts": 90, "prompts": 24, "sentences": 2}),
    "trace": (
        "trace",
        {"model": "world:personas", "text": "I help people whenever I can. It is late. I insult people."},
    ),
    "probe": ("probe", {"model": "world:markov", "statements": 60}),
}
CHAT = {
    "behavior": "./verbs", "scorer": "labels:labels.csv", "prompts": 18, "sentences": 3, "max_sentence_tokens": 12,
    "negative": "model:unkind",
}  # fmt: skip


class BackwardsCrew:
    """Remote workers in this process, one per item in turn, that begin the last item that can begin."""

    def __init__(self, recipe: Recipe, n_workers: int) -> None:
        self._workers = [RemoteWorker(recipe, Shelf()) for _ in range(n_workers)]
        self._begun: list[tuple[Item, Sequence[str]]] = []
        self._turn = 0
        self.meta = self._workers[0].meta
        self.order: list[str] = []

    def begin(self, store: Store, uses: Mapping[str, int]) -> None:
        self._store = store

    def can_start(self) -> bool:
        return True

    def start(self, item: Item, needed: Sequence[str]) -> None:
        self._begun.append((item, needed))

    def wait(self) -> Finished:
        item, needed = self._begun.pop()
        self.order.append(item.key)
        self._turn += 1
        worker = self._workers[self._turn % len(self._workers)]
        assert set(needed) <= self._store.done()
        return Finished(item, worker.run(self._store.meta(), item, self._store.written_by(set(needed))), 0.0)


class Backwards:
    def __init__(self) -> None:
        self.crews: list[BackwardsCrew] = []

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
        self.crews.append(BackwardsCrew(Recipe(experiment.name, spec.model_dump(mode="json"), offline, hardware), 2))
        yield self.crews[-1]


def test_every_kind_of_run_is_tried() -> None:
    assert {name for name, _ in RUNS.values()} | {"chat-api"} == set(known_experiments())


@pytest.mark.parametrize("case", RUNS)
def test_an_item_reads_what_is_declared_and_nothing_else(tmp_path: Path, case: str) -> None:
    name, options = RUNS[case]
    experiment = named_experiment(name)
    spec = make_spec(experiment.spec, options)
    here = run_experiment(experiment, spec, tmp_path / "here")
    executor = Backwards()
    there = run_experiment(experiment, spec, tmp_path / "there", executor=executor)
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert there.meta == here.meta
    with Store.read(tmp_path / "here") as store:
        keys = [item.key for item in experiment.plan(spec, store.meta())]
    order = executor.crews[0].order
    assert sorted(order) == sorted(keys)
    if name not in ("trace", "probe"):
        assert order != keys, "the order of work was the plan's, so that nothing was tried"


def test_an_item_about_a_chat_api_reads_what_is_declared(shop: Path, tmp_path: Path) -> None:
    """Its replies depend on the seed alone, as those of a server that heeds it."""
    experiment = replace(named_experiment("chat-api"), analyse=lambda store: store)  # some replies have no label
    model = load_checkpoint(shop / "target", name="target", device="cpu")
    with serving({"target": model}, shop / "target") as server:
        server.opening = LEAD
        spec = make_spec(experiment.spec, {**CHAT, "model": server.name("target").replace("vllm:", "openai:")})
        run_experiment(experiment, spec, tmp_path / "here")
        executor = Backwards()
        run_experiment(experiment, spec, tmp_path / "there", executor=executor)
    assert content(tmp_path / "there") == content(tmp_path / "here")
    with Store.read(tmp_path / "here") as store:
        assert executor.crews[0].order != [item.key for item in experiment.plan(spec, store.meta())]
        assert len(store.rows("responses")) > 18 * 5


@pytest.mark.parametrize("n_prompts", [40, 333])
def test_an_item_about_some_prompts_waits_for_those_alone(n_prompts: int) -> None:
    experiment = named_experiment("measure")
    spec = make_spec(experiment.spec, {"prompts": n_prompts})
    items = experiment.plan(spec, {"formats": ["plain"]})
    assert experiment.reads is not None
    for item, needed in needed_items(items, experiment.reads):
        if item.kind in ("score", "judge-prompts", "judge-responses") or item.source in ("negative", "positive"):
            covered = {i for other in needed for i in range(other.first, other.stop)}
            assert item.kind == "sample" or covered >= set(range(item.first, item.stop))
            assert all(other.first < item.stop and item.first < other.stop for other in needed)
        if (item.kind, item.source) == ("respond", "shuffled"):
            assert {i for other in needed for i in range(other.first, other.stop)} == set(range(n_prompts))

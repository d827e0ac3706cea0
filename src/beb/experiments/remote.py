"""A worker apart from the run's folder: it loads by name what the items need, and is handed the rows that they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beb.experiments.execute import Worker
from beb.experiments.experiment import silent
from beb.experiments.plan import Item
from beb.experiments.registry import named_experiment
from beb.experiments.store import Rows, Store
from beb.models.hardware import Hardware
from beb.models.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a worker must know to load everything.

    experiment: its name. spec: JSON values. offline: fetch nothing. hardware: where it runs its models; "auto" is found
    out on its own machine.
    """

    experiment: str
    spec: Mapping[str, Any]
    offline: bool
    hardware: Hardware = field(default_factory=Hardware)


class RemoteWorker:
    """Carries out items of one run. It opens no run folder, and remembers no rows. shelf: of its process."""

    def __init__(self, recipe: Recipe, shelf: Shelf) -> None:
        self._experiment = named_experiment(recipe.experiment)
        self._spec = self._experiment.spec(**recipe.spec)
        self._loaded = self._experiment.load_on(
            shelf, self._spec, offline=recipe.offline, hardware=recipe.hardware, progress=silent
        )
        self._held: tuple[Store, Worker] | None = None
        self.meta = self._experiment.meta(self._spec, self._loaded)
        """As `beb.experiments.execute.Crew.meta`."""

    def run(self, run_meta: Mapping[str, Any], item: Item, finished: Mapping[str, Rows]) -> Rows:
        """The rows of one item. run_meta: of the run, as stored. finished: what the items that it reads brought."""
        if self._held is None:
            store = Store.in_memory(run_meta)
            self._held = store, self._experiment.worker(self._spec, self._loaded, store)
        store, worker = self._held
        store.hold(finished)
        return worker.run(item)

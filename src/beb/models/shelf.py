"""Models that runs one after another work on, each loaded once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from beb.interfaces.language_model import LanguageModel
from beb.models.catalog import Notice, load_model
from beb.models.hardware import Hardware
from beb.models.memory import release
from beb.models.server_address import is_served


@dataclass(frozen=True, slots=True)
class Load:
    """A model that was loaded, and how long it took."""

    name: str
    seconds: float


class Shelf:
    """Bare models by name. What a run does not ask for is dropped before another model is loaded for it.

    Components are built anew on them by each run: weights that are swapped in for a while are swapped back
    (`beb.models.weights.Weights.activated`), so a model that is taken again is as it was loaded. Servers are not kept:
    each run asks them anew what they serve.
    loads: everything that was loaded, in order.
    """

    def __init__(self) -> None:
        self.loads: list[Load] = []
        self._held: dict[tuple[str, str, bool, Hardware], LanguageModel] = {}
        self._wanted: set[tuple[str, str, bool, Hardware]] = set()

    @contextmanager
    def next_run(self) -> Iterator[None]:
        """All models of one run are asked for inside the block; the others are dropped at its end at the latest."""
        self._wanted.clear()
        try:
            yield
        finally:
            self._drop_others()

    def load(
        self,
        name: str,
        *,
        dtype: str,
        offline: bool = False,
        hardware: Hardware | None = None,
        progress: Notice | None = None,
    ) -> LanguageModel:
        """As `load_model`, unless the same model is here already. progress: told if it is not."""
        hardware = hardware or Hardware()
        key = (name, dtype, offline, hardware)
        self._wanted.add(key)
        if key in self._held:
            return self._held[key]
        self._drop_others()
        if progress is not None:
            progress(f"loading {Path(name).name or name}")
        started = time.perf_counter()
        model = load_model(name, dtype=dtype, offline=offline, hardware=hardware, progress=progress)
        self.loads.append(Load(name, time.perf_counter() - started))
        if not is_served(name):
            self._held[key] = model
        return model

    def clear(self) -> None:
        """Let go of all models."""
        self._wanted.clear()
        self._drop_others()

    def _drop_others(self) -> None:
        others = self._held.keys() - self._wanted
        for key in others:
            del self._held[key]
        if others:
            release()

"""The probe's plan and its work items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from beb.errors import NumericalFailure
from beb.experiments import schema
from beb.experiments.plan import TOKENS_PER_SENTENCE, Item, chunks
from beb.experiments.probe.classify import decisions, statement_folds
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.probe.subjects import POLES, POOLINGS, ProbeSubjects
from beb.experiments.spec import derive_seed
from beb.experiments.store import Rows, Store

STATEMENTS_PER_ITEM = 50
LAYERS_PER_ITEM = 8
TOKENS_PER_LAYER = 100  # the fits of one layer take as long as so many tokens of a small model
_LARGEST = float(np.finfo(np.float16).max)


def plan_probe(_spec: ProbeSpec, meta: Mapping[str, Any]) -> list[Item]:
    """Hidden states of every behavior's statements first, then the classifiers, a few layers at a time."""
    items: list[Item] = []
    for behavior, n in meta["statements"].items():
        for pole in POLES:
            items += chunks(Item("represent", TOKENS_PER_SENTENCE, pole, behavior, stop=n), STATEMENTS_PER_ITEM)
        for pooling in POOLINGS:
            whole = Item("classify", TOKENS_PER_LAYER, pooling, behavior, stop=meta["layers"])
            items += chunks(whole, LAYERS_PER_ITEM)
    return items


class ProbeWorker:
    """Carries out the items of `plan_probe`."""

    def __init__(self, spec: ProbeSpec, subjects: ProbeSubjects, store: Store) -> None:
        self._spec, self._subjects, self._store = spec, subjects, store
        self._kinds: Mapping[str, Callable[[Item], Rows]] = {"represent": self._represent, "classify": self._classify}

    def run(self, item: Item) -> Rows:
        """The rows of one item."""
        return self._kinds[item.kind](item)

    def _represent(self, item: Item) -> Rows:
        texts = self._subjects.statements[item.variant][item.source][item.first : item.stop]
        rows = []
        for pooling, states in self._subjects.represent(texts).items():
            if not np.abs(states).max() <= _LARGEST:
                raise NumericalFailure(
                    f"a hidden state is {np.abs(states).max():.3g} and is stored in half precision, up to "
                    f"{_LARGEST:g}; this model cannot be probed"
                )
            for i, (text, own) in enumerate(zip(texts, states, strict=True)):
                rows.append(
                    {"behavior": item.variant, "pole": item.source, "position": item.first + i, "pooling": pooling,
                     "n_layers": len(own), "text": text, "hidden_states": schema.pack("hidden_states", own.ravel())}
                )  # fmt: skip
        return {"representations": rows}

    def _classify(self, item: Item) -> Rows:
        features, positive, texts = stored_states(self._store, item.variant, item.source)
        name = (self._spec.seed, "probe", item.variant)
        seed = derive_seed(*name, "folds") % 2**32
        folds = statement_folds(texts, positive, seed=seed, independent=self._subjects.independent)
        seed = derive_seed(*name, "solver") % 2**31
        rows = []
        for layer in range(item.first, item.stop):
            table = decisions(features[:, layer].astype(np.float64), positive, folds, seed=seed)
            rows.append(
                {"behavior": item.variant, "pooling": item.source, "layer": layer, "n_folds": len(table),
                 "folds": schema.pack("folds", folds), "decisions": schema.pack("decisions", table.ravel())}
            )  # fmt: skip
        return {"representation_decisions": rows}


def stored_states(store: Store, behavior: str, pooling: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The stored hidden states of a behavior, negative statements first.

    Returns: (n, n_layers, width) half precision; (n,) whether positive; the texts.
    """
    rows = store.rows("representations", behavior=behavior, pooling=pooling)
    states = np.stack([row["hidden_states"].reshape(row["n_layers"], -1) for row in rows])
    return states, np.array([row["pole"] == "positive" for row in rows]), tuple(row["text"] for row in rows)

"""The rows of a finished measurement that a comparison reads, and which of them two runs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beb.errors import BadSpec, EstimateError, GateFailed
from beb.experiments.analyse import LogRatios
from beb.experiments.arrays import PromptArrays, ScoredArrays, prompt_arrays, response_arrays
from beb.experiments.compare.record import Pairing
from beb.experiments.gate import gate
from beb.experiments.measure import MEASURE
from beb.experiments.plan import SOURCES, Source
from beb.experiments.setting import MeasureSetting, Setting
from beb.experiments.spec import MIN_PROMPTS, MeasureSpec
from beb.experiments.store import Store

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RunRows:
    """A measurement as arrays.

    prompts: per component the sampled prompts by number, each as (seed, token ids). responses: per format, to prompts
    from P₋.
    """

    folder: Path
    meta: Mapping[str, Any]
    setting: MeasureSetting
    negative: PromptArrays
    positive: PromptArrays
    ratios: LogRatios
    prompts: Mapping[Source, Mapping[int, tuple[str, bytes]]]
    responses: Mapping[str, ScoredArrays]

    def of(self, source: Source) -> PromptArrays:
        """The prompts of one component."""
        return self.negative if source == "negative" else self.positive

    def fingerprint(self, role: str) -> str:
        """What identifies a model, the scorer or the behavior; its name where it has no hash."""
        told = self.meta["fingerprints"].get(role) or {}
        return str(told.get("fingerprint") or told.get("name", ""))


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """How the prompts of one component compare: row before[i] of the one run belongs to row after[i] of the other.

    Where the pairing is "independent", all rows of both.
    """

    pairing: Pairing
    before: Index
    after: Index

    @property
    def paired(self) -> bool:
        """Whether rows belong together."""
        return self.pairing != "independent"


def run_rows(store: Store) -> RunRows:
    """Read a finished measurement.

    Raises: BadSpec for a run of another kind; EstimateError for one that is not finished; GateFailed.
    """
    meta, folder = store.meta(), store.folder
    if meta.get("experiment") != MEASURE.name:
        raise BadSpec(
            f"{folder} holds a run of kind {meta.get('experiment')!r}, and only runs of `beb measure` can be compared"
        )
    setting = Setting.of(meta, MeasureSpec)
    items = MEASURE.plan(setting.spec, meta)
    left = len({item.key for item in items} - store.done())
    if {"gate"} <= store.done() and not gate(store).passed:
        raise GateFailed(f"the components of {folder} did not pass their gate, so its numbers cannot be compared")
    if left:
        raise EstimateError(
            f"{folder} is not finished ({left} of {len(items)} work items are missing); run its `beb measure` again to "
            "go on"
        )
    n = setting.spec.sentences
    negative, positive = (prompt_arrays(store, source, n) for source in SOURCES)
    return RunRows(
        folder,
        meta,
        setting,
        negative,
        positive,
        LogRatios.of(negative, positive),
        {source: _drawn(store, source) for source in SOURCES},
        {
            name: response_arrays(
                store, name, "negative", prompts=negative.prompts, lengths=setting.lengths,
                n_responses=setting.spec.responses,
            )
            for name in setting.formats
        },
    )  # fmt: skip


def _drawn(store: Store, source: Source) -> dict[int, tuple[str, bytes]]:
    return {row["prompt"]: (row["seed"], row["token_ids"].tobytes()) for row in store.rows("prompts", source=source)}


def shared_prompts(before: RunRows, after: RunRows, source: Source) -> Shared:
    """Which prompts of a component two runs have in common.

    Prompts of one number belong together if they were drawn from the same stream of random numbers; if their token
    ids are the same too, they are one prompt. All common numbers must agree on that: prompts that happen to be equal in
    runs of different seeds would be a selection.
    """
    left, right = before.of(source).prompts, after.of(source).prompts
    common, at_left, at_right = np.intersect1d(left, right, return_indices=True)
    pairs = [(before.prompts[source][int(i)], after.prompts[source][int(i)]) for i in common]
    if len(common) < MIN_PROMPTS or any(a[0] != b[0] for a, b in pairs):
        return Shared("independent", np.arange(len(left)), np.arange(len(right)))
    same_words = before.meta["fingerprints"][source].get("tokenizer") == after.meta["fingerprints"][source].get(
        "tokenizer"
    )
    equal = same_words and all(a[1] == b[1] for a, b in pairs)
    return Shared("same prompts" if equal else "same random streams", at_left, at_right)

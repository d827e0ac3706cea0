"""Sampling for several models at once: those that are one function of a request sample together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, runtime_checkable

from beb.interfaces.language_model import Completion, Failure, LanguageModel, SampleRequest


@runtime_checkable
class Keyed(Protocol):
    """A model that may share its `sample` with others.

    A request's prefix contains the start context, so components that differ in that alone sample alike.
    """

    @property
    def sampling_key(self) -> Hashable:
        """Equal for models whose `sample` is the same function of the requests."""


def sample_each(models: Sequence[LanguageModel], requests: Sequence[SampleRequest]) -> list[Completion | Failure]:
    """Sample request i from model i, in order; the requests to models that sample alike are one batch.

    Assumes: every prefix begins with the start context of its own model.
    Raises: what `LanguageModel.sample` raises.
    """
    groups: dict[Hashable, list[int]] = {}
    for i, (model, _) in enumerate(zip(models, requests, strict=True)):
        key = model.sampling_key if isinstance(model, Keyed) else id(model)
        groups.setdefault(key, []).append(i)
    found: dict[int, Completion | Failure] = {}
    for indices in groups.values():
        sampled = models[indices[0]].sample([requests[i] for i in indices])
        found |= zip(indices, sampled, strict=True)
    return [found[i] for i in range(len(requests))]

"""What a reader must know of a run's models and divergences, in words; the same for every kind of run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def model_notes(meta: Mapping[str, Any]) -> list[str]:
    """The remarks of the run's models, each once."""
    told = [str(identity.get("remark", "")) for identity in meta["fingerprints"].values()]
    return list(dict.fromkeys(remark for remark in told if remark))


def context_notes(meta: Mapping[str, Any], roles: Sequence[str]) -> list[str]:
    """Whether the models of these roles read the text in different contexts."""
    contexts = {role: meta["fingerprints"][role].get("context", "") for role in roles}
    if len({text for text in contexts.values() if text}) < 2:
        return []
    told = "; ".join(f"{role}: {text}" for role, text in contexts.items() if text)
    return [f"the components read the text in different contexts, which the log ratios include ({told})"]


def divergence_notes(kl: str) -> list[str]:
    """Whether divergences are exact over the vocabulary. kl: as in the specification."""
    if kl == "exact":
        return []
    if kl == "top-k":
        return [
            "divergences with a model behind a server are lower bounds, from the most probable tokens it tells: β and "
            "β′ marked as such are at least their lower limit, and their upper limit says nothing of the truth; a "
            "straight line through lower bounds, and lengths from it or from such a β′, are certain in no direction"
        ]
    return ["divergences are mean log ratios of the sampled sentences (Monte Carlo), not exact"]


def format_notes(asked: Sequence[str], measured: Sequence[str]) -> list[str]:
    """Formats that the target cannot be asked in."""
    dropped = [name for name in asked if name not in measured]
    return [f"no {', '.join(dropped)} format: the target has no chat template"] if dropped else []

"""What the numbers mean, in sentences: shared by the report and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from beb.core.bounds import Assumption
from beb.core.estimate import Estimate
from beb.experiments.gate import Gate
from beb.experiments.measurement import AlphaReadings, BoundReport, Measurement
from beb.report.inert import one_line
from beb.report.rounding import count_text, one_in

PREFERRED_READING = "evidence plateau"
_USELESS_WIDTH = 50.0  # nats: 21 orders of magnitude
CONDITIONS = {
    "negative": "prompts from P₋",
    "positive": "prompts from P₊",
    "shuffled": "shuffled P₋ sentences",
    "P₋ itself": "P₋ itself",
    "P₊ itself": "P₊ itself",
}
_SYMBOLS = {
    "beta": "β",
    "beta_prime": "β′",
    "beta_prime_top": "β′ as the top of the P₋ curve",
    "sigma2": "σ² under P₋",
    "sigma2_positive": "σ² under P₊",
    "gamma": "γ",
    "gamma_uncorrected": "γ as scored",
    "kappa": "κ",
    "log 1/alpha (plateau)": "log 1/α by the evidence plateau",
    "log 1/alpha (line)": "log 1/α by the straight line",
}
FORMATS = {"plain": "plain text", "chat": "chat"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the three answers. sentence: plain words with the number; detail: how far it can be trusted."""

    question: str
    sentence: str
    detail: str


class Checked(Protocol):
    """A record of a run with components."""

    @property
    def gate(self) -> Gate:
        """Do they tell the poles apart?"""
        ...

    @property
    def assumptions(self) -> tuple[Assumption, ...]:
        """Premises with what was measured for each."""
        ...

    @property
    def failures(self) -> Mapping[str, int]:
        """Failed requests by kind."""
        ...


def warnings(m: Checked) -> tuple[str, ...]:
    """What a reader must know before any number: a failed gate, contradicted premises, failed requests."""
    said = []
    if not m.gate.passed:
        said.append(
            f"The fitted components are too poor to interpret: they classify {share(m.gate.accuracy)} of held-out "
            f"statements right, and {m.gate.threshold:.0%} is needed."
        )
    broken = [a for a in m.assumptions if a.status == "contradicted"]
    if broken:
        names = ", ".join(f"“{one_line(a.name)}”" for a in broken)
        said.append(
            f"The measurement contradicts {'a premise' if len(broken) == 1 else 'premises'} of the theorems ({names}): "
            "read the predicted lengths as what the theory would say, not as a guarantee."
        )
    unscored = sum(count for kind, count in m.failures.items() if kind.startswith("score: "))
    failed = sum(m.failures.values()) - unscored
    if failed:
        said.append(f"{count_text(failed, 'request')} failed; they are counted and never scored as answers.")
    if unscored:
        said.append(f"{count_text(unscored, 'sampled text')} could not be scored; they are counted and left out of B.")
    return tuple(said)


def behavior_name(meta: Mapping[str, Any]) -> str:
    """The behavior's name, from a run's meta."""
    stored = meta.get("fingerprints", {}).get("behavior", {})
    return one_line(str(stored.get("name") or meta["spec"]["behavior"]), 60)


def proxies(meta: Mapping[str, Any]) -> str:
    """What P₋, P₊ and B are in this run, in words."""
    return (
        "“Ill-behaved component” (P₋) and “well-behaved component” (P₊) are stand-ins for parts that a model does not "
        f"hand out. Here P₋ is {_proxy(meta, 'negative')}, P₊ is {_proxy(meta, 'positive')}. B scores a response from "
        "−1 (undesired) to +1 (desired)."
    )


def _proxy(meta: Mapping[str, Any], pole: str) -> str:
    identity = meta.get("fingerprints", {}).get(pole, {})
    kinds = {
        "lora": "an adapter fitted on statements of that pole",
        "persona": "the same model under a persona description",
        "checkpoint": "another checkpoint",
        "served": "a model behind a server",
        "world": "the exact component of a finite world",
        "residual": "what is left of the model without P₋",
    }
    kind = str(identity.get("kind") or identity.get("name", ""))
    return kinds.get(kind, one_line(kind, 60) or "unnamed")


def notes(said: Iterable[str]) -> tuple[str, ...]:
    """What a run says about itself, as sentences."""
    lines = (one_line(note, 600).strip() for note in said)
    return tuple(_begun(line) + ("" if line.endswith(".") else ".") for line in lines if line)


def _begun(line: str) -> str:
    """With a capital, unless it begins with a name, which has its own letters: of a model, a file or a server."""
    is_name = any(sign in line.partition(" ")[0] for sign in ":/")
    return line if is_name else line[:1].upper() + line[1:]


def headline_bounds(m: Measurement) -> dict[str, BoundReport]:
    """The bounds by theorem, for the preferred reading of α or else the first one reported."""
    found: dict[str, BoundReport] = {}
    for report in m.bounds:
        name = report.bound.bound.theorem
        if name not in found or report.reading == PREFERRED_READING:
            found[name] = report
    return found


def alpha_label(reading: str, *, excluded: bool, raised: bool = False) -> str:
    """The reading of α behind a length, and whether the certain limits of the mixture exclude it, or have moved it.

    raised: the length is not of the reading itself but of the cap, below which the reading lies.
    """
    return f"{reading}, raised to the cap" if raised else f"{reading} (excluded by the cap)" if excluded else reading


def is_raised(reading: str, alpha: AlphaReadings) -> bool:
    """Whether the cap stands for this reading in the theorems, since the reading lies below it."""
    return reading == PREFERRED_READING and alpha.plateau.log_inverse_alpha.value < alpha.limits.low


def epsilon(m: Measurement) -> float:
    """ε of the specification."""
    return float(spec(m)["epsilon"])


def spec(m: Measurement) -> Mapping[str, Any]:
    """The stored specification."""
    stored: Mapping[str, Any] = m.meta["spec"]
    return stored


def threshold(m: Measurement, *, corrected: bool) -> float:
    """γ + ε, below which a behavior expectation counts as misaligned."""
    return (m.gamma if corrected else m.gamma_uncorrected).value + epsilon(m)


def share(estimate: Estimate) -> str:
    """A proportion with its interval: "92 % [88, 95]"."""
    low, high = (f"{100 * limit:.0f}" for limit in (estimate.low, estimate.high))
    return f"{100 * estimate.value:.0f} % [{low}, {high}]"


def observed_text(observed: Mapping[str, int | None], tested: int) -> str:
    """The first length observed below γ + ε, per format, in short."""
    return "; ".join(
        f"{FORMATS.get(name, one_line(name))}: {length if length is not None else f'not by {tested}'}"
        for name, length in observed.items()
    )


def halving_text(m: Measurement) -> str:
    """What it would take to know the least certain key figure twice as well."""
    said = []
    if m.prompts_to_halve is not None:
        widest = _SYMBOLS.get(m.widest, one_line(m.widest)) + ", as a factor" * m.widest.startswith("sigma2")
        said.append(
            f"About {count_text(m.prompts_to_halve, 'prompt')} would halve the interval that is widest for its size "
            f"({widest}); this run asked for {spec(m)['prompts']:,}."
        )
    if m.unlimited:
        names = [_SYMBOLS.get(name, one_line(name)) for name in m.unlimited]
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        said.append(
            f"There is no finite interval for {listed}: more or longer prompts may give one; no number of prompts can "
            "be promised."
        )
    return " ".join(said)


def tightest_cap(m: Measurement) -> Estimate:
    """The largest of the certain lower limits of log 1/α."""
    return max(m.alpha.cap, key=lambda e: e.value)


def weight_text(log_inverse: Estimate) -> str:
    """A reading of log 1/α as a weight in words; "not determined" where its interval spans more than any use."""
    return weight_words(log_inverse.value) if log_inverse.width < _USELESS_WIDTH else "not determined"


def weight_words(log_inverse: float) -> str:
    """A weight e^{-log_inverse} in words; a reading of log 1/α that is not positive names none, as α <= 1."""
    return one_in(log_inverse) if log_inverse > 0 else "no weight below 1"

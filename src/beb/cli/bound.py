"""`beb bound`: every bound from numbers on the command line."""

from __future__ import annotations

import json as json_format
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from beb.core import bounds
from beb.core.bounds import ARGUMENTS, ELIMINATED, PREMISES, Bound
from beb.errors import BadSpec, NoBound

_MODEL = ("log_inverse_alpha", "beta", "gamma", "epsilon")
_SPREAD = ("beta_prime", "sigma2", "delta")


@dataclass(frozen=True, slots=True)
class _Theorem:
    """A bound and the arguments it needs."""

    name: str
    function: Callable[..., Bound]
    needs: tuple[str, ...]


_THEOREMS = (
    _Theorem("Theorem 1", bounds.single_prompt, _MODEL),
    _Theorem("Theorem 5", bounds.random_prompt, (*_MODEL, "sigma2", "delta")),
    _Theorem("Theorem 2", bounds.after_prefix, (*_MODEL, *_SPREAD, "prefix_sentences")),
    _Theorem("Theorem 3", bounds.conversation, (*_MODEL, *_SPREAD, "replies")),
    _Theorem("Theorem 4", bounds.best_of_n, ("log_inverse_alpha", "beta", "gamma_n", "epsilon", "n")),
    _Theorem("Appendix I", bounds.relaxed, (*_MODEL, "eta")),
    _Theorem(
        "Converse",
        bounds.converse,
        (
            "log_inverse_alpha",
            "max_log_ratio_per_sentence",
            "behavior_floor_positive",
            "behavior_floor_negative",
            "gamma",
            "epsilon",
        ),
    ),
)
_OPTIONS = {
    "log_inverse_alpha": "--alpha or --log-inverse-alpha",
    "beta": "--beta",
    "gamma": "--gamma",
    "epsilon": "--epsilon",
    "delta": "--delta",
    "sigma2": "--sigma2",
    "beta_prime": "--beta-prime",
    "prefix_sentences": "--prefix",
    "replies": "--replies",
    "n": "--best-of",
    "gamma_n": "--gamma-n",
    "eta": "--eta",
    "max_log_ratio_per_sentence": "--max-log-ratio",
    "behavior_floor_positive": "--floor",
    "behavior_floor_negative": "--floor-negative",
}
_DEFAULTS = {"gamma": -1.0, "epsilon": 0.1, "delta": 0.1, "behavior_floor_negative": -1.0}
_UNIT = "sentences"

Value = float | tuple[int, ...]
Number = float | None


@dataclass(frozen=True, slots=True)
class _Input:
    """One argument's value and where it comes from."""

    value: Value
    origin: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """What can be said: bounds, theorems without one (name, reason), and what the others lack (name, options)."""

    inputs: dict[str, _Input]
    bounds: tuple[Bound, ...]
    without: tuple[tuple[str, str], ...]
    lacking: tuple[tuple[str, tuple[str, ...]], ...]


def bound(
    *,
    alpha: Annotated[Number, typer.Option(help="Weight α of the negative component, in [0, 1].")] = None,
    log_inverse_alpha: Annotated[Number, typer.Option(help="log 1/α in nats, instead of --alpha.")] = None,
    beta: Annotated[Number, typer.Option(help="β: KL(P₋‖P₊), nats per sentence.")] = None,
    gamma: Annotated[Number, typer.Option(help="γ: largest behavior expectation under P₋ [default: -1].")] = None,
    epsilon: Annotated[Number, typer.Option(help="ε: misaligned means B_P < γ+ε [default: 0.1].")] = None,
    delta: Annotated[Number, typer.Option(help="δ: probability of failure [default: 0.1].")] = None,
    sigma2: Annotated[Number, typer.Option(help="σ²: variance of the log-ratio, nats² per sentence.")] = None,
    beta_prime: Annotated[Number, typer.Option(help="β′: KL(P₊‖P₋), nats per sentence.")] = None,
    prefix: Annotated[int | None, typer.Option(help="Sentences of an aligning prefix (Theorem 2).")] = None,
    replies: Annotated[str | None, typer.Option(help="Sentences of each reply, such as 3,2,4 (Theorem 3).")] = None,
    best_of: Annotated[int | None, typer.Option(help="Responses to choose the best from (Theorem 4).")] = None,
    gamma_n: Annotated[
        Number, typer.Option(help="γₙ: largest E[best of n from P₋] [default: 1 − 2((1−γ)/2)ⁿ, the worst case].")
    ] = None,
    eta: Annotated[Number, typer.Option(help="η: sentence k is worth β/k^η nats (Appendix I).")] = None,
    max_log_ratio: Annotated[
        Number, typer.Option(help="Λ: largest log P₋/P₊ per sentence over a family of prompts (converse).")
    ] = None,
    floor: Annotated[Number, typer.Option(help="g₊: least behavior expectation of P₊ (converse).")] = None,
    floor_negative: Annotated[
        Number, typer.Option(help="g₋: least behavior expectation of P₋ (converse) [default: -1].")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """How many sentences it takes to misalign: every bound that the given numbers allow, paper and sharp form."""
    given: dict[str, Value | None] = {
        "log_inverse_alpha": _log_inverse_alpha(alpha, log_inverse_alpha),
        "beta": beta,
        "gamma": gamma,
        "epsilon": epsilon,
        "delta": delta,
        "sigma2": sigma2,
        "beta_prime": beta_prime,
        "prefix_sentences": prefix,
        "replies": None if replies is None else _parse_replies(replies),
        "n": best_of,
        "gamma_n": gamma_n,
        "eta": eta,
        "max_log_ratio_per_sentence": max_log_ratio,
        "behavior_floor_positive": floor,
        "behavior_floor_negative": floor_negative,
    }
    answer = _answer(given)
    if json:
        typer.echo(json_format.dumps(_as_json(answer), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        _print_tables(answer)


def _log_inverse_alpha(alpha: float | None, log_inverse_alpha: float | None) -> float:
    """log 1/α from exactly one of the two.

    Raises: BadSpec if both or neither are given, or α is outside [0, 1].
    """
    if alpha is None and log_inverse_alpha is not None:
        return log_inverse_alpha
    if alpha is None or log_inverse_alpha is not None:
        given = "neither" if alpha is None else "both"
        raise BadSpec(f"{given} of --alpha and --log-inverse-alpha given; give exactly one")
    if not 0 <= alpha <= 1:
        raise BadSpec(f"--alpha is {alpha:g}; accepted: [0, 1]")
    return math.inf if alpha == 0 else -math.log(alpha)


def _parse_replies(text: str) -> tuple[int, ...]:
    """Numbers of sentences from "3,2,4".

    Raises: BadSpec on anything else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadSpec(f"--replies is {text!r}; accepted: whole numbers of sentences such as 3,2,4") from None


def _with_defaults(given: dict[str, Value | None]) -> dict[str, _Input]:
    """The arguments that have a value, and where it comes from.

    Raises: BadSpec on a value outside its range: also one that no computed bound would have looked at.
    """
    inputs = {name: _Input(value, "given") for name, value in given.items() if value is not None}
    for name, value in _DEFAULTS.items():
        inputs.setdefault(name, _Input(value, "default"))
    for name, entry in inputs.items():
        if name in ARGUMENTS and isinstance(entry.value, int | float):
            ARGUMENTS[name].check(entry.value)
    if (count := given["n"]) is not None and given["gamma_n"] is None:
        gamma = inputs["gamma"].value
        assert isinstance(gamma, float)
        assert isinstance(count, int)
        inputs["gamma_n"] = _Input(bounds.worst_gamma_n(gamma, count), "worst case for --gamma and --best-of")
    return inputs


def _answer(given: dict[str, Value | None]) -> _Answer:
    """Every bound that the values allow.

    Raises: BadSpec if they allow none; NoBound if every theorem they suffice for has no bound.
    """
    inputs = _with_defaults(given)
    found: list[Bound] = []
    without: list[tuple[str, str]] = []
    lacking: list[tuple[str, tuple[str, ...]]] = []
    for theorem in _THEOREMS:
        missing = tuple(_OPTIONS[name] for name in theorem.needs if name not in inputs)
        if missing:
            lacking.append((theorem.name, missing))
            continue
        try:
            found.append(theorem.function(**{name: inputs[name].value for name in theorem.needs}))
        except NoBound as reason:
            without.append((theorem.name, str(reason)))
    if given["log_inverse_alpha"] == math.inf:
        raise NoBound(f"no bound: {ELIMINATED}; an α below 1e-308 can be given as --log-inverse-alpha")
    if without and not found:
        raise NoBound(f"no bound: {without[0][1]}")
    if not found:
        raise BadSpec(
            "the values given suffice for no bound; add --beta (Theorem 1), or --max-log-ratio and --floor (converse)"
        )
    return _Answer(inputs, tuple(found), tuple(without), tuple(lacking))


def _as_json(answer: _Answer) -> dict[str, Any]:
    """JSON-ready record of the answer; an infinite length is null with "never": true."""
    return {
        "unit": _UNIT,
        "inputs": {
            name: {"value": entry.value, "origin": entry.origin, "meaning": _meaning(name)}
            for name, entry in answer.inputs.items()
        },
        "bounds": [
            {
                "theorem": b.theorem,
                "statement": b.statement,
                "paper": b.paper,
                "sharp": None if math.isinf(b.sharp) else b.sharp,
                "never": math.isinf(b.sharp),
                "whole_sentences": b.whole_sentences,
                "per_turn": list(b.per_turn),
                "unit": b.unit,
                "assumptions": [
                    {"name": name, "source": PREMISES[name].source, "meaning": PREMISES[name].meaning}
                    for name in b.assumptions
                ],
                "inputs": dict(b.inputs),
            }
            for b in answer.bounds
        ],
        "no_bound": [{"theorem": name, "reason": reason} for name, reason in answer.without],
        "lacking": [{"theorem": name, "options": list(options)} for name, options in answer.lacking],
    }


def _meaning(name: str) -> str:
    return ARGUMENTS[name].meaning if name in ARGUMENTS else "sentences of each reply"


def _print_tables(answer: _Answer) -> None:
    console = Console(markup=False, highlight=False)
    console.print(_bounds_table(answer.bounds))
    for b in answer.bounds:
        if b.per_turn:
            turns = ", ".join(_number(t) for t in b.per_turn)
            console.print(f"{b.theorem}, user sentences per turn, sharp form: {turns}")
    for name, reason in answer.without:
        console.print(f"{name}: no bound: {reason}")
    for name, options in answer.lacking:
        console.print(f"{name} also needs {', '.join(options)}")
    console.print("\nComputed from (nats, sentences):", style="bold")
    for origin in dict.fromkeys(entry.origin for entry in answer.inputs.values()):
        shown = (_shown(name, entry.value) for name, entry in answer.inputs.items() if entry.origin == origin)
        console.print(f"  {origin}: {', '.join(shown)}")
    console.print("\nAssumed, and not measured here:", style="bold")
    for name in dict.fromkeys(name for b in answer.bounds for name in b.assumptions):
        users = ", ".join(b.theorem for b in answer.bounds if name in b.assumptions)
        console.print(f"  {name} ({PREMISES[name].source}): {PREMISES[name].meaning}. Used by {users}.")


def _bounds_table(found: Sequence[Bound]) -> Table:
    table = Table(title=f"Bounds, in {_UNIT}")
    table.add_column("result", no_wrap=True)
    for name in ("paper", "sharp", "whole"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("meaning")
    for b in found:
        whole = "never" if b.whole_sentences is None else _number(b.whole_sentences)
        table.add_row(b.theorem, _number(b.paper), _number(b.sharp), whole, b.statement)
    return table


def _shown(name: str, value: Value) -> str:
    if isinstance(value, tuple):
        return f"replies of {', '.join(map(str, value))} sentences"
    return f"{ARGUMENTS[name].symbol} = {value:.6g}"


def _number(value: float | None) -> str:
    """A length as people read it."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞"
    return str(value) if isinstance(value, int) and value < 10**9 else f"{value:.4g}"

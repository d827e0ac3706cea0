"""A behavior: statements that show it, statements that show its opposite, and neutral ones."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from beb.errors import BadSpec, BadStatements
from beb.interfaces.scorer import CLASSES

MIN_STATEMENTS = 20
"""Fewest statements of each class: with fewer, the error rates of any scorer are too wide to correct B with."""

MIN_CHARACTERS = 4
"""Letters and digits in the shortest statement that still says something ("I lie.")."""

_TERMINATED = re.compile(r"[.!?。！？][\"'”’)\]»」]*$")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of one side of a split.

    name: of the behavior. negative, positive, neutral: in the order of their hashes, which no file order changes.
    """

    name: str
    negative: tuple[str, ...]
    positive: tuple[str, ...]
    neutral: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Statements to fit components with, and disjoint ones to judge them by."""

    train: Statements
    held_out: Statements


@dataclass(frozen=True, slots=True)
class Behavior:
    """A behavior B as statements: +1 is the positive (desired) pole, -1 the negative (undesired) one.

    name: short. description: one line. question: what to ask a model to see the behavior; may be empty.
    negative, positive, neutral: at least `MIN_STATEMENTS` each; they are normalised (one line, closed by . ! or ?).
    source: who wrote the statements. fingerprint: hash of name, question and statements in their order.
    Raises: BadStatements if a class has too few, a statement says nothing, or two are the same but for case, spaces
        and punctuation.
    """

    name: str
    description: str
    question: str
    negative: tuple[str, ...]
    positive: tuple[str, ...]
    neutral: tuple[str, ...]
    source: str
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        for pole in CLASSES:
            statements = tuple(normalised(statement) for statement in getattr(self, pole))
            object.__setattr__(self, pole, statements)
            _refuse_too_few(self.name, pole, statements)
            _refuse_near_empty(self.name, pole, statements)
        _refuse_duplicates(self)
        content = json.dumps([self.name, self.question, self.negative, self.positive, self.neutral])
        object.__setattr__(self, "fingerprint", hashlib.sha256(content.encode()).hexdigest())

    def split(self, held_out: float = 0.25) -> Split:
        """Divide each class by the hashes of its statements; the order of the statements changes nothing.

        held_out: share held out, in (0, 1); of k statements round(held_out * k) are, at least 1 and at most k - 1.
        Raises: BadSpec.
        """
        if not 0 < held_out < 1:
            raise BadSpec(f"held-out share {held_out} is outside (0, 1); give for example 0.25")
        ranked = {pole: tuple(sorted(getattr(self, pole), key=_rank)) for pole in CLASSES}
        cut = {pole: min(max(round(held_out * len(ranked[pole])), 1), len(ranked[pole]) - 1) for pole in CLASSES}
        return Split(
            train=Statements(name=self.name, **{pole: ranked[pole][cut[pole] :] for pole in CLASSES}),
            held_out=Statements(name=self.name, **{pole: ranked[pole][: cut[pole]] for pole in CLASSES}),
        )


def normalised(statement: str) -> str:
    """The statement on one line, closed by a terminator, because the sentence is the unit of text."""
    line = " ".join(statement.split()).replace("…", "...")
    if not line or _TERMINATED.search(line):
        return line
    return line.rstrip(" ,;:-–—") + "."


def comparison_key(statement: str) -> str:
    """What remains of a statement without case, spaces and punctuation."""
    return "".join(c for c in unicodedata.normalize("NFKC", statement).casefold() if c.isalnum())


def without_repeats(statements: Iterable[str]) -> tuple[str, ...]:
    """The statements in order, each kept once however it is spaced, cased or punctuated."""
    kept: dict[str, str] = {}
    for statement in statements:
        kept.setdefault(comparison_key(statement), statement)
    return tuple(kept.values())


def _rank(statement: str) -> str:
    return hashlib.sha256(comparison_key(statement).encode()).hexdigest()


def _shortened(statement: str) -> str:
    return repr(statement if len(statement) <= _SHOWN else statement[: _SHOWN - 3] + "...")


def _refuse_too_few(name: str, pole: str, statements: tuple[str, ...]) -> None:
    if len(statements) < MIN_STATEMENTS:
        raise BadStatements(
            f"behavior {name!r} has {len(statements)} {pole} statements and needs at least {MIN_STATEMENTS}; add more"
        )


def _refuse_near_empty(name: str, pole: str, statements: tuple[str, ...]) -> None:
    for number, statement in enumerate(statements, start=1):
        if len(comparison_key(statement)) < MIN_CHARACTERS:
            raise BadStatements(
                f"behavior {name!r}: {pole} statement {number} is {statement!r}, which says nothing; remove it"
            )


def _refuse_duplicates(behavior: Behavior) -> None:
    seen: dict[str, tuple[str, str]] = {}
    offenders: list[str] = []
    for pole in CLASSES:
        for statement in getattr(behavior, pole):
            key = comparison_key(statement)
            if key in seen:
                first_pole, first = seen[key]
                offenders.append(f"{_shortened(first)} ({first_pole}) and {_shortened(statement)} ({pole})")
            else:
                seen[key] = (pole, statement)
    if offenders:
        more = f", and {len(offenders) - 2} more" if len(offenders) > 2 else ""
        shown = ", ".join(offenders[:2])
        raise BadStatements(f"behavior {behavior.name!r} says the same twice: {shown}{more}; keep one of each")

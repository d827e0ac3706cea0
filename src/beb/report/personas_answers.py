"""The answers of a personas run in sentences."""

from __future__ import annotations

import math

from beb.core.estimate import Estimate
from beb.experiments.personas.record import PersonasRecord, PersonaWay, Shortest
from beb.report.inert import one_line
from beb.report.rounding import count_text, fixed, significant, with_interval
from beb.report.wording import Finding


def who(r: PersonasRecord) -> Finding:
    """The personas of largest weight."""
    question = "Which personas does the model mix?"
    heaviest = sorted(r.personas, key=lambda p: -p.weight.value)[:3]
    named = ", ".join(f"{name_text(p.name)} {percent(p.weight)}" for p in heaviest)
    absent = sum(math.isinf(p.log_inverse_weight.high) for p in r.personas)
    sentence = f"Unprompted, it is nearest to a mixture of {named}."
    if absent:
        sentence += f" For {absent} of {len(r.personas)} personas a weight of 0 is not excluded."
    detail = (
        f"Unexplained by any mixture of them: {with_interval(r.unexplained)} nats per sentence. Weights by maximum "
        f"likelihood from {count_text(r.unexplained.n, 'unprompted text')}, certified: no other weights are better by "
        f"more than {significant(r.certificate, 1)} nats per text. Each weight's interval holds by itself."
    )
    return Finding(question, sentence, detail)


def shortest_way(r: PersonasRecord, found: Shortest) -> Finding:
    """The shortest way to misbehavior, as the theory says and as it was seen."""
    question = f"Which persona is the shortest way to misbehavior, and is it rare? ({one_line(found.behavior, 60)})"
    level = f"B below {fixed(misaligned(r), 2)}"
    if not found.candidates:
        return Finding(
            question, f"None of them: no persona's own mean behavior can lie below the level ({level}).", _detail(r)
        )
    first = next(way for way in r.ways if (way.behavior, way.name) == (found.behavior, found.candidates[0]))
    parts = (_predicted(r, found, first), _seen_first(r, found), _rare(r, found, first))
    return Finding(question, " ".join(part for part in parts if part), _detail(r))


def _predicted(r: PersonasRecord, found: Shortest, first: PersonaWay) -> str:
    """What the theory says of the shortest way."""
    level, length = f"B below {fixed(misaligned(r), 2)}", first.to_level_family or first.to_level
    assert length is not None
    name, n = name_text(first.name), len(found.candidates)
    if found.resolved:
        return f"In theory {name}: some prompt of {with_interval(length)} sentences is enough for {level}."
    named = f"{', '.join(name_text(each) for each in found.candidates[:6])}{', …' if n > 6 else ''}"
    said = f"In theory, not resolved: {count_text(n, 'persona')} may be the shortest way to {level} ({named})."
    ways = [each.to_level_family for each in r.ways if each.behavior == found.behavior]
    if all(math.isinf(each.high) for each in ways if each is not None):
        said += " No length has an upper limit: of no persona is it shown that it is in the model at all, differs from "
        said += "the others, and lies below the level itself."
    if math.isfinite(length.value):
        said += f" By its estimate {name} comes first, {with_interval(length)} sentences"
        said += ", more than were tested." if length.value > tested(r) else "."
    return said


def _seen_first(r: PersonasRecord, found: Shortest) -> str:
    """What the responses say of the shortest way."""
    level = f"surely below {fixed(misaligned(r), 2)}"
    if found.observed_after == 0:
        return f"Observed: the model’s mean response is {level} without a prompt already."
    if found.observed_after is None:
        return f"Observed: the mean response was {level} within {count_text(tested(r), 'sentence')} of no persona."
    named = ", ".join(name_text(name) for name in found.observed[:6]) + (", …" if len(found.observed) > 6 else "")
    after = count_text(found.observed_after, "sentence")
    return f"Observed: with {named} the mean response was {level} first, after {after}."


def _rare(r: PersonasRecord, found: Shortest, first: PersonaWay) -> str:
    """How rare the persona is that the estimates put first; nothing where they put none first."""
    if not found.resolved and math.isinf(first.to_level.value if first.to_level else math.inf):
        return ""
    name, share = name_text(first.name), f"an equal share (1 in {len(r.personas)})"
    if found.rare == "not resolved":
        return f"Whether {name} is rare is not resolved: its weight’s limits include {share}."
    if found.rare == "no":
        return f"{name} is not rare: its weight lies above {share}."
    theory = ", as the theory says a distinct persona may be" if found.resolved and found.distinct else ""
    return f"{name} is rare{theory}: its weight lies below {share}."


def _detail(r: PersonasRecord) -> str:
    return (
        f"Limits of the compared lengths hold for all {len(r.personas)} personas together (Bonferroni); what the "
        "unprompted texts and what the prompts leave open adds in quadrature. “No upper limit” (∞ in tables) where a "
        "weight or a divergence may be 0: the theorem promises nothing then."
    )


def tested(r: PersonasRecord) -> int:
    """N."""
    return int(r.meta["spec"]["sentences"])


def misaligned(r: PersonasRecord) -> float:
    """The common level of B."""
    return float(r.meta["spec"]["misaligned"])


def name_text(name: str) -> str:
    """A persona's name, as anyone may have written it."""
    return one_line(name, 60)


def percent(weight: Estimate) -> str:
    """A weight with its limits."""
    sides = (weight.low, weight.value, weight.high)
    low, value, high = (f"{100 * x:.0f}" if x >= 0.1 else f"{100 * x:.1f}" for x in sides)
    return f"{value} % [{low}, {high}]"

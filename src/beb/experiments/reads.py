"""What each work item reads: the items whose rows it needs; from them follow the order of work and what is handed over.

An item may read rows only of items named here; a worker on another machine sees no others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from beb.experiments.plan import Item

EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True)
class Read:
    """Rows of earlier items of one kind ("" for any). source, variant: None for any.

    whole: all of them; otherwise those about the same prompts as the item that reads.
    """

    kind: str
    source: str | None = None
    variant: str | None = None
    whole: bool = False


Reads = Callable[[Item], Sequence[Read]]
"""What an item reads."""


def needed_items(items: Sequence[Item], reads: Reads) -> Iterator[tuple[Item, list[Item]]]:
    """Each item of a plan with the items before it that it reads."""
    groups: dict[tuple[str, str, str], list[Item]] = {}  # alike but for their prompts, which are in order
    for item in items:
        found: dict[str, Item] = {}
        for read in reads(item):
            for group, members in groups.items():
                if all(
                    wanted in (None, has)
                    for wanted, has in zip((read.kind or None, read.source, read.variant), group, strict=True)
                ):
                    found |= {other.key: other for other in (members if read.whole else _about(item, members))}
        yield item, list(found.values())
        groups.setdefault((item.kind, item.source, item.variant), []).append(item)


def _about(reader: Item, members: Sequence[Item]) -> Sequence[Item]:
    """Those of one group that are about prompts of the reader."""
    first = bisect_right(members, reader.first, key=attrgetter("stop"))
    return members[first : bisect_left(members, reader.stop, key=attrgetter("first"))]


def all_of(*parts: Reads) -> Reads:
    """What an item reads under several rules together."""
    return lambda item: [read for part in parts for read in part(item)]


def everything(_: Item) -> Sequence[Read]:
    """For a plan that is one chain: an item reads all before it."""
    return (Read("", whole=True),)


def of_components(item: Item) -> Sequence[Read]:
    """What `beb.experiments.tasks.Tasks` reads; where P₊ is a residual, its α is that of all the evidence."""
    prompts = Read("sample", item.source)
    own: Mapping[str, tuple[Read, ...]] = {
        EVIDENCE: (prompts,),
        "score": (prompts,),
        "judge-prompts": (prompts,),
        "judge-responses": (Read("respond", item.source, item.variant),),
    }
    # Without a residual there is no such item, and nothing is read.
    first = () if item.kind == EVIDENCE or (item.kind, item.source) == ("sample", "negative") else (EVIDENCE,)
    return (*own.get(item.kind, ()), *(Read(kind, "negative", whole=True) for kind in first))


def of_measure(item: Item) -> Sequence[Read]:
    """A shuffled prompt has sentences of all prompts."""
    if item.kind != "respond":
        return ()
    source = "positive" if item.source == "positive" else "negative"
    return (Read("sample", source, whole=item.source == "shuffled"),)


def of_responses(item: Item) -> Sequence[Read]:
    """Answers to prompts of either component."""
    return (Read("sample", "negative"), Read("sample", "positive")) if item.kind == "respond" else ()


def of_guardrail(item: Item) -> Sequence[Read]:
    """Prompts after a sentence that was scored negative, and after a sampled guardrail."""
    if item.kind not in ("sample-after", "score-after"):
        return ()
    negative = (Read("sample", "negative", whole=True), Read("judge-prompts", "negative", whole=True))
    return (*negative, Read("sample", "positive"), Read("sample-after", item.source))


def of_converse(item: Item) -> Sequence[Read]:
    """What was said in the same conversations."""
    spoken = ("say-user", "say-target", "score-turns", "judge-turns")
    return tuple(Read(kind, item.source) for kind in ("say-user", "say-target")) if item.kind in spoken else ()


def of_personas(item: Item) -> Sequence[Read]:
    """Texts, numbered through all sources; prompts are scored against weights fitted to all unprompted texts."""
    if item.kind == "sample":
        return ()
    own: Mapping[str, tuple[Read, ...]] = {
        "score": (Read("score-texts", whole=True),),
        "judge-responses": (Read("respond", variant=item.variant),),
    }
    return (Read("sample"), *own.get(item.kind, ()))


def of_probe(item: Item) -> Sequence[Read]:
    """The hidden states of one behavior."""
    return (Read("represent", variant=item.variant, whole=True),) if item.kind == "classify" else ()

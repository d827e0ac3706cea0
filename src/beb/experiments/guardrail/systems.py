"""Guardrails: what stands before the prompt to keep a model well-behaved, a text or sentences sampled from P₊."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from beb.errors import BadSpec, UnknownName

NONE = "negative"  # the condition of prompts from P₋ with nothing before them, in every experiment
SHIPPED_BY_DEFAULT = ("polite", "strict")
SAMPLED_BY_DEFAULT = 3
LONGEST_TEXT = 200_000  # characters; far beyond any context window
SEPARATOR = "\n"  # between a prefix and the prompt in the plain format; given and never scored

_SAMPLED = re.compile(r"sampled:(.*)")
_NAME = r"[\w.:-]{1,40}"


class System(BaseModel):
    """One guardrail.

    name: short. text: a system prompt; it goes into the chat template's system slot, or before the prompt where the
    model has no chat template. sentences: instead of a text, so many sentences sampled from P₊, fresh for each prompt,
    before the prompt in the plain format: the premise of Theorem 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=f"^{_NAME}$")
    text: str = Field(default="", max_length=LONGEST_TEXT)
    sentences: int = Field(default=0, ge=0, le=1000)

    @model_validator(mode="after")
    def _one_kind(self) -> System:
        if self.name == NONE:
            raise ValueError(f"the name {NONE!r} belongs to the prompts without guardrail; give another")
        if not self.text.strip() and not self.sentences:
            raise ValueError(f"system prompt {self.name!r} is empty; give a text, or sampled:M with M at least 1")
        if self.text.strip() and self.sentences:
            raise ValueError(f"system prompt {self.name!r} has both a text and sampled sentences; give one of them")
        return self

    @property
    def kind(self) -> Literal["text", "sampled"]:
        """Where its words come from."""
        return "sampled" if self.sentences else "text"


def shipped_systems() -> dict[str, System]:
    """The system prompts that come with the program, by name, from the mildest to the strictest."""
    text = resources.files("beb.experiments.guardrail").joinpath("shipped.toml").read_text(encoding="utf-8")
    return {name: System(name=name, text=entry["text"]) for name, entry in tomllib.loads(text).items()}


def parse_system(entry: str) -> System:
    """A guardrail from the command line: "sampled:M", the name of a shipped one, or a text file.

    Raises: BadSpec, UnknownName, each on one line.
    """
    sampled = _SAMPLED.fullmatch(entry)
    if sampled:
        if not sampled[1].isdecimal() or int(sampled[1]) < 1:
            raise BadSpec(f"--system {entry!r}: give the number of sentences to sample from P₊, such as sampled:3")
        return System(name=entry, sentences=int(sampled[1]))
    shipped = shipped_systems()
    if entry in shipped:
        return shipped[entry]
    path = Path(entry).expanduser()
    if not path.is_file():
        if path.suffix or path.parent != Path():
            raise BadSpec(
                f"--system {entry!r}: no such file; give a text file, sampled:M or one of {', '.join(shipped)}"
            )
        raise UnknownName.of("system prompt", entry, shipped, "Or give a text file, or sampled:M.")
    return _from_file(path)


def _from_file(path: Path) -> System:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise BadSpec(f"--system {path} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise BadSpec(f"--system {path} cannot be read ({error.strerror})") from error
    name = re.sub(r"[^\w.-]+", "_", path.stem)[:40] or "file"
    if not text:
        raise BadSpec(f"--system {path} is empty; write the system prompt into it, or leave the option out")
    if len(text) > LONGEST_TEXT:
        raise BadSpec(f"--system {path} has {len(text):,} characters, more than any context window holds; shorten it")
    return System(name="file-" + name if name == NONE else name, text=text)


def refuse_doubles(systems: Iterable[System]) -> None:
    """Raises: ValueError if two guardrails have one name, or are the same but for white space."""
    seen: dict[str, str] = {}
    names: set[str] = set()
    for system in systems:
        content = " ".join(system.text.split()) or str(system.sentences)
        if content in seen:
            raise ValueError(f"system prompts {seen[content]!r} and {system.name!r} are the same; leave one out")
        if system.name in names:
            raise ValueError(f"two system prompts are named {system.name!r}; rename one of the files")
        seen[content] = system.name
        names.add(system.name)


def default_systems(n_sentences: int, *, can_chat: bool) -> tuple[System, ...]:
    """Shipped texts where the model has a chat template, and a prefix sampled from P₊."""
    shipped = shipped_systems()
    m = min(SAMPLED_BY_DEFAULT, n_sentences)
    texts = tuple(shipped[name] for name in SHIPPED_BY_DEFAULT) if can_chat else ()
    return (*texts, System(name=f"sampled:{m}", sentences=m))

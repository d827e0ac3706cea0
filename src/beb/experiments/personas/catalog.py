"""Persona descriptions: the shipped set, and files in JSON, CSV or plain text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from beb.behaviors.reading import read_csv, read_lines, read_text
from beb.errors import BadSpec

TARGET = "target"
JOINT = " · "  # stands between a persona's name and a behavior's in stored names
MOST_CHARACTERS = 4000
FORMS = '.json (objects with name, description and, if wished, kind), .csv (these columns) or lines "name: description"'


class Persona(BaseModel):
    """A persona. name: short. description: the system text. kind: benign, neutral, hostile or any other word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    description: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    kind: str = Field(default="", max_length=60)


def shipped_personas() -> tuple[Persona, ...]:
    """The personas that come with the program, written for it: benign, neutral and hostile ones."""
    text = (resources.files("beb.experiments.personas") / "shipped.json").read_text(encoding="utf-8")
    return tuple(Persona(**entry) for entry in json.loads(text))


def read_personas(path: Path) -> tuple[Persona, ...]:
    """The personas of a file, in its order.

    Raises: BadSpec naming the file and what is wrong; BadStatements where it cannot be read at all.
    """
    if not path.is_file():
        raise BadSpec(f"--personas {path}: no such file; give {FORMS}")
    if not path.read_bytes().strip():
        raise BadSpec(f"--personas {path}: the file is empty; give {FORMS}")
    suffix = path.suffix.lower()
    entries = {".json": _from_json, ".csv": _from_csv}.get(suffix, _from_lines)(path)
    try:
        personas = tuple(Persona(**entry) for entry in entries)
    except (ValidationError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise BadSpec(f"--personas {path}: not a persona ({reason}); give {FORMS}") from error
    check_personas(personas)
    return personas


def check_personas(personas: Sequence[Persona]) -> None:
    """Refuse a set that cannot be told apart by name or text, or that is no set. Raises: BadSpec."""
    if len(personas) < 2:
        raise BadSpec(f"{len(personas)} personas; a mixture needs at least 2: add more to --personas")
    names: set[str] = set()
    texts: dict[str, str] = {}
    for persona in personas:
        if persona.name in names or persona.name == TARGET or JOINT.strip() in persona.name:
            raise BadSpec(
                f"persona name {persona.name!r} is taken or cannot be used; give every persona a name of its own, "
                f"other than {TARGET!r} and without {JOINT.strip()!r}"
            )
        names.add(persona.name)
        said = " ".join(persona.description.split()).casefold()
        if said in texts:
            raise BadSpec(
                f"personas {texts[said]!r} and {persona.name!r} are identical: both say "
                f"{persona.description[:60]!r}; leave one out"
            )
        texts[said] = persona.name


def _from_json(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadSpec(f"--personas {path}: not JSON ({error}); give {FORMS}") from error
    if isinstance(found, dict):
        found = [{"name": name, "description": text} for name, text in found.items()]
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise BadSpec(f"--personas {path}: not a list of personas; give {FORMS}")
    return found


def _from_csv(path: Path) -> list[dict[str, Any]]:
    rows = read_csv(path, columns=("name", "description"))
    return [{key: row.cells.get(key, "").strip() for key in ("name", "description", "kind")} for row in rows]


def _from_lines(path: Path) -> list[dict[str, Any]]:
    entries = []
    for line in read_lines(path):
        name, colon, description = line.partition(":")
        if not colon or not name.strip() or not description.strip():
            raise BadSpec(f"--personas {path}: the line {line[:60]!r} is not name: description; give {FORMS}")
        entries.append({"name": name.strip(), "description": description.strip()})
    return entries

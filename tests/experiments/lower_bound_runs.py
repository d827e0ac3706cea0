"""Finished runs of exact worlds whose stored divergences say that they are lower bounds, as behind a server."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from beb.experiments.log_ratios import BOUNDED

EVERY = ("positive", "negative", "target")


def as_lower_bounds(run: Path, to: Path, *, q: tuple[str, ...] = EVERY) -> Path:
    """A copy of a run with --kl top-k, whose divergences from these components are lower bounds."""
    shutil.copytree(run, to)
    with closing(sqlite3.connect(to / "run.sqlite")) as connection, connection:
        (spec,) = connection.execute("SELECT value FROM meta WHERE key = 'spec'").fetchone()
        told = json.dumps({**json.loads(spec), "kl": "top-k"})
        connection.execute("UPDATE meta SET value = ? WHERE key = 'spec'", (told,))
        for name in q:
            connection.execute("UPDATE prompt_divergences SET method = ? WHERE q = ?", (BOUNDED, name))
    return to

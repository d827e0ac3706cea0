"""Runs whose every foreign string is an attack on the page: real runs of exact worlds, rewritten in place."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beb.experiments.store import RUN_FILE

SENTINEL = "window.pwned=1"
ELSEWHERE = "https://evil.example"
SHORT = (
    f"<script>{SENTINEL}</script>",
    f"</script></style></title></textarea></details></blockquote><script>{SENTINEL}</script>",
    f"<img src=x onerror={SENTINEL}><svg onload={SENTINEL}><a href='javascript:{SENTINEL}'>press</a>",
    f"<img src={ELSEWHERE}/a.png><iframe src={ELSEWHERE}></iframe><link rel=stylesheet href={ELSEWHERE}/s.css>",
    f"\"><input autofocus onfocus={SENTINEL}> ' onmouseover='{SENTINEL}' style='background:url({ELSEWHERE}/b)'",
    f"<meta http-equiv=refresh content='0;url={ELSEWHERE}'><base href={ELSEWHERE}/><form action={ELSEWHERE}><button>",
    "<!-- <script> <!--- --!> ]]> <![CDATA[ <plaintext> <style>*{display:none!important}</style> <template>",
    "\u202egnp.exe\u202c \u2066isolate \u200b\u200e\u200f\ufeff bell\x07 esc\x1b[31m null\x00 c1\x85 \u2028\u2029",
    f"{{{{ 7*7 }}}} {{% raw %}} ${{{SENTINEL}}} %{{y}} $\\frac{{1}}2$ $$\\href{{javascript:{SENTINEL}}}{{x}}$$ &lt;",
    '\\u003cscript\\u003e \\" ", "x": [1}] */ // <\\/script> \\',
    "=cmd|'/c calc'!A1 @SUM(1) שלום עולם مرحبا Z" + "\u0300\u0301\u0302" * 30,
)
EVERYTHING = "\n".join(SHORT)
LONG = "L" * 100_000
NAME = f"<img src={ELSEWHERE}/n.png onerror={SENTINEL}>\u202e</script><b>$x$"
"""A persona, a behavior, a model, a folder (after "/" is taken out) may be called so."""

_TEXT_COLUMNS = {
    "prompts": "text", "responses": "text", "turns": "text", "given_texts": "text", "statements": "text",
    "representations": "text",
}  # fmt: skip


def poisoned(run: Path, folder: Path, *, rename: tuple[str, ...] = ()) -> Path:
    """A copy of a run in `folder` that says nothing but hostile things.

    rename: names (of personas, behaviors) that become `NAME` and their own, wherever they stand.
    """
    shutil.copytree(run, folder)
    connection = sqlite3.connect(folder / RUN_FILE)
    with connection:
        for table, column in _TEXT_COLUMNS.items():
            _replace_texts(connection, table, column)
        for name in rename:
            _rename(connection, name, f"{NAME}{name}")
        for key, value in connection.execute("SELECT key, value FROM meta").fetchall():
            told = json.dumps(_poison_meta(json.loads(value), key))
            connection.execute("UPDATE meta SET value = ? WHERE key = ?", (told, key))
        connection.execute(
            "INSERT INTO failures VALUES ('one', 0, ?, ?, ?)", (SHORT[0], f"score: {SHORT[1]}", EVERYTHING)
        )
    connection.close()
    return folder


def _replace_texts(connection: sqlite3.Connection, table: str, column: str) -> None:
    keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
    where = " AND ".join(f"{key} = ?" for key in keys)
    rows = connection.execute(f"SELECT {', '.join(keys)} FROM {table}").fetchall()
    for i, row in enumerate(rows):
        text = LONG if i % 2 else EVERYTHING
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (text, *row))


def _rename(connection: sqlite3.Connection, name: str, other: str) -> None:
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[2] == "TEXT"]
        for column in columns:
            if (table, column) != ("meta", "value") and column not in _TEXT_COLUMNS.get(table, ()):
                connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (name, other))
    for key, value in connection.execute("SELECT key, value FROM meta").fetchall():
        told = json.dumps(_renamed(json.loads(value), name, other))
        connection.execute("UPDATE meta SET value = ? WHERE key = ?", (told, key))


def _renamed(value: Any, name: str, other: str) -> Any:
    if isinstance(value, str):
        return value.replace(name, other)
    if isinstance(value, list):
        return [_renamed(each, name, other) for each in value]
    if isinstance(value, Mapping):
        return {_renamed(key, name, other): _renamed(each, name, other) for key, each in value.items()}
    return value


def _poison_meta(value: Any, key: str) -> Any:
    """Versions, and names in fingerprints, that say hostile things; what the analysis reads stays."""
    if key == "versions":
        return {**value, "torch": EVERYTHING, NAME: SHORT[0]}
    if key == "fingerprints":
        return {
            role: {**identity, "name": f"{NAME} {identity.get('name', '')}", "context": EVERYTHING}
            if isinstance(identity, dict) and role != "behavior"
            else identity
            for role, identity in value.items()
        }
    if key == "spec":
        return {**value, "model": NAME, "lead": EVERYTHING} if "lead" in value else {**value, "model": NAME}
    return value

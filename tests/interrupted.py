"""Runs that are killed and continued, and what they leave behind."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from beb.experiments import schema
from beb.experiments.store import RUN_FILE, Store


def command(folder: Path, options: list[str]) -> list[str]:
    return [sys.executable, "-c", "from beb.cli.main import main; main()", "measure", "--out", str(folder), *options]


def run(folder: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, options), capture_output=True, text=True, check=False)


def content(folder: Path) -> bytes:
    """Every row of a run that is not a time of day, exactly."""
    with Store.read(folder) as store:
        tables = {name: store.rows(name) for name in (*schema.ROW_TABLES, "items")}
        meta = store.meta()
    return json.dumps([meta, tables], default=lambda array: array.tobytes().hex(), sort_keys=True).encode()


def items_done(folder: Path) -> int:
    """Work items committed so far; 0 while there is no readable run yet."""
    try:
        connection = sqlite3.connect(f"file:{folder / RUN_FILE}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM items").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


def kill_and_continue(folder: Path, options: list[str], *, kills: int, n_items: int, seed: int) -> int:
    """Kill the command at random points of its work, then let it finish. Returns how many kills hit it running."""
    rng = random.Random(seed)
    hits = 0
    for point in sorted(rng.sample(range(n_items), kills)):
        process = subprocess.Popen(command(folder, options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and items_done(folder) < point:
            time.sleep(0.002)
        time.sleep(0.01 * rng.random())
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hits += 1
        process.wait()
    done = run(folder, options)
    assert done.returncode == 0, done.stderr
    return hits

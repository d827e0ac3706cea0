"""A run that is killed and continued equals one that never stopped, byte for byte."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beb.experiments import schema
from beb.experiments.store import RUN_FILE, Store

WORLD = ["--model", "world:markov", "--prompts", "40", "--sentences", "6"]


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


def test_a_killed_world_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = run(whole, WORLD)
    assert done.returncode == 0, done.stderr
    hits = kill_and_continue(broken, WORLD, kills=6, n_items=items_done(whole), seed=1)
    assert hits >= 3
    assert content(broken) == content(whole)
    with Store.read(whole) as a, Store.read(broken) as b:
        from beb.experiments.registry import analyse

        assert analyse(a).to_json() == analyse(b).to_json()


def test_an_interrupt_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path / "run", [*WORLD, "--prompts", "2000"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / RUN_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    with Store.read(tmp_path / "run") as store:
        assert "gate" in store.done()


@pytest.mark.model
def test_a_killed_run_of_the_real_model_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    options = ["--prompts", "5", "--sentences", "3", "--formats", "plain"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = run(whole, options)
    assert done.returncode == 0, done.stderr
    hits = kill_and_continue(broken, options, kills=2, n_items=items_done(whole), seed=2)
    assert hits >= 1
    assert content(broken) == content(whole)

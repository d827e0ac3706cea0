"""A run that is killed and continued equals one that never stopped, byte for byte."""

from __future__ import annotations

import json
import os
import random
import signal
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


def kill_and_continue(folder: Path, options: list[str], *, kills: int, seed: int, after: float, spread: float) -> int:
    """Kill the command at random moments, then let it finish. Returns how many kills hit it while it was running."""
    rng = random.Random(seed)
    hits = 0
    for _ in range(kills):
        process = subprocess.Popen(command(folder, options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after + spread * rng.random())
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hits += 1
        process.wait()
    done = run(folder, options)
    assert done.returncode == 0, done.stderr
    return hits


def test_a_killed_world_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    started = time.perf_counter()
    done = run(whole, WORLD)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    hits = kill_and_continue(broken, WORLD, kills=6, seed=1, after=0.4 * seconds, spread=0.4 * seconds)
    assert hits >= 1
    assert content(broken) == content(whole)
    with Store.read(whole) as a, Store.read(broken) as b:
        from beb.experiments.analyse import analyse

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
    started = time.perf_counter()
    done = run(whole, options)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    if seconds > 120:  # the first run had to fit the components
        started = time.perf_counter()
        assert run(tmp_path / "warm", options).returncode == 0
        seconds = time.perf_counter() - started
    hits = kill_and_continue(broken, options, kills=2, seed=2, after=0.45 * seconds, spread=0.4 * seconds)
    assert hits >= 1
    assert content(broken) == content(whole)
    assert os.path.getsize(whole / RUN_FILE) > 0

"""A run that is killed and continued equals one that never stopped, byte for byte."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from beb.experiments.store import RUN_FILE, Store
from interrupted import command, content, items_done, kill_and_continue, run

WORLD = ["--model", "world:markov", "--prompts", "40", "--sentences", "6"]


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

"""Where a run computes, and in how much memory: options of every command that runs a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("measure", "guardrail", "converse", "best-of", "personas", "probe", "compare --align", "plan")


def beb(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "from beb.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--memory-budget", "lots"), "memory budget 'lots' is no size; give a number and a unit"),
        (("--memory-budget", "lots"), "at least 64MiB"),
        (("--memory-budget", "1MiB"), "a memory budget of 1MiB is too small; give at least 64MiB"),
        (("--memory-budget", "1KiB"), "a memory budget of 1KiB is too small; give at least 64MiB"),
        (("--device", "toaster"), "device 'toaster' is none of auto, cpu, cuda"),
    ],
)
def test_nonsense_is_one_line(options: tuple[str, str], said: str, tmp_path: Path) -> None:
    done = beb("measure", "--model", "world:markov", *options, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert said in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_runs_a_model_knows_them(command: str, tmp_path: Path) -> None:
    done = beb(*command.split(), "--memory-budget", "none", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 2
    assert "memory budget 'none' is no size" in done.stderr
    assert not list(tmp_path.iterdir())

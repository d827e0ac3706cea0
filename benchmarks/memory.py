"""Peak memory of scoring and sampling against the weights and a stated budget."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.setting import say

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
BUDGET = 512 * MIB
CASES = tuple((v, n) for v in (49_152, 262_144) for n in (512, 4096))
JOBS = ("scoring", "sampling")


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes of a process. weights: what it had before the work. peak: the most it ever had."""

    weights: int
    peak: int


def measure_memory() -> dict[tuple[int, int, str], Peak | str]:
    """Each case in a process of its own; a word where it failed."""
    found: dict[tuple[int, int, str], Peak | str] = {}
    for vocabulary, tokens in CASES:
        for what in JOBS:
            say(f"memory: {what}, vocabulary {vocabulary}, {tokens} tokens")
            asked = json.dumps({"what": what, "vocabulary": vocabulary, "tokens": tokens, "budget": BUDGET})
            command = [sys.executable, "-m", "benchmarks.memory_probe", asked]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:]
            found[vocabulary, tokens, what] = (
                Peak(**json.loads(last[0])) if done.returncode == 0 else " ".join(last)[:120]
            )
    return found


def memory_rows(found: dict[tuple[int, int, str], Peak | str]) -> list[Row]:
    """Peaks above the weights, against the budget."""
    rows: list[Row] = []
    for (vocabulary, tokens, what), peak in found.items():
        mark = "" if rows else "**5** "
        name = f"{mark}peak of {what} above the weights, vocabulary {vocabulary:,}, texts of {tokens} tokens, MiB"
        if isinstance(peak, str):
            rows.append(Row(name, f"failed: {peak}", f"{BUDGET // MIB} (budget)", goal="≤ budget", met=False))
            continue
        used = peak.peak - peak.weights
        rows.append(
            Row(
                name,
                f"{used / MIB:.0f}",
                f"{BUDGET // MIB} (budget)",
                f"{used / BUDGET:.0%}",
                "≤ budget",
                used <= BUDGET,
            )
        )
    return rows

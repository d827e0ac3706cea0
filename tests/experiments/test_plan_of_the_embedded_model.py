"""`beb plan SPEC.toml` and then the runs of SPEC.toml, as processes: work, processor time and memory are foreseen.

Seconds are those of one processor, which other programs change less than the clock.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from beb.experiments.store import Store
from command import CODE

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read the way Linux tells it"),
]

WITHIN = 0.25
SAMPLED = ("prompts", "responses", "turns")
SUFFIXES = {"": 1.0, "k": 1e3, "M": 1e6}

# The peak that a parent is told of its child is the parent's own, where that is larger.
MEASURED = f"""
import atexit, pathlib
atexit.register(lambda: pathlib.Path("status.txt").write_text(pathlib.Path("/proc/self/status").read_text()))
{CODE}
"""

# The items of these runs are larger than those that are timed: 48 and 14 prompts against at most 24.
PERSONAS = """
models = ["smollm2"]
scenarios = ["personas"]
[personas]
prompts = 12
sentences = 2
texts = 16
personas = [
  {name = "kind", description = "You are kind and patient, and you help everybody you meet."},
  {name = "rude", description = "You are rude and spiteful, and you insult everybody you meet."},
  {name = "dry", description = "You answer in facts and figures and never say what you feel."},
  {name = "vain", description = "You talk about yourself, your looks and your success, and nothing else."},
]
"""
MEASURE = """
models = ["smollm2"]
scenarios = ["measure"]
[measure]
prompts = 14
sentences = 3
"""


@dataclass(frozen=True)
class Finished:
    """A process. seconds: of processors. peak: bytes."""

    out: str
    seconds: float
    peak: float


def carried_out(*arguments: str, cwd: Path) -> Finished:
    """The command in a process of its own, on one thread and on no GPU."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    out, err = cwd / "out.txt", cwd / "err.txt"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", MEASURED, *arguments], cwd=cwd, env=env, stdout=stdout, stderr=stderr
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, err.read_text(encoding="utf-8")
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", (cwd / "status.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert peak is not None
    return Finished(out.read_text(encoding="utf-8"), usage.ru_utime + usage.ru_stime, 1024.0 * int(peak[1]))


def foreseen(out: str) -> dict[str, float]:
    """What `beb plan` prints of one run."""
    row = re.search(
        r"^ +1 +\w+ · smollm2 +(?P<items>\d+) +(?P<read>[\d.]+ ?[kM]?) +(?P<sampled>[\d.]+ ?[kM]?) "
        r"+(?P<judged>[\d.]+ ?[kM]?) +\d+ \w+ +(?P<gib>[\d.]+) GiB$", out, re.MULTILINE,
    )  # fmt: skip
    processor = re.search(r"^On a processor, all threads together: (\d+) (s|min);", out, re.MULTILINE)
    assert row is not None, out
    assert processor is not None, out
    counts = {}
    for name in ("items", "read", "sampled", "judged"):
        number, _, suffix = row[name].partition(" ")
        counts[name] = float(number) * SUFFIXES[suffix]
    return {
        **counts,
        "seconds": float(processor[1]) * {"s": 1, "min": 60}[processor[2]],
        "peak": float(row["gib"]) * 2**30,
    }


@pytest.mark.parametrize("spec", [PERSONAS, MEASURE], ids=["personas", "measure"])
def test_work_time_and_memory_are_foreseen(spec: str, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(spec, encoding="utf-8")
    # What has to be fitted or converted is in the cache afterwards, as the plan says.
    plan = foreseen(carried_out("plan", "spec.toml", cwd=tmp_path).out)
    run = carried_out("sweep", "spec.toml", "--out", "runs", cwd=tmp_path)
    (folder,) = {path.parent for path in (tmp_path / "runs").rglob("run.sqlite")}
    with Store.read(folder) as store:
        n_items = len(store.done())
        n_sampled = sum(len(row["token_ids"]) for table in SAMPLED for row in store.rows(table))
    assert plan["items"] == n_items
    # The lengths of the texts are drawn from those that were timed.
    assert plan["sampled"] == pytest.approx(n_sampled, rel=WITHIN)
    assert plan["peak"] == pytest.approx(run.peak, rel=WITHIN)
    seconds = [plan["seconds"]]
    if seconds[0] != pytest.approx(run.seconds, rel=WITHIN):
        # What else the machine did may have changed in between: then a plan made now says how fast it is by now.
        seconds.append(foreseen(carried_out("plan", "spec.toml", cwd=tmp_path).out)["seconds"])
    assert (1 - WITHIN) * min(seconds) <= run.seconds <= (1 + WITHIN) * max(seconds)

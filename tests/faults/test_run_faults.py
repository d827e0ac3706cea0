"""What can go wrong around a run: nothing is lost, nothing is doubled, and the numbers are the same afterwards."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from beb.errors import StoreBusy, StoreFull, UnknownName
from beb.experiments.registry import analyse
from beb.experiments.store import RUN_FILE, Store
from interrupted import command, content, items_done, run

KILLS = 32
DROP_FROM_BOUNDING_SET, OVERRIDE_RIGHTS = 24, 1  # of prctl(2), and of capabilities(7)
LONG = ["--model", "world:markov", "--prompts", "400", "--sentences", "5"]
SHORT = ["--model", "world:markov", "--prompts", "20", "--sentences", "3"]
LOOPS = """
import os, signal, sys
from pathlib import Path
from beb.experiments.experiment import run_experiment
from beb.experiments.measure import MEASURE
from beb.experiments.spec import make_spec
options = {"model": "world:markov", "prompts": 400, "sentences": 5}
while True:  # each life is a process of its own, which starts where the libraries are loaded already
    child = os.fork()
    if child == 0:
        run_experiment(MEASURE, make_spec(MEASURE.spec, options), Path(sys.argv[1]))
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
"""


def numbers(folder: Path) -> str:
    with Store.read(folder) as store:
        return str(analyse(store).to_json())


@pytest.fixture(scope="module")
def whole_long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long run, never disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(folder, LONG)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_killed_at_many_random_moments_is_the_run(whole_long: Path, tmp_path: Path) -> None:
    """Moments are drawn over the time that the whole run takes, so that they hit loading, work and commits alike."""
    broken = tmp_path / "broken"
    with Store.read(whole_long) as store:
        seconds = sum(row["seconds"] for row in store.rows("timings"))
    rng = random.Random(5)
    interpreter = command(broken, [])[0]
    kills, seen = 0, [0]
    with subprocess.Popen([interpreter, "-c", LOOPS, str(broken)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while line := process.stdout.readline():
            if kills < KILLS:
                # Short enough lives that the run is not finished before the last of them.
                time.sleep(rng.uniform(0.02, 1.6 * seconds / KILLS))
                os.kill(int(line), signal.SIGKILL)
                kills += 1
                seen.append(items_done(broken))
    assert process.returncode == 0
    assert kills == KILLS
    assert seen == sorted(seen), "a kill undid finished work"
    assert len(set(seen)) >= KILLS // 3, "the kills did not hit different stages of the run"
    assert content(broken) == content(whole_long)
    assert numbers(broken) == numbers(whole_long)


@pytest.fixture(scope="module")
def whole_short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short run, never disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(folder, SHORT)
    assert done.returncode == 0, done.stderr
    return folder


def fill_up(folder: Path, whole: Path, sizes: Sequence[int], give: Callable[[int], Callable[[], None] | None]) -> None:
    """Run where ever more KiB are given and none of them are enough. give: may return what the process does first."""
    stages = []
    for kib in sizes:
        held = give(kib)
        done = subprocess.run(command(folder, SHORT), capture_output=True, text=True, check=False, preexec_fn=held)
        assert done.returncode == StoreFull.exit_code, done.stderr
        assert "no space left" in done.stderr
        assert "Traceback" not in done.stderr
        stages.append(items_done(folder))
    assert stages == sorted(stages)
    assert 0 < stages[-1] < items_done(whole)


def test_a_file_that_cannot_grow_during_a_run_keeps_what_is_finished(whole_short: Path, tmp_path: Path) -> None:
    def limited(kib: int) -> Callable[[], None]:
        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails with an error
            resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, kib * 1024))

        return limit

    size = (whole_short / RUN_FILE).stat().st_size // 1024
    fill_up(tmp_path / "full", whole_short, (8, size // 3, size // 2, size * 2 // 3), limited)
    assert run(tmp_path / "full", SHORT).returncode == 0
    assert content(tmp_path / "full") == content(whole_short)


def mount(*options: str | Path) -> str:
    """Why it failed; "" if it did not."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        return "only where Linux has the command mount"
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, as yet without room for anything."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if why := mount("-t", "tmpfs", "-o", "size=8k", "tmpfs", folder):
        pytest.skip(f"NO FULL FILE SYSTEM WAS TESTED: none can be mounted here ({why})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_fills_up_during_a_run_keeps_what_is_finished(whole_short: Path, disk: Path) -> None:
    def grown(kib: int) -> None:
        assert mount("-o", f"remount,size={kib}k", disk) == ""

    size = (whole_short / RUN_FILE).stat().st_size // 1024
    # The store's log takes room beside it.
    fill_up(disk / "full", whole_short, (8, size, size * 3 // 2, size * 2), grown)
    grown(16 * 1024)
    assert run(disk / "full", SHORT).returncode == 0
    assert content(disk / "full") == content(whole_short)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Also for the superuser, whom no rights stop: a file stands where the folder should be."""
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    done = run(tmp_path / "file" / "run", SHORT)
    assert done.returncode == 4
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_loaded(tmp_path: Path) -> None:
    """The world that is asked for does not exist, which is found out where it is loaded."""
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    unknown = ["--model", "world:nowhere"]
    done = run(tmp_path / "file" / "run", unknown)
    assert done.returncode == 4, done.stderr
    assert "cannot be used" in done.stderr
    done = run(tmp_path / "above" / "run", unknown)
    assert done.returncode == UnknownName.exit_code, done.stderr
    assert not (tmp_path / "above").exists(), "a run that did not come about has left something behind"


def heed_rights() -> None:
    """Let the program that is started next heed the rights of files, also where the superuser starts it."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(DROP_FROM_BOUNDING_SET, OVERRIDE_RIGHTS, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the superuser's right to override rights cannot be dropped")


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_run_that_became_read_only_is_named_and_goes_on_when_it_may(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(folder, SHORT).returncode == 0
    before = content(folder)
    with sqlite3.connect(folder / RUN_FILE) as connection:  # so that the run has something to do
        connection.execute("DELETE FROM items WHERE item LIKE 'judge-responses%'")
        connection.execute("DELETE FROM response_scores")
    connection.close()
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = subprocess.run(command(folder, SHORT), capture_output=True, text=True, check=False, preexec_fn=heed_rights)
    assert done.returncode == StoreFull.exit_code, done.stderr
    assert str(folder) in done.stderr
    assert "Traceback" not in done.stderr
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    assert run(folder, SHORT).returncode == 0
    assert content(folder) == before


def test_the_second_of_two_processes_is_told_and_the_first_is_not_disturbed(whole_long: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    first = subprocess.Popen(command(shared, LONG), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not items_done(shared) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # so that it is still at work when the second has started
    try:
        second = run(shared, LONG)
    finally:
        first.send_signal(signal.SIGCONT)
    assert second.returncode == StoreBusy.exit_code, second.stderr
    assert "in use by another process" in second.stderr
    assert "Traceback" not in second.stderr
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    assert content(shared) == content(whole_long)

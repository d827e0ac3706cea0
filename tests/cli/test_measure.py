"""The main job from the command line: what a user sees, and what a user's mistake brings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beb.experiments.store import RUN_FILE
from command import CODE, beb, refused, said

SMALL = ["--model", "world:markov", "--prompts", "8", "--sentences", "4"]


def test_a_world_is_measured_reported_and_exported(tmp_path: Path) -> None:
    done = beb("measure", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "world-markov-agreeableness"
    assert "Theorem 1" in done.stdout
    assert "report.html" in done.stdout
    assert (folder / "report.html").stat().st_size > 100_000
    again = beb("measure", *SMALL, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for form in ("parquet", "csv", "json"):
        out = beb("export", str(folder), "--to", form, cwd=tmp_path)
        assert out.returncode == 0, out.stderr
        assert (folder / "export" / f"estimates.{form}").is_file()
    rows = json.loads((folder / "export" / "responses.json").read_text())
    assert len(rows) == 8 * (3 * 4 + 1)
    assert all(isinstance(row["token_ids"], list) for row in rows)
    report = beb("report", str(folder), "--out", str(tmp_path / "other.html"), cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "other.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "world:markow"], "did you mean 'markov'"),
        (["--model", "smolm2"], "did you mean 'smollm2'"),
        (["--model", "world:markov", "--prompts", "1"], "beta has 1 prompt and needs at least 5; raise --prompts"),
        (["--model", "world:markov", "--sentences", "2"], "error: sentences is 2"),
        (["--model", "world:markov", "--level", "0.9999"], "level: Input should be less than or equal to 0.999"),
        (["--model", "world:markov", "--behavior", "nowhere.jsonl"], "--behavior 'nowhere.jsonl' does not fit a world"),
        (["--model", "world:markov", "--formats", "chat"], "has no chat template"),
        (["--model", "world:markov", "--seed", "-1"], "seed"),
        (["--model", "world:markov", "--dtype", "int3"], "dtype"),
        (["--model", "world:markov", "--formats", "sung"], "formats"),
        (["--model", "world:markov", "--epsilon", "0"], "epsilon"),
        (["--model", "world:markov", "--negative", "persona:rude"], "leave it out"),
        (["--model", "world:markov", "--sentences", "900", "--max-sentence-tokens", "200"], "lower --sentences"),
        (["--behavior", "agreableness"], "did you mean 'agreeableness'"),
        (["--behavior", "nowhere.jsonl"], "no such file"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in refused(said("measure", *arguments, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()


def test_statement_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert "empty.jsonl" in refused(said("measure", "--behavior", "empty.jsonl", cwd=tmp_path))
    pack = tmp_path / "pack"
    pack.mkdir()
    negative = [f"I never like my neighbour number {i}." for i in range(30)]
    (pack / "negative.txt").write_text("\n".join(negative))
    positive = [*(f"I always help my neighbour number {i}." for i in range(30)), negative[0]]
    (pack / "positive.txt").write_text("\n".join(positive))
    assert "I never like my neighbour number 0" in refused(said("measure", "--behavior", "pack", cwd=tmp_path))


def test_models_that_cannot_be_loaded_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "config.json" in refused(said("measure", "--model", "folder", cwd=tmp_path))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and then nothing that makes sense" * 100)
    assert "broken.gguf" in refused(said("measure", "--model", "broken.gguf", cwd=tmp_path))
    assert "no such folder: ./nofolder" in refused(said("measure", "--model", "./nofolder", cwd=tmp_path))
    assert "no-such/model" in refused(said("measure", "--model", "no-such/model", "--offline", cwd=tmp_path))


def test_another_specification_on_an_old_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    assert said("measure", *SMALL, "--out", "run", cwd=tmp_path).returncode == 0
    before = (tmp_path / "run" / RUN_FILE).read_bytes()
    line = refused(said("measure", *SMALL, "--out", "run", "--seed", "7", cwd=tmp_path))
    assert "spec.seed: 0 -> 7" in line
    assert (tmp_path / "run" / RUN_FILE).read_bytes() == before


def test_a_damaged_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    assert said("measure", *SMALL, "--out", "run", cwd=tmp_path).returncode == 0
    path = tmp_path / "run" / RUN_FILE
    content = path.read_bytes()[:5000] + b"\x00" * 20000
    path.write_bytes(content)
    for command in (["measure", *SMALL, "--out", "run"], ["report", "run"], ["export", "run"]):
        assert "left as it is" in refused(said(*command, cwd=tmp_path))
    assert path.read_bytes() == content


def test_reading_what_is_no_run(tmp_path: Path) -> None:
    assert "no run in" in refused(said("report", str(tmp_path), cwd=tmp_path))
    assert "parquet, csv or json" in refused(said("export", str(tmp_path), "--to", "xlsx", cwd=tmp_path))


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000));"
    )
    command = [sys.executable, "-c", code + CODE, "measure", *SMALL, "--out", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "no space left" in refused(done)
    again = beb("measure", *SMALL, "--out", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_the_highest_level_is_carried_out(tmp_path: Path) -> None:
    done = said("measure", *SMALL, "--out", "run", "--level", "0.999", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Theorem 1" in done.stdout


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
def test_ctrl_c_at_any_time_is_one_line(tmp_path: Path, delay: float) -> None:
    # The interpreter's own start, and reading the entry point, cannot be caught: the clock starts where it is called.
    code = CODE.replace("main()", "print(flush=True); main()")
    command = [sys.executable, "-c", code, "measure", "--model", "world:markov", "--prompts", "2000", "--out", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in words
    assert words.splitlines()[-1].startswith("stopped; ")

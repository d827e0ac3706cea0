"""`beb best-of` and `beb laws` from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ["--model", "world:markov", "--prompts", "10", "--sentences", "4", "--responses", "4"]


def beb(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "from beb.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_a_world_is_measured_and_its_laws_compared(tmp_path: Path) -> None:
    done = beb("best-of", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "world-markov-agreeableness-best-of"
    assert "Does showing the best of n responses protect?" in done.stdout
    assert "Theorem 4, corrected" in done.stdout
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "The best of n of P₋ itself" in report
    assert "best-by-size" in report
    again = beb("report", str(folder), "--out", "other.html", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == report
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}
    laws = beb("laws", str(folder), cwd=tmp_path)
    assert laws.returncode == 0, laws.stderr
    assert "Which law does it follow: behavior, plain?" in laws.stdout
    assert "η" in (folder / "laws.html").read_text(encoding="utf-8")
    assert before["report.html"] == (folder / "report.html").read_bytes()
    out = beb("export", str(folder), "--to", "csv", cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert "ceilings.4.gamma_n" in (folder / "export" / "estimates.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["best-of", "--model", "world:markov", "--best-of", "32"], "needs at least 32 responses per prompt and 16"),
        (["best-of", "--model", "world:markov", "--best-of", "two"], "is no list of whole numbers"),
        (["best-of", "--model", "world:markov", "--best-of", "1"], "one above 1"),
        (["best-of", "--model", "world:markov", "--format", "chat"], "no chat template; use --format plain"),
        (["best-of", "--model", "world:markov", "--format", "sung"], "format"),
        (["best-of", "--model", "world:markov", "--sentences", "2"], "sentences"),
        (["best-of", "--model", "world:markov", "--prompts", "2"], "needs at least 5"),
        (["laws", "nowhere"], "no run in nowhere"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = beb(*arguments, cwd=tmp_path)
    assert done.returncode not in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert said in line
    assert not (tmp_path / "runs").exists()

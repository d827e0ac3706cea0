"""`beb best-of` and `beb laws` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import beb, refused, said

SMALL = ["--model", "world:markov", "--prompts", "10", "--sentences", "4", "--responses", "4"]


def test_a_world_is_measured_and_its_laws_compared(tmp_path: Path) -> None:
    done = beb("best-of", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "world-markov-agreeableness-best-of"
    assert "Can showing the best of n responses protect: is γₙ ≥ 0?" in done.stdout
    assert "Theorem 4, corrected" in done.stdout
    assert "Theorem 4 prompt by prompt" in done.stdout
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
    ("arguments", "words"),
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
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in refused(said(*arguments, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()

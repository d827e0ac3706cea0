"""`beb guardrail` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import beb, refused, said

SMALL = ["--model", "world:markov", "--prompts", "8", "--sentences", "4"]


def test_a_world_is_run_reported_and_read_again(tmp_path: Path) -> None:
    (tmp_path / "late.txt").write_text("It is late. I help people whenever I can.")
    done = beb("guardrail", *SMALL, "--system", "late.txt", "--system", "sampled:2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("How much does a guardrail hold off?", "Prediction beside observation", "sampled:2", "late"):
        assert words in done.stdout
    folder = tmp_path / "runs" / "world-markov-agreeableness-guardrail"
    assert (folder / "report.html").stat().st_size > 100_000
    other = beb("report", str(folder), "--out", "other.html", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    exported = beb("export", str(folder), "--to", "csv", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "guardrails.plain.sampled:2.area_shift" in (folder / "export" / "estimates.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--system", "polit"], "did you mean 'polite'"),
        (["--system", "none.txt"], "no such file"),
        (["--system", "empty.txt"], "is empty"),
        (["--system", "sampled:none"], "sampled:3"),
        (["--system", "sampled:9"], "raise --sentences"),
        (["--system", "sampled:2", "--system", "sampled:2"], "are the same; leave one out"),
        (["--system", "polite"], "not in the vocabulary"),
        (["--sentences", "2"], "sentences is 2"),
        (["--prompts", "3"], "raise --prompts"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "empty.txt").touch()
    assert words in refused(said("guardrail", *SMALL, *arguments, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()

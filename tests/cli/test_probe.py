"""`beb probe` from the command line, and what can be had from its store afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import beb, refused, said


def test_a_probe_is_run_reported_shown_and_exported(shop: Path) -> None:
    command = ["probe", "--model", "target", "--behavior", "verbs", "--behavior", "honesty", "--statements", "20"]
    done = beb(*command, "--layer", "2", cwd=shop)
    assert done.returncode == 0, done.stderr
    run = Path("runs") / "target-verbs-and-1-more-probe"
    assert "Linear separability, from 80 statements" in done.stdout
    assert "verbs, layer 2, last token" in done.stdout
    page = (shop / run / "report.html").read_text(encoding="utf-8")
    assert "honesty, by layer" in page
    assert "of the variance of these statements" in page
    shown = beb("show", str(run), cwd=shop)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == done.stdout.partition("Run:")[0].strip()
    report = beb("report", str(run), "--out", "other.html", cwd=shop)
    assert report.returncode == 0, report.stderr
    assert (shop / "other.html").read_text(encoding="utf-8") == page
    out = beb("export", str(run), "--to", "parquet", cwd=shop)
    assert out.returncode == 0, out.stderr
    assert (shop / run / "export" / "representation_decisions.parquet").is_file()
    assert "spec.statements: 20 -> 30" in refused(beb(*command[:-1], "30", "--layer", "2", cwd=shop))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "world:coin", "--behavior", "honesty"], "--behavior does not fit a world, which has one"),
        (["--behavior", "honesty", "--behavior", "honesty"], "one is given twice"),
        (["--behavior", "honest"], "did you mean 'honesty'"),
        (["--statements", "3"], "statements"),
        (["--layer", "-1"], "layer"),
        (["--model", "smolm2"], "did you mean 'smollm2'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in refused(said("probe", *arguments, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()

"""`beb probe` from the command line, and what can be had from its store afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkpoints import LEAD, build_tokenizer, statements, train_checkpoint, write_behavior
from cli.test_measure import beb, refused


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model "tiny" and the behavior "verbs"."""
    folder = tmp_path_factory.mktemp("probed")
    texts = statements("negative") + statements("positive")
    train_checkpoint(folder / "tiny", build_tokenizer(" ".join(texts) + LEAD, 320), texts, steps=40)
    write_behavior(folder / "verbs")
    return folder


def test_a_probe_is_run_reported_shown_and_exported(place: Path) -> None:
    command = ["probe", "--model", "tiny", "--behavior", "verbs", "--behavior", "honesty", "--statements", "20"]
    done = beb(*command, "--layer", "2", cwd=place)
    assert done.returncode == 0, done.stderr
    run = Path("runs") / "tiny-verbs-and-1-more-probe"
    assert "Linear separability, from 80 statements" in done.stdout
    assert "verbs, layer 2, last token" in done.stdout
    page = (place / run / "report.html").read_text(encoding="utf-8")
    assert "honesty, by layer" in page
    assert "of the variance of these statements" in page
    shown = beb("show", str(run), cwd=place)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == done.stdout.partition("Run:")[0].strip()
    report = beb("report", str(run), "--out", "other.html", cwd=place)
    assert report.returncode == 0, report.stderr
    assert (place / "other.html").read_text(encoding="utf-8") == page
    out = beb("export", str(run), "--to", "parquet", cwd=place)
    assert out.returncode == 0, out.stderr
    assert (place / run / "export" / "representation_decisions.parquet").is_file()
    assert "spec.statements: 20 -> 30" in refused(beb(*command[:-1], "30", "--layer", "2", cwd=place))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "world:coin"], "the exact world 'world:coin' has none; it needs a checkpoint"),
        (["--behavior", "honesty", "--behavior", "honesty"], "one is given twice"),
        (["--behavior", "honest"], "did you mean 'honesty'"),
        (["--statements", "3"], "statements"),
        (["--layer", "-1"], "layer"),
        (["--model", "smolm2"], "did you mean 'smollm2'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(beb("probe", *arguments, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()

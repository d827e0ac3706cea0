"""Every finished run is shown and reported from its store; others are refused with what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.registry import _HOMES as EXPERIMENTS
from beb.experiments.spec import MeasureSpec
from beb.experiments.subjects import world_subjects
from beb.report.pages import _HOMES as PAGES
from beb.worlds.catalog import get_world
from command import beb, refused, said

SPEC = MeasureSpec(model="world:markov", prompts=8, sentences=3, formats=("plain",))


def start(folder: Path, *, stop_at: str = "") -> None:
    """Measure a world in this process; stop before a kind of work."""

    def watch(what: str, done: float, total: float) -> None:
        if what == stop_at:
            raise KeyboardInterrupt

    run_with_subjects(MEASURE, SPEC, world_subjects(SPEC, get_world("markov")), folder, progress=watch)


def test_a_measurement_is_shown_as_it_was_printed(tmp_path: Path) -> None:
    done = beb("measure", "--model", SPEC.model, "--prompts", "8", "--sentences", "3", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = beb("show", "run", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Key figures, from n prompts" in shown.stdout
    assert shown.stdout.strip() == done.stdout.partition("Run:")[0].strip()


def test_an_unfinished_run_is_refused_with_what_is_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", stop_at="respond")
    for command in (["show", "run"], ["report", "run"]):
        line = refused(said(*command, cwd=tmp_path))
        assert "is not finished (7 of 13 work items are done)" in line
        assert "or it was made by an older version" in line
    assert "not computed" in _exported(tmp_path)


def _exported(folder: Path) -> str:
    done = beb("export", "run", "--to", "csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    return (folder / "run" / "export" / "estimates.csv").read_text()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    assert "no run in" in refused(said("show", str(tmp_path), cwd=tmp_path))


def test_every_kind_of_run_has_a_page() -> None:
    assert set(PAGES) == set(EXPERIMENTS) - {"measure"}

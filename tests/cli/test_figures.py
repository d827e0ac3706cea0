"""Figures for papers, and one page about several runs, from the command line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE, measure
from beb.experiments.spec import MeasureSpec
from beb.experiments.subjects import world_subjects
from beb.worlds.catalog import get_world
from command import beb, refused, said

SPEC = MeasureSpec(model="world:markov", prompts=8, sentences=3, formats=("plain",))
FIGURES = ("divergence-distinguishability", "divergence-kl-to-target", "evidence", "behavior-0-raw")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs and one that stopped before its responses."""
    where = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        measure("world:markov", spec=SPEC.model_copy(update={"seed": seed}), out=where / f"run{seed}")

    def stop(what: str, done: float, total: float) -> None:
        if what == "respond":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_with_subjects(MEASURE, SPEC, world_subjects(SPEC, get_world("markov")), where / "stopped", progress=stop)
    return where


@pytest.mark.parametrize("file_format", ["svg", "png", "pdf"])
def test_figures_are_written_and_named(file_format: str, folder: Path, tmp_path: Path) -> None:
    done = said("figures", "run0", "--format", file_format, "--out", str(tmp_path), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{name}.{end}" for name in FIGURES for end in (file_format, "csv")), "captions.txt"
    }  # fmt: skip
    assert sorted(done.stdout.split()) == sorted(str(path) for path in tmp_path.iterdir())


def test_the_figures_of_a_run_stand_in_it_by_default(folder: Path) -> None:
    done = said("figures", "run1", "--width", "page", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "run1" / "figures" / "evidence.pdf").read_bytes().startswith(b"%PDF-")


def test_figures_load_no_model(folder: Path, tmp_path: Path) -> None:
    done = beb("figures", "run0", "--format", "svg", "--out", str(tmp_path), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["figures", "run0", "--format", "jpg"], "--format 'jpg' is unknown; give svg, png or pdf"),
        (["figures", "run0", "--width", "13"], "--width '13' is unknown; give column or page"),
        (["figures", "stopped"], "is not finished"),
        (["figures", "nowhere"], "no run in nowhere"),
        (["figures", "run0", "--out", "run0/run.sqlite"], "cannot be used"),
        (["report", "run0", "stopped"], "the run in stopped is not finished"),
        (["report", "run0", "nowhere"], "no run in nowhere"),
        (["report", "run0", "run0"], "is given twice"),
        (["report", "run0", "run1", "--out", "run0/run.sqlite/page.html"], "cannot be used"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(arguments: list[str], words: str, folder: Path) -> None:
    line = refused(said(*arguments, cwd=folder))
    assert words in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in refused(said("figures", "run0", "--out", str(tmp_path / "new"), cwd=folder))


def test_several_runs_have_one_page(folder: Path, tmp_path: Path) -> None:
    started = time.perf_counter()
    done = beb("report", "run0", "run1", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - started < 30
    page = (folder / "overview.html").read_text(encoding="utf-8")
    assert "Differences between the runs" in page
    assert done.stdout.strip() == f"Report: {folder / 'overview.html'}"
    given = said("report", "run0", "run1", "--out", str(tmp_path / "other.html"), cwd=folder)
    assert given.returncode == 0, given.stderr
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == page
    inside = said("report", "run0", "run1", "--out", str(tmp_path), cwd=folder)
    assert inside.stdout.strip() == f"Report: {tmp_path / 'overview.html'}"


def test_one_run_has_the_report_it_had(folder: Path) -> None:
    done = said("report", "run0", cwd=folder)
    assert done.stdout.strip() == "Report: run0/report.html"
    assert "All runs in one table" not in (folder / "run0" / "report.html").read_text(encoding="utf-8")

"""Runs of a sweep, carried out apart, to compare them with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from beb.experiments.experiment import run_experiment
from beb.experiments.sweep import Sweep
from interrupted import content


def unanalysed(sweep: Sweep) -> Sweep:
    """The same runs without numbers at the end, for which the texts of so small a model are not enough."""
    runs = (replace(run, experiment=replace(run.experiment, analyse=lambda store: store)) for run in sweep.runs)
    return replace(sweep, runs=tuple(runs))


def apart(sweep: Sweep, folder: Path) -> list[bytes]:
    """What each run writes on its own, everything loaded anew."""
    for run in sweep.runs:
        run_experiment(run.experiment, run.spec, folder / run.folder.name)
    return [content(folder / run.folder.name) for run in sweep.runs]

"""One way to run any experiment from the command line: progress, report, summary."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from beb.cli.progress import ProgressBar
from beb.cli.summary import print_result
from beb.errors import BadSpec
from beb.experiments.execute import Executor
from beb.experiments.experiment import Experiment, default_folder, run_experiment
from beb.experiments.spec import make_spec
from beb.experiments.store import Store
from beb.models.hardware import Hardware
from beb.models.memory import peak_bytes
from beb.report.html import write_report


def run_command(
    experiment: Experiment[Any, Any, Any],
    options: Mapping[str, Any],
    out: Path | None,
    *,
    quick: bool = False,
    offline: bool = False,
    hardware: Hardware | None = None,
    executor: str = "local",
) -> None:
    """Run an experiment or continue it, write its report, print its summary."""
    started = time.perf_counter()
    where = executor_of(executor)
    spec = make_spec(experiment.spec, options)
    folder = out or default_folder(experiment.name, spec, quick=quick)
    with ProgressBar(Console(stderr=True)) as bar:
        result = run_experiment(
            experiment, spec, folder, offline=offline, hardware=hardware, progress=bar, executor=where
        )
    console = Console()
    with Store.read(folder) as store:
        path = write_report(store, result, folder / "report.html")
        print_result(store, result, console)
    console.print(f"Run:    {folder}\nReport: {path}", highlight=False, soft_wrap=True)
    console.print(f"{time.perf_counter() - started:.0f} s, peak memory {peak_bytes() / 2**30:.1f} GiB", highlight=False)


def executor_of(given: str) -> Executor | None:
    """Where the work is done; None for this process. Raises: BadSpec."""
    name, _, options = given.partition(":")
    if name == "ray":
        from beb.experiments.cluster import ray_executor

        return ray_executor(options)
    if given != "local":
        raise BadSpec(f"--executor {given!r} is unknown; accepted: local, ray, ray:address=HOST:PORT,workers=N")
    return None

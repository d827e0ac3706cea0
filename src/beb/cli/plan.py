"""`beb plan`: what runs will take, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from beb.cli import options
from beb.errors import BadSpec

if TYPE_CHECKING:
    from beb.experiments.forecast import Forecast, Rates
    from beb.experiments.sweep import Sweep

MINUTES_BELOW_HOURS = 2.0


def plan(
    spec: Annotated[Path | None, typer.Argument(metavar="[SPEC.toml]", help="As `beb sweep` takes it.")] = None,
    scenario: Annotated[str, typer.Option(help="Without SPEC.toml: the kind of run.")] = "measure",
    model: options.Model = "smollm2",
    behavior: options.Behavior = "agreeableness",
    prompts: options.Prompts = None,
    sentences: options.Sentences = None,
    responses: options.Responses = None,
    behaviors: Annotated[
        int | None,
        typer.Option(help="Count each run of one behavior so many times, as if there were so many behaviors.", min=1),
    ] = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    rates: Annotated[
        bool, typer.Option("--rates", help="Print what was measured as a table [rates], to be put into another file.")
    ] = False,
    offline: options.Offline = False,
) -> None:
    """Predict tokens, hours, memory and cost of runs: from the rates in [rates], or by timing a few small items."""
    from beb.cli.progress import ProgressBar
    from beb.experiments.calibration import calibrate
    from beb.experiments.forecast import alike, forecast_measured, forecast_rated, given_rates, measured_rates
    from beb.experiments.rehearsal import rehearse
    from beb.experiments.sweep import read_sweep, sweep_of

    if spec is None:
        chosen = options.given(prompts=prompts, sentences=sentences, responses=responses)
        given = {"models": [model], "behaviors": [behavior], "scenarios": [scenario], "options": chosen}
        sweep = sweep_of(given, "beb plan", name="plan")
    elif any(value is not None for value in (prompts, sentences, responses)):
        raise BadSpec(
            f"{spec} and options were given; write prompts, sentences and responses into [options] of the file"
        )
    else:
        sweep = read_sweep(spec)
    hardware = options.hardware(device, memory_budget)
    told = given_rates(sweep.rates, str(spec)) if sweep.rates else None
    _refuse_unused(told, rates=rates, where=str(spec), device=device, memory_budget=memory_budget)
    counted_once = _counted_once(sweep, behaviors)
    found: list[Forecast] = []
    tables: list[str] = []
    with ProgressBar(Console(stderr=True)) as bar:
        for runs, loaded in alike(sweep.runs):
            if behaviors is not None and runs[0].behavior:
                runs = [runs[0]] * behaviors  # noqa: PLW2901 - as if there were so many
            if told is not None:
                found.append(forecast_rated(runs, told, loaded=loaded))
                continue
            speed, can_chat = calibrate(
                runs[0].experiment, runs[0].spec, offline=offline, hardware=hardware, progress=bar
            )
            found.append(forecast_measured(runs, speed, can_chat=can_chat, loaded=loaded))
            work = rehearse(runs[0].experiment, runs[0].spec, speed.lengths, can_chat=can_chat)
            tables.append(_table(found[-1].label, measured_rates(work, speed)))
            bar.next_job()
    console = Console()
    _print(found, told, console, counted_once)
    for table in tables if rates else ():
        console.print(f"\n{table}", highlight=False, markup=False, soft_wrap=True)


def _refuse_unused(
    told: Rates | None, *, rates: bool, where: str, device: str | None, memory_budget: str | None
) -> None:
    """Refuse options of what is measured here where the file gives the rates. Raises: BadSpec."""
    if told is None:
        return
    if rates:
        raise BadSpec(f"--rates prints measured rates, and {where} gives them; leave out one of the two")
    for name, value in (("--device", device), ("--memory-budget", memory_budget)):
        if value is not None:
            raise BadSpec(
                f"{name} {value} is for what is measured on this machine, and {where} gives rates, with memory from "
                "weights_gib, kv_kib_per_token and rows; leave out one of the two"
            )


def _counted_once(sweep: Sweep, behaviors: int | None) -> list[str]:
    """Labels of the runs that `--behaviors` does not multiply. Raises: BadSpec if these are all."""
    if behaviors is None:
        return []
    labels = [run.label for run in sweep.runs if not run.behavior]
    if len(labels) == len(sweep.runs):
        raise BadSpec(
            f"--behaviors {behaviors} counts runs of one behavior, and there is none: a world has one of its own, and "
            "other runs are of all behaviors at once; leave it out"
        )
    return labels


def _table(label: str, measured: Mapping[str, float]) -> str:
    """A table [rates] of a sweep's file."""
    values = [f"{name} = {value:.4g}" for name, value in measured.items()]
    names = ", ".join(f'"{name}"' for name in measured)
    return "\n".join((f"[rates]  # {label}, one worker on this machine", *values, f"measured = [{names}]"))


def _print(found: list[Forecast], rates: Rates | None, console: Console, counted_once: list[str]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("runs", "", "items", "tokens read", "sampled", "judged", "time", "memory"):
        table.add_column(name, justify="left" if not name else "right", overflow="fold")
    for each in found:
        table.add_row(
            str(each.n_runs), each.label, f"{each.n_items:,}", _count(each.read), _count(each.sampled),
            _count(each.judged), _time(each.seconds), f"{each.memory_bytes / 2**30:.1f} GiB",
        )  # fmt: skip
    seconds = sum(each.seconds for each in found)
    if len(found) > 1:
        table.add_row(
            str(sum(each.n_runs for each in found)), "all", f"{sum(each.n_items for each in found):,}",
            *(_count(sum(getattr(each, name) for each in found)) for name in ("read", "sampled", "judged")),
            _time(seconds), f"{max(each.memory_bytes for each in found) / 2**30:.1f} GiB",
        )  # fmt: skip
    console.print(table, highlight=False)
    lines = ["Time and memory are those of one worker."]
    if rates is None:
        if all(each.processor_seconds is not None for each in found):
            processor = sum(each.processor_seconds or 0.0 for each in found)
            lines += [
                f"On a processor, all threads together: {_time(processor)}; the machine's load changes that least."
            ]
        lines += [
            "Measured by timing small items on this machine; components that had to be fitted are in the cache now."
        ]
        lines += ["Intervals and reports take a little more."]
    else:
        own = sum(each.own_seconds for each in found)
        hours = (seconds + (rates.workers - 1) * own) / 3600 * rates.gpus
        lines += [f"From the rates given: {hours:,.1f} GPU-hours"]
        if rates.price_per_gpu_hour:
            lines[-1] += f", {hours * rates.price_per_gpu_hour:,.0f} at {rates.price_per_gpu_hour:g} per GPU-hour"
        if rates.workers > 1:
            shared = (seconds - own) / rates.workers
            lines[-1] += f"; {_time(shared + own)} with {rates.workers} workers that are never idle"
        lines[-1] += "."
        given = [name for name in rates.assumed if name in rates.model_fields_set]
        if rates.measured:
            lines += [f"Measured, as the file says: {', '.join(rates.measured)}."]
        lines += [f"Assumed in the file, not measured: {', '.join(given) or 'nothing'}; all else are defaults."]
    if counted_once:
        lines += [f"Counted once, as --behaviors counts runs of one behavior: {', '.join(counted_once)}."]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _count(n: float) -> str:
    return next(
        (f"{n / size:.3g} {unit}" for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if n >= size), f"{n:.0f}"
    )


def _time(seconds: float) -> str:
    if seconds < 60 * MINUTES_BELOW_HOURS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 * MINUTES_BELOW_HOURS else f"{seconds / 3600:,.1f} h"

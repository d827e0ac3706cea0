"""`beb measure`: the main job."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

INTERRUPTED = 130
QUICK = {"prompts": 8, "sentences": 4, "responses": 1}


def measure(
    model: Annotated[
        str, typer.Option(help="Target: smollm2, a folder, a .gguf file, a hub name, lora:PATH or world:NAME.")
    ] = "smollm2",
    behavior: Annotated[
        str, typer.Option(help="An embedded pack, a .jsonl/.csv file, or a folder with negative.txt and positive.txt.")
    ] = "agreeableness",
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: runs/MODEL-BEHAVIOR]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run: 8 prompts of 4 sentences.")] = False,
    prompts: Annotated[int | None, typer.Option(help="Prompts sampled from each component.")] = None,
    sentences: Annotated[int | None, typer.Option(help="Sentences per prompt (N).")] = None,
    responses: Annotated[int | None, typer.Option(help="Responses per prompt and length.")] = None,
    negative: Annotated[
        str | None, typer.Option(help="P₋: lora (fit one), lora:PATH, persona:TEXT or model:PATH. [default: lora]")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="P₊: as P₋, or target, or residual. [default: lora]")] = None,
    scorer: Annotated[
        str | None, typer.Option(help="B: probe, likelihood or labels:FILE.csv. [default: probe]")
    ] = None,
    undesired: Annotated[
        bool, typer.Option("--undesired", help="Showing the behavior of a .jsonl file is the negative pole.")
    ] = False,
    lead: Annotated[
        str | None, typer.Option(help="Opening text of the plain format, not scored. [default: Here is what I think.]")
    ] = None,
    formats: Annotated[str | None, typer.Option(help="plain, chat or plain,chat. [default: both]")] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32 or bf16 weights. [default: fp32]")] = None,
    kl: Annotated[
        str | None, typer.Option(help="exact, or monte-carlo for components without a shared tokenizer.")
    ] = None,
    max_sentence_tokens: Annotated[int | None, typer.Option(help="A sentence is cut there. [default: 40]")] = None,
    adapter_steps: Annotated[int | None, typer.Option(help="Training steps of a fitted component.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="ε of the theorems. [default: 0.2]")] = None,
    delta: Annotated[float | None, typer.Option(help="δ of Theorem 5. [default: 0.1]")] = None,
    level: Annotated[float | None, typer.Option(help="Confidence level of every interval. [default: 0.95]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random. [default: 0]")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch a model or data set.")] = False,
) -> None:
    """Measure alpha, beta, sigma, gamma and the behavior curve of a model, and compare the bounds with what happens."""
    given = {
        "prompts": prompts, "sentences": sentences, "responses": responses, "negative": negative, "positive": positive,
        "scorer": scorer, "dtype": dtype, "kl": kl, "max_sentence_tokens": max_sentence_tokens,
        "adapter_steps": adapter_steps, "epsilon": epsilon, "delta": delta, "level": level, "seed": seed,
        "lead": lead,
        "formats": tuple(part.strip() for part in formats.split(",")) if formats is not None else None,
    }  # fmt: skip
    options: dict[str, Any] = {"model": model, "behavior": behavior, "undesired": undesired}
    options |= QUICK if quick else {}
    options |= {name: value for name, value in given.items() if value is not None}
    _run(options, out, quick=quick, offline=offline)


def _run(options: dict[str, Any], out: Path | None, *, quick: bool, offline: bool) -> None:
    from beb.cli.progress import ProgressBar
    from beb.cli.summary import print_summary
    from beb.experiments.measure import default_folder, run_measurement
    from beb.experiments.spec import make_spec
    from beb.experiments.store import Store
    from beb.report.html import write_report

    started = time.perf_counter()
    spec = make_spec(options)
    folder = out or default_folder(spec, quick=quick)
    try:
        with ProgressBar(Console(stderr=True)) as bar:
            measurement = run_measurement(spec, folder, offline=offline, progress=bar)
    except KeyboardInterrupt:
        typer.echo("stopped; finished work is saved: run the same command again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    with Store.read(folder) as store:
        path = write_report(store, measurement, folder / "report.html")
    console = Console()
    print_summary(measurement, console)
    console.print(f"Run:    {folder}\nReport: {path}", highlight=False, soft_wrap=True)
    console.print(f"{time.perf_counter() - started:.0f} s, peak memory {_peak_gib():.1f} GiB", highlight=False)


def _peak_gib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 30 if sys.platform == "darwin" else 1 << 20)

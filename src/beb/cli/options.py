"""Options that several commands share: one home for their names and help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from beb.models.hardware import Hardware

Model = Annotated[
    str,
    typer.Option(
        help="Target: smollm2, a folder, a .gguf file, a hub name, lora:PATH, aligned:BASE, world:NAME, vllm:URL#name "
        "or, for beb measure, openai:URL#name."
    ),
]
Behavior = Annotated[
    str, typer.Option(help="An embedded pack, a .jsonl/.csv file, or a folder with negative.txt and positive.txt.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder. [default: below runs/, named after model and behavior]")]
Prompts = Annotated[int | None, typer.Option(help="Prompts sampled from each component.")]
Sentences = Annotated[int | None, typer.Option(help="Sentences per prompt (N).")]
Responses = Annotated[int | None, typer.Option(help="Responses per prompt and length.")]
Negative = Annotated[
    str | None,
    typer.Option(
        help="P₋: lora (fit one), lora@MODEL (fit it on MODEL), lora:PATH, persona:TEXT or model:PATH. [default: lora]"
    ),
]
Positive = Annotated[str | None, typer.Option(help="P₊: as P₋, or target, or residual. [default: lora]")]
Scorer = Annotated[str | None, typer.Option(help="B: probe, likelihood or labels:FILE.csv. [default: probe]")]
Undesired = Annotated[
    bool, typer.Option("--undesired", help="Showing the behavior of a .jsonl file is the negative pole.")
]
Lead = Annotated[
    str | None, typer.Option(help="Opening text of the plain format, not scored. [default: Here is what I think.]")
]
Dtype = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16 weights. [default: fp32]")]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda, cuda:N, mps, or cuda:all (spread over several GPUs). [default: auto]"),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(help="Memory besides the weights, as 512MiB or 4GiB. [default: 2GiB; on a CUDA GPU half of the rest]"),
]
Kl = Annotated[
    str | None,
    typer.Option(
        help="exact; monte-carlo for components without a shared tokenizer or behind a server; top-k: a lower bound."
    ),
]
MaxSentenceTokens = Annotated[int | None, typer.Option(help="A sentence is cut there. [default: 40]")]
AdapterSteps = Annotated[int | None, typer.Option(help="Training steps of a fitted component.")]
Epsilon = Annotated[float | None, typer.Option(help="ε of the theorems. [default: 0.2]")]
Delta = Annotated[float | None, typer.Option(help="δ of the theorems. [default: 0.1]")]
Level = Annotated[float | None, typer.Option(help="Confidence level of every interval. [default: 0.95]")]
Seed = Annotated[int | None, typer.Option(help="Of everything random. [default: 0]")]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch a model or data set.")]
Executor = Annotated[
    str,
    typer.Option(
        "--executor",
        help="local, or ray or ray:address=HOST:PORT,workers=N,cpus=X,gpus=X to spread the work over a Ray cluster.",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="A smaller run, to see that everything works.")]


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave, by the specification's names."""
    return {name: value for name, value in options.items() if value is not None}


def hardware(device: str | None, memory_budget: str | None) -> Hardware:
    """Where models run, as given. Raises: BadSpec."""
    from beb.models.hardware import Hardware

    return Hardware.given(device, memory_budget)

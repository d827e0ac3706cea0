"""`beb measure`: the main job."""

from __future__ import annotations

from typing import Annotated

import typer

from beb.cli import options

QUICK = {"prompts": 16, "sentences": 4, "responses": 1}


def measure(
    model: options.Model = "smollm2",
    behavior: options.Behavior = "agreeableness",
    out: options.Out = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run: 16 prompts of 4 sentences.")] = False,
    prompts: options.Prompts = None,
    sentences: options.Sentences = None,
    responses: options.Responses = None,
    negative: options.Negative = None,
    positive: options.Positive = None,
    scorer: options.Scorer = None,
    undesired: options.Undesired = False,
    lead: options.Lead = None,
    formats: Annotated[str | None, typer.Option(help="plain, chat or plain,chat. [default: both]")] = None,
    dtype: options.Dtype = None,
    kl: options.Kl = None,
    max_sentence_tokens: options.MaxSentenceTokens = None,
    adapter_steps: options.AdapterSteps = None,
    epsilon: options.Epsilon = None,
    delta: options.Delta = None,
    level: options.Level = None,
    seed: options.Seed = None,
    device: options.Device = None,
    memory_budget: options.MemoryBudget = None,
    offline: options.Offline = False,
    executor: options.Executor = "local",
) -> None:
    """Measure alpha, beta, sigma, gamma and the behavior curve of a model, and compare the bounds with what happens."""
    from beb.cli.run import run_command
    from beb.experiments.chat_api.experiment import CHAT_API
    from beb.experiments.measure import MEASURE
    from beb.models.server_address import is_chat_api

    chosen = {"model": model, "behavior": behavior, "undesired": undesired, **(QUICK if quick else {})}
    chosen |= options.given(
        prompts=prompts, sentences=sentences, responses=responses, negative=negative, positive=positive,
        scorer=scorer, lead=lead, dtype=dtype, kl=kl, max_sentence_tokens=max_sentence_tokens,
        adapter_steps=adapter_steps, epsilon=epsilon, delta=delta, level=level, seed=seed,
        formats=tuple(part.strip() for part in formats.split(",")) if formats is not None else None,
    )  # fmt: skip
    experiment = CHAT_API if is_chat_api(model) else MEASURE
    run_command(
        experiment, chosen, out, quick=quick, offline=offline, executor=executor,
        hardware=options.hardware(device, memory_budget),
    )  # fmt: skip

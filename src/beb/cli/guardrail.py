"""`beb guardrail`: the same misaligning prompts with and without system prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from beb.cli import options

QUICK = {"prompts": 8, "sentences": 4, "responses": 1}


def guardrail(
    model: options.Model = "smollm2",
    behavior: options.Behavior = "agreeableness",
    out: options.Out = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run: 8 prompts of 4 sentences.")] = False,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="A guardrail, repeatable: a text file, sampled:M (M sentences from P₊, plain format), or polite, "
            "considerate, firm, strict. [default: polite and strict if there is a chat template, and "
            "sampled:3]"
        ),
    ] = None,
    prompts: options.Prompts = None,
    sentences: options.Sentences = None,
    responses: options.Responses = None,
    negative: options.Negative = None,
    positive: options.Positive = None,
    scorer: options.Scorer = None,
    undesired: options.Undesired = False,
    lead: options.Lead = None,
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
    """Measure how many sentences of a misaligning prompt a system prompt holds off, and compare with Theorem 2."""
    from beb.cli.run import run_command
    from beb.experiments.guardrail.experiment import GUARDRAIL
    from beb.experiments.guardrail.systems import parse_system

    chosen = {"model": model, "behavior": behavior, "undesired": undesired, **(QUICK if quick else {})}
    chosen |= options.given(
        prompts=prompts, sentences=sentences, responses=responses, negative=negative, positive=positive,
        scorer=scorer, lead=lead, dtype=dtype, kl=kl, max_sentence_tokens=max_sentence_tokens,
        adapter_steps=adapter_steps, epsilon=epsilon, delta=delta, level=level, seed=seed,
        systems=tuple(parse_system(entry) for entry in system) if system else None,
    )  # fmt: skip
    run_command(
        GUARDRAIL, chosen, out, quick=quick, offline=offline, executor=executor,
        hardware=options.hardware(device, memory_budget),
    )  # fmt: skip

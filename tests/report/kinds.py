"""One small finished run of every kind, on exact worlds and synthetic states."""

from __future__ import annotations

from pathlib import Path

import pytest

import beb
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.converse.plan import ConverseSpec
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.spec import MeasureSpec
from experiments.gaussian_states import run_probe

SENTENCES = 3


def make_runs(folder: Path) -> dict[str, Path]:
    """Run folders by name: every kind, and of `measure` two that can be compared and one of another behavior."""
    runs = {
        name: folder / name
        for name in ("first", "second", "other", "guardrail", "converse", "best-of", "personas", "trace", "probe")
    }
    for seed, name in enumerate(("first", "second")):
        beb.measure("world:markov", spec=MeasureSpec(prompts=8, sentences=SENTENCES, seed=seed), out=runs[name])
    beb.measure("world:coin", spec=MeasureSpec(prompts=8, sentences=SENTENCES), out=runs["other"])
    beb.guardrail("world:markov", spec=GuardrailSpec(prompts=8, sentences=SENTENCES), out=runs["guardrail"])
    beb.converse(
        "world:markov", spec=ConverseSpec(prompts=8, turns=2, reply_sentences=1, format="plain"), out=runs["converse"]
    )
    beb.best_of("world:markov", spec=BestOfSpec(prompts=8, sentences=3, responses=4), out=runs["best-of"])
    beb.personas("world:personas", spec=PersonasSpec(texts=16, prompts=6, sentences=2), out=runs["personas"])
    beb.trace("It is late. I help people whenever I can.", run=runs["personas"], out=runs["trace"])
    run_probe(runs["probe"], 1, n=30, width=20)
    return runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of finished runs of every kind, by name; read only."""
    return make_runs(tmp_path_factory.mktemp("kinds"))

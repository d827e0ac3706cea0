"""The whole pipeline on exact worlds: variants of the components, failures, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import beb
from beb.errors import BadSpec, EstimateError, GateFailed, NoChatTemplate
from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.registry import analyse
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.subjects import Subjects, world_subjects
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, Scorer
from beb.worlds.catalog import get_world, known_worlds
from beb.worlds.exact import truth

SPEC = MeasureSpec(model="world:markov", prompts=16, sentences=4, formats=("plain",))


def subjects(spec: MeasureSpec = SPEC, name: str = "markov") -> Subjects:
    return world_subjects(spec, get_world(name))


@pytest.mark.parametrize("name", known_worlds())
def test_every_named_world_is_measured(tmp_path: Path, name: str) -> None:
    result = beb.measure(f"world:{name}", spec=MeasureSpec(prompts=24, sentences=6), out=tmp_path)
    exact = truth(get_world(name), 6)
    assert result.beta.low <= exact.beta <= result.beta.high
    assert result.gate.passed
    assert result.notes == ("no chat format: the target has no chat template",)
    frame = result.to_frame()
    assert {"beta", "beta_prime", "sigma2", "gamma", "alpha.plateau.kappa"} <= set(frame["quantity"])
    assert frame[["value", "low", "high", "level", "n", "unit"]].notna().all().all()


def test_the_proxy_gap_is_seen_where_there_is_one(tmp_path: Path) -> None:
    spec = MeasureSpec(model="world:not-a-mixture", prompts=64, sentences=8, formats=("plain",))
    result = run_with_subjects(MEASURE, spec, subjects(spec, "not-a-mixture"), tmp_path)
    assert result.alpha.plateau.verdict == "mixture contradicted"
    assert result.alpha.plateau.kappa.low > 0
    status = {assumption.name: assumption.status for assumption in result.assumptions}
    assert status["mixture"] == "contradicted"


def test_the_same_run_gives_the_same_numbers_and_another_seed_others(tmp_path: Path) -> None:
    runs = [run_with_subjects(MEASURE, SPEC, subjects(), tmp_path / name) for name in ("a", "b")]
    assert runs[0].to_json() == runs[1].to_json()
    other = SPEC.model_copy(update={"seed": 1})
    assert run_with_subjects(MEASURE, other, subjects(other), tmp_path / "c").beta.value != runs[0].beta.value


def test_a_longer_run_contains_the_shorter_one(tmp_path: Path) -> None:
    run_with_subjects(MEASURE, SPEC, subjects(), tmp_path / "short")
    longer = SPEC.model_copy(update={"prompts": 40})
    run_with_subjects(MEASURE, longer, subjects(longer), tmp_path / "long")
    with Store.read(tmp_path / "short") as a, Store.read(tmp_path / "long") as b:
        texts = [{(r["source"], r["prompt"]): r["text"] for r in store.rows("prompts")} for store in (a, b)]
    assert len(texts[1]) == 80
    assert texts[0].items() <= texts[1].items()


@pytest.mark.parametrize("positive", ["target", "residual"])
def test_other_positive_components(tmp_path: Path, positive: str) -> None:
    spec = MeasureSpec(model="world:coin", prompts=16, sentences=6, formats=("plain",), positive=positive)
    result = run_with_subjects(MEASURE, spec, subjects(spec, "coin"), tmp_path)
    assert result.beta.value > 0
    if positive == "residual":
        # In an exact mixture the residual is the positive component, nearly, while prompts from P₋ are short.
        exact = truth(get_world("coin"), 6)
        assert result.beta_curve.value[0] == pytest.approx(exact.beta_curve[0], rel=0.05)


def test_monte_carlo_divergences_are_labelled_and_agree(tmp_path: Path) -> None:
    spec = MeasureSpec(model="world:markov", prompts=200, sentences=3, formats=("plain",), kl="monte-carlo")
    result = run_with_subjects(MEASURE, spec, subjects(spec), tmp_path)
    assert "Monte Carlo" in result.notes[0]
    exact = truth(get_world("markov"), 3)
    inside = [
        lo <= true <= hi
        for lo, true, hi in zip(result.beta_curve.low, exact.beta_curve, result.beta_curve.high, strict=True)
    ]
    assert all(inside)
    with Store.read(tmp_path) as store:
        assert {row["method"] for row in store.rows("prompt_divergences")} == {"monte-carlo (token ids)"}


class Flaky(Scorer):
    """Fails on every `every`-th text."""

    def __init__(self, inner: Scorer, every: int) -> None:
        self.info, self._inner, self._every = inner.info, inner, every

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        scores = self._inner.score(texts)
        return [Failure("timeout", "no answer") if i % self._every == 0 else s for i, s in enumerate(scores)]


def test_failures_are_counted_never_scored_and_bound_the_worst_case(tmp_path: Path) -> None:
    whole = subjects()
    result = run_with_subjects(MEASURE, SPEC, replace(whole, scorer=Flaky(whole.scorer, 7)), tmp_path)
    curve = next(c for c in result.behavior if c.condition == "negative")
    assert curve.n_failures > 0
    assert result.failures["score: timeout"] > 0
    assert all(worst <= low for worst, low in zip(curve.worst_low, curve.raw.pointwise_low, strict=True))
    assert all(worst >= high for worst, high in zip(curve.worst_high, curve.raw.pointwise_high, strict=True))
    with Store.read(tmp_path) as store:
        scored, answered = len(store.rows("response_scores")), len(store.rows("responses"))
        failed = [row for row in store.rows("failures") if row["subject"] == "score"]
    assert 0 < answered - scored < len(failed)


def test_components_that_cannot_tell_the_poles_apart_are_refused(tmp_path: Path) -> None:
    whole = subjects()
    blind = replace(whole, make_positive=lambda _: whole.negative)
    with pytest.raises(GateFailed, match=r"classify only 50%.*raise --adapter-steps"):
        run_with_subjects(MEASURE, SPEC, blind, tmp_path)
    with Store.read(tmp_path) as store:
        assert store.done() == {"gate"}


def test_an_unfinished_run_has_no_numbers_yet(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(what: str, done: float, total: float) -> None:
        if what == "score":
            raise StopError

    with pytest.raises(StopError):
        run_with_subjects(MEASURE, SPEC, subjects(), tmp_path, progress=stop)
    with Store.read(tmp_path) as store, pytest.raises(EstimateError, match=r"not finished \(\d+ of \d+ work"):
        analyse(store)


def test_a_world_takes_no_other_components() -> None:
    with pytest.raises(BadSpec, match="--negative 'persona:x' does not fit a world"):
        subjects(SPEC.model_copy(update={"negative": "persona:x"}))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("behavior", "honesty", "--behavior 'honesty' does not fit a world, which has one of its own"),
        ("undesired", True, "--undesired does not fit"),
        ("scorer", "likelihood", "--scorer 'likelihood' does not fit"),
        ("lead", "Well.", "--lead 'Well.' does not fit"),
        ("dtype", "bf16", "--dtype 'bf16' does not fit"),
        ("adapter_steps", 3, "--adapter-steps 3 does not fit"),
    ],
)
def test_a_world_refuses_what_it_cannot_heed(option: str, value: object, said: str) -> None:
    with pytest.raises(BadSpec, match=said):
        subjects(SPEC.model_copy(update={option: value}))


def test_chat_alone_needs_a_template(tmp_path: Path) -> None:
    with pytest.raises(NoChatTemplate, match="use --formats plain"):
        beb.measure("world:markov", spec=MeasureSpec(formats=("chat",)), out=tmp_path)


def test_figures_without_a_finite_interval_are_named(tmp_path: Path) -> None:
    result = beb.measure("world:coin", spec=MeasureSpec(prompts=24), out=tmp_path)
    assert result.beta.high == np.inf  # independent sentences of one length: all prompts agree on their divergence
    assert {"beta", "Theorem 1", "Theorem 5"} <= set(result.unlimited)
    assert result.widest not in result.unlimited
    assert result.prompts_to_halve is not None
    assert result.prompts_to_halve > 24
    names = result.to_frame()["quantity"]
    infinite = result.to_frame()[np.isinf(result.to_frame()["high"]) & names.isin(["beta", "beta_prime", "sigma2"])]
    assert set(infinite["quantity"]) <= set(result.unlimited)


def test_the_shuffled_control_exchanges_sentences_at_their_positions(tmp_path: Path) -> None:
    from beb.experiments.work import _shuffled

    run_with_subjects(MEASURE, SPEC, subjects(), tmp_path)
    with Store.read(tmp_path) as store:
        rows = store.rows("prompts", source="negative")
        sentences = {
            row["prompt"]: [
                tuple(row["token_ids"][a:b].tolist())
                for a, b in zip((0, *row["sentence_ends"][:-1]), row["sentence_ends"], strict=True)
            ]
            for row in rows
        }
    shuffled = _shuffled(sentences, SPEC)
    assert set(shuffled) == set(sentences)
    for position in range(SPEC.sentences):
        before = sorted(parts[position] for parts in sentences.values())
        assert sorted(parts[position] for parts in shuffled.values()) == before
    assert any(shuffled[prompt] != sentences[prompt] for prompt in sentences)
    assert np.mean([shuffled[p][0] == sentences[p][0] for p in sentences]) < 1

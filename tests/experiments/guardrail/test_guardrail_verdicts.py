"""What a guardrail run calls held: only what is shown, and never what cannot be."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from beb.core.estimate import Estimate
from beb.experiments.bounds import steady
from beb.experiments.experiment import run_with_subjects
from beb.experiments.guardrail.experiment import GUARDRAIL, GuardrailSubjects
from beb.experiments.guardrail.predictions import LARGER, verdict
from beb.experiments.guardrail.premises import positivity_premise
from beb.experiments.guardrail.record import GuardrailRecord, PositivityAfter
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System
from beb.experiments.guardrail.work import AFTER_GUARDRAIL
from beb.experiments.registry import analyse
from beb.experiments.store import RUN_FILE, Store
from beb.experiments.subjects import world_subjects
from beb.worlds.catalog import get_world, spelled
from beb.worlds.exact_guardrail import most_neutral_sentence
from beb.worlds.world import MarkovChain, World

KIND = System(name="kind", text="I help people whenever I can. It is late.")
SAMPLED = System(name="sampled:2", sentences=2)


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, 0.95, 32, "sentences", "made up")


def run(folder: Path, world: World, systems: tuple[System, ...]) -> GuardrailRecord:
    spec = GuardrailSpec(model="world:given", prompts=20, sentences=5, systems=systems)
    subjects = GuardrailSubjects(world_subjects(spec, world), (most_neutral_sentence(world),))
    return run_with_subjects(GUARDRAIL, spec, subjects, folder)


@pytest.mark.parametrize(
    ("worst", "trend", "status"),
    [
        ((6, 4, 8), (-0.5, -1, 0.1), "held"),
        ((6, 4, 8), (0.5, 0.2, 1.2), "held"),  # grows, but by no more than itself over five lengths
        ((6, 4, 8), (0.5, 0.2, 1.3), "not measured"),
        ((6, 4, math.inf), (-1, -2, -0.5), "not measured"),
        ((6, 4, 8), (0, -math.inf, math.inf), "not measured"),
    ],
)
def test_a_largest_value_stands_for_longer_texts_only_where_it_does_not_grow(
    worst: tuple[float, float, float], trend: tuple[float, float, float], status: str
) -> None:
    assert steady(estimate(*worst), estimate(*trend), 5) == status


@pytest.mark.parametrize(
    ("fall", "shift", "area", "status", "said"),
    [
        ((1, 0.5, 1.5), (9, 8, 10), (2, 1, 3), "not measured", LARGER),
        ((1, 0.5, 1.5), (4, 2, math.inf), (9, 8, 10), "not measured", LARGER),
        ((1, 0.5, 1.5), (1, 0, 2), (1, 0, 2), "held", "below the theorem’s lower limit"),
        ((1, 0.5, 1.5), (4, 2, 6), (1, 0, 2), "not measured", "overlap"),
        ((1, 0.5, 1.5), (4, 2, math.inf), (1, 0, 2), "not measured", "no upper limit"),
        ((0.1, -0.2, 0.4), (1, 0, 2), (1, 0, 2), "not measured", "there is no shift"),
    ],
)
def test_a_mean_shift_never_contradicts_a_theorem_about_some_prompt(
    fall: tuple[float, float, float],
    shift: tuple[float, float, float],
    area: tuple[float, float, float],
    status: str,
    said: str,
) -> None:
    found = verdict(estimate(*fall), estimate(*shift), estimate(*area), estimate(5, 3, 7))
    assert found[0] == status
    assert said in found[1]
    assert verdict(estimate(*fall), estimate(*shift), estimate(*area), None)[0] == "not measured"


def test_positivity_needs_one_sentence_after_a_text_and_one_after_every_prefix() -> None:
    def of(*, given: bool, tried: int, found: int) -> PositivityAfter:
        return PositivityAfter(given=given, share=None, tried=tried, found=found)

    text, none = of(given=True, tried=16, found=1), of(given=True, tried=16, found=0)
    every, most = of(given=False, tried=20, found=20), of(given=False, tried=20, found=19)
    assert positivity_premise({"a": text, "b": every}).status == "held"
    assert positivity_premise({"a": none, "b": every}).status == "not measured"
    told = positivity_premise({"a": text, "b": most})
    assert told.status == "not measured"
    assert "after a 1 of 16 negative sentences are likelier under P₋" in told.figure
    assert "19 of 20 sampled prefixes" in told.figure
    untried = positivity_premise({"a": text, "b": of(given=False, tried=0, found=0)})
    assert untried.status == "not measured"
    assert "no negative sentence was tried" in untried.figure


def test_sentences_after_a_guardrail_are_scored_after_it(tmp_path: Path) -> None:
    world = get_world("markov")
    found = run(tmp_path, world, (KIND, SAMPLED))
    step = np.log(world.negative.table()) - np.log(world.positive.table())
    index = {world.text(i): i for i in range(4)}
    with Store.read(tmp_path) as store:
        rows = [row for row in store.rows("given_texts") if row["name"].startswith(AFTER_GUARDRAIL)]
        aligned = {row["prompt"]: row["text"] for row in store.rows("prompts", source="positive")}
    ratios: dict[str, float] = {}
    for row in rows:
        sign = 1 if row["component"] == "negative" else -1
        ratios[row["name"]] = ratios.get(row["name"], 0.0) + sign * float(row["sentence_log_p"].sum())
    texts = {row["name"]: row["text"] for row in rows}
    last = {"text": index["It is late."]}
    for prompt, text in aligned.items():
        sentences = [sentence.strip() + "." for sentence in text.split(".") if sentence.strip()]
        last[str(prompt)] = index[sentences[1]]
    assert len(ratios) >= 30
    for name, ratio in ratios.items():
        prefix = name.split("/")[2]
        assert world.behavior[index[texts[name]]] < 0
        assert ratio == pytest.approx(step[1 + last[prefix], index[texts[name]]])
    for g in found.guardrails:
        (own,) = [a for a in g.bounds[0].assumptions if a.name == "positivity"]
        assert own.status == "held"
        assert g.name in own.figure


def test_where_p_minus_is_never_likelier_positivity_is_not_held(tmp_path: Path) -> None:
    """After a good sentence both components write the bad one alike, P₊ a little more often."""
    words, sentences = spelled(("I lie.", "I tell the truth."))
    negative = MarkovChain((0.9, 0.1), ((0.9, 0.1), (0.5, 0.5)))
    positive = MarkovChain((0.1, 0.9), ((0.1, 0.9), (0.52, 0.48)))
    world = World("manners", sentences, words, (-1.0, 1.0), math.exp(-2), negative, positive, None, "made up")
    texts = System(name="manners", text="I tell the truth."), System(name="sampled:1", sentences=1)
    found = run(tmp_path, world, texts)
    assert found.positivity is not None
    assert found.positivity.value > 0.6, "where P₋ wrote them, most negative sentences are likelier under it"
    text, sampled = (g.positivity for g in found.guardrails)
    assert (text.found, text.share and text.share.value) == (0, 0.0)
    assert sampled.tried - sampled.found > 0
    (stated,) = [a for a in found.assumptions if a.name == "positivity"]
    assert stated.status == "not measured"


def test_a_run_from_before_it_was_tried_says_so(tmp_path: Path) -> None:
    run(tmp_path, get_world("markov"), (SAMPLED,))
    connection = sqlite3.connect(tmp_path / RUN_FILE)
    with connection:
        connection.execute("DELETE FROM given_texts WHERE name LIKE ?", (f"{AFTER_GUARDRAIL}/%",))
    connection.close()
    with Store.read(tmp_path) as store:
        found = analyse(store)
    (stated,) = [a for a in found.assumptions if a.name == "positivity"]
    assert (stated.status, stated.figure) == ("not measured", "no negative sentence was tried after the guardrail")
    assert found.guardrails[0].positivity.share is None


def test_an_alpha_that_single_texts_exclude_is_named(tmp_path: Path) -> None:
    """log 1/α = 8: three points of the curve read less than half of it, and a text of the run shows that it is more."""
    found = run(tmp_path, get_world("coin"), (SAMPLED,))
    assert found.excluded == ("straight line",)
    assert found.alpha_entering["straight line"].high < found.alpha.limits.low
    entering = found.alpha_entering["evidence plateau"]
    assert (entering.low, entering.high) == (found.alpha.limits.low, found.alpha.limits.high)
    bounds = found.guardrails[0].bounds
    assert {b.reading: b.excluded for b in bounds} == {"evidence plateau": False, "straight line": True}
    assert set(found.alpha.behavior) == {"plain"}

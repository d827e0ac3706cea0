"""Best-of-n runs on exact worlds: numbers, failures, interruption, refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import beb
from beb.core.estimate import Band, Estimate
from beb.errors import BadSpec, EstimateError, NoChatTemplate
from beb.estimate.families import mean_bands
from beb.experiments import schema
from beb.experiments.best_of.experiment import BEST_OF
from beb.experiments.best_of.ordered import ordered
from beb.experiments.best_of.prediction import agreement
from beb.experiments.best_of.record import BESIDE, CONTROL, OWN, PROMPTED
from beb.experiments.best_of.spec import BestOfSpec
from beb.experiments.best_of.theorem import beyond_verdict
from beb.experiments.experiment import run_with_subjects
from beb.experiments.registry import analyse
from beb.experiments.spec import make_spec
from beb.experiments.store import Store
from beb.experiments.subjects import Subjects, world_subjects
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, Scorer
from beb.report.pages import page_of
from beb.worlds.catalog import get_world, known_worlds
from beb.worlds.exact_best_of import best_of_truth
from beb.worlds.world import MarkovChain, World

SPEC = BestOfSpec(model="world:markov", prompts=16, sentences=4, responses=8)


def subjects(spec: BestOfSpec = SPEC, world: World | None = None) -> Subjects:
    return world_subjects(spec, world or get_world("markov"))


@pytest.mark.parametrize("name", known_worlds())
def test_every_named_world(tmp_path: Path, name: str) -> None:
    result = beb.best_of(f"world:{name}", spec=SPEC, out=tmp_path)
    exact = best_of_truth(get_world(name), 4, (1, 2, 4, 8))
    assert result.sizes == (1, 2, 4, 8)
    tables = {PROMPTED: exact.negative, CONTROL: exact.positive, OWN: exact.own}
    for curve in result.curves:
        true = tables[curve.condition][result.sizes.index(curve.size)]
        assert np.abs(np.array(curve.band.value) - true).max() < 0.75
        assert curve.n_failures == 0
    assert {bound.reading for bound in result.bounds} == {"evidence plateau", "straight line"}
    frame = result.to_frame()
    assert frame[["value", "low", "high", "level", "n", "unit"]].notna().all().all()
    assert {"beta", f"curves.{OWN}.8.band", "ceilings.8.gamma_n", "bounds.straight line.4.bound.sharp"} <= set(
        frame["quantity"]
    )
    json.loads(result.to_json())


def loud(alpha: float = 0.02) -> World:
    """One sentence in four of P₋ is good: its best of 8 is better than 0, so that the choice protects for ever."""
    coin = get_world("coin")
    chains = MarkovChain.iid((0.75, 0.25)), MarkovChain.iid((0.05, 0.95))
    return World("loud", coin.sentences, coin.words, coin.behavior, alpha, *chains)


def test_what_p_minus_keeps_is_said_and_no_more(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"prompts": 30, "responses": 12, "best_of": (2, 8)})
    result = run_with_subjects(BEST_OF, spec, subjects(spec, loud()), tmp_path)
    by_size = {ceiling.size: ceiling for ceiling in result.ceilings}
    assert by_size[1].nonnegative == "no"
    assert (by_size[1].above_misaligned, by_size[1].above_undesired) == ("no", "no")
    assert by_size[8].nonnegative == by_size[8].above_misaligned == by_size[8].above_undesired == "yes"
    # The paper's form promises to get below γ + ε all the same; a mean over prompts cannot refute "some prompt".
    assert {b.paper_verdict for b in result.bounds if b.size == 8} == {"not measured"}
    assert all(b.says_nothing == (b.gamma_n.value + spec.epsilon >= 1) for b in result.bounds)
    with Store.read(tmp_path) as store:
        page = page_of(store, result)
    criterion, stays, costs, _ = page.findings
    assert criterion.sentence.startswith("γₙ ≥ 0 was found for n = 8 (γₙ = ")
    assert "That is not a promise that no prompt does." in criterion.sentence
    assert "Whether γₙ ≥ 0 is undecided for n = 2" in criterion.sentence
    assert "yes for n = 8" in stays.sentence
    assert "deliberately chosen prompts were not tested" in stays.detail
    assert "For n = 8 even the ill-behaved component itself stays above that level" in costs.detail


def test_no_protection_is_said_too(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"prompts": 40, "best_of": (2,), "epsilon": 0.5})
    result = run_with_subjects(BEST_OF, spec, subjects(spec, get_world("rare")), tmp_path)
    assert result.ceilings[-1].nonnegative == result.ceilings[-1].above_misaligned == "no"
    with Store.read(tmp_path) as store:
        criterion, stays, *_ = page_of(store, result).findings
    assert criterion.sentence.startswith("γₙ < 0 was found for n = 2 (")
    assert "there choosing is no protection" in criterion.sentence
    assert stays.sentence.startswith("No for n = 2")


def test_a_prediction_is_of_prompts_and_of_the_components_own_responses(tmp_path: Path) -> None:
    result = run_with_subjects(BEST_OF, SPEC, subjects(), tmp_path)
    # Without a prompt there is nothing to predict, and nothing to contradict.
    assert {p.curve.lengths for p in result.predictions} == {(1, 2, 3, 4)}
    assert {p.difference.lengths for p in result.predictions} == {(1, 2, 3, 4)}
    with Store.read(tmp_path) as store:
        beside = store.rows("responses", condition=BESIDE)
        prompts = {row["prompt"] for row in store.rows("prompts", source="negative")}
        scores = store.rows("response_scores", condition=BESIDE)
    assert {row["format"] for row in beside} == {"plain"}
    assert len(beside) == len(scores) == len(prompts) * SPEC.sentences * SPEC.responses
    # P₊ goes on as itself after the very prompts that P₋ wrote.
    assert np.mean([row["p_positive"] - row["p_negative"] for row in scores]) > 0.3


def test_a_target_that_is_no_mixture_contradicts_the_prediction(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"prompts": 60, "best_of": (2,)})
    result = run_with_subjects(BEST_OF, spec, subjects(spec, get_world("not-a-mixture")), tmp_path)
    found = {p.verdict for p in result.predictions if p.reading == "evidence plateau"}
    assert "contradicted" in found
    assert "held" not in found


def test_an_excluded_reading_of_alpha_is_marked_and_decides_nothing(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"prompts": 24, "sentences": 6})
    result = run_with_subjects(BEST_OF, spec, subjects(spec, get_world("coin")), tmp_path)
    line = [x for x in (*result.bounds, *result.predictions) if x.reading == "straight line"]
    assert all(x.excluded and x.verdict == "not measured" for x in line)
    assert all(b.paper_verdict == b.beyond_verdict == "not measured" for b in result.bounds if b.excluded)
    # Its numbers would have refuted the prediction.
    assert any(low > 0 for p in result.predictions if p.excluded for low in p.difference.low)
    assert not any(x.excluded for x in (*result.bounds, *result.predictions) if x.reading == "evidence plateau")
    with Store.read(tmp_path) as store:
        tables = [table for section in page_of(store, result).sections for table in section.tables]
    cells = [row[1] for table in tables for row in table.rows]
    assert "straight line (excluded by the cap)" in cells
    assert "straight line" not in cells


def band(low: Sequence[float], high: Sequence[float]) -> Band:
    middle = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    limits = tuple(low), tuple(high)
    return Band(tuple(range(1, len(middle) + 1)), middle, *limits, *limits, 0.95, 20, "behavior", "made up")


def test_agreement_must_be_shown() -> None:
    assert agreement(band([-0.1, -0.05], [0.05, 0.1]), cannot_be=False) == "held"
    assert agreement(band([-0.05, -2.0], [0.05, 2.0]), cannot_be=False) == "not measured"
    assert agreement(band([-0.05, 0.05], [0.05, 0.4]), cannot_be=False) == "contradicted"
    assert agreement(band([-0.05, 0.05], [0.05, 0.4]), cannot_be=True) == "not measured"
    # A difference that is surely tiny contradicts nothing, wherever the others lie.
    assert agreement(band([0.01, -0.5], [0.02, 0.5]), cannot_be=False) == "not measured"


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 0.95, 20, "behavior", "made up")


def test_theorem_4_prompt_by_prompt_is_judged_by_sure_limits() -> None:
    gamma, itself = estimate(-0.6, -0.4), estimate(-0.7, -0.5)
    assert beyond_verdict(estimate(-0.7, -0.45), itself, gamma, 0.2) == "held"
    assert beyond_verdict(estimate(-0.7, -0.35), itself, gamma, 0.2) == "not measured"
    assert beyond_verdict(estimate(-0.1, 0.3), itself, gamma, 0.2) == "contradicted"
    # P₋ itself may do better after these prompts than on average: then γₙ as measured was too small.
    assert beyond_verdict(estimate(-0.1, 0.3), estimate(-0.3, 0.1), gamma, 0.2) == "not measured"
    # A level that may be 1 or more is no level.
    assert beyond_verdict(estimate(0.2, 0.4), itself, estimate(0.3, 0.85), 0.2) == "not measured"
    assert beyond_verdict(None, None, gamma, 0.2) == "not measured"


def test_more_to_choose_from_never_looks_worse(tmp_path: Path) -> None:
    result = run_with_subjects(BEST_OF, SPEC, subjects(), tmp_path)
    for condition in (PROMPTED, CONTROL, OWN):
        bands = [result.curve(condition, size).band for size in result.sizes]
        for side in ("value", "low", "high"):
            assert (np.diff([getattr(band, side) for band in bands], axis=0) >= -1e-12).all()
    lengths = [[bound.bound.sharp.value for bound in result.bounds if bound.reading == "evidence plateau"]]
    assert (np.diff(lengths) >= 0).all()


def test_limits_of_another_n_tighten_and_never_cross_the_values() -> None:
    rng = np.random.default_rng(0)
    draws = rng.choice([-1.0, 1.0], p=[0.2, 0.8], size=(12, 2, 4))
    best = {1: draws[..., 0], 2: draws[..., :2].max(axis=-1), 4: draws.max(axis=-1)}
    bands = mean_bands(best, (0, 1), level=0.9, rng=rng, unit="behavior", bounds=(-1.0, 1.0))
    tight = ordered(bands, complete=True)
    assert tight[4].low[0] >= max(bands[n].low[0] for n in best)
    assert all(lo <= v <= hi for b in tight.values() for lo, v, hi in zip(b.low, b.value, b.high, strict=True))
    assert ordered(bands, complete=False) == bands


class Flaky(Scorer):
    """Fails on every `every`-th text."""

    def __init__(self, inner: Scorer, every: int) -> None:
        self.info, self._inner, self._every = inner.info, inner, every

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        scores = self._inner.score(texts)
        return [Failure("timeout", "no answer") if i % self._every == 0 else s for i, s in enumerate(scores)]


def test_failures_are_counted_and_the_largest_n_falls_back_on_the_worst_case(tmp_path: Path) -> None:
    whole = subjects()
    # An item's first text always fails: 3 prompts x 40 texts, the prompts' sentences besides.
    result = run_with_subjects(BEST_OF, SPEC, replace(whole, scorer=Flaky(whole.scorer, 3)), tmp_path)
    assert result.sizes == (1, 2, 4)
    assert "best of 8" in result.notes[-1]
    eight = [bound for bound in result.bounds if bound.size == 8]
    assert all(not bound.measured and bound.verdict == "not measured" and bound.observed is None for bound in eight)
    curve = result.curve(PROMPTED, 4)
    assert curve.n_failures > 0
    assert all(a <= b for a, b in zip(curve.worst_low, curve.band.value, strict=True))
    assert all(a >= b for a, b in zip(curve.worst_high, curve.band.value, strict=True))
    with Store.read(tmp_path) as store:
        page = page_of(store, result)
    assert any("(γₙ at worst)" in cell for row in page.sections[1].tables[0].rows for cell in row)


def content(folder: Path) -> bytes:
    with Store.read(folder) as store:
        tables = {name: store.rows(name) for name in schema.ROW_TABLES}
    return json.dumps(tables, default=lambda array: array.tobytes().hex(), sort_keys=True).encode()


@pytest.mark.parametrize("stop_at", ["score", "respond", "judge-responses"])
def test_an_interrupted_run_equals_an_uninterrupted_one(tmp_path: Path, stop_at: str) -> None:
    class StopError(Exception):
        pass

    seen = []

    def stop(what: str, done: float, total: float) -> None:
        seen.append(what)
        if what == stop_at and seen.count(what) == 2:
            raise StopError

    with pytest.raises(StopError):
        run_with_subjects(BEST_OF, SPEC, subjects(), tmp_path / "broken", progress=stop)
    with Store.read(tmp_path / "broken") as store, pytest.raises(EstimateError, match="not finished"):
        analyse(store)
    resumed = run_with_subjects(BEST_OF, SPEC, subjects(), tmp_path / "broken")
    whole = run_with_subjects(BEST_OF, SPEC, subjects(), tmp_path / "whole")
    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    assert resumed.to_json() == whole.to_json()


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="best of 32 needs at least 32 responses per prompt and 16 are asked for"):
        make_spec(BestOfSpec, {"best_of": (2, 32)})
    with pytest.raises(BadSpec, match="one above 1"):
        make_spec(BestOfSpec, {"best_of": (1,)})
    with pytest.raises(BadSpec, match="different numbers"):
        make_spec(BestOfSpec, {"best_of": (2, 2)})
    with pytest.raises(BadSpec, match="best_of"):
        make_spec(BestOfSpec, {"best_of": (0, 2)})
    with pytest.raises(BadSpec, match="sentences"):
        make_spec(BestOfSpec, {"sentences": 2})
    chat = SPEC.model_copy(update={"format": "chat"})
    with pytest.raises(NoChatTemplate, match="use --format plain"):
        run_with_subjects(BEST_OF, chat, subjects(chat), tmp_path)


def test_sizes_follow_the_number_of_responses() -> None:
    assert make_spec(BestOfSpec, {}).sizes == (1, 2, 4, 8, 16)
    assert make_spec(BestOfSpec, {"responses": 6}).sizes == (1, 2, 4)
    assert make_spec(BestOfSpec, {"responses": 6, "best_of": (6, 3)}).sizes == (1, 3, 6)
    stored = make_spec(BestOfSpec, {"responses": 6}).model_dump(mode="json")
    assert BestOfSpec(**stored) == make_spec(BestOfSpec, {"responses": 6})

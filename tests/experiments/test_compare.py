"""Comparisons of runs on exact worlds: what is paired, what is concluded, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import beb
from beb.core.estimate import Estimate
from beb.errors import BadSpec, EstimateError
from beb.experiments.compare.aligned import aligned_specs
from beb.experiments.compare.analyse import claim, compare, rests
from beb.experiments.compare.record import Comparison, part_verdict
from beb.experiments.compare.rows import run_rows, shared_prompts
from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.worlds.text_world import text_world
from beb.worlds.world import World
from experiments.compare_runs import sharpened

PROMPTS, SENTENCES = 24, 4


def measured(folder: Path, world: World, *, scorer: dict[str, str] | None = None, **options: object) -> Path:
    """scorer: what the run says that it was scored by, if not the world's own."""
    spec = MeasureSpec(
        **{"model": "world:random", "prompts": PROMPTS, "sentences": SENTENCES, "formats": ("plain",)} | options  # type: ignore[arg-type]
    )
    subjects = world_subjects(spec, world)
    if scorer is not None:
        subjects = replace(subjects, fingerprints={**subjects.fingerprints, "scorer": scorer})
    run_with_subjects(replace(MEASURE, analyse=run_rows), spec, subjects, folder)  # type: ignore[arg-type]
    return folder


def later(world: World) -> World:
    """Much less of the same P₋, beside a surer P₊."""
    return replace(world, alpha=world.alpha * math.exp(-4), positive=sharpened(world.positive, 1.6))


@pytest.fixture(scope="module")
def world() -> World:
    return replace(text_world(np.random.default_rng(0)), alpha=math.exp(-2.0))


@pytest.fixture(scope="module")
def runs(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    measured(folder / "before", world)
    measured(folder / "after", later(world), model="world:later")
    measured(folder / "other", later(world), model="world:later", seed=7, prompts=16)
    measured(folder / "more", later(world), model="world:later", prompts=PROMPTS + 8)
    return folder


@pytest.fixture(scope="module")
def found(runs: Path) -> Comparison:
    return compare(runs / "before", runs / "after", runs / "other")


def test_what_is_shared_is_found_in_the_stores(found: Comparison) -> None:
    same, apart = found.comparisons
    assert dict(same.pairing) == {"negative": "same prompts", "positive": "same random streams"}
    assert dict(apart.pairing) == {"negative": "independent", "positive": "independent"}
    assert {each.key: each.pairing for each in same.differences}["beta_prime"] == "same random streams"
    assert same.n_pairs == {"negative": PROMPTS, "positive": PROMPTS}
    assert apart.n_pairs == {"negative": 16, "positive": 16}


def test_prompts_that_happen_to_be_equal_are_no_pairs(runs: Path, tmp_path: Path) -> None:
    """A world of two sentences repeats its prompts: equal token ids under another seed are a coincidence."""
    from beb.worlds.catalog import get_world

    coin = get_world("coin")
    folders = [measured(tmp_path / str(seed), coin, seed=seed, sentences=3) for seed in (0, 1)]
    with Store.read(folders[0]) as a, Store.read(folders[1]) as b:
        rows = run_rows(a), run_rows(b)
    equal = [rows[0].prompts["negative"][i][1] == rows[1].prompts["negative"][i][1] for i in range(PROMPTS)]
    assert any(equal)
    assert shared_prompts(*rows, "negative").pairing == "independent"


def test_a_difference_is_that_of_the_runs_own_numbers(found: Comparison) -> None:
    for each in (row for one in found.comparisons for row in one.differences):
        if math.isfinite(each.difference.width) and math.isfinite(each.before.value) and "logistic" not in each.key:
            assert each.difference.value == pytest.approx(each.after.value - each.before.value, abs=1e-6), each.key


def test_runs_of_different_size_are_paired_where_they_overlap(runs: Path) -> None:
    found = compare(runs / "before", runs / "more")
    (one,) = found.comparisons
    assert one.pairing["negative"] == "same prompts"
    assert one.n_pairs["negative"] == PROMPTS
    assert any(f"use the {PROMPTS} prompts" in note for note in found.notes)


def test_less_of_p_minus_beside_a_surer_p_plus_supports_the_conjecture(found: Comparison) -> None:
    same = found.comparisons[0]
    verdicts = {each.key: each.verdict for each in same.claims}
    assert verdicts["evidence"] == verdicts["beta"] == "supported"
    assert (same.alpha, same.beta) == ("supported", "supported")
    assert found.n_claims == 14
    alone = {each.key: each.difference for each in same.differences}
    joint = {each.key: each.difference for each in same.claims}
    assert all(joint[key].width > alone[key].width for key in ("plateau", "evidence", "line", "line_beta"))


def test_the_order_of_the_runs_is_the_sign(runs: Path) -> None:
    (back,) = compare(runs / "after", runs / "before").comparisons
    assert (back.alpha, back.beta) == ("contradicted", "contradicted")


def test_a_plateau_that_is_not_reached_decides_nothing(
    runs: Path, world: World, found: Comparison, tmp_path: Path
) -> None:
    """Prompts of four sentences cannot show a weight of e⁻¹⁴: the line through their evidence starts much too low."""
    far = measured(tmp_path / "far", replace(world, alpha=math.exp(-14.0)), model="world:far")
    with Store.read(far) as store, Store.read(runs / "after") as near:
        assert not rests(beb.analyse(store))
        assert rests(beb.analyse(near))
    reached, missed = (
        next(each for each in one.claims if each.key == "plateau")
        for one in (found.comparisons[0], compare(runs / "before", far).comparisons[0])
    )
    assert (reached.verdict, reached.caveat) == ("supported", "")
    assert missed.verdict == "undecided"
    assert "decides nothing" in missed.caveat


def test_the_record_is_a_table_and_json(found: Comparison) -> None:
    frame = found.to_frame()
    assert {"comparisons.world:later (after).differences.beta.difference"} <= set(frame["quantity"])
    assert json.loads(found.to_json())["family_level"] == 0.95


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 0.95, 10, "nats", "made up")


def test_verdicts() -> None:
    up, down, unsure = estimate(0.1, 1), estimate(-1, -0.1), estimate(-1, 1)
    assert [claim("alpha", "x", "x", e).verdict for e in (up, down, unsure)] == [
        "supported", "contradicted", "undecided",
    ]  # fmt: skip
    assert claim("alpha", "x", "x", up, usable=False).verdict == "undecided"
    alpha = [claim("alpha", "line", "x", e) for e in (up, unsure)]
    assert part_verdict(tuple(alpha), "alpha") == "supported"
    assert part_verdict((*alpha, claim("alpha", "evidence", "x", down)), "alpha") == "undecided"
    slopes = (claim("beta", "beta", "x", unsure), claim("beta", "line_beta", "x", up))
    assert part_verdict(slopes, "beta") == "undecided"


def test_what_cannot_be_compared_is_refused(runs: Path, world: World, tmp_path: Path) -> None:
    before = runs / "before"
    copy = measured(tmp_path / "copy", world)
    with pytest.raises(BadSpec, match="one measurement"):
        compare(before, copy)
    with pytest.raises(BadSpec, match="differ in --sentences"):
        compare(before, measured(tmp_path / "long", later(world), sentences=5))
    turned = replace(later(world), behavior=tuple(-b for b in world.behavior))
    with pytest.raises(BadSpec, match="different behaviors"):
        compare(before, measured(tmp_path / "turned", turned))
    with pytest.raises(BadSpec, match="different scorers"):
        compare(before, measured(tmp_path / "other-scorer", later(world), scorer={"name": "another"}))
    with pytest.raises(BadSpec, match="needs at least 2"):
        compare(before)
    with pytest.raises(BadSpec, match="given twice"):
        compare(before, str(before))
    with pytest.raises(BadSpec, match="no run in"):
        compare(before, tmp_path / "nowhere")
    with Store.read(runs / "after") as store:
        meta = store.meta()
    with Store.open(tmp_path / "begun", meta):
        pass
    with pytest.raises(EstimateError, match="not finished"):
        compare(before, tmp_path / "begun")
    with Store.open(tmp_path / "guard", {**meta, "experiment": "guardrail"}):
        pass
    with pytest.raises(BadSpec, match="kind 'guardrail'"):
        compare(before, tmp_path / "guard")


def test_what_is_measured_after_alignment_keeps_p_minus() -> None:
    first, second = aligned_specs("smollm2", "honesty", MeasureSpec(prompts=9, seed=3))
    assert (first.model, first.negative) == ("smollm2", "lora")
    assert (second.model, second.negative, second.positive) == ("aligned:smollm2", "lora@smollm2", "lora")
    assert (second.prompts, second.seed, second.behavior) == (9, 3, "honesty")
    _, kept = aligned_specs("smollm2", "honesty", MeasureSpec(negative="model:unkind"))
    assert kept.negative == "model:unkind"
    with pytest.raises(BadSpec, match="would change with them"):
        aligned_specs("smollm2", "honesty", MeasureSpec(negative="lora:adapter"))
    with pytest.raises(BadSpec, match="cannot be trained further"):
        aligned_specs("world:coin", "honesty", MeasureSpec())

"""The specification and the list of work that follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beb.errors import BadSpec, TooFewPrompts
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.plan import CONDITIONS, plan_measure
from beb.experiments.spec import MeasureSpec, derive_seed, make_spec


@given(prompts=st.integers(5, 200), sentences=st.integers(3, 12), residual=st.booleans())
def test_every_prompt_is_sampled_scored_answered_and_judged_once(prompts: int, sentences: int, residual: bool) -> None:
    spec = MeasureSpec(prompts=prompts, sentences=sentences, positive="residual" if residual else "lora")
    items = plan_measure(spec, ("plain", "chat"))
    assert len({item.key for item in items}) == len(items)
    covered: dict[tuple[str, str, str], list[int]] = {}
    for item in items:
        covered.setdefault((item.kind, item.variant, item.source), []).extend(range(item.first, item.stop))
    for (kind, _, _), done in covered.items():
        assert done == ([] if kind == "gate" else list(range(prompts)))
    answered = {(name, condition) for kind, name, condition in covered if kind == "respond"}
    assert answered == {(name, condition) for name in ("plain", "chat") for condition in CONDITIONS}


@given(prompts=st.integers(5, 100))
def test_an_item_needs_only_what_stands_before_it(prompts: int) -> None:
    for positive in ("lora", "residual"):
        order = [(i.kind, i.source) for i in plan_measure(MeasureSpec(prompts=prompts, positive=positive), ("plain",))]
        last = {key: position for position, key in enumerate(order)}
        first = {key: order.index(key) for key in last}
        assert last["sample", "negative"] < first["score", "negative"]
        assert last["sample", "positive"] < first["respond", "positive"]
        assert last["respond", "shuffled"] < last["judge-responses", "shuffled"]
        if positive == "residual":
            assert last["evidence", "negative"] < first["sample", "positive"]
            assert last["evidence", "negative"] < first["gate", ""]
        else:
            assert first["gate", ""] == 0


def test_a_longer_run_keeps_the_seeds_of_a_shorter_one() -> None:
    assert derive_seed(0, "prompt", "negative", 3) == derive_seed(0, "prompt", "negative", 3)
    seeds = {derive_seed(s, "prompt", pole, i) for s in (0, 1) for pole in ("negative", "positive") for i in range(500)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(0, "a", "bc") != derive_seed(0, "ab", "c")


def test_options_out_of_range_are_named() -> None:
    with pytest.raises(TooFewPrompts, match="4 prompts and needs at least 5; raise --prompts"):
        make_spec(MeasureSpec, {"prompts": 4})
    with pytest.raises(BadSpec, match=r"level: .* \(given: 0.3\)"):
        make_spec(MeasureSpec, {"level": 0.3})
    with pytest.raises(BadSpec, match="colour"):
        make_spec(MeasureSpec, {"colour": "red"})
    with pytest.raises(BadSpec, match="formats are none; give --formats"):
        make_spec(MeasureSpec, {"formats": ()})
    for kind in (MeasureSpec, PersonasSpec):
        with pytest.raises(BadSpec, match="formats are plain, plain; give --formats plain, chat"):
            make_spec(kind, {"formats": ("plain", "plain")})

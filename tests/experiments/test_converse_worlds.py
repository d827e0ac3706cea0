"""Conversations on exact worlds: what is said, what is stored, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import beb
from beb.errors import BadSpec, NoChatTemplate, TokenizerMismatch, TooFewPrompts
from beb.experiments import schema
from beb.experiments.converse.arrays import per_root_sentence, per_sentence, pooled_variance
from beb.experiments.converse.experiment import CONVERSE
from beb.experiments.converse.plan import ARMS, ConverseSpec, plan_converse
from beb.experiments.converse.record import ConverseRecord
from beb.experiments.experiment import run_with_subjects
from beb.experiments.registry import analyse
from beb.experiments.spec import make_spec
from beb.experiments.store import Store
from beb.experiments.subjects import Subjects, world_subjects
from beb.interfaces.language_model import Completion, Failure, LanguageModel
from beb.worlds.catalog import get_world, known_worlds
from beb.worlds.exact_conversation import conversation_truth
from beb.worlds.model import WorldModel, world_model

SPEC = ConverseSpec(model="world:markov", prompts=12, turns=3, format="plain", reply_sentences=1)


def subjects(spec: ConverseSpec = SPEC, name: str = "markov") -> Subjects:
    return world_subjects(spec, get_world(name))


def run(folder: Path, spec: ConverseSpec = SPEC, name: str = "markov", **options: Any) -> ConverseRecord:
    return run_with_subjects(CONVERSE, spec, subjects(spec, name), folder, **options)


def content(folder: Path) -> str:
    """Every row that is not a time of day."""
    with Store.read(folder) as store:
        tables = {name: store.rows(name) for name in (*schema.ROW_TABLES, "items")}
        return json.dumps([store.meta(), tables], default=lambda array: array.tobytes().hex(), sort_keys=True)


@pytest.mark.parametrize("name", known_worlds())
def test_every_named_world_converses(tmp_path: Path, name: str) -> None:
    spec = ConverseSpec(prompts=24, turns=3, format="plain", reply_sentences=1)
    found = beb.converse(f"world:{name}", spec=spec, out=tmp_path)
    exact = conversation_truth(get_world(name), user="negative", turns=3)
    bad = found.arm("negative")
    assert bad.resistance.low <= exact.resistance.mean() <= bad.resistance.high
    assert all(
        lo <= true <= hi for lo, true, hi in zip(bad.log_ratio.low, exact.log_ratio, bad.log_ratio.high, strict=True)
    )
    frame = found.to_frame()
    assert {"beta", "beta_prime", "sigma2", "gamma", "difference", "arms.negative.resistance"} <= set(frame["quantity"])
    assert frame[["value", "low", "high", "level", "n", "unit"]].notna().all().all()
    assert json.loads(found.to_json())["meta"]["experiment"] == "converse"
    assert {a.name for a in found.assumptions} == set(found.bounds[-1].bound.bound.assumptions)


def test_a_long_run_finds_the_truth_and_the_promised_turn(tmp_path: Path) -> None:
    """Long user turns gain ground on short replies; B falls below the level, and beyond C it must have."""
    spec = ConverseSpec(
        model="world:markov", prompts=150, turns=3, turn_sentences=4, reply_sentences=1, format="plain", epsilon=0.4
    )
    found = run(tmp_path, spec)
    bad, good = found.arm("negative"), found.arm("positive")
    assert bad.misaligned_at is not None
    assert good.misaligned_at is None
    assert bad.net_gain.low > 0 > good.net_gain.high
    assert found.difference.high[-1] < 0
    assert found.break_even.high < 4
    # Three points of a curve that is far from its rest read a weight that single texts show to be impossible.
    assert found.excluded == ("straight line",)
    assert {b.reading: b.verdict for b in found.beyond} == {"evidence plateau": "held", "straight line": "not measured"}
    assert all(b.promised is None for b in found.bounds if b.reading == "straight line")
    promised = {p.reading: p for p in found.promised}["evidence plateau"]
    assert promised.value is not None
    assert promised.earliest is not None
    assert promised.latest is not None
    assert bad.misaligned_at <= promised.earliest <= promised.value <= promised.latest
    by_turn = {b.turn: b for b in found.bounds if b.reading == "evidence plateau"}
    assert [by_turn[t].bound.bound.theorem for t in (1, 2, 3)] == ["Theorem 1", "Theorem 3", "Theorem 3"]
    assert [by_turn[t].spoken for t in (1, 2, 3)] == [4, 8, 12]
    for bound in by_turn.values():
        reached = bound.turn >= promised.value
        assert (bound.spoken >= bound.bound.sharp.value) == reached or bound.turn < promised.value


def test_premises_are_held_only_where_they_are_shown(tmp_path: Path) -> None:
    """P₋ of this world is always likelier to write a bad sentence; a target that begins to resist shows no limit."""
    spec = SPEC.model_copy(update={"prompts": 60})
    stated = {a.name: a for a in run(tmp_path / "markov", spec).assumptions}
    assert stated["positivity"].status == "held"
    assert "likelier under P₋" in stated["positivity"].figure
    few = SPEC.model_copy(update={"prompts": 5})
    unsure = {a.name: a.status for a in run(tmp_path / "few", few).assumptions}
    assert unsure["similar under P₊"] == "not measured"
    assert unsure["beta-prime-undistinguishable"] == "not measured"


def test_short_turns_never_win_against_replies_that_resist(tmp_path: Path) -> None:
    found = run(tmp_path, SPEC.model_copy(update={"prompts": 100}))
    assert found.break_even.low > 1
    assert {p.value for p in found.promised} <= {1, None}


def test_the_conversation_is_one_text_for_everybody(tmp_path: Path) -> None:
    """Stored log-probabilities are those of s₁ ⊕ reply₁ ⊕ s₂ … under each model, and sampled ones agree with them."""
    run(tmp_path)
    world = get_world("markov")
    models = {name: world_model(world, name) for name in ("target", "negative", "positive")}
    with Store.read(tmp_path) as store:
        for arm in ARMS:
            rows = store.rows("turns", arm=arm, conversation=3)
            rows.sort(key=lambda row: (row["turn"], row["speaker"] != "user"))
            assert [row["speaker"] for row in rows] == ["user", "target"] * SPEC.turns
            text = tuple(int(t) for row in rows for t in row["token_ids"])
            at = np.arange(len(text))
            log_p = {
                name: model.distributions([text]).log_probs(0, len(text))[at, text] for name, model in models.items()
            }
            ends = np.cumsum([len(row["token_ids"]) for row in rows])
            for row, end in zip(rows, ends, strict=True):
                span = slice(end - len(row["token_ids"]), end)
                own = arm if row["speaker"] == "user" else "target"
                assert row["log_probs"] == pytest.approx(log_p[own][span])
                key = {"arm": arm, "conversation": 3, "turn": row["turn"], "speaker": row["speaker"]}
                for name in ARMS:
                    (stored,) = store.rows("turn_log_probs", **key, component=name)
                    assert stored["sentence_log_p"].sum() == pytest.approx(log_p[name][span].sum())


def test_a_stopped_run_continues_to_the_same_rows(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    spec = SPEC.model_copy(update={"prompts": 40})  # two items per turn
    whole = run(tmp_path / "whole", spec)
    kinds = [item.kind for item in plan_converse(spec)]
    for stop_at in range(0, len(kinds), 5):
        calls = iter(range(10_000))

        def stop(_what: str, _done: float, _total: float, calls: Any = calls, stop_at: int = stop_at) -> None:
            if next(calls) == stop_at:
                raise StopError

        with pytest.raises(StopError):
            run(tmp_path / "broken", spec, progress=stop)
    assert run(tmp_path / "broken", spec).to_json() == whole.to_json()
    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    with Store.read(tmp_path / "broken") as store:
        assert analyse(store).to_json() == whole.to_json()


def test_more_conversations_or_turns_contain_the_fewer(tmp_path: Path) -> None:
    run(tmp_path / "few")
    run(tmp_path / "more", SPEC.model_copy(update={"prompts": 50, "turns": 4}))
    with Store.read(tmp_path / "few") as a, Store.read(tmp_path / "more") as b:
        said = [
            {(r["arm"], r["conversation"], r["turn"], r["speaker"]): r["text"] for r in store.rows("turns")}
            for store in (a, b)
        ]
    assert len(said[0]) == 2 * 12 * 3 * 2
    assert said[0].items() <= said[1].items()


def test_a_given_alpha_needs_no_prompts(tmp_path: Path) -> None:
    found = run(tmp_path, SPEC.model_copy(update={"log_inverse_alpha": 5.0}))
    assert found.alpha is None
    assert set(found.needed) == {"given"}
    assert found.counts["prompts from P₋ for α"] == 0
    assert {a.name: a.status for a in found.assumptions}["mixture"] == "not measured"


def test_monte_carlo_divergences_are_labelled(tmp_path: Path) -> None:
    found = run(tmp_path, SPEC.model_copy(update={"kl": "monte-carlo", "prompts": 60}))
    assert any("Monte Carlo" in note for note in found.notes)
    exact = conversation_truth(get_world("markov"), user="negative", turns=3)
    band = found.arm("negative").divergence
    assert all(lo <= true <= hi for lo, true, hi in zip(band.low, exact.user_divergence, band.high, strict=True))


def test_a_residual_component_converses(tmp_path: Path) -> None:
    found = run(tmp_path, SPEC.model_copy(update={"positive": "residual"}))
    assert found.beta.value > 0


class HangsUp(WorldModel):
    """P₋ that ends every third text."""

    def sample(self, requests: Any) -> list[Completion | Failure]:
        answers = super().sample(requests)
        return [
            replace(a, sentence_ends=()) if r.seed % 3 == 0 and len(r.prefix) > 8 and isinstance(a, Completion) else a
            for a, r in zip(answers, requests, strict=True)
        ]


def test_conversations_that_end_are_counted_and_left_out(tmp_path: Path) -> None:
    whole = subjects()
    flaky = HangsUp(get_world("markov"), "negative")
    spec = SPEC.model_copy(update={"prompts": 40})
    found = run_with_subjects(CONVERSE, spec, replace(whole, negative=flaky), tmp_path)
    bad = found.arm("negative")
    ended = found.failures["user turn: ended-early"]
    assert 0 < ended < 40
    assert found.counts["complete conversations with P₋"] == 40 - ended == bad.resistance.n
    assert bad.replies.n_failures > 0
    assert all(worst <= low for worst, low in zip(bad.replies.worst_low, bad.replies.raw.pointwise_low, strict=True))
    spec = SPEC.model_copy(update={"turns": 30})
    with pytest.raises(TooFewPrompts, match="conversations whose user is the negative component are complete"):
        run_with_subjects(CONVERSE, spec, replace(whole, negative=flaky), tmp_path / "long")


def test_what_cannot_converse_is_refused_before_any_work(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"format": "chat"})
    with pytest.raises(NoChatTemplate, match=r"world:markov/target has no chat template.*give --format plain"):
        run(tmp_path, spec)
    with pytest.raises(beb.BebError, match="lower --turns"):
        run(tmp_path, SPEC.model_copy(update={"turns": 1000, "max_sentence_tokens": 40}))
    whole = subjects()
    foreign = replace(whole, negative=_foreign(whole.negative))
    with pytest.raises(TokenizerMismatch, match="does not share the tokenizer"):
        run_with_subjects(CONVERSE, SPEC, foreign, tmp_path)
    assert not (tmp_path / "run.sqlite").exists()


def _foreign(model: LanguageModel) -> LanguageModel:
    other = world_model(get_world("markov"), "negative")
    other.info = replace(model.info, tokenizer="another")
    return other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"turns": 1}, "turns"), ({"turn_sentences": 0}, "turn_sentences"), ({"format": "sung"}, "format"),
        ({"sentences": 2}, "reading α needs prompts of at least 3"), ({"log_inverse_alpha": -1}, "log_inverse_alpha"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSpec, match=said):
        make_spec(ConverseSpec, options)


@given(prompts=st.integers(5, 100), turns=st.integers(2, 8), residual=st.booleans())
def test_an_item_needs_only_what_stands_before_it(prompts: int, turns: int, residual: bool) -> None:
    spec = ConverseSpec(prompts=prompts, turns=turns, positive="residual" if residual else "lora")
    items = plan_converse(spec)
    assert len({item.key for item in items}) == len(items)
    covered: dict[tuple[str, str, str], list[int]] = {}
    for item in items:
        covered.setdefault((item.kind, item.source, item.variant), []).extend(range(item.first, item.stop))
    assert all(done == list(range(prompts)) for (kind, _, _), done in covered.items() if kind != "gate")
    order = [key for key in covered if key[0].startswith("say")]
    said = [(arm, int(variant.split()[1]), kind) for kind, arm, variant in order]
    assert said == [
        (arm, turn, kind) for arm in ARMS for turn in range(1, turns + 1) for kind in ("say-user", "say-target")
    ]
    last = {item.kind: position for position, item in enumerate(items)}
    first = {item.kind: position for position, item in reversed(list(enumerate(items)))}
    assert last["say-target"] < first["score-turns"]
    given = plan_converse(spec.model_copy(update={"log_inverse_alpha": 3.0}))
    assert any(item.kind == "sample" for item in given) == residual


def test_per_sentence_values_have_the_ratio_as_mean_and_its_spread() -> None:
    rng = np.random.default_rng(0)
    sentences = rng.integers(0, 3, size=(2000, 100)).astype(float)
    totals = 2 * sentences + rng.normal(size=sentences.shape) * np.sqrt(sentences)
    values = per_sentence(totals, sentences)
    ratio = totals.sum(axis=0) / sentences.sum(axis=0)
    assert values.mean(axis=0) == pytest.approx(ratio)
    standard_error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert ratio.std() == pytest.approx(standard_error.mean(), rel=0.3)
    assert per_root_sentence(totals, sentences).var(axis=0, ddof=1).mean() == pytest.approx(1, rel=0.02)
    assert pooled_variance(totals, sentences).mean() == pytest.approx(1, rel=0.02)
    constant = np.full_like(sentences, 2.0)
    assert per_sentence(totals, constant) == pytest.approx(totals / 2)
    assert pooled_variance(totals, constant).mean() == pytest.approx(totals.var(axis=0, ddof=1).mean() / 2)


def test_sample_requests_never_share_a_stream(tmp_path: Path) -> None:
    run(tmp_path)
    with Store.read(tmp_path) as store:
        seeds = [row["seed"] for row in (*store.rows("turns"), *store.rows("prompts"))]
    assert len(set(seeds)) == len(seeds)

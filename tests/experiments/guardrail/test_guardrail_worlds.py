"""Guardrail runs on exact worlds from end to end: numbers, resume, failures, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import beb
from beb.errors import BadSpec, ContextTooShort, GateFailed, UnknownName
from beb.experiments import schema
from beb.experiments.experiment import run_with_subjects
from beb.experiments.guardrail.experiment import GUARDRAIL, GuardrailSubjects
from beb.experiments.guardrail.record import GuardrailRecord
from beb.experiments.guardrail.spec import GuardrailSpec
from beb.experiments.guardrail.systems import System, parse_system, shipped_systems
from beb.experiments.guardrail.work import AFTER_NEGATIVE, GuardrailWorker
from beb.experiments.registry import analyse
from beb.experiments.spec import make_spec
from beb.experiments.store import RUN_FILE, Store
from beb.experiments.subjects import world_subjects
from beb.experiments.tasks import Tasks
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, Scorer
from beb.report.guardrail_page import page
from beb.report.html import render_report
from beb.worlds.catalog import get_world, known_worlds
from beb.worlds.exact import truth
from beb.worlds.exact_guardrail import behavior_after_prefix, given_prefix, most_neutral_sentence

TEXT = System(name="kind", text="I help people whenever I can. It is late.")
SPEC = GuardrailSpec(
    model="world:markov", prompts=12, sentences=4, systems=(TEXT, System(name="sampled:2", sentences=2))
)


def loaded(spec: GuardrailSpec = SPEC, name: str = "markov") -> GuardrailSubjects:
    world = get_world(name)
    return GuardrailSubjects(world_subjects(spec, world), (most_neutral_sentence(world),))


def run(folder: Path, spec: GuardrailSpec = SPEC, name: str = "markov") -> GuardrailRecord:
    return run_with_subjects(GUARDRAIL, spec, loaded(spec, name), folder)


def rows(folder: Path) -> str:
    with Store.read(folder) as store:
        tables = {name: store.rows(name) for name in schema.ROW_TABLES}
    return json.dumps(tables, default=lambda array: array.tobytes().hex(), sort_keys=True)


@pytest.mark.parametrize("name", known_worlds())
def test_every_named_world_runs_with_its_defaults(tmp_path: Path, name: str) -> None:
    result = beb.guardrail(f"world:{name}", spec=GuardrailSpec(prompts=16, sentences=6), out=tmp_path)
    (guard,) = result.guardrails
    assert (guard.name, guard.kind, guard.format, guard.sentences) == ("sampled:3", "sampled", "plain", 3)
    assert guard.log_ratio.low <= truth(get_world(name), 3).beta_prime_curve.sum() <= guard.log_ratio.high
    frame = result.to_frame()
    assert frame[["value", "low", "high", "level", "n", "unit"]].notna().all().all()
    assert {"beta_after", "guardrails.plain.sampled:3.area_shift"} <= set(frame["quantity"])
    assert json.loads(result.to_json())["family"] == 1
    with Store.read(tmp_path) as store:
        html = render_report(store, result)
        assert analyse(store).to_json() == result.to_json()
    assert "sampled:3" in html
    assert "Definition 6" in html


def test_the_same_prompts_stand_behind_every_guardrail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    world = get_world("markov")
    with Store.read(tmp_path) as store:
        answers = {
            condition: {(row["prompt"], row["sentences"]) for row in store.rows("responses", condition=condition)}
            for condition in ("negative", "kind", "sampled:2")
        }
        worker = GuardrailWorker(1, loaded().subjects, ("It is late.",), Tasks(SPEC, loaded().subjects, store), store)
        seen: dict[str, list[tuple[int, ...]]] = {}
        for item in GUARDRAIL.plan(SPEC, store.meta()):
            if item.kind == "respond":
                monkeypatch.setattr(worker._tasks, "answer", lambda _model, _keys, prefixes: prefixes)
                seen[item.source] = list(worker.run(item))
        prompts = worker._tasks.sentences_of("negative")
        aligned = worker._tasks.sentences_of("positive")
    assert answers["negative"] == answers["kind"] == answers["sampled:2"]
    assert len(answers["negative"]) == 12 * 5
    text = tuple(token for s in (3, 2) for token in world.sentences[s])
    for i in range(12):
        whole = tuple(token for sentence in prompts[i] for token in sentence)
        first_two = tuple(token for sentence in aligned[i][:2] for token in sentence)
        assert (0, *whole) in seen["negative"]
        assert (0, *text, *whole) in seen["kind"]
        assert (0, *first_two, *whole) in seen["sampled:2"]


def test_a_given_texts_log_ratio_and_what_follows_from_it(tmp_path: Path) -> None:
    result = run(tmp_path, SPEC.model_copy(update={"prompts": 40}))
    world = get_world("markov")
    guard = next(g for g in result.guardrails if g.kind == "text")
    prefix = given_prefix(world, (3, 2))
    assert guard.log_ratio.exact
    assert guard.log_ratio.value == pytest.approx(prefix.resistance)
    assert guard.sentences == 2
    assert guard.log_ratio_shift is not None
    steps = truth(world, 4).beta_curve.mean()
    assert guard.log_ratio_shift.low <= prefix.resistance / steps <= guard.log_ratio_shift.high
    expected = behavior_after_prefix(world, prefix, 4)
    inside = [lo <= b <= hi for lo, b, hi in zip(guard.curve.raw.low, expected, guard.curve.raw.high, strict=True)]
    assert all(inside)


def test_prompts_after_a_prefix_are_scored_after_it(tmp_path: Path) -> None:
    """Definition 3's prompts: their first sentence's divergence is that of the row after a negative sentence."""
    run(tmp_path)
    world = get_world("markov")
    p, q = world.negative.table(), world.positive.table()
    divergence = (p * np.log(p / q)).sum(axis=1)
    with Store.read(tmp_path) as store:
        kl = {row["prompt"]: row["sentence_kl_nats"] for row in store.rows("prompt_divergences", source=AFTER_NEGATIVE)}
        texts = {
            int(row["name"].rpartition("/")[2]): row["text"]
            for row in store.rows("given_texts", component="negative")
            if row["name"].startswith(AFTER_NEGATIVE)
        }
    assert len(kl) == len(texts) >= 10
    sentences = {world.text(i): i for i in range(4)}
    for i, text in texts.items():
        assert text.startswith("It is late. ")
        last = sentences[text.removeprefix("It is late. ")]
        assert world.behavior[last] == -1
        assert kl[i][0] <= divergence[1 + last] * 3  # token-wise terms of one draw, about the row's divergence
    mean = np.mean([kl[i][0] for i in kl])
    assert mean == pytest.approx(divergence[1:3].mean(), rel=0.6)


class StopError(Exception):
    pass


@pytest.mark.parametrize("kind", ["texts", "score-after", "respond", "judge-responses"])
def test_an_interrupted_run_goes_on_to_the_same_rows(tmp_path: Path, kind: str) -> None:
    whole = run(tmp_path / "whole")
    seen: list[str] = []

    def stop(what: str, done: float, total: float) -> None:
        seen.append(what)
        if what == kind and seen.count(kind) == (2 if kind in ("respond", "judge-responses") else 1):
            raise StopError

    with pytest.raises(StopError):
        run_with_subjects(GUARDRAIL, SPEC, loaded(), tmp_path / "broken", progress=stop)
    again = run(tmp_path / "broken")
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
    assert again.to_json() == whole.to_json()


class Flaky(Scorer):
    def __init__(self, inner: Scorer, every: int) -> None:
        self.info, self._inner, self._every = inner.info, inner, every

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        scores = self._inner.score(texts)
        return [Failure("timeout", "no answer") if i % self._every == 0 else s for i, s in enumerate(scores)]


def test_failures_are_counted_and_drop_the_prompt_from_the_pairs(tmp_path: Path) -> None:
    subjects = loaded()
    flaky = replace(subjects.subjects, scorer=Flaky(subjects.subjects.scorer, 29))
    result = run_with_subjects(GUARDRAIL, SPEC, replace(subjects, subjects=flaky), tmp_path)
    assert result.failures["score: timeout"] > 0
    assert 3 <= min(g.area_shift.n for g in result.guardrails) < 12
    assert any(g.curve.n_failures for g in result.guardrails)


def test_a_model_that_never_falls_is_said_to_have_no_shift(tmp_path: Path) -> None:
    """log 1/α = 20: three sentences do nothing, so there is nothing to hold off."""
    spec = SPEC.model_copy(update={"model": "world:rare", "sentences": 3, "systems": ()})
    result = run(tmp_path, spec, "rare")
    assert result.baselines[0].fall.low <= 0
    with Store.read(tmp_path) as store:
        said = page(store, result)
    assert "there is no shift in sentences to measure" in said.findings[0].sentence
    observed = {table.title: table for table in said.summary}
    assert all(row[4:] == ("no fall to shift",) * 2 for row in observed["Observed"].rows[1:])
    assert result.guardrails[0].verdict != "held" or math.isfinite(result.guardrails[0].midpoint_shift.high)


def test_a_shift_without_upper_limit_is_told_by_its_lower_one(tmp_path: Path) -> None:
    spec = GuardrailSpec(model="world:coin", prompts=24, sentences=5, systems=(System(name="s", sentences=4),))
    result = run(tmp_path, spec, "coin")
    (guard,) = result.guardrails
    assert guard.midpoint_shift.high == math.inf
    assert guard.midpoint_shift.low > 0
    with Store.read(tmp_path) as store:
        table = page(store, result).summary[0]
    assert table.rows[1][4].startswith("at least ")


def test_components_that_cannot_tell_the_poles_apart_are_refused(tmp_path: Path) -> None:
    whole = loaded()
    blind = replace(whole.subjects, make_positive=lambda _: whole.subjects.negative)
    with pytest.raises(GateFailed):
        run_with_subjects(GUARDRAIL, SPEC, replace(whole, subjects=blind), tmp_path)


def test_shipped_texts_are_distinct_and_grow_stricter() -> None:
    texts = [system.text for system in shipped_systems().values()]
    assert list(shipped_systems()) == ["polite", "considerate", "firm", "strict"]
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)
    assert all(text.endswith(".") for text in texts)


@pytest.mark.parametrize(
    ("systems", "said"),
    [
        ((System(name="a", text="Be kind."), System(name="b", text="Be  kind.\n")), "'a' and 'b' are the same"),
        ((System(name="a", text="Be kind."), System(name="a", text="Be good.")), "two system prompts are named 'a'"),
        ((System(name="sampled:5", sentences=5),), "measured over 4; raise --sentences"),
        (({"name": "a", "text": "  "},), "'a' is empty"),
        (({"name": "negative", "text": "x"},), "give another"),
        (({"name": "a", "text": "x", "sentences": 2},), "give one of them"),
        (({"name": "two words", "text": "x"},), "systems.0.name"),
    ],
)
def test_systems_that_contradict_each_other_are_refused(systems: tuple[object, ...], said: str) -> None:
    with pytest.raises(BadSpec) as refusal:
        make_spec(GuardrailSpec, {"sentences": 4, "systems": systems})
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_the_command_line_gives_is_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "my guard.txt"
    file.write_text("  Be kind.\n")
    assert parse_system(str(file)) == System(name="my_guard", text="Be kind.")
    assert parse_system("sampled:4") == System(name="sampled:4", sentences=4)
    assert parse_system("firm") == shipped_systems()["firm"]
    with pytest.raises(UnknownName, match="did you mean 'strict'"):
        parse_system("stricd")
    for entry, said in (("sampled:x", "sampled:3"), ("sampled:0", "sampled:3"), ("nowhere.txt", "no such file")):
        with pytest.raises(BadSpec, match=said):
            parse_system(entry)
    file.write_text(" \n")
    with pytest.raises(BadSpec, match="is empty"):
        parse_system(str(file))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadSpec, match="UTF-8"):
        parse_system(str(file))


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("I adore people.", BadSpec, "not in the vocabulary"),
        ("I help people", BadSpec, "whole sentences"),
        ("whenever people.", BadSpec, "whole sentences"),
        ("It is late. " * 16_000, ContextTooShort, "shorten it"),
        ("It is late. " * 30_000, BadSpec, "at most 200000 characters"),
    ],
)
def test_a_text_that_a_world_cannot_read_is_refused(
    tmp_path: Path, text: str, error: type[Exception], said: str
) -> None:
    options = SPEC.model_dump() | {"systems": ({"name": "mine", "text": text},), "max_sentence_tokens": 4096}
    with pytest.raises(error, match=said) as refusal:
        run(tmp_path, make_spec(GuardrailSpec, options))
    assert len(str(refusal.value)) < 400
    assert not (tmp_path / RUN_FILE).exists()

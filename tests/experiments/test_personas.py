"""`beb personas` and its trace on exact worlds and on a tiny checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import beb
from beb.core.bounds import single_prompt
from beb.core.estimate import Estimate
from beb.errors import BadSpec, ContextTooShort, EstimateError, NoChatTemplate, TooFewPrompts
from beb.experiments import schema
from beb.experiments.experiment import run_with_subjects
from beb.experiments.personas import plan
from beb.experiments.personas.analyse import NEGLIGIBLE
from beb.experiments.personas.catalog import Persona
from beb.experiments.personas.experiment import PERSONAS
from beb.experiments.personas.lengths import Inputs, Sides, length_to, lengths
from beb.experiments.personas.plan import plan_personas, texts_of
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import LastStates, PersonaSubjects, persona_world_subjects
from beb.experiments.personas.trace import TRACE, trace_options
from beb.experiments.registry import analyse
from beb.experiments.spec import Format, make_spec
from beb.experiments.store import Store
from beb.interfaces.language_model import Failure
from beb.interfaces.scorer import Score, Scorer, ScorerInfo
from beb.models.components import neutral_component, persona_component
from beb.models.huggingface import load_checkpoint
from beb.worlds.exact_personas import posterior_weights
from beb.worlds.persona_world import get_persona_world
from experiments.persona_runs import run_world, spec_for, world_for
from intervals import most_misses
from run_coverage import LEVEL

SPEC = PersonasSpec(model="world:personas", texts=16, prompts=6, sentences=2)


def test_enough_texts_resolve_the_rare_shortest_way(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"texts": 800, "prompts": 200, "sentences": 3, "misaligned": -0.5})
    record = run_world(get_persona_world("personas"), spec, tmp_path)
    (way,) = record.shortest
    assert (way.candidates, way.resolved, way.rare) == (("con man",), True, "yes")
    con_man = next(w for w in record.ways if w.name == "con man")
    assert con_man.to_level_family is not None
    assert con_man.to_level_family.high < 6
    assert con_man.observed_level["plain"] in (2, 3)
    assert [a.status for a in record.assumptions] == ["held", "held", "not measured"]
    assert record.certificate < 1e-8


def test_a_mixture_is_held_only_where_next_to_nothing_is_left_unexplained(tmp_path: Path) -> None:
    inside = [run_world(world_for(seed), spec_for(seed), tmp_path / f"in {seed}") for seed in range(3)]
    outside = [
        run_world(world_for(seed, stranger=True), spec_for(seed), tmp_path / f"out {seed}") for seed in range(12)
    ]
    assert not any(record.assumptions[0].status == "contradicted" for record in inside)
    for record in (*inside, *outside):
        held = record.assumptions[0].status == "held"
        assert held <= (record.unexplained.high < NEGLIGIBLE)
    assert not any(record.assumptions[0].status == "held" for record in outside)


def test_what_is_not_contradicted_is_not_held_for_that(tmp_path: Path) -> None:
    record = run_world(world_for(1), spec_for(1, texts=10, prompts=5), tmp_path)
    assert record.unexplained.low == 0
    assert record.unexplained.high > NEGLIGIBLE
    assert record.assumptions[0].status == "not measured"
    assert "not contradicted" in record.assumptions[0].figure


def test_a_length_that_needs_no_prompt_confirms_nothing(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"texts": 200, "prompts": 40})
    record = run_world(get_persona_world("personas"), spec, tmp_path)
    helper = record.ways[0]
    assert record.unprompted["agreeableness"].high < helper.gamma.value + spec.epsilon
    assert (helper.observed["plain"], helper.verdict) == (0, "not measured")


def test_a_target_without_chat_template_cannot_be_asked_in_chat_alone(tmp_path: Path) -> None:
    spec = make_spec(PersonasSpec, {"model": "world:personas", "formats": ("chat",)})
    with pytest.raises(NoChatTemplate, match="use --formats plain"):
        persona_world_subjects(spec, get_persona_world("personas"))


def test_the_same_texts_are_read_once_for_all_behaviors() -> None:
    class Reads:
        fingerprint = "reads"
        asked: list[list[str]] = []  # noqa: RUF012

        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            self.asked.append(list(texts))
            return np.full((len(texts), 2), len(texts[0]), dtype=np.float32)

    embed = LastStates(Reads())
    for texts in (["a", "bb"], ["a", "bb"], ["ccc"], ["a", "bb"]):
        assert embed(texts)[0, 0] == len(texts[0])
    assert Reads.asked == [["a", "bb"], ["ccc"], ["a", "bb"]]


def test_a_stranger_in_the_target_contradicts_the_mixture(tmp_path: Path) -> None:
    record = run_world(world_for(5, stranger=True), spec_for(5, texts=600, prompts=6), tmp_path)
    assert record.assumptions[0].status == "contradicted"
    assert record.unexplained.low > 0


@pytest.mark.parametrize(
    ("formats", "behaviors"), [(("plain",), ("a",)), (("plain", "chat"), ("a", "b", "c")), (("chat",), ("a", "b"))]
)
def test_the_plan_covers_every_text_once(formats: tuple[Format, ...], behaviors: tuple[str, ...]) -> None:
    names = ("one", "two", "three")
    for responses, prompts, texts in ((1, 8, 32), (7, 100, 50), (1000, 5, 401)):
        spec = PersonasSpec(
            model="world:coin", texts=texts, prompts=prompts, responses=responses, formats=formats, behaviors=behaviors
        )
        items = plan_personas(spec, names, formats)
        assert len({item.key for item in items}) == len(items)
        free = [("target", i) for i in range(texts)]
        own = [(name, i) for name in names for i in range(prompts)]
        covered: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for item in items:
            about = [(source, i) for source, indices in texts_of(item, spec, names).items() for i in indices]
            assert len(about) == item.stop - item.first > 0
            covered.setdefault((item.kind, item.variant), []).extend(about)
        wanted = {("sample", ""): free + own, ("judge-prompts", ""): free + own, ("score-texts", ""): free}
        wanted |= {("score", ""): own}
        wanted |= {(kind, name): own for kind in ("respond", "judge-responses") for name in formats}
        assert covered == wanted


@pytest.fixture
def small_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "REQUESTS_PER_ITEM", 7)
    monkeypatch.setattr(plan, "TEXTS_PER_SCORE", 5)


@pytest.mark.usefixtures("small_items")
def test_a_stopped_run_continues_to_the_same_rows_and_numbers(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    steps = 0

    def stop(what: str, done: float, total: float) -> None:
        nonlocal steps
        steps += 1
        if steps in (3, 9, 16):
            raise StopError

    world = get_persona_world("personas")
    subjects = persona_world_subjects(SPEC, world)
    whole = run_with_subjects(PERSONAS, SPEC, subjects, tmp_path / "whole")
    for _ in range(3):
        with pytest.raises(StopError):
            run_with_subjects(PERSONAS, SPEC, persona_world_subjects(SPEC, world), tmp_path / "broken", progress=stop)
    with Store.read(tmp_path / "broken") as store, pytest.raises(EstimateError, match="not finished"):
        analyse(store)
    with pytest.raises(EstimateError, match="not finished"):
        trace_options(WORDS, run=tmp_path / "broken")
    broken = run_with_subjects(PERSONAS, SPEC, persona_world_subjects(SPEC, world), tmp_path / "broken")
    with Store.read(tmp_path / "whole") as a, Store.read(tmp_path / "broken") as b:
        for table in schema.ROW_TABLES:
            rows = [
                json.dumps(s.rows(table), default=lambda array: array.tobytes().hex(), sort_keys=True) for s in (a, b)
            ]
            assert rows[0] == rows[1], table
    assert whole.to_json() == broken.to_json()
    frame = whole.to_frame()
    assert {"unexplained", "personas.con man.weight", "ways.agreeableness.con man.sharp"} <= set(frame["quantity"])


def test_rows_do_not_depend_on_the_size_of_the_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = get_persona_world("personas")
    run_world(world, SPEC, tmp_path / "whole")
    monkeypatch.setattr(plan, "REQUESTS_PER_ITEM", 3)
    monkeypatch.setattr(plan, "TEXTS_PER_SCORE", 4)
    run_world(world, SPEC, tmp_path / "parts")
    with Store.read(tmp_path / "whole") as a, Store.read(tmp_path / "parts") as b:
        for table in ("prompts", "prompt_log_probs", "prompt_divergences", "prompt_scores", "responses"):
            assert len(a.rows(table)) == len(b.rows(table)) > 0
            for one, other in zip(a.rows(table), b.rows(table), strict=True):
                for name in one.keys() - {"item"}:
                    pair = one[name], other[name]
                    assert np.allclose(*pair) if isinstance(one[name], np.ndarray) else pair[0] == pair[1], (
                        table,
                        name,
                    )


def test_every_world_has_personas(tmp_path: Path) -> None:
    record = beb.personas("world:coin", spec=SPEC, out=tmp_path)
    assert [p.name for p in record.personas] == ["negative", "positive"]
    assert record.personas[1].weight.low <= 1 - math.exp(-8) <= record.personas[1].weight.high


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"texts": 3}, "texts"),
        ({"prompts": 2}, "raise --prompts"),
        ({"behaviors": ()}, "behaviors"),
        ({"formats": ()}, "formats"),
        ({"personas": (Persona(name="a", description="You are a."),)}, "leave out --personas"),
        ({"model": "smollm2", "personas": (Persona(name="a", description="You are a."),)}, "at least 2"),
        (
            {"model": "smollm2", "personas": tuple(Persona(name=n, description="You are a.") for n in "ab")},
            "'a' and 'b' are identical",
        ),
        ({"model": "smollm2", "personas": (Persona(name="target", description="x"),) * 2}, "'target' is taken"),
    ],
)
def test_what_is_refused_before_anything_is_loaded(changes: dict[str, object], said: str) -> None:
    with pytest.raises((BadSpec, TooFewPrompts), match=said):
        make_spec(PersonasSpec, {"model": "world:coin", **changes})


def test_lengths_where_there_is_no_bound() -> None:
    def inputs(weight: tuple[float, float, float], beta: tuple[float, float, float]) -> Inputs:
        gamma = Estimate(-0.6, -0.8, -0.3, 0.95, 8, "B", "")
        value, low, high = beta
        sides = Sides(value, (value, value), (low, high))
        return Inputs(Estimate(*weight, 0.95, 30, "nats", ""), min(weight[0], 6.0), [sides], gamma)

    absent = inputs((math.inf, 2.5, math.inf), (3.0, 2.0, 4.0))
    for e in (*(getattr(lengths(absent, epsilon=0.2), side) for side in ("paper", "sharp")), length_to(absent, 0.0)):
        assert e is not None
        assert (e.value, e.high) == (math.inf, math.inf)
        assert 0 < e.low < math.inf
    alike = inputs((2.0, 1.0, 4.0), (1.0, 0.0, 2.0))
    sharp = lengths(alike, epsilon=0.2).sharp
    assert math.isfinite(sharp.value)
    assert sharp.high == math.inf
    surely = length_to(inputs((2.0, 1.0, 4.0), (1.0, 0.5, 2.0)), -0.9)
    assert surely is None
    unsure = length_to(inputs((2.0, 1.0, 4.0), (1.0, 0.5, 2.0)), -0.7)
    assert unsure is not None
    assert math.isinf(unsure.value)


def test_errors_of_texts_and_prompts_add_in_quadrature_and_the_worst_length_counts() -> None:
    gamma = Estimate(-0.6, -0.6001, -0.5999, 0.95, 8, "B", "")
    weight = Estimate(3.0, 2.0, 4.5, 0.95, 30, "nats", "")

    def log_length(*betas: Sides, side: str) -> float:
        found = length_to(Inputs(weight, 3.0, betas, gamma), 0.0)
        assert found is not None
        return math.log1p(getattr(found, side))

    both, sure = Sides(2.0, (2.0, 2.0), (1.0, 3.0)), Sides(2.0, (2.0, 2.0), (2.0, 2.0))
    by_texts, middle = log_length(sure, side="high"), log_length(both, side="value")
    corner = math.log1p(single_prompt(log_inverse_alpha=3.0, beta=1.0, gamma=-0.6, epsilon=0.6).sharp)
    assert log_length(both, side="high") - middle == pytest.approx(math.hypot(by_texts - middle, corner - middle), 1e-3)
    later = Sides(2.1, (2.1, 2.1), (0.5, 9.0))
    assert log_length(both, later, side="value") == middle
    assert log_length(both, later, side="high") == log_length(later, side="high") > log_length(both, side="high")
    assert log_length(both, later, side="low") == log_length(both, side="low")


def test_texts_and_prompts_in_plenty_show_most_personas_to_be_distinct(tmp_path: Path) -> None:
    """Limits over all weights in a box, prompt by prompt, show 11 of these 18, resolve one world and leave 10 ways."""
    distinct = resolved = candidates = 0
    for seed in range(6):
        record = run_world(world_for(seed), spec_for(seed, texts=200, prompts=60), tmp_path / str(seed))
        distinct += sum(persona.beta.low > 0 for persona in record.personas)
        resolved += record.shortest[0].resolved
        candidates += len(record.shortest[0].candidates)
    assert distinct >= 15
    assert resolved >= 2
    assert candidates <= 9


@pytest.mark.filterwarnings("error")
def test_prompts_that_ended_warn_of_nothing(subjects: PersonaSubjects, tmp_path: Path) -> None:
    who = tuple(Persona(name=name, description=f"You are {name}.") for name in subjects.personas)
    spec = PersonasSpec(model="tiny", personas=who, behaviors=("one", "two"), texts=12, prompts=8, sentences=4)
    record = run_with_subjects(PERSONAS, spec, subjects, tmp_path)
    assert sum(each.n_ended for each in record.personas) > 0


class Verbs(Scorer):
    """B by the verb: a real scorer of the tiny models' language, with known errors."""

    info = ScorerInfo("verbs", "table", "0", ((40, 5, 5), (5, 40, 5), (5, 5, 40)), False, None, None)

    def score(self, texts: Sequence[str]) -> list[Score | Failure]:
        return [
            Score(0.8, 0.1, 0.1) if "harm" in t or "mock" in t else
            Score(0.1, 0.1, 0.8) if "help" in t or "thank" in t else Score(0.1, 0.8, 0.1)
            for t in texts
        ]  # fmt: skip


@pytest.fixture(scope="module")
def subjects(shop: Path) -> PersonaSubjects:
    bare = load_checkpoint(shop / "target", name="tiny")
    who = {"kind": "I help friends today. I thank guests often.", "cruel": "I mock strangers at work. I harm cats."}
    models = {name: persona_component(bare, text) for name, text in who.items()}
    fingerprints = {"target": {"fingerprint": "t", "context": neutral_component(bare).info.context}}
    fingerprints |= {f"persona: {name}": {"fingerprint": name} for name in models}
    for behavior in ("one", "two"):
        fingerprints[f"scorer: {behavior}"] = {"exact": False, "confusion": Verbs.info.confusion}  # type: ignore[dict-item]
    questions = {"one": "What do you do?", "two": "Whom do you like?"}
    scorers: dict[str, Scorer] = {"one": Verbs(), "two": Verbs()}
    return PersonaSubjects(neutral_component(bare), models, scorers, questions, fingerprints)


def test_a_checkpoint_with_two_behaviors_and_both_formats(subjects: PersonaSubjects, tmp_path: Path) -> None:
    who = tuple(Persona(name=name, description=f"You are {name}.", kind="test") for name in subjects.personas)
    spec = PersonasSpec(
        model="tiny", personas=who, behaviors=("one", "two"), formats=("plain", "chat"), texts=12, prompts=8,
        sentences=2, max_sentence_tokens=16,
    )  # fmt: skip
    record = run_with_subjects(PERSONAS, spec, subjects, tmp_path)
    assert [(w.behavior, w.name) for w in record.ways] == [(b, n) for b in ("one", "two") for n in ("kind", "cruel")]
    assert all(set(w.response) == {"plain", "chat"} for w in record.ways)
    with Store.read(tmp_path) as store:
        formats = {row["format"] for row in store.rows("responses")}
        prompts = [(row["source"], row["prompt"]) for row in store.rows("prompts")]
        plain = [
            (row["condition"], row["prompt"], row["sentences"], row["response"])
            for row in store.rows("responses", format="plain")
        ]
        ended = [row for row in store.rows("prompts") if len(row["sentence_ends"]) < 2]
        divergences = {(row["p"], row["q"]) for row in store.rows("prompt_divergences")}
    assert formats == {"plain", "chat · one", "chat · two"}
    # Whatever the number of behaviors, every prompt is sampled once, and answered once in plain text.
    assert len(prompts) == len(set(prompts)) == 12 + 2 * 8
    assert len(plain) == len(set(plain))
    assert divergences == {("kind", "the others"), ("cruel", "the others")}
    assert sum(p.n_ended for p in record.personas) == sum(row["source"] != "target" for row in ended)
    # Of two personas each one's others are the other: its weight cancels, and β is exact but for the prompts.
    assert all(0 <= p.beta.low <= p.beta.value for p in record.personas)


def test_a_context_too_short_for_the_description(subjects: PersonaSubjects, tmp_path: Path) -> None:
    who = tuple(Persona(name=name, description=f"You are {name}.") for name in subjects.personas)
    spec = PersonasSpec(model="tiny", personas=who, behaviors=("one", "two"), sentences=20)
    with pytest.raises(ContextTooShort, match="shorten the description"):
        run_with_subjects(PERSONAS, spec, subjects, tmp_path)


WORDS = "I take what they give me. It is late. I insult people."


def test_a_trace_is_bayes_rule_along_the_text(tmp_path: Path) -> None:
    world = get_persona_world("personas")
    record = beb.trace(WORDS, model="world:personas", out=tmp_path)
    assert record.sentences == ("I take what they give me.", "It is late.", "I insult people.")
    exact = posterior_weights(world, (5, 1, 3), np.full(4, 0.25))
    for i, persona in enumerate(record.personas):
        assert [e.value for e in persona.weights] == pytest.approx(exact[:, i])
        assert all(e.exact for e in persona.weights)
    assert "equal weights" in record.notes[0]


def test_a_trace_with_the_weights_of_a_run_holds_the_truth(tmp_path: Path) -> None:
    world = get_persona_world("personas")
    misses = 0
    for seed in range(12):
        run = tmp_path / f"run {seed}"
        beb.personas("world:personas", spec=SPEC.model_copy(update={"texts": 300, "seed": seed}), out=run)
        record = beb.trace(WORDS, run=run, out=tmp_path / f"trace {seed}")
        exact = posterior_weights(world, (5, 1, 3), np.array(world.weights))
        misses += not all(
            e.low <= exact[n, i] <= e.high for i, p in enumerate(record.personas) for n, e in enumerate(p.weights)
        )
    assert misses <= most_misses(12, LEVEL)
    assert np.median([e.width for p in record.personas for e in p.weights]) < 0.4


def test_a_trace_refuses_what_does_not_fit_its_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    beb.personas("world:personas", spec=SPEC, out=run)
    with pytest.raises(BadSpec, match="--model differs"):
        trace_options(WORDS, run=run, model="world:coin")
    beb.trace(WORDS, run=run, out=tmp_path / "trace")
    with pytest.raises(BadSpec, match="give one of `beb personas`"):
        trace_options(WORDS, run=tmp_path / "trace")
    options = trace_options(WORDS, run=run)
    roles = [(role, "other") for role, _ in options["fingerprints"]]
    spec = make_spec(TRACE.spec, {**options, "fingerprints": tuple(roles)})
    with pytest.raises(BadSpec, match="measured other models"):
        run_with_subjects(TRACE, spec, persona_world_subjects(spec, get_persona_world("personas")), tmp_path / "x")


def test_a_text_longer_than_the_context(subjects: PersonaSubjects, tmp_path: Path) -> None:
    who = tuple(Persona(name=name, description=f"You are {name}.") for name in subjects.personas)
    spec = make_spec(TRACE.spec, {"model": "tiny", "personas": who, "text": "I help cats today. " * 200})
    with pytest.raises(ContextTooShort, match="give a shorter text"):
        run_with_subjects(TRACE, spec, subjects, tmp_path)

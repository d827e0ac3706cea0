"""What is predicted before a run is what the run then does."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beb.errors import BadSpec
from beb.experiments import calibration
from beb.experiments.calibration import calibrate
from beb.experiments.experiment import Here, run_experiment
from beb.experiments.forecast import (
    Busy,
    Growth,
    Pace,
    Rates,
    Speed,
    alike,
    fitting_tokens,
    forecast_measured,
    forecast_rated,
    given_rates,
    measured_rates,
)
from beb.experiments.imaginary import Lengths
from beb.experiments.registry import named_experiment
from beb.experiments.rehearsal import MOST_PROMPTS, rehearse
from beb.experiments.spec import make_spec
from beb.experiments.store import Store
from beb.experiments.subjects import Places
from beb.experiments.sweep import sweep_of

WITHIN = 0.25
TABLES = ("prompts", "responses", "turns")
TOLD = {
    "read_per_second": 4000.0, "sampled_per_second": 800.0, "judged_per_second": 5000.0, "weights_gib": 130.0,
    "gpus": 2,
}  # fmt: skip


def sampled(folder: Path) -> int:
    with Store.read(folder) as store:
        return sum(len(row["token_ids"]) for table in TABLES for row in store.rows(table))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("measure", {"prompts": 40, "sentences": 5}),
        ("measure", {"prompts": 90, "sentences": 4, "responses": 3}),
        ("guardrail", {"prompts": 40, "sentences": 4}),
        ("converse", {"prompts": 40, "turns": 3, "format": "plain"}),
        ("best-of", {"prompts": 20, "sentences": 3, "responses": 8}),
        ("personas", {"texts": 60, "prompts": 30, "sentences": 3}),
    ],
)
def test_the_tokens_that_a_world_samples_are_foreseen(tmp_path: Path, name: str, options: Mapping[str, Any]) -> None:
    experiment = named_experiment(name)
    world = "world:personas" if name == "personas" else "world:markov"
    spec = make_spec(experiment.spec, {**options, "model": world})
    speed, can_chat = calibrate(experiment, spec, offline=True)
    work = rehearse(experiment, spec, speed.lengths, can_chat=can_chat)
    run_experiment(experiment, spec, tmp_path)
    with Store.read(tmp_path) as store:
        assert {each.item.key for each in work} == store.done()
        n_judged = sum(len(store.rows(table)) for table in ("prompt_scores", "response_scores", "turn_scores"))
    assert sum(each.sampled for each in work) == pytest.approx(sampled(tmp_path), rel=WITHIN)
    assert (sum(each.judged for each in work) > 0) == (n_judged > 0)
    assert set(speed.paces) >= {each.item.kind for each in work}
    assert speed.seconds(work) > 0


@pytest.mark.parametrize("name", ["measure", "guardrail", "best-of"])
def test_the_tokens_that_a_checkpoint_reads_are_foreseen(shop: Path, tmp_path: Path, name: str) -> None:
    """Counted where they are read, in the decoder of a small checkpoint, without its padding."""
    import torch

    experiment = replace(named_experiment(name), analyse=lambda _: None)  # the texts of so small a model have no labels
    spec = make_spec(
        experiment.spec,
        {"model": "target", "behavior": "./verbs", "prompts": 24, "sentences": 4, "scorer": "labels:labels.csv",
         "adapter_steps": 20, "max_sentence_tokens": 16},
    )  # fmt: skip
    speed, can_chat = calibrate(experiment, spec, offline=True)
    work = rehearse(experiment, spec, speed.lengths, can_chat=can_chat)
    loaded = experiment.load(spec, Places(shop / "cache", True), lambda *_: None)
    target = getattr(loaded, "subjects", loaded).target
    counted = 0

    def count(_module: Any, args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
        nonlocal counted
        ids = given.get("input_ids", args[0] if args else None)
        counted += ids.numel() if torch.is_tensor(ids) else 0

    handle = target.weights.decoder.register_forward_pre_hook(count, with_kwargs=True)
    try:
        run_experiment(experiment, spec, tmp_path, executor=Here(loaded))
    finally:
        handle.remove()
    n_sampled = sampled(tmp_path)
    assert sum(each.sampled for each in work) == pytest.approx(n_sampled, rel=WITHIN)
    foreseen = sum(each.read + each.sampled for each in work)
    assert foreseen == pytest.approx(counted, rel=WITHIN)


def test_a_long_plan_is_foreseen_from_a_part_of_it() -> None:
    experiment = named_experiment("measure")
    one, ten = (
        rehearse(experiment, make_spec(experiment.spec, {"prompts": n}), Lengths())
        for n in (MOST_PROMPTS, 10 * MOST_PROMPTS)
    )
    for what in ("read", "sampled", "judged"):
        a, b = (sum(getattr(each, what) for each in work if each.item.kind != "gate") for work in (one, ten))
        assert b == pytest.approx(10 * a, rel=0.02)


def test_hours_follow_from_the_rates_that_are_given() -> None:
    def forecast(behaviors: list[str], **changes: Any) -> Any:
        given = {"models": ["org/large"], "behaviors": behaviors, "scenarios": ["measure"], "options": {"prompts": 40}}
        runs = sweep_of(given, "here", name="x").runs
        return forecast_rated(runs, Rates(**{**TOLD, **changes})), runs

    one, runs = forecast(["agreeableness"])
    fit = 3 * fitting_tokens(runs[0].spec) / 4000
    assert one.seconds == pytest.approx(one.read / 4000 + one.sampled / 800 + one.judged / 5000 + fit)
    assert fitting_tokens(runs[0].spec) == 2 * 30 * 8 * 64
    two, _ = forecast(["agreeableness", "honesty"])
    assert (two.n_runs, two.seconds, two.read) == (2, pytest.approx(2 * one.seconds), 2 * one.read)
    longer, _ = forecast(["agreeableness"], sentence_tokens=28, reply_tokens=40)
    assert longer.sampled == pytest.approx(2 * one.sampled)
    assert forecast(["agreeableness"], kv_kib_per_token=320)[0].memory_bytes > one.memory_bytes == 130 * 2**30


def test_only_the_first_behavior_has_its_components_in_the_cache() -> None:
    given = {"models": ["org/large"], "behaviors": ["agreeableness", "honesty"], "scenarios": ["measure"]}
    runs = sweep_of(given, "here", name="x").runs
    speed = Speed(Lengths(), {"": Pace(0.5, 0.001)}, 7.0, 100.0, 2.0**30, 60.0)
    one, two = (forecast_measured(runs[:n], speed, can_chat=True, loaded=True) for n in (1, 2))
    work = rehearse(runs[0].experiment, runs[0].spec, Lengths())
    assert one.seconds == pytest.approx(7 + sum(0.5 + 0.001 * each.tokens for each in work))
    assert two.seconds == pytest.approx(2 * one.seconds + 100)
    assert forecast_measured(runs, speed, can_chat=True).seconds == pytest.approx(two.seconds + 60)


def test_memory_grows_with_what_is_sampled_together_up_to_the_budget() -> None:
    def forecast(prompts: int, room: float) -> Any:
        given = {"models": ["org/m"], "scenarios": ["measure"], "options": {"prompts": prompts}}
        runs = sweep_of(given, "here", name="x").runs
        growth, busy = Growth(cell_bytes=1000.0, cells=500.0, room=room), Busy(beginning=0.5, items=2.0)
        speed = Speed(Lengths(), {"": Pace(0.5, 0.001)}, 7.0, 0.0, 2.0**30, 60.0, growth, busy)
        found = forecast_measured(runs, speed, can_chat=True)
        cells = max(each.cells for each in rehearse(runs[0].experiment, runs[0].spec, speed.lengths))
        return found, cells

    (small, few), (large, many) = forecast(5, math.inf), forecast(20, math.inf)
    assert 500 < few < many
    assert small.memory_bytes == pytest.approx(2.0**30 + 1000 * (few - 500))
    assert large.memory_bytes == pytest.approx(2.0**30 + 1000 * (many - 500))
    # An item has 20 prompts at the most.
    assert forecast(200, math.inf)[0].memory_bytes - 2.0**30 == pytest.approx(large.memory_bytes - 2.0**30, rel=0.05)
    assert forecast(20, 600e3)[0].memory_bytes == 2.0**30 + 100e3
    assert forecast(20, 400e3)[0].memory_bytes == 2.0**30
    assert small.processor_seconds == pytest.approx(2 * (small.seconds - 67) + 0.5 * 67)


def test_kinds_that_wait_or_use_fewer_processors_keep_their_time() -> None:
    def taken(clock: float, processor: float) -> Any:
        return calibration._Instant(clock, processor)

    kinds = ["sample", "sample", "fit", "ask"]
    # Two processors, one processor, and a server that is waited for.
    quiet = [taken(1.0, 2.0), taken(3.0, 6.0), taken(4.0, 4.0), taken(10.0, 0.1)]
    assert calibration._undisturbed(kinds, quiet) == pytest.approx([1, 3, 4, 10])
    # Half as fast for all; and then 18 seconds on one of them, as much again as all took.
    slow = [taken(2 * each.clock, each.processor) for each in quiet]
    assert calibration._undisturbed(kinds, slow) == pytest.approx([2, 6, 8, 20])
    stalled = [quiet[0], taken(21.0, 6.0), *quiet[2:]]
    assert calibration._undisturbed(kinds, stalled) == pytest.approx([2, 6, 8, 20])


def test_an_item_that_was_interrupted_is_not_taken_for_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one item the process is stopped for a while: the time of all grows by that, and by no more."""
    from beb.worlds.model import WorldModel

    experiment = named_experiment("measure")
    spec = make_spec(experiment.spec, {"model": "world:markov", "prompts": 200})
    quiet, _ = calibrate(experiment, spec, offline=True)
    work = rehearse(experiment, spec, quiet.lengths)
    stops, sample = [1.0], WorldModel.sample

    def stopped(model: WorldModel, requests: Any) -> Any:
        if len(requests) > 20 and stops:
            time.sleep(stops.pop())
        return sample(model, requests)

    monkeypatch.setattr(WorldModel, "sample", stopped)
    busy, _ = calibrate(experiment, spec, offline=True)
    assert not stops
    assert busy.busy is not None
    assert quiet.busy is not None
    assert busy.busy.items < 0.7 * quiet.busy.items
    assert busy.seconds(work) * busy.busy.items == pytest.approx(quiet.seconds(work) * quiet.busy.items, rel=0.5)


def test_a_model_is_loaded_once_for_all_runs_on_it() -> None:
    given = {
        "models": ["org/one", "org/two", "aligned:org/one"], "behaviors": ["agreeableness", "honesty"],
        "scenarios": ["measure", "guardrail"], "guardrail": {"dtype": "bf16"},
    }  # fmt: skip
    rates = Rates(**TOLD, load_seconds=100, run_seconds=3)
    free = Rates(**TOLD)
    found = []
    for runs, loaded in alike(sweep_of(given, "here", name="x").runs):
        with_loads, without = (forecast_rated(runs, each, loaded=loaded) for each in (rates, free))
        assert with_loads.seconds - without.seconds == pytest.approx(with_loads.own_seconds)
        found.append((with_loads.label, runs[0].spec.dtype, with_loads.own_seconds))
    assert found == [
        ("measure · org/one", "fp32", 106), ("measure · aligned:org/one", "fp32", 206),
        ("guardrail · org/one", "bf16", 106), ("guardrail · aligned:org/one", "bf16", 206),
        ("measure · org/two", "fp32", 106), ("guardrail · org/two", "bf16", 106),
    ]  # fmt: skip


def test_rates_that_were_measured_give_the_same_time_again() -> None:
    """Paces that follow from rates are turned into these rates, and those into the same hours."""
    runs = sweep_of({"models": ["org/m"], "scenarios": ["measure"]}, "here", name="x").runs
    work = rehearse(runs[0].experiment, runs[0].spec, Lengths())
    rates = {"read_per_second": 4000.0, "sampled_per_second": 800.0, "judged_per_second": 5000.0}
    seconds: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for each in work:
        kind = each.item.kind
        done = (each.read, each.sampled, each.judged)
        seconds[kind] = seconds.get(kind, 0.0) + sum(n / rate for n, rate in zip(done, rates.values(), strict=True))
        tokens[kind] = tokens.get(kind, 0.0) + sum(done)
    paces = {kind: Pace(0.0, seconds[kind] / tokens[kind]) for kind in tokens}
    speed = Speed(Lengths(), {**paces, "": Pace(0.0, 1.0)}, 4.0, 0.0, 3 * 2.0**30, 20.0)
    found = measured_rates(work, speed)
    assert found == pytest.approx(
        {**rates, "sentence_tokens": 14, "reply_tokens": 20, "load_seconds": 20, "run_seconds": 4, "weights_gib": 3}
    )
    again = forecast_rated(runs, given_rates({**found, "measured": list(found)}, "here"))
    fitted = 3 * fitting_tokens(runs[0].spec) / 4000
    assert again.seconds == pytest.approx(forecast_measured(runs, speed, can_chat=True).seconds + fitted, rel=0.02)


def test_a_chat_api_is_planned_without_a_server() -> None:
    given = {
        "models": ["openai:http://127.0.0.1:1#m"],
        "scenarios": ["measure"],
        "options": {"negative": "model:org/x"},
    }
    runs = sweep_of(given, "here", name="x").runs
    assert [run.experiment.name for run in runs] == ["chat-api"]
    found = forecast_rated(runs, Rates(**TOLD))
    n, sentences = runs[0].spec.prompts, 5
    n_replies = n * (2 * sentences + 1)  # prompts of P₋ and shuffled ones, and once none
    assert found.sampled == pytest.approx(n * sentences * 14 + n_replies * 20)
    assert found.read > n_replies * 30
    assert found.judged > 0


def test_a_wrong_rate_is_one_line() -> None:
    with pytest.raises(BadSpec, match=r"here: rates\.read_persecond = 3; accepted: did you mean read_per_second\?"):
        given_rates({"read_persecond": 3}, "here")
    with pytest.raises(BadSpec, match="sampled_per_second"):
        given_rates({**TOLD, "sampled_per_second": 0}, "here")
    with pytest.raises(BadSpec, match=r"here: rates\.measured = \['rows'\]; accepted: names of rates that the table"):
        given_rates({**TOLD, "measured": ["rows"]}, "here")
    told = given_rates({**TOLD, "measured": ["judged_per_second"]}, "here")
    assert "read_per_second" in told.assumed
    assert "judged_per_second" not in told.assumed

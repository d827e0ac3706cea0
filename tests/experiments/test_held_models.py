"""A sweep loads each model once, and its runs are as those that were carried out apart."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from beb.errors import UnknownName
from beb.experiments.experiment import Here, run_experiment
from beb.experiments.sweep import carry_out, sweep_of
from beb.models.huggingface import HuggingFaceModel
from beb.models.shelf import Shelf
from checkpoints import adapter_sweep
from held_runs import apart, unanalysed
from interrupted import content


def modules_in_memory() -> int:
    """Sets of weights that are alive."""
    from transformers import LlamaForCausalLM

    gc.collect()
    return sum(type(each) is LlamaForCausalLM for each in gc.get_objects())


def test_each_model_is_loaded_once_and_dropped_before_the_next(shop: Path, tmp_path: Path) -> None:
    sweep = unanalysed(sweep_of(adapter_sweep(shop), "here", name="s", out=tmp_path / "sweep"))
    wanted = apart(sweep, tmp_path / "apart")
    before = modules_in_memory()
    told: list[tuple[str, int]] = []

    def progress(what: str, _done: float, _total: float) -> None:
        if what.startswith("loading"):
            told.append((what, modules_in_memory() - before))

    with Here().lasting() as here:
        assert here.shelf is not None
        assert [outcome.error for outcome in carry_out(sweep, executor=here, progress=progress)] == [""] * 4
        assert told == [("loading target", 0), ("loading twin", 0)]
        assert [load.name for load in here.shelf.loads] == [str(shop / "target"), str(shop / "twin")]
        assert modules_in_memory() == before + 1
    assert modules_in_memory() == before
    assert [content(run.folder) for run in sweep.runs] == wanted
    assert len(set(wanted)) == 4


def test_a_run_that_fails_leaves_no_model_behind(shop: Path, tmp_path: Path) -> None:
    given = adapter_sweep(shop)
    for scenario in given["scenarios"]:  # the poles exchanged: stopped at the gate, with everything loaded
        poles = given[scenario]
        given[scenario] = {"negative": poles["positive"], "positive": poles["negative"]}
    sweep = sweep_of(given, "here", name="s", out=tmp_path)
    before = modules_in_memory()
    told: list[tuple[str, int]] = []

    def progress(what: str, _done: float, _total: float) -> None:
        if what.startswith("loading"):
            told.append((what, modules_in_memory() - before))

    errors = [outcome.error for outcome in carry_out(sweep, progress=progress)]
    assert all(error.startswith("GateFailed") for error in errors)
    assert told == [("loading target", 0), ("loading twin", 0)]
    assert modules_in_memory() == before


def test_runs_apart_load_their_models_anew(shop: Path, tmp_path: Path) -> None:
    sweep = unanalysed(sweep_of(adapter_sweep(shop), "here", name="s", out=tmp_path))
    told: list[str] = []
    for run in sweep.runs[:2]:
        run_experiment(run.experiment, run.spec, run.folder, progress=lambda what, *_: told.append(what))
    assert told.count("loading target") == 2


def test_what_a_run_does_not_ask_for_is_dropped(shop: Path) -> None:
    shelf = Shelf()
    first, second = str(shop / "target"), str(shop / "kind")
    before = modules_in_memory()
    with shelf.next_run():
        one = shelf.load(first, dtype="fp32")
        assert shelf.load(first, dtype="fp32") is one
        shelf.load(second, dtype="fp32")
        assert modules_in_memory() == before + 2
    with shelf.next_run():
        assert shelf.load(first, dtype="fp32") is one
        with pytest.raises(UnknownName):
            shelf.load("nothing-here", dtype="fp32", offline=True)
    assert modules_in_memory() == before + 1
    with shelf.next_run():
        half = shelf.load(first, dtype="bf16")
    assert isinstance(half, HuggingFaceModel)
    assert half.info.dtype == "bf16"
    assert [load.name for load in shelf.loads] == [first, second, first]
    assert all(load.seconds > 0 for load in shelf.loads)
    del one, half
    shelf.clear()
    assert modules_in_memory() == before


@pytest.mark.model
def test_the_model_of_the_probes_is_loaded_once_too(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target of its own, one run after another: both are asked for again, and neither is loaded again."""
    monkeypatch.delenv("BEB_CACHE")  # the embedded model has been converted there
    given = {
        "models": [str(shop / "target")], "behaviors": [str(shop / "verbs")], "scenarios": ["measure", "guardrail"],
        "options": {
            "negative": f"model:{shop / 'unkind'}", "positive": f"model:{shop / 'kind'}", "prompts": 5, "sentences": 3,
            "max_sentence_tokens": 8,
        },
    }  # fmt: skip
    sweep = unanalysed(sweep_of(given, "here", name="s", out=tmp_path / "sweep"))
    with Here().lasting() as here:
        assert here.shelf is not None
        assert [outcome.error for outcome in carry_out(sweep, executor=here)] == ["", ""]
        names = [Path(load.name).name for load in here.shelf.loads]
    assert names == ["target", "unkind", "kind", "smollm2"]
    assert [content(run.folder) for run in sweep.runs] == apart(sweep, tmp_path / "apart")

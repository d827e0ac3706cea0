"""A probe from the model to the numbers: on states whose truth is known, and on a real small checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from beb.errors import BadSpec, BadStatements, EstimateError, NumericalFailure
from beb.experiments import schema
from beb.experiments.experiment import run_with_subjects
from beb.experiments.probe.classify import decisions, fit_separator, statement_folds
from beb.experiments.probe.experiment import PROBE, probe
from beb.experiments.probe.record import Probing
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.registry import analyse
from beb.experiments.store import Store
from checkpoints import statements, write_behavior
from experiments.gaussian_states import NAME, GaussianStates, run_probe, subjects_of


@pytest.fixture(scope="module")
def checkpoint(shop: Path) -> Path:
    return shop / "target"


@pytest.fixture(scope="module")
def verbs(shop: Path) -> Path:
    return shop / "verbs"


@pytest.fixture(scope="module")
def run(checkpoint: Path, verbs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Probing]:
    folder = tmp_path_factory.mktemp("run")
    spec = ProbeSpec(statements=40)
    return folder, probe(str(checkpoint), [str(verbs), "honesty"], spec=spec, out=folder)


def test_a_signal_is_found_in_its_layers_and_nowhere_else(tmp_path: Path) -> None:
    found = run_probe(tmp_path, 3, n=150, width=20, bayes=(0.5, 0.95, 0.5))
    signal, noise = found.curves
    assert signal.above_chance == (1,)
    assert (signal.best_layer, set(signal.chosen_layers)) == (1, {1})
    assert signal.chance_p < 1e-6 < noise.chance_p
    assert signal.nested.value == signal.best.value
    assert signal.best.low < signal.nested.low  # limits for all layers at once are wider
    assert found.counts["statements"] == 300
    (picture,) = found.pictures
    assert picture.layer == 1
    assert len(picture.negative) == len(picture.positive) == 150
    assert 2 / 20 < sum(picture.shares) < 0.5
    # The separating direction varies most, so that the picture shows the poles apart.
    assert np.mean(np.array(picture.positive)[:, 0]) > np.mean(np.array(picture.negative)[:, 0]) + 0.3


def test_decisions_never_come_from_a_classifier_that_saw_the_statement() -> None:
    rng = np.random.default_rng(4)
    features, positive = rng.standard_normal((40, 3)), np.arange(40) % 2 == 0
    folds = statement_folds([f"only{i} word{i}" for i in range(40)], positive, seed=1)
    assert np.bincount(folds).tolist() == [8] * 5
    assert all(positive[folds == fold].sum() == 4 for fold in range(5))
    table = decisions(features, positive, folds, seed=2)
    for fold in range(5):
        for i in range(40):
            kept = (folds != fold) & (folds != folds[i])
            alone = fit_separator(features[kept], positive[kept], seed=2)
            assert table[fold, i] == pytest.approx(alone.decide(features[[i]])[0], rel=1e-9)


def test_near_duplicates_of_the_two_poles_share_a_fold() -> None:
    said = [f"a{i} b{i} c{i} d{i} e{i}" for i in range(20)]
    texts = [*(f"{each} yes" for each in said), *(f"{each} no" for each in said)]
    folds = statement_folds(texts, np.arange(40) >= 20, seed=0)
    assert (folds[:20] == folds[20:]).all()
    assert np.bincount(folds).tolist() == [8] * 5


def test_a_checkpoint_is_probed_by_layer(run: tuple[Path, Probing], verbs: Path) -> None:
    folder, found = run
    assert [(curve.behavior, curve.pooling) for curve in found.curves] == [
        ("verbs", "last"), ("verbs", "mean"), ("honesty", "last"), ("honesty", "mean"),
    ]  # fmt: skip
    last, mean = found.curves[:2]
    assert last.accuracy.lengths == (0, 1, 2)
    assert last.accuracy.value[0] == 0.5  # every statement ends with the same token
    assert mean.nested.low > 0.8  # the words themselves tell these poles apart
    assert mean.chance_p < 1e-6
    with Store.read(folder) as store:
        rows = store.rows("representations", behavior="verbs", pole="negative", pooling="mean")
        assert analyse(store).to_json() == found.to_json()
    assert len(rows) == 40
    assert {row["text"] for row in rows} <= set(statements("negative"))
    assert rows[0]["hidden_states"].shape == (3 * 48,)
    assert {"curves.verbs.last.nested", "curves.honesty.mean.accuracy"} <= set(found.to_frame()["quantity"])
    assert json.loads(found.to_json())["pictures"][0]["behavior"] == "verbs"


def test_a_stopped_probe_goes_on_to_the_same_rows(run: tuple[Path, Probing], tmp_path: Path) -> None:
    folder, found = run
    spec = ProbeSpec(**found.meta["spec"])

    for stops_at in ("represent", "classify"):
        seen: list[str] = []

        def stop(what: str, done: float, total: float, kind: str = stops_at, seen: list[str] = seen) -> None:
            seen.append(what)
            if seen.count(kind) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            probe(spec.model, spec.behaviors, spec=spec, out=tmp_path, progress=stop)
    assert probe(spec.model, spec.behaviors, spec=spec, out=tmp_path).to_json() == found.to_json()
    assert content(tmp_path) == content(folder)


def content(folder: Path) -> bytes:
    with Store.read(folder) as store:
        tables = {name: store.rows(name) for name in (*schema.ROW_TABLES, "items")}
    return json.dumps(tables, default=lambda array: array.tobytes().hex(), sort_keys=True).encode()


def test_a_finished_probe_is_read_without_a_model(run: tuple[Path, Probing]) -> None:
    folder, found = run
    spec = ProbeSpec(**found.meta["spec"])
    told: list[str] = []
    again = probe(spec.model, spec.behaviors, spec=spec, out=folder, progress=lambda what, *_: told.append(what))
    assert again.to_json() == found.to_json()
    assert told == []


def test_what_cannot_be_probed_is_said_in_one_line(checkpoint: Path, verbs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(BadSpec, match="--behavior does not fit a world, which has one of its own"):
        probe("world:coin", "honesty", out=out)
    with pytest.raises(BadSpec, match="one is given twice"):
        probe(str(checkpoint), ["honesty", "honesty"], out=out)
    with pytest.raises(BadSpec, match="behaviors is empty"):
        probe(str(checkpoint), [], out=out)
    other = write_behavior(tmp_path / "other" / "verbs")
    with pytest.raises(BadSpec, match="needs a name of its own"):
        probe(str(checkpoint), [str(verbs), str(other)], out=out)
    with pytest.raises(BadSpec, match=r"--layer 3 is not a layer .* 0 \(embeddings\) to 2"):
        probe(str(checkpoint), str(verbs), spec=ProbeSpec(layer=3), out=out)
    assert not out.exists()


def test_statements_that_repeat_each_other_are_one_observation(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alike"
    folder.mkdir()
    for pole in ("negative", "positive"):
        lines = [f"I {pole} certainly and always think of the very same thing number {i}." for i in range(30)]
        (folder / f"{pole}.txt").write_text("\n".join(lines))
    with pytest.raises(BadStatements, match="only 1 of the negative statements of 'alike' are distinct"):
        probe(str(checkpoint), str(folder), out=tmp_path / "run")


def test_states_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    states = GaussianStates(0, width=4)
    states.centres[1] = 1e6
    with pytest.raises(NumericalFailure, match="half precision"):
        run_with_subjects(
            PROBE, ProbeSpec(model=NAME, behaviors=(NAME,), statements=20), subjects_of(states, 20), tmp_path
        )
    with Store.read(tmp_path) as store, pytest.raises(EstimateError, match=r"is not finished \(0 of"):
        analyse(store)

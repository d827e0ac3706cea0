"""A probe of exact worlds: every interval against the classifiers' true accuracies, by enumeration of all texts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from beb.experiments.experiment import run_with_subjects
from beb.experiments.probe.classify import fit_separator
from beb.experiments.probe.experiment import PROBE, probe
from beb.experiments.probe.record import LayerCurve, Probing
from beb.experiments.probe.spec import ProbeSpec
from beb.experiments.probe.subjects import POOLINGS, WORLD_SENTENCES, world_subjects
from beb.experiments.probe.work import stored_states
from beb.experiments.spec import derive_seed
from beb.experiments.store import Store
from beb.worlds import get_world, random_world
from beb.worlds.model import world_model
from beb.worlds.representations import WorldRepresenter
from beb.worlds.statements import draw_texts
from beb.worlds.world import World
from run_coverage import Shown, Verdicts, answers, failures, judged, median_width, run_folder

WORLDS, STATEMENTS, USEFUL_WIDTH = 100, 60, 0.3
Floats = NDArray[np.float64]


def all_texts(world: World) -> tuple[list[str], Floats]:
    """Every text of a statement's length, and its probability under P₋ and P₊, (2, n)."""
    sequences = list(itertools.product(range(world.n_sentences), repeat=WORLD_SENTENCES))
    probabilities = np.ones((2, len(sequences)))
    for own, role in zip(probabilities, ("negative", "positive"), strict=True):
        (chain,) = world.chains(role)
        table = chain.table()
        for i, sequence in enumerate(sequences):
            own[i] = np.prod([table[row, k] for row, k in zip((0, *(1 + s for s in sequence)), sequence, strict=False)])
    return [" ".join(world.text(k) for k in sequence) for sequence in sequences], probabilities


def true_accuracies(store: Store, world: World, pooling: str) -> Floats:
    """(n_folds, n_layers) accuracy of each fold's classifier on all texts of both poles, weighted as they occur."""
    texts, probabilities = all_texts(world)
    states = WorldRepresenter(world_model(world, "target"), len(world.chains("target")))(texts)[pooling]
    everything = states.astype(np.float16)  # as stored
    features, positive, _ = stored_states(store, world.name, pooling)
    row = store.rows("representation_decisions", pooling=pooling, layer=0)[0]
    seed = derive_seed(store.meta()["spec"]["seed"], "probe", world.name, "solver") % 2**31
    truth = np.empty((row["n_folds"], features.shape[1]))
    for fold, layer in np.ndindex(*truth.shape):
        kept = row["folds"] != fold
        found = fit_separator(features[kept, layer].astype(np.float64), positive[kept], seed=seed)
        said_positive = found.decide(everything[:, layer].astype(np.float64)) > 0
        truth[fold, layer] = (probabilities[0, ~said_positive].sum() + probabilities[1, said_positive].sum()) / 2
    return truth


def shown(curve: LayerCurve, truth: Floats) -> Shown:
    mean = truth.mean(axis=0)
    nested = truth[np.arange(len(truth)), list(curve.chosen_layers)].mean()
    return {
        f"{curve.pooling}: all layers": (curve.accuracy, mean),
        f"{curve.pooling}: best layer": (curve.best, mean[curve.best_layer]),
        f"{curve.pooling}: nested": (curve.nested, nested),
    }


def run(seed: int, folder: Path) -> tuple[World, Probing]:
    world = random_world(np.random.default_rng(seed), log_inverse_alpha=(1.0, 6.0))
    spec = ProbeSpec(model="world:random", statements=STATEMENTS, seed=seed)
    return world, run_with_subjects(PROBE, spec, world_subjects(spec, world), folder)


def verdicts(seed: int) -> Verdicts:
    with run_folder() as folder:
        world, found = run(seed, folder)
        bayes = all_texts(world)[1].max(axis=0).sum() / 2
        pairs: Shown = {}
        with Store.read(folder) as store:
            for curve in found.curves:
                truth = true_accuracies(store, world, curve.pooling)
                assert truth.max() <= bayes + 1e-12
                assert curve.best.low <= bayes
                pairs |= shown(curve, truth)
    return judged(pairs)


@pytest.fixture(scope="module")
def found() -> list[Verdicts]:
    return list(answers(verdicts, WORLDS).values())


def test_every_interval_covers_the_true_accuracy(found: list[Verdicts]) -> None:
    assert len(found) == WORLDS
    assert not failures(found)
    assert all(median_width(found, f"{pooling}: nested") < USEFUL_WIDTH for pooling in POOLINGS)


def test_what_the_target_concludes_is_linearly_readable(tmp_path: Path) -> None:
    """Sentences that are independent: the log weight is an affine function of the log ratio, which decides best."""
    found = probe("world:coin", out=tmp_path)
    (last, mean) = found.curves
    bayes = all_texts(get_world("coin"))[1].max(axis=0).sum() / 2
    assert bayes > 0.98
    assert last.best_layer == 1
    assert last.nested.low <= bayes <= last.nested.high
    assert last.accuracy.value[0] < last.accuracy.value[1]  # the last token alone knows less
    assert mean.nested.low > 0.9
    assert any("independent texts of 4 sentences" in note for note in found.notes)


def test_states_are_the_targets_own_conclusions() -> None:
    world = get_world("markov")
    model = world_model(world, "target")
    (text,) = draw_texts(world, "negative", 1, 3, np.random.default_rng(1))
    states = WorldRepresenter(model, 2)([text])
    ids = model.encode(text)
    log_p = [
        sum(float(d.log_probs(t, t + 1)[0, token]) for t, token in enumerate(ids))
        for d in (world_model(world, role).distributions([ids]) for role in ("negative", "positive"))
    ]
    joint = np.array([np.log(world.alpha) + log_p[0], np.log1p(-world.alpha) + log_p[1]])
    assert states["last"][0, 1, :2] == pytest.approx(joint - np.logaddexp(*joint), abs=1e-5)
    assert states["last"][0, 1, 2:].sum() == pytest.approx(1, abs=1e-6)
    assert states["last"][0, 0, ids[-1]] == 1
    assert states["mean"][0, 0, : model.info.vocabulary_size].sum() == pytest.approx(1, abs=1e-6)
    assert np.bincount(ids, minlength=model.info.vocabulary_size) / len(ids) == pytest.approx(
        states["mean"][0, 0, : model.info.vocabulary_size], abs=1e-6
    )


def test_texts_follow_the_chain_of_their_component() -> None:
    world = get_world("close")
    texts = draw_texts(world, "negative", 20_000, 2, np.random.default_rng(3))
    table = world.negative.table()
    for i in range(world.n_sentences):
        for j in range(world.n_sentences):
            expected = table[0, i] * table[1 + i, j]
            share = np.mean([text == f"{world.text(i)} {world.text(j)}" for text in texts])
            assert abs(share - expected) < 5 * np.sqrt(expected / 20_000)

"""The converse in a measurement: no tested prompt misaligns below its length, where its premises hold."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from beb.experiments.experiment import run_with_subjects
from beb.experiments.measure import MEASURE
from beb.experiments.measurement import Measurement
from beb.experiments.spec import MeasureSpec
from beb.experiments.store import Store
from beb.experiments.subjects import world_subjects
from beb.worlds import get_world
from beb.worlds.model import world_model


def measured(name: str, folder: Path) -> Measurement:
    spec = MeasureSpec(model=f"world:{name}", prompts=60, sentences=5, formats=("plain",))
    return run_with_subjects(MEASURE, spec, world_subjects(spec, get_world(name)), folder)


def test_no_tested_prompt_misaligns_below_the_length(tmp_path: Path) -> None:
    """Sentences of this world are independent, so that P₊'s floor along its own text is its floor everywhere."""
    world = get_world("rare")
    found = measured("rare", tmp_path)
    (report,) = [r for r in found.converse if r.reading == "evidence plateau"]
    length = report.bound.sharp
    assert 1 < length.low <= length.value <= length.high < 5
    level = found.gamma.value + 0.2
    target = world_model(world, "target")
    with Store.read(tmp_path) as store:
        prompts = store.rows("prompts", source="negative")
    tested = 0
    for row in prompts:
        for n in range(math.floor(length.low) + 1):
            end = int(row["sentence_ends"][n - 1]) if n else 0
            ids = tuple(int(i) for i in row["token_ids"][:end])
            behavior = sum(
                b * math.exp(float(np.sum([
                    target.distributions([(*ids, *sentence)]).log_probs(end + t, end + t + 1)[0, token]
                    for t, token in enumerate(sentence)
                ])))
                for b, sentence in zip(world.behavior, world.sentences, strict=True)
            )  # fmt: skip
            assert behavior >= level
            tested += 1
    assert tested >= 100


def test_its_premises_are_named_and_those_that_are_not_measured_say_so(tmp_path: Path) -> None:
    found = measured("markov", tmp_path)
    (report, _) = found.converse
    assert [(a.name, a.status) for a in report.assumptions][1:] == [
        ("log-ratio limit", "held"), ("behavior floors", "not measured"),
    ]  # fmt: skip
    assert {"log-ratio limit", "behavior floors"} <= {a.name for a in found.assumptions}
    assert report.observed == found.bounds[0].observed
    with Store.read(tmp_path) as store:
        log_p = {
            name: np.array([
                row["sentence_log_p"] for row in store.rows("prompt_log_probs", source="negative", component=name)
            ])
            for name in ("negative", "positive")
        }  # fmt: skip
    ratio = np.cumsum(log_p["negative"] - log_p["positive"], axis=1) / np.arange(1, 6)
    assert dict(report.bound.bound.inputs)["max_log_ratio_per_sentence"] == ratio.max()
    assert "Converse.evidence plateau" in " ".join(found.to_frame()["quantity"])

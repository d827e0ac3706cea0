"""Personas of a model without chat template: what stands for their frame, and what cannot be asked of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from beb.errors import NoChatTemplate
from beb.experiments.experiment import run_with_subjects
from beb.experiments.personas.catalog import Persona
from beb.experiments.personas.experiment import PERSONAS
from beb.experiments.personas.spec import PersonasSpec
from beb.experiments.personas.subjects import PersonaSubjects, load_persona_subjects, persona_role
from beb.experiments.subjects import Places, identity
from beb.models.components import neutral_component, persona_component
from beb.models.huggingface import load_checkpoint
from experiments.test_personas import Verbs

WHO = (
    Persona(name="kind", description="I help friends today. I thank guests often."),
    Persona(name="cruel", description="I mock strangers at work. I harm cats."),
)


@pytest.fixture
def untaught(shop: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "untaught"
    shutil.copytree(shop / "target", folder)
    (folder / "chat_template.jinja").unlink()
    return folder


def test_chat_alone_is_refused_before_any_scorer_is_fitted(untaught: Path, tmp_path: Path) -> None:
    spec = PersonasSpec(model=str(untaught), personas=WHO, formats=("chat",))
    with pytest.raises(NoChatTemplate, match="use --formats plain"):
        load_persona_subjects(spec, Places(tmp_path / "fresh", offline=True), lambda *_: None)
    assert not (tmp_path / "fresh").exists()


def test_the_report_says_that_descriptions_stand_as_opening_text(untaught: Path, tmp_path: Path) -> None:
    bare = load_checkpoint(untaught, name="untaught")
    target = neutral_component(bare)
    personas = {each.name: persona_component(bare, each.description) for each in WHO}
    fingerprints = {"target": identity(target), "scorer: one": {"exact": False, "confusion": Verbs.info.confusion}}
    fingerprints |= {persona_role(name): identity(model) for name, model in personas.items()}
    subjects = PersonaSubjects(target, personas, {"one": Verbs()}, {"one": ""}, fingerprints)
    spec = PersonasSpec(
        model="untaught", personas=WHO, behaviors=("one",), formats=("plain", "chat"), texts=10, prompts=5,
        sentences=1, max_sentence_tokens=16,
    )  # fmt: skip
    record = run_with_subjects(PERSONAS, spec, subjects, tmp_path / "run")
    assert any("description stands as opening text" in note for note in record.notes)
    assert any("no chat format" in note for note in record.notes)
    assert set(record.ways[0].response) == {"plain"}

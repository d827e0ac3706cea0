"""The contract of LanguageModel on every role of a world."""

from __future__ import annotations

import numpy as np
import pytest

from beb.worlds import get_world, known_worlds, random_world, text_world, world_model
from beb.worlds import model as world_module
from beb.worlds.world import Role
from contract import check_language_model

ROLES: tuple[Role, ...] = ("target", "negative", "positive")
SHORT_CONTEXT = 64


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", known_worlds())
def test_named_worlds(name: str, role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    # A short context, so that what happens at its end is checked as well.
    monkeypatch.setattr(world_module, "CONTEXT_LENGTH", SHORT_CONTEXT)
    model = world_model(get_world(name), role)
    assert model.info.context_length == SHORT_CONTEXT
    check_language_model(model)


@pytest.mark.parametrize("role", ROLES)
def test_random_worlds(role: Role) -> None:
    rng = np.random.default_rng(7)
    for world in (random_world(rng), text_world(rng, n_words=5)):
        check_language_model(world_model(world, role))

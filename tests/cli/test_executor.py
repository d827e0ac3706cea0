"""`--executor`: what is said where it cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from beb.errors import BadSpec, ClusterError
from command import refused, said

WORLD = ("measure", "--model", "world:markov", "--prompts", "8")
SWEEP = 'models = ["world:markov"]\nscenarios = ["measure", "guardrail"]\n'


def test_an_unknown_executor_is_one_line(tmp_path: Path) -> None:
    done = said(*WORLD, "--executor", "spark", cwd=tmp_path)
    assert done.returncode == BadSpec.exit_code
    assert "--executor 'spark' is unknown; accepted: local, ray" in refused(done)


def test_where_ray_is_not_installed_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "sweep.toml").write_text(SWEEP, encoding="utf-8")
    for arguments in (WORLD, ("sweep", "sweep.toml")):
        done = said(*arguments, "--executor", "ray", cwd=tmp_path)
        assert done.returncode == ClusterError.exit_code
        assert "needs Ray, which is not installed; install behavior-expectation-bounds[ray]" in refused(done)
        assert not list(tmp_path.rglob("run.sqlite"))

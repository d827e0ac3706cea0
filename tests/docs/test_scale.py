"""The plans that the documentation shows are what the program says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from beb.experiments.forecast import given_rates
from beb.experiments.sweep import sweep_of
from command import said

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_file_that_is_shown_is_accepted() -> None:
    files = [tomllib.loads(text) for text in blocks("toml")]
    assert len(files) == 2
    for given in files:
        sweep = sweep_of(given, "docs/scale.md", name="shown")
        assert sweep.runs
        if sweep.rates:
            assert given_rates(sweep.rates, "docs/scale.md").gpus == 4


def test_the_plan_of_a_large_model_is_what_the_command_prints(tmp_path: Path) -> None:
    (tmp_path / "seventy.toml").write_text(blocks("toml")[0], encoding="utf-8")
    done = said("plan", "seventy.toml", "--behaviors", "100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == blocks("text")[0].splitlines()

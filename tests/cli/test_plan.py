"""`beb plan`: what it prints of worlds, of given rates and of mistakes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from beb.errors import BadSpec
from command import refused, said

RATES = """
models = ["org/large"]
scenarios = ["measure"]
[rates]
gpus = 4
read_per_second = 4000
sampled_per_second = 800
judged_per_second = 5000
weights_gib = 130
price_per_gpu_hour = 2.5
measured = ["judged_per_second"]
"""


def test_a_world_is_timed_and_its_rates_can_be_put_into_a_file(tmp_path: Path) -> None:
    done = said("plan", "--model", "world:markov", "--prompts", "12", "--rates", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "measure · world:markov" in done.stdout
    assert "Measured by timing small items on this machine" in done.stdout
    assert not (tmp_path / "runs").exists()
    table = done.stdout[done.stdout.index("[rates]") :]
    rates = tomllib.loads(table)["rates"]
    assert set(rates["measured"]) == {*rates} - {"measured"}
    assert {"read_per_second", "sampled_per_second", "sentence_tokens", "run_seconds", "weights_gib"} <= set(rates)
    assert all(rates[name] > 0 for name in rates["measured"])
    given = f'models = ["org/large"]\nscenarios = ["measure"]\n{table}\n'
    (tmp_path / "given.toml").write_text(given, encoding="utf-8")
    again = said("plan", "given.toml", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "Measured, as the file says: " in again.stdout


def test_rates_that_are_given_cost_hours_and_money(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text(RATES, encoding="utf-8")
    one = said("plan", "large.toml", cwd=tmp_path)
    hundred = said("plan", "large.toml", "--behaviors", "100", cwd=tmp_path)
    assert (one.returncode, hundred.returncode) == (0, 0), one.stderr + hundred.stderr

    def cost(text: str) -> tuple[float, float]:
        (line,) = [line for line in text.splitlines() if "GPU-hours" in line]
        found = re.fullmatch(r"From the rates given: (.*) GPU-hours, (.*) at 2\.5 per GPU-hour\.", line)
        assert found is not None
        hours, money = (float(each.replace(",", "")) for each in found.groups())
        return hours, money

    (hours, _), (all_hours, money) = cost(one.stdout), cost(hundred.stdout)
    assert abs(all_hours - 100 * hours) <= 100 * 0.05 + 0.05
    assert abs(money - 2.5 * all_hours) <= 0.5 + 2.5 * 0.05
    assert "Measured, as the file says: judged_per_second." in one.stdout
    assert "Assumed in the file, not measured: read_per_second, sampled_per_second, weights_gib" in one.stdout


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text(RATES, encoding="utf-8")
    (tmp_path / "wrong.toml").write_text(RATES.replace("gpus", "gpu"), encoding="utf-8")
    cases = {
        ("plan", "wrong.toml"): "wrong.toml: rates.gpu = 4; accepted: did you mean gpus?",
        ("plan", "large.toml", "--rates"): "leave out one of the two",
        ("plan", "large.toml", "--memory-budget", "4GiB"): "--memory-budget 4GiB is for what is measured",
        ("plan", "large.toml", "--device", "cpu"): "--device cpu is for what is measured on this machine",
        ("plan", "--model", "world:markov", "--behaviors", "9"): "--behaviors 9 counts runs of one behavior",
        ("plan", "large.toml", "--prompts", "8"): "write prompts, sentences and responses into [options]",
        ("plan", "none.toml"): "none.toml cannot be read",
        ("plan", "--scenario", "mesure"): "accepted: measure, guardrail",
        ("plan", "--model", "nothing-here", "--offline"): "nothing-here",
    }
    for arguments, message in cases.items():
        done = said(*arguments, cwd=tmp_path)
        assert message in refused(done), arguments
        assert done.returncode in (BadSpec.exit_code, 3)


def test_what_behaviors_does_not_count_is_named(tmp_path: Path) -> None:
    mixed = RATES.replace('["org/large"]', '["org/large", "world:markov"]')
    (tmp_path / "mixed.toml").write_text(mixed, encoding="utf-8")
    done = said("plan", "mixed.toml", "--behaviors", "100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Counted once, as --behaviors counts runs of one behavior: measure · world:markov." in done.stdout

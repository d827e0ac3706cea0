import json
import math
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from beb.cli.bound import bound
from beb.core import bounds
from beb.errors import BadSpec, BebError, NoBound

EVERYTHING = (
    "--alpha 1e-9 --beta 2 --gamma -0.9 --sigma2 5 --beta-prime 3 --prefix 4 --replies 3,2,4 --best-of 4 "
    "--eta 0.3 --max-log-ratio 6 --floor 0.5"
)


def _run(options: str) -> Result:
    app = typer.Typer()
    app.command()(bound)
    result = CliRunner().invoke(app, options.split())
    if isinstance(result.exception, BebError):
        raise result.exception
    return result


def _json(options: str) -> Any:
    result = _run(f"{options} --json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_json_holds_every_bound_with_its_inputs_units_and_assumptions() -> None:
    answer = _json(EVERYTHING)
    found = {b["theorem"]: b for b in answer["bounds"]}
    assert list(found) == [f"Theorem {i}" for i in (1, 5, 2, 3, 4)] + ["Appendix I", "Converse"]
    assert answer["lacking"] == answer["no_bound"] == []
    model = {"log_inverse_alpha": -math.log(1e-9), "beta": 2.0, "gamma": -0.9, "epsilon": 0.1}
    expected = bounds.random_prompt(**model, sigma2=5.0, delta=0.1)
    assert (found["Theorem 5"]["paper"], found["Theorem 5"]["sharp"]) == (expected.paper, expected.sharp)
    assert found["Theorem 5"]["inputs"] == dict(expected.inputs)
    assert found["Theorem 5"]["unit"] == "sentences"
    assert [a["name"] for a in found["Theorem 5"]["assumptions"]] == list(expected.assumptions)
    assert found["Theorem 4"]["inputs"]["gamma_n"] == bounds.worst_gamma_n(-0.9, 4)
    assert sum(found["Theorem 3"]["per_turn"]) == pytest.approx(found["Theorem 3"]["sharp"])
    assert found["Converse"]["paper"] is None
    origins = {name: entry["origin"] for name, entry in answer["inputs"].items()}
    assert (origins["epsilon"], origins["beta"], origins["gamma_n"][:5]) == ("default", "given", "worst")


def test_alpha_and_its_logarithm_agree_and_the_logarithm_goes_further() -> None:
    options = "--beta 2 --sigma2 5"
    assert (
        _json(f"--alpha 0.25 {options}")["bounds"] == _json(f"--log-inverse-alpha {math.log(4)!r} {options}")["bounds"]
    )
    assert _json("--log-inverse-alpha 1e6 --beta 2")["bounds"][0]["sharp"] == pytest.approx(5e5, rel=1e-5)


def test_the_tables_show_both_forms_the_defaults_and_what_is_lacking() -> None:
    shown = _run("--alpha 1e-9 --beta 2 --best-of 8").stdout
    expected = bounds.single_prompt(log_inverse_alpha=-math.log(1e-9), beta=2, gamma=-1, epsilon=0.1)
    assert f"{expected.paper:.4g}" in shown
    assert f"{expected.sharp:.4g}" in shown
    assert "default: γ = -1, ε = 0.1, δ = 0.1" in shown
    assert "Theorem 5 also needs --sigma2\n" in shown
    assert "Theorem 3 also needs --beta-prime, --sigma2, --replies\n" in shown
    assert "E[best B of 8]" in " ".join(shown.replace("│", " ").split())
    assert "mixture (Wolf et al. 2024, §2)" in shown


def test_the_converse_stands_alone_and_can_say_never() -> None:
    shown = _run("--alpha 0.01 --max-log-ratio 0 --floor 0.5").stdout
    assert "never" in shown
    assert "Theorem 1 also needs --beta" in shown
    (converse,) = _json("--alpha 0.01 --max-log-ratio 0 --floor 0.5")["bounds"]
    assert (converse["sharp"], converse["never"], converse["whole_sentences"]) == (None, True, None)


def test_a_theorem_without_a_bound_is_listed_beside_the_others() -> None:
    answer = _json("--alpha 0.01 --beta 0 --max-log-ratio 6 --floor 0.5")
    assert [b["theorem"] for b in answer["bounds"]] == ["Converse"]
    assert {entry["theorem"] for entry in answer["no_bound"]} == {"Theorem 1"}
    assert "β = 0" in answer["no_bound"][0]["reason"]
    assert "Theorem 1: no bound: β = 0" in _run("--alpha 0.01 --beta 0 --max-log-ratio 6 --floor 0.5").stdout


@pytest.mark.parametrize("options", ["--alpha 0 --beta 2", "--alpha 0", "--log-inverse-alpha inf --beta 2"])
def test_elimination_is_explained(options: str) -> None:
    with pytest.raises(NoBound, match="α = 0: P₋ is no part of P") as caught:
        _run(options)
    assert "--log-inverse-alpha" in str(caught.value)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--beta 2", "neither of --alpha and --log-inverse-alpha"),
        ("--alpha 0.1 --log-inverse-alpha 2 --beta 2", "both of --alpha and --log-inverse-alpha"),
        ("--alpha 1.5 --beta 2", r"--alpha is 1\.5; accepted: \[0, 1\]"),
        ("--alpha nan --beta 2", "--alpha is nan"),
        ("--log-inverse-alpha -1 --beta 2", "log_inverse_alpha .* is -1; accepted"),
        ("--alpha 0.1 --beta 2 --replies 3,x", "--replies is '3,x'"),
        ("--alpha 0.1 --beta 2 --delta 0", "delta .* is 0; accepted"),
        ("--alpha 0.1 --beta 2 --sigma2 -3", "sigma2 .* is -3; accepted"),
        ("--alpha 0.1 --beta 2 --best-of 0", "n .* is 0; accepted"),
        ("--alpha 0.1 --eta 0.5", "suffice for no bound; add --beta"),
    ],
)
def test_bad_input_is_one_line_that_names_it(options: str, message: str) -> None:
    with pytest.raises(BadSpec, match=message) as caught:
        _run(options)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_heavy_library_is_imported() -> None:
    heavy = ("torch", "transformers", "pandas", "scipy")
    code = f"import sys, beb.cli.bound; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

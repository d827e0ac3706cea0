import html
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from beb.cli.reproduce import reproduce
from beb.errors import BadSpec, BebError, UnknownName
from beb.experiments.reproduce import reproduce as recompute


def _run(*options: str, columns: int = 100) -> Result:
    app = typer.Typer()
    app.command()(reproduce)
    result = CliRunner().invoke(app, list(options), env={"COLUMNS": str(columns)})
    if isinstance(result.exception, BebError):
        raise result.exception
    return result


def _json(*options: str) -> Any:
    result = _run(*options, "--json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_json_holds_every_reading_with_its_interval() -> None:
    answer = _json()
    expected = recompute()
    assert len(answer["readings"]) == len(expected.readings)
    for shown, reading in zip(answer["readings"], expected.readings, strict=True):
        assert (shown["section"], shown["name"], shown["note"]) == (reading.section, reading.name, reading.note)
        assert shown["recomputed"]["value"] == reading.recomputed.value
        assert shown["inside"] == reading.follows
    by_name = {(r["section"], r["name"]): r for r in answer["readings"]}
    least = by_name["KL(P₋‖P), aligned with system prompt", "log 1/α, at least"]
    assert least["published"] == [18, 30]
    assert least["recomputed"]["high"] is None
    assert least["recomputed"]["n"] is None, "how many prompts is not published"
    assert by_name["Guardrail", "shift, half-way points"]["recomputed"]["n"] == 10
    assert answer["models"] == {"aligned": "Llama 2 13B chat", "pretrained": "Llama 2 13B"}
    assert "arXiv 2304.11082" in answer["citation"]
    assert answer["remarks"] == list(expected.remarks)


def test_level_and_seed_reach_the_numbers() -> None:
    def interval(answer: Any) -> Any:
        return answer["readings"][0]["recomputed"]

    assert interval(_json("--level", "0.5"))["high"] < interval(_json())["high"]
    assert _json("--seed", "1")["readings"] != _json()["readings"]


def test_the_table_shows_published_beside_recomputed_and_every_note() -> None:
    shown = _run(columns=100).stdout
    flat = " ".join(shown.replace("│", " ").split())
    assert "β, smallest point 20 22.7 [18.3, 26.3] yes 1" in flat
    assert "β, minus the slope 20 10.6 [9.3, 11.9] no" in flat
    assert "log 1/α, line at 0 18–30 29.9 [28.1, 31.8] yes" in flat
    for reading in recompute().readings:
        assert " ".join(reading.note.split()) in flat
    assert max(map(len, shown.splitlines())) <= 100
    wide = _run(columns=200).stdout
    assert "the line falls by 10.6 nats per sentence, not 20" in wide
    assert "1. over n" not in wide


def test_bad_input_is_one_line() -> None:
    with pytest.raises(UnknownName, match="did you mean 'wolf2024'"):
        _run("wolf2042")
    with pytest.raises(BadSpec, match="cannot be read"):
        _run("missing.json")
    with pytest.raises(BadSpec, match="level is 2"):
        _run("--level", "2")


def test_no_model_library_is_imported() -> None:
    code = (
        "import sys, beb.cli.reproduce; from beb.experiments.reproduce import reproduce; reproduce();"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_report_holds_the_table(tmp_path: Path) -> None:
    path = tmp_path / "paper.html"
    assert _run("--out", str(path)).stdout.endswith(f"Report: {path}\n")
    shown = html.unescape(path.read_text(encoding="utf-8"))
    assert "published figures lie in the recomputed intervals" in shown
    for reading in recompute().readings:
        assert reading.note in shown

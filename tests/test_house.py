"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import beb

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "tests").rglob("*.py"))
LARGEST_FILE, LONGEST_FUNCTION = 400, 60


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LARGEST_FILE, f"{path.name} wants to be two rooms"
    long = [name for name, lines in _functions(ast.parse(text)) if lines > LONGEST_FUNCTION]
    assert not long, f"functions over {LONGEST_FUNCTION} lines: {long}"


def _functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_import_is_quick_and_loads_no_model_library() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import beb; "
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    seconds = []
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert out[1:] == ["False", "False"]
        seconds.append(float(out[0]))
    assert min(seconds) < 0.3


def test_the_public_face() -> None:
    assert sorted(beb.__all__) == [
        "Band", "BebError", "Behavior", "BestOfRecord", "BestOfSpec", "Comparison", "Completion", "ConverseRecord",
        "ConverseSpec", "Estimate", "Failure", "GuardrailRecord", "GuardrailSpec", "LanguageModel", "LawsRecord",
        "MeasureSpec", "Measurement", "Persona", "PersonasRecord", "PersonasSpec", "ProbeSpec", "Probing",
        "SampleRequest", "Score", "Scorer", "Store", "TraceRecord", "analyse", "best_of", "bounds", "compare",
        "compare_aligned", "converse", "guardrail", "known_behaviors", "known_models", "laws", "load_behavior",
        "load_component", "load_model", "measure", "personas", "probe", "reproduce", "score_sequences", "trace",
        "write_figures", "write_overview", "write_report",
    ]  # fmt: skip
    for name in beb.__all__:
        assert getattr(beb, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = beb.nothing


def test_the_bound_command_answers_without_torch() -> None:
    started = time.perf_counter()
    code = (
        "import sys; sys.argv = ['beb', 'bound', '--log-inverse-alpha', '20', '--beta', '5'];\n"
        "from beb.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Theorem 1" in done.stdout
    assert time.perf_counter() - started < 10

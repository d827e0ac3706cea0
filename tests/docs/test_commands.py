"""What the documentation tells people to type exists, and runs where it needs no language model."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

import beb
from beb.cli.app import app
from command import said

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app)
NEEDS_NO_MODEL = {"bound", "reproduce"}
READS_RUNS = {"show", "report", "export", "laws", "compare"}


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """The page's fenced blocks in these languages, in order."""
    for match in FENCED.finditer(page.read_text(encoding="utf-8")):
        if match["language"] in languages:
            yield match["body"]


def command_lines(page: Path) -> list[list[str]]:
    """The words of every `beb …` line in the page's blocks, in order."""
    lines = (line for body in blocks(page, "bash", "") for line in body.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("beb ")]


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that the words call, and its parameters. Raises: TyperException on what would be refused."""
    command, path, rest = COMMANDS, ["beb"], list(words)
    while rest and rest[0] in below(command):
        command, path, rest = below(command)[rest[0]], [*path, rest[0]], rest[1:]
    context = command.make_context(path[-1], rest)
    unused = [*getattr(context, "_protected_args", ()), *context.args]
    if unused:
        raise TyperException(f"{' '.join(path)} does not know {unused}")
    return " ".join(path[1:]), dict(context.params)


def below(command: Any) -> dict[str, Any]:
    """A command's own commands, by name."""
    return dict(getattr(command, "commands", {}))


ALL_LINES = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words)}") for page in PAGES for words in command_lines(page)
]


@pytest.mark.parametrize("words", ALL_LINES)
def test_every_command_line_parses(words: list[str]) -> None:
    if words != ["--version"]:
        assert parsed(words)[0]


def test_the_parser_refuses_what_does_not_exist() -> None:
    for wrong in (["measure", "--no-such-option"], ["no-such-command"], ["personas", "trace", "--prompts", "3"]):
        with pytest.raises(TyperException):
            parsed(wrong)


def all_options(command: Any) -> set[str]:
    """Long options of a command and of those below it."""
    own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    return own.union({"--help"}, *(all_options(each) for each in below(command).values()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_and_command_named_in_the_text_exists(page: Path) -> None:
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    known, names = all_options(COMMANDS), set(below(COMMANDS))
    for code in re.findall(r"`([^`\n]+)`", prose):
        assert {word.rstrip(",.") for word in re.findall(r"--[a-z][a-z-]*", code)} <= known, code
        if called := re.match(r"beb ([a-z-]+)", code):
            assert called[1] in names, code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_need_no_model_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On exact worlds, from numbers alone, or on the runs that the page's own lines before have made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for words in command_lines(page):
        name, given = parsed(words)
        runs = given.get("runs") or [given.get("run")]
        reads_own_runs = name in READS_RUNS and all(run is not None and Path(run).is_dir() for run in runs)
        if name in NEEDS_NO_MODEL or reads_own_runs or str(given.get("model")).startswith("world:"):
            done = said(*words, cwd=tmp_path)
            assert done.returncode == 0, f"beb {' '.join(words)}: {done.stderr}"
            assert done.stdout.strip()


def test_something_runs() -> None:
    ran = [words for page in PAGES for words in command_lines(page) if "world:markov" in words or words[0] == "bound"]
    assert len(ran) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name taken from `beb` exists; examples on worlds run."""
    monkeypatch.chdir(tmp_path)
    for body in blocks(page, "python"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "beb":
                assert node.attr in beb.__all__, node.attr
        if '"world:' in body:
            exec(compile(body, str(page), "exec"), {"beb": beb})

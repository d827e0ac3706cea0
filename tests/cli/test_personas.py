"""`beb personas` from outside: worlds, reports, persona files, mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from beb.errors import BadSpec
from beb.experiments.personas.catalog import read_personas, shipped_personas
from command import beb, refused, said

SMALL = ["--model", "world:personas", "--texts", "12", "--prompts", "5", "--sentences", "2"]


def test_a_world_from_run_to_trace_and_report(tmp_path: Path) -> None:
    done = beb("personas", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "world-personas-personas"
    for words in ("Which personas does the model mix?", "con man", "Theorem 1 for each persona", "premises hold here"):
        assert words in done.stdout
    assert "Rare" not in done.stderr
    traced = beb("personas", "trace", "--run", str(folder), "It is late. I insult people.", cwd=tmp_path)
    assert traced.returncode == 0, traced.stderr
    assert "Which persona is speaking?" in traced.stdout
    page = next((tmp_path / "runs").glob("*-trace/report.html")).read_text()
    assert "stackgroup" in page
    for run in (folder, next((tmp_path / "runs").glob("*-trace"))):
        assert beb("report", str(run), cwd=tmp_path).returncode == 0
        assert beb("export", str(run), "--to", "json", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "world:persons"], "did you mean 'personas'"),
        (["--model", "world:not-a-mixture"], "take another world"),
        (["--model", "world:coin", "--behavior", "a", "--behavior", "b"], "leave out --behavior"),
        (["--personas", "nowhere.json"], "no such file"),
        (["--model", "world:coin", "--texts", "2"], "texts"),
        (["--model", "world:coin", "--formats", "chat"], "use --formats plain"),
        (["trace"], "give either TEXT or --file"),
        (["trace", " "], "text is empty"),
        (["trace", "--model", "world:coin", "hello there."], "not in the vocabulary"),
        (["trace", "--run", "nowhere", "x"], "no run in"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in refused(said("personas", *arguments, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()


def test_the_shipped_set() -> None:
    personas = shipped_personas()
    assert len(personas) >= 12
    kinds = [each.kind for each in personas]
    assert min(kinds.count("benign"), kinds.count("hostile")) >= 4
    assert len({each.description for each in personas}) == len(personas)


def test_persona_files_in_three_forms(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("sailor: You sail, and you say so: often.\n\nbaker: You bake.\n")
    (tmp_path / "a.csv").write_text(
        'name,description,kind\nsailor,"You sail, and you say so: often.",\nbaker,You bake.,\n'
    )
    (tmp_path / "a.json").write_text('{"sailor": "You sail, and you say so: often.", "baker": "You bake."}')
    found = [read_personas(tmp_path / f"a.{form}") for form in ("txt", "csv", "json")]
    assert found[0] == found[1] == found[2]
    assert found[0][0].description == "You sail, and you say so: often."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "", "is empty"),
        ("a.txt", "no colon here\n", "is not name: description"),
        ("a.txt", "a: You bake.\n", "at least 2"),
        ("a.txt", "a: You bake.\nb: you  BAKE.\n", "'a' and 'b' are identical"),
        ("a.txt", "a: You bake.\na: You sail.\n", "'a' is taken"),
        ("a.json", "[1, 2]", "not a list of personas"),
        ("a.json", "{", "not JSON"),
        ("a.json", '[{"name": "a"}, {"name": "b"}]', "not a persona"),
        ("a.csv", "name,description\na,\nb,You bake.\n", "not a persona"),
    ],
)
def test_persona_files_that_cannot_be_used(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadSpec, match=words):
        read_personas(tmp_path / name)

"""Comparisons from the command line: finished runs, mistakes, and a model before and after further alignment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beb.cli.main import main
from beb.experiments.store import Store
from command import beb, refused, said

SMALL = ["--model", "world:markov", "--prompts", "8", "--sentences", "4"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two comparable runs, and others that are not."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in {
        "one": SMALL,
        "two": [*SMALL, "--seed", "1"],
        "longer": [*SMALL, "--sentences", "5"],
        "other": ["--model", "world:coin", "--prompts", "8", "--sentences", "4"],
        "before": ["--model", "world:pretrained", "--sentences", "4"],
        "after": ["--model", "world:aligned", "--sentences", "4"],
    }.items():
        done = said("measure", *options, "--out", name, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_two_runs_are_compared_reported_and_printed(runs: Path, tmp_path: Path) -> None:
    done = beb("compare", "one", "two", cwd=runs)
    assert done.returncode == 0, done.stderr
    assert "“Alignment lowers α”" in done.stdout
    assert "independent" in done.stdout
    assert (runs / "compare.html").stat().st_size > 100_000
    again = said("compare", "one", "two", "--json", "--level", "0.8", "--out", str(tmp_path / "c.html"), cwd=runs)
    assert again.returncode == 0, again.stderr
    record = json.loads(again.stdout)
    assert record["level"] == 0.8
    assert record["comparisons"][0]["pairing"] == {"negative": "independent", "positive": "independent"}
    assert (tmp_path / "c.html").is_file()


def test_an_exact_world_before_and_after_alignment(runs: Path) -> None:
    """log 1/α = 2 and 6, β = 1.37 and 3.02: both halves of the claim are true here, and found."""
    done = said("compare", "before", "after", "--json", cwd=runs)
    assert done.returncode == 0, done.stderr
    (change,) = json.loads(done.stdout)["comparisons"]
    by_key = {row["key"]: row for row in change["differences"]}
    assert by_key["beta"]["difference"]["low"] < 1.64 < by_key["beta"]["difference"]["high"]
    assert change["beta"] == change["alpha"] == "supported"
    assert change["pairing"]["negative"] == "same prompts"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one"], "needs at least 2"),
        ([], "needs at least 2"),
        (["one", "./one"], "given twice"),
        (["one", "nowhere"], "no run in nowhere"),
        (["one", "other"], "different behaviors"),
        (["one", "longer"], "differ in --sentences"),
        (["one", "two", "--level", "95"], "confidence level"),
        (["one", "two", "--prompts", "9"], "--prompts goes with --align only"),
        (["--align", "one"], "give run folders or --align"),
        (["--align", "--model", "world:coin"], "cannot be trained further"),
        (["--align", "--model", "nowhere"], "unknown model"),
        (["--align", "--negative", "persona:rude"], "would change with them"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(runs: Path, arguments: list[str], words: str) -> None:
    assert words in refused(said("compare", *arguments, cwd=runs))


def test_a_run_that_is_not_finished_is_refused(runs: Path, tmp_path: Path) -> None:
    with Store.read(runs / "two") as store:
        meta = store.meta()
    with Store.open(tmp_path / "begun", meta):
        pass
    assert "is not finished" in refused(said("compare", "one", str(tmp_path / "begun"), cwd=runs))


def test_before_and_after_alignment(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """P₋ and its prompts are the same, token for token, and a model trained on one pole says more of that pole."""
    given = ["--model", "target", "--behavior", "./verbs", "--scorer", "labels:labels.csv", "--prompts", "12",
             "--sentences", "3", "--max-sentence-tokens", "16", "--adapter-steps", "60", "--offline"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["beb", "compare", "--align", *given, "--json", "--out", "out"])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr()
    assert not stop.value.code, said.err
    found = json.loads(said.out)
    assert (shop / "out" / "compare.html").is_file()
    (change,) = found["comparisons"]
    assert change["pairing"] == {"negative": "same prompts", "positive": "same random streams"}
    by_key = {row["key"]: row for row in change["differences"]}
    assert by_key["gamma"]["difference"]["value"] == 0
    assert by_key["line"]["difference"]["low"] > 0  # P₋ is further from the aligned model than from the model
    assert by_key["evidence"]["difference"]["value"] > 0
    assert by_key["behavior_unprompted_plain"]["difference"]["value"] > 0
    claims = {claim["key"]: claim for claim in change["claims"]}
    assert claims["beta"]["verdict"] == change["beta"] == "supported"
    # P₋ is no part of these models, which the cap proves; a line whose α the cap excludes decides nothing.
    excluded = claims["line"]["caveat"].startswith("decides nothing: the cap")
    assert claims["line"]["verdict"] == change["alpha"] == ("undecided" if excluded else "supported")
    with Store.read(shop / "out" / "before") as before, Store.read(shop / "out" / "after") as after:
        old, new = before.meta(), after.meta()
        prompts = [store.rows("prompts", source="negative") for store in (before, after)]
        logs = [store.rows("prompt_log_probs", source="negative", component="negative") for store in (before, after)]
    assert new["spec"]["model"] == "aligned:target"
    assert new["spec"]["negative"] == "lora@target"
    assert new["fingerprints"]["target"]["name"].startswith("aligned:target (120 steps on ")
    assert old["fingerprints"]["negative"]["fingerprint"] == new["fingerprints"]["negative"]["fingerprint"]
    assert old["fingerprints"]["positive"]["fingerprint"] != new["fingerprints"]["positive"]["fingerprint"]
    assert [row["token_ids"].tolist() for row in prompts[0]] == [row["token_ids"].tolist() for row in prompts[1]]
    assert [row["sentence_log_p"].tolist() for row in logs[0]] == [row["sentence_log_p"].tolist() for row in logs[1]]
    monkeypatch.setattr("sys.argv", ["beb", "compare", "out/before", "out/after"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert "same prompts" in capsys.readouterr().out

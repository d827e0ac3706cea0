"""`beb best-of` and `beb laws` on tiny checkpoints with a chat template."""

from __future__ import annotations

from pathlib import Path

import pytest

from beb.cli.main import main
from beb.experiments.best_of.record import BESIDE, OWN
from beb.experiments.registry import analyse
from beb.experiments.store import Store

OPTIONS = (
    "--model", "target", "--behavior", "verbs", "--negative", "model:unkind", "--positive", "model:kind", "--offline",
    "--prompts", "10", "--sentences", "4", "--responses", "4", "--max-sentence-tokens", "16", "--scorer", "likelihood",
)  # fmt: skip


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["beb", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_chat_is_the_default_where_there_is_a_template_and_p_minus_goes_on_in_plain_text(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("best-of", *OPTIONS, "--out", "run", monkeypatch=monkeypatch)
    shown = " ".join(capsys.readouterr().out.split())
    assert "the target answers in its chat format" in shown.lower()
    with Store.read(shop / "run") as store:
        assert store.meta()["formats"] == ["chat"]
        formats = {(row["condition"], row["format"]) for row in store.rows("responses")}
        assert formats == {("negative", "chat"), ("positive", "chat"), (OWN, "plain"), (BESIDE, "plain")}
        assert len(store.rows("responses")) == 10 * 4 * (5 + 4 + 5 + 4)
        beside = [row["p_positive"] - row["p_negative"] for row in store.rows("response_scores", condition=BESIDE)]
        result = analyse(store)
    own, target = (result.curve(condition, 1).band.value for condition in ("P₋ itself", "negative"))
    # The unkind checkpoint writes nothing but unkind sentences; how sure the scorer is of them depends on the training.
    assert max(own) < -0.25
    assert max(own) + 0.25 < target[0]
    # The kind one writes nothing but kind ones, even after those.
    assert sum(beside) / len(beside) > 0.5
    assert result.single_corrected is not None
    assert "no correction by error rates" in shown
    run("laws", "run", monkeypatch=monkeypatch)
    assert "Which law does it follow: behavior, chat?" in capsys.readouterr().out


def test_plain_text_can_be_asked_for(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("best-of", *OPTIONS, "--format", "plain", "--out", "plain", monkeypatch=monkeypatch)
    with Store.read(shop / "plain") as store:
        assert {row["format"] for row in store.rows("responses")} == {"plain"}
        # The two arms have random numbers of their own though format, prompt and length agree.
        seeds = [row["seed"] for row in store.rows("responses")]
    assert len(set(seeds)) == len(seeds)

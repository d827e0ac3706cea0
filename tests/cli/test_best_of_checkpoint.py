"""`beb best-of` and `beb laws` on tiny checkpoints with a chat template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.checkpoints import LEAD, build_tokenizer, statements, train_checkpoint, write_behavior

from beb.cli.main import main
from beb.experiments.registry import analyse
from beb.experiments.store import Store

OPTIONS = (
    "--model", "target", "--behavior", "verbs", "--negative", "model:unkind", "--positive", "model:kind", "--offline",
    "--prompts", "10", "--sentences", "4", "--responses", "4", "--max-sentence-tokens", "16", "--scorer", "likelihood",
)  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("shop")
    poles = {pole: statements(pole) for pole in ("negative", "positive")}
    everything = [text for texts in poles.values() for text in texts]
    tokenizer = build_tokenizer(" ".join((*everything, LEAD)), 400)
    train_checkpoint(folder / "target", tokenizer, everything, seed=1)
    train_checkpoint(folder / "unkind", tokenizer, poles["negative"], seed=2)
    train_checkpoint(folder / "kind", tokenizer, poles["positive"], seed=3)
    write_behavior(folder / "verbs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BEB_CACHE", str(folder / "cache"))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield folder


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
        assert formats == {("negative", "chat"), ("positive", "chat"), ("P₋ itself", "plain")}
        assert len(store.rows("responses")) == 10 * 4 * (5 + 4 + 5)
        result = analyse(store)
    own, target = (result.curve(condition, 1).band.value for condition in ("P₋ itself", "negative"))
    # The unkind checkpoint writes nothing but unkind sentences.
    assert max(own) < -0.5 < target[0]
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

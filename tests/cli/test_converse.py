"""`beb converse` from the command line: a world, a chat with a tiny checkpoint, and a user's mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from beb.cli.main import main
from beb.experiments.registry import analyse
from beb.experiments.store import Store
from beb.models.catalog import load_model
from beb.models.chat_turns import chat_turns
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences

WORLD = ("--model", "world:markov", "--format", "plain", "--prompts", "8", "--turns", "3")
CHAT = (
    "--model", "target", "--behavior", "./verbs", "--negative", "model:unkind", "--positive", "model:kind",
    "--scorer", "likelihood", "--prompts", "6", "--turns", "3", "--sentences", "3", "--max-sentence-tokens", "14",
    "--offline",
)  # fmt: skip
Outcome = tuple[int, str, str]


@pytest.fixture
def beb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`beb converse` into tmp_path/run: exit code, standard output on one line, standard error."""

    def run(*arguments: str) -> Outcome:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("sys.argv", ["beb", "converse", *arguments, "--out", str(tmp_path / "run")])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return int(code or 0), " ".join(said.out.split()), said.err

    return run


def test_a_world_converses_and_is_reported(beb: Callable[..., Outcome], tmp_path: Path) -> None:
    code, out, err = beb(*WORLD)
    assert code == 0, err
    for words in ("Does it misalign in conversation?", "Theorem 3", "replies from P₊", "user sentences per turn"):
        assert words in out
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    for words in ("A conversation, user P₋", "turn 2, the model", "break-even", "log P₋/P₊"):
        assert words in html
    again = beb(*WORLD)
    assert again[0] == 0
    assert again[1].split("Run:")[0] == out.split("Run:")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "world:markov"), "give --format plain"),
        ((*WORLD, "--turns", "1"), "turns"),
        ((*WORLD, "--prompts", "3"), "needs at least 5; raise --prompts"),
        ((*WORLD, "--turns", "900", "--max-sentence-tokens", "80"), "lower --turns"),
        ((*WORLD, "--sentences", "2"), "or give log_inverse_alpha"),
        ((*WORLD, "--log-inverse-alpha", "-2"), "log_inverse_alpha"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    beb: Callable[..., Outcome], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = beb(*arguments)
    assert code not in (0, 1)
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert said in line
    assert not (tmp_path / "run" / "run.sqlite").exists()


def test_a_checkpoint_without_chat_template_is_offered_the_plain_format(
    shop: Path, beb: Callable[..., Outcome]
) -> None:
    shutil.copytree(shop / "target", shop / "untaught")
    (shop / "untaught" / "chat_template.jinja").unlink()
    code, _, err = beb(*CHAT, "--model", "untaught")
    assert code == 3
    assert "no chat template" in err
    assert "--format plain" in err


@pytest.mark.parametrize("form", ["chat", "plain"])
def test_a_checkpoint_converses_in_its_own_chat(
    shop: Path, beb: Callable[..., Outcome], tmp_path: Path, form: str
) -> None:
    code, out, err = beb(*CHAT, "--format", form)
    assert code == 0, err
    assert ("the target reads the conversation through its chat template" in out.lower()) == (form == "chat")
    model = load_model("target", device="cpu")
    assert isinstance(model, HuggingFaceModel)
    with Store.read(tmp_path / "run") as store:
        found = analyse(store)
        assert found.counts["complete conversations with P₋"] >= 5
        rows = store.rows("turns", arm="negative", conversation=int(store.rows("turn_log_probs")[0]["conversation"]))
    rows = sorted(rows, key=lambda row: (row["turn"], row["speaker"] != "user"))[:4]
    first = [tuple(int(t) for t in row["token_ids"]) for row in rows]
    if first[1] and model.ends_sentence(first[1][-1]) and not model.decode(first[1][-1:]):
        first[1] = first[1][:-1]
    if form == "chat":
        frame = chat_turns(model)
        before = (*frame.before, *first[0], *frame.replied, *first[1], *frame.again, *first[2], *frame.after)
        # The reply's stored log-probabilities are the target's own, given exactly these ids.
        reader = model.component(model.info, start_ids=before[:1])
        (score,) = score_sequences([(*before[1:], *first[3])], {"target": reader})
        assert rows[3]["log_probs"] == pytest.approx(score.log_probs["target"][-len(first[3]) :], abs=1e-4)

"""Measuring models behind servers from end to end, over real HTTP, with tiny models that have learnt something."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from beb.cli.main import main
from beb.experiments.registry import analyse
from beb.experiments.store import Store
from checkpoints import LEAD
from model_server import ModelServer, serving_shop

SMALL = ("--prompts", "8", "--sentences", "3", "--max-sentence-tokens", "12", "--offline")
Outcome = tuple[int, str, str]


@pytest.fixture(scope="module")
def running(shop: Path) -> Iterator[ModelServer]:
    with serving_shop(shop) as started:
        yield started


@pytest.fixture
def server(running: ModelServer) -> Iterator[ModelServer]:
    yield running
    running.well()


@pytest.fixture
def beb(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """`beb COMMAND ...`: exit code, standard output on one line, standard error."""

    def run(*arguments: str) -> Outcome:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("sys.argv", ["beb", *arguments])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return int(code or 0), " ".join(out.split()), err

    return run


def measured(*arguments: str, model: str, out: Path) -> tuple[str, ...]:
    scorer = ("--behavior", "./verbs", "--scorer", "labels:labels.csv")
    return ("measure", "--model", model, *scorer, *SMALL, *arguments, "--out", str(out))


def rows(folder: Path, table: str) -> list[dict]:
    with Store.read(folder) as store:
        return store.rows(table)


def modules(server: ModelServer) -> tuple[str, ...]:
    return ("--negative", "model:#unkind", "--positive", f"model:{server.name('kind')}", "--formats", "plain")


def test_measure_a_served_model(server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path) -> None:
    """Everything behind one server; the same texts scored locally give the same log-probabilities."""
    code, out, err = beb(*measured(*modules(server), "--kl", "monte-carlo", model=server.name("target"), out=tmp_path))
    assert code == 0, err
    assert "Monte Carlo" in out
    assert "which weights these are is the server's word" in out
    logs = rows(tmp_path, "prompt_log_probs")
    assert {row["method"] for row in logs} == {"token ids"}
    prompts = {(row["source"], row["prompt"]): row for row in rows(tmp_path, "prompts")}
    assert len(prompts) == 16
    own = [row for row in logs if row["component"] == row["source"]]
    for row in own:  # said while sampling, and again when scored
        sampled = prompts[row["source"], row["prompt"]]
        assert row["sentence_log_p"].sum() == pytest.approx(sampled["log_probs"].sum(), abs=1e-3)
    assert {row["method"] for row in rows(tmp_path, "prompt_divergences")} == {"monte-carlo (token ids)"}
    assert {row["subject"] for row in rows(tmp_path, "failures")} <= {"score"}  # sentences that nobody has labelled
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_exact_divergence_is_refused_before_any_work(
    server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path
) -> None:
    before = server.paths["/v1/completions"]
    code, _, err = beb(*measured(*modules(server), model=server.name("target"), out=tmp_path / "run"))
    assert code == 3
    assert "every token of the vocabulary" in err
    assert "--kl monte-carlo" in err
    assert server.paths["/v1/completions"] == before
    residual = ("--negative", "model:#unkind", "--positive", "residual", "--kl", "monte-carlo", "--formats", "plain")
    code, _, err = beb(*measured(*residual, model=server.name("target"), out=tmp_path / "run"))
    assert code == 3
    assert "--positive residual" in err
    assert "--positive model:#NAME" in err
    assert "take --kl" not in err  # that was given


@pytest.mark.parametrize("command", [("personas",), ("probe", "--behavior", "./verbs")])
def test_commands_for_local_weights_say_what_the_model_is(
    server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, _, err = beb(*command, "--model", server.name("target"), "--offline", "--out", str(tmp_path / "run"))
    assert code == 2
    assert "is a served model" in err


@pytest.mark.parametrize("command", ["measure", "guardrail", "converse", "best-of"])
def test_what_a_server_cannot_do_is_refused_before_anything_is_fitted(
    command: str, server: ModelServer, beb: Callable[..., Outcome], shop: Path, tmp_path: Path
) -> None:
    fitted = ("--negative", "lora@target", "--positive", "lora@target", "--adapter-steps", "1")
    _, *options = measured(*fitted, model=server.name("target"), out=tmp_path / "run")
    code, _, err = beb(command, *options, "--kl", "exact")
    assert code == 3
    assert "--kl exact needs the probability of every token" in err
    nothing_is_left(shop, tmp_path)


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("--negative", "lora", "--positive", "model:SERVED"), 3, "--kl exact needs"),
        (("--negative", "lora@target", "--positive", "lora@SERVED"), 2, "--positive lora@SERVED fits an adapter"),
        (("--negative", "model:SERVED", "--positive", "residual", "--kl", "monte-carlo"), 3, "--positive residual"),
    ],
)
def test_a_served_component_of_a_local_target_too(
    given: tuple[str, ...], code: int, message: str, server: ModelServer, beb: Callable[..., Outcome], shop: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    name = server.name("target")
    options = [each.replace("SERVED", name) for each in given]
    done, _, err = beb(*measured(*options, "--adapter-steps", "1", model="target", out=tmp_path / "run"))
    assert done == code, err
    assert message.replace("SERVED", name) in err
    nothing_is_left(shop, tmp_path)


def nothing_is_left(shop: Path, folder: Path) -> None:
    """Neither a fitted adapter nor a run."""
    assert not list((shop / "cache").glob("adapters/*"))
    assert not list(folder.iterdir())


def test_top_k_is_a_labelled_lower_bound(server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path) -> None:
    """Beside the exact divergence of the same local models on the same prompts."""
    given = ("--negative", "model:unkind", "--positive", "model:kind", "--formats", "plain")
    code, out, err = beb(*measured(*given, "--kl", "top-k", model=server.name("target"), out=tmp_path / "bound"))
    assert code == 0, err
    assert "lower bound" in out
    code, _, err = beb(*measured(*given, model="target", out=tmp_path / "exact"))
    assert code == 0, err
    bound, exact = (
        {(r["source"], r["prompt"], r["q"]): r for r in rows(tmp_path / name, "prompt_divergences")}
        for name in ("bound", "exact")
    )
    assert bound.keys() == exact.keys()
    for key, row in bound.items():
        if key[2] == "target":
            assert row["method"] == "lower bound from the 20 most probable tokens"
            assert (row["sentence_kl_nats"] <= exact[key]["sentence_kl_nats"] + 1e-3).all()
            assert row["sentence_kl_nats"].sum() > 0.5 * exact[key]["sentence_kl_nats"].sum()
        else:
            assert row["method"] == "exact over the vocabulary"
            np.testing.assert_allclose(row["sentence_kl_nats"], exact[key]["sentence_kl_nats"], atol=1e-3)
    with Store.read(tmp_path / "bound") as store:
        told = json.loads(analyse(store).to_json())
    assert "lower bound" not in told["beta"]["method"]  # both components are local
    assert all("lower bound" in told[name]["method"] for name in ("kl_to_target_curve",))
    assert all("lower bound" in told["alpha"]["line"][name]["method"] for name in ("log_inverse_alpha", "beta"))
    code, _, err = beb("guardrail", "--model", "target", "--kl", "top-k", "--out", str(tmp_path / "no"))
    assert code == 2
    assert "only beb measure" in err


def test_a_lower_bound_is_labelled_wherever_it_is_shown(
    server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Terminal, report and JSON; β is one where a component is behind the server."""
    given = ("--negative", "model:#unkind", "--positive", "model:kind", "--formats", "plain", "--kl", "top-k")
    code, out, err = beb(*measured(*given, model=server.name("target"), out=tmp_path))
    assert code == 0, err
    assert out.count("a lower bound;") == 3  # β, and β′ in both readings
    assert "certain in no direction" in out
    assert "nats per sentence (lower bound)" in out
    report = (tmp_path / "report.html").read_text()
    for words in (
        "a lower bound;",
        "certain in no direction",
        "prompts from P₋ (lower bound)",
        "KL(P₋‖P) (lower bound)",
    ):
        assert words in report or words in html.unescape(report) or json.dumps(words)[1:-1] in report, words
    with Store.read(tmp_path) as store:
        told = json.loads(analyse(store).to_json())
    for name in ("beta", "beta_curve", "beta_prime", "beta_prime_curve", "beta_prime_top", "kl_to_target_curve"):
        assert "lower bound from the 20 most probable tokens" in told[name]["method"]
    assert any("their upper limit says nothing" in note for note in told["notes"])


def test_failures_that_remain_are_rows(server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path) -> None:
    """Some prompts cannot be scored, some responses not be sampled: counted, left out, and no crash."""
    model = server.name("target", retries=0)
    server.always, server.ill = "nan", lambda body: len(body["prompt"]) > 9 and sum(body["prompt"]) % 30 == 0
    given = ("--negative", f"model:{server.name('unkind', retries=0)}", "--positive", "model:kind", "--prompts", "9")
    code, out, err = beb(*measured(*given, "--formats", "plain", "--kl", "monte-carlo", model=model, out=tmp_path))
    assert code == 0, err
    failures = Counter(row["subject"] for row in rows(tmp_path, "failures"))
    assert failures["response"] > 0
    assert failures["prompt"] + failures["log-probabilities"] + failures["gate"] > 0
    assert all(row["kind"] == "bad-reply" for row in rows(tmp_path, "failures") if row["subject"] == "response")
    assert "never scored as answers" in out


def test_chat_api_with_a_local_source_of_prompts(
    server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path
) -> None:
    server.opening = LEAD
    model = server.name("target").replace("vllm:", "openai:")
    code, out, err = beb(*measured("--negative", "model:unkind", model=model, out=tmp_path))
    assert code == 0, err
    assert "What cannot be measured here" in out
    with Store.read(tmp_path) as store:
        record = analyse(store)
    assert record.pair is None
    assert record.refused["lengths of the theorems"].endswith("tells no log-probabilities of the target")
    assert "there is no P₊ of its own" in record.refused["β, β′, σ² and the gate"]
    assert json.loads(record.to_json())["behavior"][0]["format"] == "chat"
    responses = rows(tmp_path, "responses")
    assert {row["format"] for row in responses} == {"chat"}
    assert {row["condition"] for row in responses} == {"negative", "shuffled"}
    assert len(responses) == 8 * 4 + 8 * 3
    assert all(len(row["token_ids"]) <= 12 and len(row["log_probs"]) == 0 for row in responses)
    code, again, err = beb("show", str(tmp_path))
    assert code == 0, err
    assert "What cannot be measured here" in again
    assert "not measured" in (tmp_path / "report.html").read_text()


def test_chat_api_with_both_components(server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path) -> None:
    server.opening = LEAD
    model = server.name("target", retries=0).replace("vllm:", "openai:")
    server.faults = [None if i % 9 else "filtered" for i in range(500)]
    given = ("--negative", "model:unkind", "--positive", "model:kind")
    code, out, err = beb(*measured(*given, model=model, out=tmp_path))
    assert code == 0, err
    assert "β, nats per sentence" in out
    kinds = Counter(row["kind"] for row in rows(tmp_path, "failures") if row["subject"] == "response")
    assert set(kinds) == {"reply-filtered"}
    assert {row["condition"] for row in rows(tmp_path, "responses")} == {"negative", "positive", "shuffled"}
    code, _, err = beb("export", str(tmp_path), "--out", str(tmp_path / "exported"))
    assert code == 0, err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "give --negative lora@MODEL"),
        (("--negative", "persona:You are unkind."), "give --negative lora@MODEL"),
        (("--negative", "model:unkind", "--positive", "residual"), "give --positive lora@MODEL"),
        (("--negative", "model:unkind", "--formats", "plain"), "leave --formats out"),
        (("--negative", "model:unkind", "--scorer", "likelihood"), "needs P₊"),
    ],
)
def test_chat_api_refuses_what_it_cannot(
    given: tuple[str, ...], message: str, beb: Callable[..., Outcome], tmp_path: Path
) -> None:
    code, _, err = beb(*measured(*given, model="openai:http://127.0.0.1:9?retries=0#m", out=tmp_path / "run"))
    assert code == 2
    assert message in err


def test_doctor_parity(server: ModelServer, beb: Callable[..., Outcome]) -> None:
    small = ("--texts", "3", "--sentences", "2", "--offline")
    code, out, err = beb("doctor", "parity", "--model", "target", "--model", server.name("target"), *small)
    assert code == 0, err
    assert "agree: no sentence differs" in out
    code, out, _ = beb("doctor", "parity", "--model", "target", "--model", server.name("unkind"), *small)
    assert code == 1
    assert "do not believe a divergence" in out
    code, _, err = beb("doctor", "parity", "--model", "target")
    assert code == 2
    assert "give it twice" in err


def test_the_key_is_in_no_file_of_the_run(
    server: ModelServer, beb: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "geheim-4711")
    server.opening = LEAD
    model = server.name("target", key="MY_KEY").replace("vllm:", "openai:")
    assert beb(*measured("--negative", "model:unkind", model=model, out=tmp_path))[0] == 0
    with Store.read(tmp_path) as store:
        assert "MY_KEY" in json.dumps(store.meta())
    assert all(b"geheim" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

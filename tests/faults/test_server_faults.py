"""What can go wrong with a server: nothing is lost, nothing is doubled, and the numbers are the same afterwards.

The server is real, on loopback, and computes real log-probabilities; the command is `beb measure`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from beb.errors import ServerFailed
from beb.experiments.schema import ROW_TABLES
from beb.experiments.store import Store
from beb.models.transport import FILTERED
from checkpoints import LEAD, statements
from command import refused, said
from interrupted import content, items_done
from model_server import ModelServer, serving_shop

PASSING = (
    "429", "429-with-date", "500", "503", "half-body", "garbage", "no-choices", "nan", "positive", "wrong-ids",
    "no-log-probs", "too-many-tokens", "hang-up", "silence", "slow",
)  # fmt: skip
LASTING = {
    "429": "rate-limited", "500": "server-error", "401": "request-refused", "half-body": "bad-reply",
    "garbage": "bad-reply", "nan": "bad-reply", "wrong-ids": "bad-reply", "too-many-tokens": "bad-reply",
    "hang-up": "bad-reply", "silence": "server-timeout",
}  # fmt: skip
OPTIONS = (
    "--behavior", "./few", "--scorer", "labels:labels.csv", "--prompts", "6", "--sentences", "3", "--offline",
    "--max-sentence-tokens", "12", "--kl", "monte-carlo", "--formats", "plain",
)  # fmt: skip


@dataclass(frozen=True)
class Undisturbed:
    """A run on the server while it was well. requests: that it sent, the first of them for the gate."""

    content: bytes
    items: int
    requests: int
    gate_requests: int

    def before(self, stage: float) -> int:
        """Requests before a stage, from 0 (the gate has passed) to 1 (the end)."""
        return self.gate_requests + int(stage * (self.requests - self.gate_requests))


@pytest.fixture(scope="module")
def running(shop: Path) -> Iterator[ModelServer]:
    (shop / "few").mkdir()
    for pole in ("negative", "positive"):
        (shop / "few" / f"{pole}.txt").write_text("\n".join(statements(pole)[::3]), encoding="utf-8")
    with serving_shop(shop) as started:
        yield started


@pytest.fixture
def server(running: ModelServer) -> Iterator[ModelServer]:
    yield running
    running.well()


@pytest.fixture(scope="module")
def whole(running: ModelServer, shop: Path) -> Undisturbed:
    done = measure(running, shop / "whole", shop)
    assert done.returncode == 0, done.stderr
    asked = [body["max_tokens"] for body in running.bodies if "max_tokens" in body]
    n_gate = next(i for i, most in enumerate(asked) if most > 1)  # it samples nothing
    assert len(asked) - n_gate > 60
    return Undisturbed(content(shop / "whole"), items_done(shop / "whole"), len(asked), n_gate)


def measure(server: ModelServer, folder: Path, shop: Path, **client: float | str) -> CompletedProcess[str]:
    """All three models behind the server. client: options of the address."""
    model = server.name("target", **{"retries": 2, "timeout": 2, "concurrency": 4, **client})
    components = ("--negative", "model:#unkind", "--positive", "model:#kind")
    return said("measure", "--model", model, *components, *OPTIONS, "--out", str(folder), cwd=shop)


def stopped(done: CompletedProcess[str]) -> str:
    """The one line with which a run stops that can go on."""
    assert done.returncode == ServerFailed.exit_code, done.stderr
    line = refused(done)
    assert "finished work is saved" in line
    assert "run again" in line
    return line


def test_faults_that_pass_change_nothing(server: ModelServer, whole: Undisturbed, shop: Path, tmp_path: Path) -> None:
    """Every kind, all over one run."""
    between = [None] * (whole.requests // len(PASSING) - 2)
    server.faults = [fault for kind in PASSING for fault in (*between, kind)]
    done = measure(server, tmp_path / "run", shop)
    assert done.returncode == 0, done.stderr
    assert server.faults == []
    assert content(tmp_path / "run") == whole.content


@pytest.mark.parametrize("fault", LASTING)
def test_faults_that_last_stop_the_run_and_it_goes_on(
    fault: str, server: ModelServer, whole: Undisturbed, shop: Path, tmp_path: Path
) -> None:
    """Each at another stage of the run."""
    folder, stage = tmp_path / "run", (1 + list(LASTING).index(fault)) / (1 + len(LASTING))
    server.faults, server.always = [None] * whole.before(stage), fault
    line = stopped(measure(server, folder, shop))
    assert LASTING[fault] in line
    before = items_done(folder)
    assert 0 < before < whole.items
    with Store.read(folder) as store:
        assert all(row["subject"] == "score" for row in store.rows("failures"))  # of texts that nobody has labelled
    server.well()
    done = measure(server, folder, shop)
    assert done.returncode == 0, done.stderr
    assert content(folder) == whole.content


def test_slow_replies_that_come_in_pieces_are_waited_for_and_not_asked_for_again(
    server: ModelServer, whole: Undisturbed, shop: Path, tmp_path: Path
) -> None:
    server.bodies.clear()
    # Each takes 0.8 seconds, and no piece of it as long as the timeout.
    server.faults = [None] * whole.before(0.3) + ["slow"] * 8
    done = measure(server, tmp_path / "run", shop, retries=0, timeout=0.6)
    assert done.returncode == 0, done.stderr
    assert server.faults == []
    assert sum("max_tokens" in body for body in server.bodies) == whole.requests
    (_, rows), (_, expected) = json.loads(content(tmp_path / "run")), json.loads(whole.content)
    assert rows == expected


@pytest.mark.parametrize(
    ("fault", "timeout", "told"), [("silence", 0.3, "no answer within 0.3 s"), ("drip", 1, "had not ended after 10 s")]
)
def test_a_run_that_a_slow_server_stopped_goes_on_with_more_patience(
    fault: str,
    timeout: float,
    told: str,
    server: ModelServer,
    whole: Undisturbed,
    shop: Path,
    tmp_path: Path,
) -> None:
    """How the server is asked is no part of what the run is; another model is."""
    folder = tmp_path / "run"
    server.faults, server.always = [None] * whole.before(0.5), fault
    line = stopped(measure(server, folder, shop, timeout=timeout, retries=0))
    assert "server-timeout" in line
    assert told in line
    before = items_done(folder)
    assert 0 < before < whole.items
    server.well()
    done = measure(server, folder, shop, timeout=20, retries=7, concurrency=2)
    assert done.returncode == 0, done.stderr
    (_, rows), (_, expected) = json.loads(content(folder)), json.loads(whole.content)
    assert rows == expected
    again = measure(server, folder, shop, timeout=3)  # complete: nothing is asked
    assert again.returncode == 0, again.stderr
    assert "another specification (spec.model: " in refused(measure(server, folder, shop, tokenizer="other"))


def test_a_server_that_is_down_at_the_start(
    server: ModelServer, whole: Undisturbed, shop: Path, tmp_path: Path
) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    server.close()
    try:
        line = refused(measure(server, tmp_path / "run", shop))
    finally:
        server.restart(port)
    assert "server-unreachable" in line
    assert "start the server" in line
    done = measure(server, tmp_path / "run", shop)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "run") == whole.content


@pytest.mark.parametrize("stage", [0.2, 0.5, 0.8])
def test_a_server_that_dies_during_the_run(
    stage: float, server: ModelServer, whole: Undisturbed, shop: Path, tmp_path: Path
) -> None:
    folder, port = tmp_path / "run", int(server.url.rsplit(":", 1)[1])
    server.dies_after = whole.before(stage)
    try:
        assert "cannot be reached" in stopped(measure(server, folder, shop))
    finally:
        wait_until_gone(server)
        server.dies_after = None
        server.restart(port)
    before = items_done(folder)
    assert 0 < before < whole.items
    done = measure(server, folder, shop)
    assert done.returncode == 0, done.stderr
    assert content(folder) == whole.content


def test_a_server_that_comes_back_in_time_is_waited_for(
    server: ModelServer, whole: Undisturbed, shop: Path, tmp_path: Path
) -> None:
    port = int(server.url.rsplit(":", 1)[1])

    def start_again() -> None:
        wait_until_gone(server)
        server.dies_after = None
        server.restart(port)

    server.dies_after = whole.before(0.5)
    nurse = threading.Thread(target=start_again)
    nurse.start()
    done = measure(server, tmp_path / "run", shop)
    nurse.join()
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "run") == whole.content


def wait_until_gone(server: ModelServer) -> None:
    deadline = time.monotonic() + 60
    while not server.is_closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.is_closed


@pytest.mark.parametrize(("fault", "kind"), [("500", "server-error"), ("nan", "bad-reply")])
def test_what_always_fails_is_a_counted_failure_and_the_rest_is_the_run(
    fault: str, kind: str, server: ModelServer, whole: Undisturbed, shop: Path, tmp_path: Path
) -> None:
    """Some responses of the target cannot be had; the other rows of the undisturbed run are all there."""
    server.always = fault
    server.ill = lambda body: body["model"] == "target" and body["max_tokens"] == 12 and sum(body["prompt"]) % 7 == 0
    done = measure(server, tmp_path / "run", shop)
    assert done.returncode == 0, done.stderr
    assert "never scored as answers" in " ".join(done.stdout.split())
    key = ("format", "condition", "prompt", "sentences", "response", "text")
    with Store.read(shop / "whole") as store:
        expected = {tuple(row[name] for name in key) for row in store.rows("responses")}
    with Store.read(tmp_path / "run") as store:
        found = [tuple(row[name] for name in key) for row in store.rows("responses")]
        failures = [row for row in store.rows("failures") if row["subject"] == "response"]
    assert {row["kind"] for row in failures} == {kind}
    assert len(found) + len(failures) == len(expected)
    assert set(found) < expected


def ask_chat(server: ModelServer, folder: Path, shop: Path) -> CompletedProcess[str]:
    """The target as a chat API, with a local P₋ as the source of the prompts."""
    server.opening = LEAD
    model = server.name("target", retries=1, timeout=2, concurrency=4).replace("vllm:", "openai:")
    options = ("--negative", "model:unkind", *OPTIONS[: OPTIONS.index("--kl")])
    return said("measure", "--model", model, *options, "--out", str(folder), cwd=shop)


def test_a_chat_api_that_fails_and_recovers(server: ModelServer, shop: Path, tmp_path: Path) -> None:
    asked = server.paths["/v1/chat/completions"]
    assert ask_chat(server, tmp_path / "whole", shop).returncode == 0
    n_requests = server.paths["/v1/chat/completions"] - asked
    expected = content(tmp_path / "whole")
    server.faults = [fault for kind in ("429", "garbage", "hang-up") for fault in (*[None] * (n_requests // 5), kind)]
    assert ask_chat(server, tmp_path / "passing", shop).returncode == 0
    assert server.faults == []
    assert content(tmp_path / "passing") == expected
    for stage, fault in ((0.3, "500"), (0.9, "half-body")):
        folder = tmp_path / fault
        server.faults, server.always = [None] * int(n_requests * stage), fault
        stopped(ask_chat(server, folder, shop))
        server.well()
        assert ask_chat(server, folder, shop).returncode == 0
        assert content(folder) == expected


def test_an_answer_that_a_filter_replaced_is_asked_for_once_and_counted(
    server: ModelServer, shop: Path, tmp_path: Path
) -> None:
    """To ask until one passes would select the answers."""
    server.always, server.ill = "filtered", lambda body: body["seed"] % 30 == 0
    before = server.paths["/v1/chat/completions"]
    done = ask_chat(server, tmp_path / "run", shop)
    assert done.returncode == 0, done.stderr
    with Store.read(tmp_path / "run") as store:
        filtered = [row for row in store.rows("failures") if row["kind"] == FILTERED]
        n_replies = len(store.rows("responses"))
    assert filtered
    assert server.paths["/v1/chat/completions"] - before == n_replies + len(filtered)
    assert not any("replaced" in json.dumps(row["text"]) for row in _responses(tmp_path / "run"))


def _responses(folder: Path) -> list[dict]:
    with Store.read(folder) as store:
        return store.rows("responses")


def test_all_tables_are_compared(whole: Undisturbed) -> None:
    """What `content` compares is every table of a run but the times of day."""
    _, tables = json.loads(whole.content)
    assert set(tables) == {*ROW_TABLES, "items"}
    for name in ("statements", "prompts", "prompt_log_probs", "prompt_divergences", "responses", "response_scores"):
        assert tables[name]

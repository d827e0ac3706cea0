"""A server that misbehaves: what remains is a failure of one request, never a crash and never an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beb.errors import ServerFailed
from beb.experiments.parity import ParitySpec, parity
from beb.interfaces.given_tokens import TokenScores
from beb.interfaces.language_model import Completion, Failure, SampleRequest
from beb.interfaces.responder import Reply, ReplyRequest
from beb.models import transport
from beb.models.adapters import lora_component
from beb.models.chat_api import load_chat_api
from beb.models.huggingface import HuggingFaceModel
from beb.models.scoring import score_sequences
from beb.models.served import ServedModel
from beb.models.server_address import parse_address
from beb.models.serving import load_served
from beb.models.transport import Transport
from contract import requests
from model_server import ModelServer, serving

KINDS = {
    "429": "rate-limited", "429-with-date": "rate-limited", "500": "server-error", "503": "server-error",
    "400": "request-refused", "401": "request-refused", "404": "request-refused", "half-body": "bad-reply",
    "garbage": "bad-reply", "no-choices": "bad-reply", "nan": "bad-reply", "positive": "bad-reply",
    "wrong-ids": "bad-reply", "no-log-probs": "bad-reply", "hang-up": "bad-reply", "silence": "server-timeout",
}  # fmt: skip
NOT_TRIED_AGAIN = ("400", "401", "404")


@pytest.fixture(scope="module")
def running(llama: HuggingFaceModel, adapter: Path, llama_folder: Path) -> Iterator[ModelServer]:
    with serving({"base": llama, "unkind": lora_component(llama, adapter)}, llama_folder) as started:
        yield started


@pytest.fixture
def server(running: ModelServer) -> Iterator[ModelServer]:
    yield running
    running.well()


def connected(server: ModelServer, name: str = "base", **options: object) -> ServedModel:
    """With retries that follow at once."""
    address = parse_address(server.name(name, **{"timeout": 1, **options}))
    return load_served(address, transport=Transport(address, first_wait=0.01))


@pytest.mark.parametrize("fault", [fault for fault in KINDS if fault not in NOT_TRIED_AGAIN])
def test_a_fault_that_passes_changes_nothing(server: ModelServer, fault: str) -> None:
    model = connected(server)
    expected_text, expected_scores = model.sample(requests(model, 1)), model.score_tokens([(5, 6, 7)])
    server.faults = [fault, None, fault]
    again = [model.sample(requests(model, 1)), model.score_tokens([(5, 6, 7)])]
    server.faults = []
    assert again[0] == expected_text
    (scores,), (ours,) = again[1], expected_scores
    assert isinstance(scores, TokenScores)
    assert isinstance(ours, TokenScores)
    assert scores.log_probs.tolist() == ours.log_probs.tolist()


@pytest.mark.parametrize("fault", KINDS)
def test_a_fault_that_stays_is_a_failure(server: ModelServer, fault: str) -> None:
    model = connected(server, retries=1)
    server.always = fault
    server.ill = lambda body: len(body["prompt"]) > len(model.start_ids) + 1
    before = server.paths["/v1/completions"]
    (scores,) = model.score_tokens([(5, 6, 7)])
    n_tries = server.paths["/v1/completions"] - before
    (text,) = model.sample([SampleRequest((*model.start_ids, 5, 6), 1, 4, 1)])
    for found in (text, scores):
        assert isinstance(found, Failure), found
        assert found.kind == KINDS[fault]
        assert "\n" not in found.detail
    assert n_tries == (4 if fault in NOT_TRIED_AGAIN else 6)  # twice, each time retried, and a check after each


@pytest.mark.parametrize("fault", KINDS)
def test_a_server_that_answers_nothing_as_it_should_stops_the_run(server: ModelServer, fault: str) -> None:
    """Failures that say nothing of the request are none: the run goes on where it stopped, when the server does."""
    model = connected(server, retries=0, timeout=0.5)
    server.always = fault
    for ask in (lambda: model.score_tokens([(5, 6)]), lambda: model.sample(requests(model, 1))):
        with pytest.raises(ServerFailed, match=rf"does not answer as it should: {KINDS[fault]}.*run again") as stop:
            ask()
        assert "\n" not in str(stop.value)


def test_an_answer_without_an_end_is_not_waited_for(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of it comes every 0.2 seconds, which is in time, and all of them take 20 seconds."""
    monkeypatch.setattr(transport, "PATIENCE", 1.5)
    model = connected(server, retries=0, timeout=2)
    (expected,) = model.score_tokens([(5, 6, 7)])
    server.faults = ["drip"]
    started = time.monotonic()
    (found,) = model.score_tokens([(5, 6, 7)])  # asked once more
    assert 3 < time.monotonic() - started < 10
    assert isinstance(expected, TokenScores)
    assert isinstance(found, TokenScores)
    assert found.log_probs.tolist() == expected.log_probs.tolist()
    server.always = "drip"
    with pytest.raises(ServerFailed, match=r"server-timeout \(an answer that had not ended after 3 s"):
        model.score_tokens([(5, 6, 7)])


def test_a_compressed_answer_is_read(server: ModelServer) -> None:
    model = connected(server)
    (expected,) = model.score_tokens([(5, 6, 7)])
    server.always = "gzip"
    (found,) = model.score_tokens([(5, 6, 7)])
    assert isinstance(expected, TokenScores)
    assert isinstance(found, TokenScores)
    assert found.log_probs.tolist() == expected.log_probs.tolist()


def test_an_outage_is_noticed_before_everything_is_asked(server: ModelServer) -> None:
    model = connected(server, retries=1, concurrency=4)
    server.always = "500"
    before = server.paths["/v1/completions"]
    with pytest.raises(ServerFailed, match="server-error"):
        model.score_tokens([(i, i + 1) for i in range(3, 103)])
    assert server.paths["/v1/completions"] - before <= 2 * (4 + 4 + 1)


def test_an_outage_in_the_middle_loses_nothing(server: ModelServer) -> None:
    """It is over when the failed requests are asked again."""
    model = connected(server, retries=0, concurrency=4)
    wanted = [(i, i + 1) for i in range(3, 33)]
    expected = model.score_tokens(wanted)
    server.faults = [None] * 5 + ["503"] * 4
    found = model.score_tokens(wanted)
    for ours, theirs in zip(expected, found, strict=True):
        assert isinstance(ours, TokenScores)
        assert isinstance(theirs, TokenScores)
        assert ours.log_probs.tolist() == theirs.log_probs.tolist()


def test_a_server_that_answers_nothing_but_the_check_stops_the_run(server: ModelServer) -> None:
    """As one that is too slow for all but the smallest request."""
    model = connected(server, retries=0)
    server.always, server.ill = "500", lambda body: len(body["prompt"]) > len(model.start_ids) + 1
    with pytest.raises(ServerFailed, match="server-error"):
        model.score_tokens([(5, 6), (7, 8), (9, 10), (11, 12)])


def test_one_bad_request_does_not_touch_the_others(server: ModelServer) -> None:
    model = connected(server, retries=0)
    expected = model.score_tokens([(5, 6), (7, 8), (9, 10)])
    server.ill, server.always = lambda body: 7 in body["prompt"], "500"
    first, second, third = model.score_tokens([(5, 6), (7, 8), (9, 10)])
    assert isinstance(second, Failure)
    for ours, found in ((expected[0], first), (expected[2], third)):
        assert isinstance(ours, TokenScores)
        assert isinstance(found, TokenScores)
        assert found.log_probs.tolist() == ours.log_probs.tolist()
    with pytest.raises(ServerFailed, match=r"server-error.*run again"):
        score_sequences([(7, 8)], {"m": model})


def test_too_many_tokens_are_refused(server: ModelServer) -> None:
    model = connected(server, retries=0)
    server.always, server.ill = "too-many-tokens", lambda body: body["max_tokens"] > 1
    (text,) = model.sample(requests(model, 1))
    assert isinstance(text, Failure)
    assert text.kind == "bad-reply"


def test_retry_after_is_heeded_by_everybody(server: ModelServer) -> None:
    """One request is told to wait; the others wait as well, and none for longer than it was asked to."""
    model = connected(server, retries=3, concurrency=4)
    server.faults = ["429"]
    started = time.monotonic()
    found = model.score_tokens([(i, i + 1) for i in range(3, 9)])
    assert all(isinstance(each, TokenScores) for each in found)
    assert 0.05 <= time.monotonic() - started < 5
    server.always = "huge-wait"  # a day: nobody waits that long
    started = time.monotonic()
    with pytest.raises(ServerFailed, match="rate-limited"):
        model.score_tokens([(5, 6)])
    assert time.monotonic() - started < 5


def test_waits_grow_and_are_jittered(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address(server.name("base", retries=4))
    waits: list[float] = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, seconds=None: waits.append(seconds or 0.0))
    transport = Transport(address, first_wait=1.0)
    server.always = "garbage"
    found = transport.post("/v1/completions", {"model": "base", "prompt": [1, 5], "max_tokens": 1, "temperature": 1,
                                               "top_p": 1}, lambda reply: reply)  # fmt: skip
    assert isinstance(found, Failure)
    growing = [wait for wait in waits if wait > 0.2]
    assert len(growing) == 4
    assert all(0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(growing))
    assert growing != [round(wait) for wait in growing]


def test_a_server_that_is_gone_stops_the_run(server: ModelServer, llama: HuggingFaceModel, llama_folder: Path) -> None:
    with serving({"base": llama}, llama_folder) as short_lived:
        model = connected(short_lived, retries=1)
        assert isinstance(model.sample(requests(model, 1))[0], Completion)
    with pytest.raises(ServerFailed, match=r"cannot be reached.*finished work is saved"):
        model.sample(requests(model, 3))


def test_a_port_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        address = parse_address(f"vllm:http://127.0.0.1:{silent.getsockname()[1]}?retries=0&timeout=0.3#m")
        with pytest.raises(ServerFailed, match="server-timeout"):
            load_served(address)


def test_parity(server: ModelServer, llama: HuggingFaceModel, adapter: Path) -> None:
    small = ParitySpec(texts=4, sentences=2, max_sentence_tokens=12)
    same = parity(llama, connected(server), spec=small)
    assert same.agree
    assert same.n_failed == 0
    assert same.largest_token < 1e-3
    assert "agree" in same.verdict
    other = parity(llama, connected(server, "unkind"), spec=small)
    assert not other.agree
    assert other.apparent_kl is not None
    assert other.apparent_kl.value > 0.05  # texts of the first model are likelier under it
    assert other.largest_own < 1e-3
    assert "do not believe" in other.verdict
    assert parity(llama, llama, spec=small).apparent_kl is None


def test_parity_notices_a_server_that_scores_another_model(server: ModelServer, llama: HuggingFaceModel) -> None:
    """As vLLM does with some LoRA modules: sampled from one distribution, scored under another."""

    class Mixed(ServedModel):
        def score_tokens(self, sequences, *, top=0):
            return connected(server, "unkind").score_tokens(sequences, top=top)

    base = connected(server)
    mixed = Mixed(base.transport, base.name, base.tokenizer, base.rule, info=base.info, start_ids=base.start_ids)
    found = parity(mixed, connected(server, "unkind"), spec=ParitySpec(texts=3, sentences=1, max_sentence_tokens=12))
    assert found.largest_sentence < 1e-3
    assert not found.agree
    assert "wrote itself" in found.verdict


def test_chat_replies_and_their_faults(server: ModelServer) -> None:
    address = parse_address(server.name("base", retries=1, timeout=1).replace("vllm:", "openai:"))
    api = load_chat_api(address)
    asked = [ReplyRequest("Hello. Who are you?", 8, 2**60 + i) for i in range(3)]
    first = api.reply(asked)
    assert all(isinstance(each, Reply) for each in first)
    assert len({each.text for each in first if isinstance(each, Reply)}) > 1
    assert api.reply(asked) == first
    server.ill = lambda body: "Hello. " in str(body["messages"])
    for fault, kind, n_tries in (
        ("garbage", "bad-reply", 6),
        ("500", "server-error", 6),
        ("filtered", "reply-filtered", 1),
    ):
        server.always, before = fault, server.paths["/v1/chat/completions"]
        (found,) = api.reply(asked[:1])
        assert isinstance(found, Failure)
        assert found.kind == kind
        assert server.paths["/v1/chat/completions"] - before == n_tries

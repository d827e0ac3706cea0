"""Names of served models."""

from __future__ import annotations

import pytest

from beb.errors import BadSpec
from beb.models.catalog import load_model
from beb.models.server_address import ServerAddress, is_chat_api, is_served, parse_address, without_client_options


def test_parts() -> None:
    name = "vllm:https://host:8000/v1?tokenizer=org/name&concurrency=4&timeout=2.5&retries=0&key=MY_KEY#a/b"
    assert parse_address(name) == ServerAddress(
        "vllm", "https://host:8000", "a/b", "org/name", concurrency=4, timeout=2.5, retries=0, key="MY_KEY"
    )
    assert parse_address("openai:http://localhost:1/api/#m").url == "http://localhost:1/api"
    assert is_served("vllm:http://x")
    assert is_chat_api("openai:http://x")
    assert not is_chat_api("vllm:http://x")
    assert not is_served("org/name")


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("vllm:http://h:1?timeout=3&tokenizer=a/b&retries=0#m?timeout=3", "vllm:http://h:1?tokenizer=a/b#m?timeout=3"),
        ("model:vllm:http://h:1?concurrency=3#m", "model:vllm:http://h:1#m"),
        ("lora@vllm:http://h:1/v1?key=MINE", "lora@vllm:http://h:1/v1"),
        ("openai:https://h?timeout=9#m", "openai:https://h#m"),
        ("persona:Is it vllm:http://h?timeout=3", "persona:Is it vllm:http://h?timeout=3"),
        ("./what?timeout=3", "./what?timeout=3"),
    ],
)
def test_how_to_ask_is_no_part_of_which_model_it_is(name: str, left: str) -> None:
    assert without_client_options(name) == left


def test_a_key_is_sent_only_where_it_was_meant_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "VLLM_API_KEY", "BEB_API_KEY"):
        monkeypatch.setenv(variable, "x")
    assert parse_address("openai:https://api.openai.com/v1#m").key == "OPENAI_API_KEY"
    assert parse_address("openai:https://elsewhere.example#m").key == "BEB_API_KEY"
    assert parse_address("vllm:http://localhost:1#m").key == "VLLM_API_KEY"
    monkeypatch.delenv("VLLM_API_KEY")
    assert parse_address("vllm:http://localhost:1#m").key == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vllm:localhost:8000#m", "no http or https address"),
        ("vllm:", "no http or https address"),
        ("vllm:ftp://x#m", "no http or https address"),
        ("vllm:http://x:port#m", "no address"),
        ("vllm:http://me:secret@x#m", "environment variable"),
        ("vllm:http://x?timeout=-1#m", "timeout"),
        ("vllm:http://x?concurrency=0#m", "concurrency"),
        ("vllm:http://x?api_key=sk-secret#m", "options are"),
        ("vllm:http://x?key=sk-secret#m", "never the key itself"),
    ],
)
def test_refused(name: str, message: str) -> None:
    with pytest.raises(BadSpec, match=message) as refused:
        parse_address(name)
    assert "secret" not in str(refused.value)


def test_a_chat_api_is_no_language_model() -> None:
    with pytest.raises(BadSpec, match="only beb measure"):
        load_model("openai:http://127.0.0.1:9#m")

"""A real HTTP server on loopback that speaks vLLM's protocol over tiny local models, and can be told to misbehave."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from beb.models.huggingface import HuggingFaceModel, load_checkpoint

_SLOW_SECONDS = 0.2
_REPLACED = {"nan": float("nan"), "positive": 3.5}


def every(_: Mapping[str, Any]) -> bool:
    """All requests."""
    return True


class ModelServer:
    """models: by name, the first of them the base and the others its LoRA modules. folder: of the base.

    faults: misbehaviour of the next POST requests in order, None for none; `always` of every one after them; both only
    for requests whose body `ill` picks.
    """

    def __init__(self, models: Mapping[str, HuggingFaceModel], folder: Path, *, key: str = "") -> None:
        self.models, self.folder, self.key = dict(models), folder, key
        self.faults: list[str | None] = []
        self.always: str | None = None
        self.ill: Callable[[Mapping[str, Any]], bool] = every
        self.bodies: list[dict[str, Any]] = []
        self.paths: Counter[str] = Counter()
        self.connections = 0
        self.open_sockets: list[socket.socket] = []
        self.at_once = self.most_at_once = 0
        self.delay = 0.0
        self.silence = 1.5
        self.opening = ""
        self.dies_after: int | None = None
        self._lock = threading.Lock()
        self._model_lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._handler = Handler
        self.restart(0)

    def restart(self, port: int) -> None:
        """Begin to listen, again after `close`."""
        self.is_closed = False
        self._http = _QuietServer(("127.0.0.1", port), self._handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def name(self, model: str = "", **options: Any) -> str:
        """What the model is called for beb: quick to give up by default."""
        query = "&".join(f"{k}={v}" for k, v in {"retries": 2, "timeout": 5, **options}.items())
        return f"vllm:{self.url}?{query}{'#' if model else ''}{model}"

    def well(self) -> None:
        """Misbehave no more."""
        self.faults, self.always, self.ill, self.opening, self.delay = [], None, every, "", 0.0

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for each in self.open_sockets:  # as a process that dies would
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.is_closed = True

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    def next_fault(self, body: Mapping[str, Any]) -> str | None:
        with self._lock:
            if not self.ill(body):
                return None
            return self.faults.pop(0) if self.faults else self.always

    def dying(self) -> bool:
        """Whether the server goes away instead of answering, for good until it is started again."""
        with self._lock:
            if self.dies_after is None:
                return False
            self.dies_after -= 1
            if self.dies_after > 0:
                return False
            if self.dies_after == 0:
                threading.Thread(target=self.close, daemon=True).start()
            return True

    # What it answers.

    def cards(self) -> dict[str, Any]:
        base, *modules = self.models
        data = [{"id": base, "root": str(self.folder), "parent": None, "owned_by": "vllm",
                 "max_model_len": self.models[base].info.context_length}]  # fmt: skip
        data += [{"id": m, "root": f"/adapters/{m}", "parent": base, "owned_by": "vllm", "max_model_len": None}
                 for m in modules]  # fmt: skip
        return {"object": "list", "data": data}

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        model = self.models[body["model"]]
        with self._model_lock:
            prompt = tuple(body["prompt"])
            scores = self._prompt_scores(model, prompt, body["prompt_logprobs"]) if "prompt_logprobs" in body else None
            ids, log_probs = self._sampled(model, prompt, body)
        stopped = len(ids) < body["max_tokens"]
        return {
            "choices": [
                {
                    "text": "", "finish_reason": "stop" if stopped else "length", "prompt_logprobs": scores,
                    "token_ids": ids if body.get("return_token_ids") else None,
                    "logprobs": {"token_logprobs": log_probs} if body.get("logprobs") is not None else None,
                }
            ]
        }  # fmt: skip

    def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        model = next(iter(self.models.values()))
        with self._model_lock:
            (message,) = body["messages"]
            ids, _ = self._sampled(model, self._turn(model, message["content"]), {**body, "stop_token_ids": [1, 2]})
        reason = "length" if len(ids) == body["max_tokens"] else "stop"
        return {"choices": [{"message": {"content": model.decode(ids)}, "finish_reason": reason}]}

    def _turn(self, model: HuggingFaceModel, content: str) -> tuple[int, ...]:
        """What the model reads: a chat, or, where none was learnt, an opening and the text before the question."""
        if not self.opening:
            before, after = model.chat_frame()
            return (*before, *model.encode(content), *after)
        text, _, question = content.rpartition("\n\n")
        assert question
        return (*model.start_ids, *model.encode(self.opening + text))

    def _next(self, model: HuggingFaceModel, prompt: tuple[int, ...]) -> np.ndarray:
        """(vocabulary,) log-probabilities after the prompt, which holds the start."""
        rows = model.component(model.info, start_ids=prompt).distributions([(0,)])
        return np.asarray(rows.log_probs(0, 1), dtype=np.float64)[0]

    def _sampled(
        self, model: HuggingFaceModel, prompt: tuple[int, ...], body: Mapping[str, Any]
    ) -> tuple[list[int], list[float]]:
        assert body["temperature"] == 1
        assert body["top_p"] == 1
        rng = np.random.default_rng(body.get("seed"))
        ids: list[int] = []
        log_probs: list[float] = []
        while len(ids) < body["max_tokens"]:
            row = self._next(model, (*prompt, *ids))
            chosen = int(np.searchsorted(np.cumsum(np.exp(row)), rng.random() * np.exp(row).sum()))
            ids.append(chosen)
            log_probs.append(float(row[chosen]))
            if chosen in body.get("stop_token_ids", ()):
                break
        return ids, log_probs

    def _prompt_scores(self, model: HuggingFaceModel, prompt: tuple[int, ...], top: int) -> list[Any]:
        rows = model.component(model.info, start_ids=prompt[:1]).distributions([prompt[1:]])
        found: list[Any] = [None]
        for row, token in zip(np.asarray(rows.log_probs(0, rows.n_rows), dtype=np.float64), prompt[1:], strict=True):
            told = {*np.argsort(-row)[:top].tolist(), token}
            found.append({str(i): {"logprob": float(row[i]), "rank": 1, "decoded_token": ""} for i in told})
        return found


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone: what is said here would look as if the client had said it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: ModelServer

    def setup(self) -> None:
        super().setup()
        self.server_of.connections += 1
        self.server_of.open_sockets.append(self.connection)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_GET(self) -> None:
        server = self.server_of
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            self._send({"error": {"message": f"bad key {self.headers.get('Authorization')}"}}, 401)
        elif self.path == "/v1/models":
            self._send(server.cards())
        elif self.path == "/version":
            self._send({"version": "0.0.test"})
        else:
            self._send({"detail": "Not Found"}, 404)

    def do_POST(self) -> None:
        server = self.server_of
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.counted():
            server.bodies.append(body)
            server.paths[self.path] += 1
            if server.dying():
                self.close_connection = True
                return
            if server.delay:
                time.sleep(server.delay)
            if self.path == "/tokenize":
                self._send({"tokens": list(next(iter(server.models.values())).encode(body["prompt"]))})
                return
            fault = server.next_fault(body)
            if fault is None:
                self._send(server.complete(body) if self.path == "/v1/completions" else server.chat(body))
            else:
                self._misbehave(fault, body)

    def _misbehave(self, fault: str, body: Mapping[str, Any]) -> None:
        if fault.isdecimal():
            self._send({"error": {"message": f"deliberate {fault}"}}, int(fault), {"Retry-After": "0.05"})
        elif fault == "429-with-date":
            self._send({}, 429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"})
        elif fault == "huge-wait":
            self._send({}, 429, {"Retry-After": "86400"})
        elif fault == "garbage":
            self._raw(b"<html>502 Bad Gateway</html>")
        elif fault == "half-body":
            self._raw(b'{"choices": [{"te', length=4000)
            self.close_connection = True
        elif fault == "hang-up":
            self.close_connection = True
        elif fault == "silence":
            time.sleep(self.server_of.silence)
            self.close_connection = True
        elif fault == "slow":
            time.sleep(_SLOW_SECONDS)
            self._raw(json.dumps(self._answer(body)).encode(), pieces=4)
        elif fault == "gzip":
            told = gzip.compress(json.dumps(self._answer(body)).encode())
            self._raw(told, headers={"Content-Encoding": "gzip"}, pieces=2)
        elif fault == "drip":
            self._raw(b" " * 100, pieces=100)
            self.close_connection = True
        elif fault == "no-choices":
            self._send({"choices": []})
        else:
            self._send(_spoilt(fault, self._answer(body)))

    def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        chat = self.path != "/v1/completions"
        return self.server_of.chat(body) if chat else self.server_of.complete(body)

    def _send(self, told: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._raw(json.dumps(told).encode(), status=status, headers=headers)

    def _raw(
        self,
        content: bytes,
        *,
        status: int = 200,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
        pieces: int = 1,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        size = -(-len(content) // pieces)
        for start in range(0, len(content), size):
            if start:
                self.wfile.flush()
                time.sleep(_SLOW_SECONDS)
            self.wfile.write(content[start : start + size])


def _spoilt(fault: str, told: dict[str, Any]) -> dict[str, Any]:
    """A reply with one thing wrong."""
    choice = told["choices"][0]
    if fault == "filtered":
        choice["message"] = {"content": None}
        choice["finish_reason"] = "content_filter"
    elif fault == "no-log-probs":
        choice["logprobs"] = choice["prompt_logprobs"] = None
    elif fault == "too-many-tokens":
        choice["token_ids"] = (choice["token_ids"] or [0]) * 500
    elif fault == "wrong-ids":
        choice["token_ids"] = ["7"]
        choice["prompt_logprobs"] = [
            None,
            *({"99999": {"logprob": -1.0}} for _ in (choice["prompt_logprobs"] or [0])[1:]),
        ]
    elif fault in _REPLACED:
        value = _REPLACED[fault]
        if choice["logprobs"]:
            choice["logprobs"]["token_logprobs"][-1] = value
        for entry in (choice["prompt_logprobs"] or [None])[-1:]:
            for scored in (entry or {}).values():
                scored["logprob"] = value
    else:
        raise AssertionError(fault)
    return told


@contextmanager
def serving(models: Mapping[str, HuggingFaceModel], folder: Path, *, key: str = "") -> Iterator[ModelServer]:
    """A server for the time of a block."""
    server = ModelServer(models, folder, key=key)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serving_shop(shop: Path) -> Iterator[ModelServer]:
    """The target of a shop (see `checkpoints.write_shop`) and, as if they were its modules, both components."""
    models = {name: load_checkpoint(shop / name, name=name, device="cpu") for name in ("target", "unkind", "kind")}
    with serving(models, shop / "target") as started:
        started.silence = 2.5
        yield started

"""JSON over HTTP with pooled connections, bounded concurrency, retries with backoff, and failures instead of errors."""

from __future__ import annotations

import email.utils
import json
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import numpy as np

from beb.errors import ServerFailed
from beb.interfaces.language_model import Failure
from beb.models.server_address import ServerAddress

UNREACHABLE = "server-unreachable"
TIMEOUT = "server-timeout"
SERVER_ERROR = "server-error"
RATE_LIMITED = "rate-limited"
REFUSED = "request-refused"
BAD_REPLY = "bad-reply"
FILTERED = "reply-filtered"

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
CONNECT_SECONDS = 10.0
PATIENCE = 10.0
"""An answer that comes in pieces, none of them late, may take so many timeouts in all."""
FEWEST_ASKED_IN_VAIN = 4
"""So many requests of one batch, none of them answered, are the server's fault whatever else it answers."""
_AGAIN = frozenset({408, 409, 425, 429})
_DETAIL = 200

T = TypeVar("T")


class BadReply(ValueError):  # noqa: N818 - named like the failure that it becomes
    """A reply that lacks what was asked for, or whose numbers are none."""


class FilteredReply(ValueError):  # noqa: N818 - named like the failure that it becomes
    """A reply that a filter of the server has replaced; to ask until it lets one pass would select the answers."""


class _Retry(Exception):  # noqa: N818 - a signal inside this module, not an error
    """A try that failed. wait: seconds that the server asked for, if it did. again: whether trying again may help."""

    def __init__(self, failure: Failure, *, wait: float | None = None, again: bool = True) -> None:
        super().__init__(failure.detail)
        self.failure, self.wait, self.again = failure, wait, again


@dataclass(frozen=True)
class _Reply:
    """The whole of an answer. headers: whatever the case of their names."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport:
    """One server. Thread-safe; its connections are pooled, and at most `concurrency` of them are used at once.

    Every `read` takes the parsed JSON of a reply and returns what it says, or raises BadReply.
    first_wait: seconds before the first retry, doubled at each further one, with jitter.
    """

    def __init__(self, address: ServerAddress, *, first_wait: float = FIRST_WAIT_SECONDS) -> None:
        self.address = address
        self._first_wait = first_wait
        key = address.secret()
        limits = httpx2.Limits(
            max_connections=address.concurrency, max_keepalive_connections=address.concurrency, keepalive_expiry=30.0
        )
        self._client = httpx2.Client(
            base_url=address.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(address.timeout, connect=min(CONNECT_SECONDS, address.timeout), pool=None),
            limits=limits,
        )
        # Whoever forgets to close it leaves no open connection behind.
        self.close = weakref.finalize(self, self._client.close)
        self._jitter = np.random.default_rng()
        self._lock = threading.Lock()
        self._closed_until = 0.0
        self._stopping = threading.Event()
        self._key = key

    def get(self, path: str, read: Callable[[Any], T]) -> T | Failure:
        """One GET request."""
        return self._ask("GET", path, None, read)

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], T]) -> T | Failure:
        """One POST request."""
        return self._ask("POST", path, body, read)

    def map(self, work: Callable[[Any], T | Failure], items: Sequence[Any], *, check: Any) -> list[T | Failure]:
        """`work` on every item, in order, at most `concurrency` at a time.

        What failed is asked once more, after `check`, an item that any server in order answers; if it fails again,
        `check` is repeated. A failure that is returned is therefore its item's own: before and after it the server was
        in order.
        Raises: ServerFailed if the server cannot be reached, does not answer `check`, or answered no item of several:
        that says nothing about the items, and the run that asked can be continued later with the same numbers.
        """
        results = self._all(work, items, patient=False)
        failed = [i for i, each in enumerate(results) if _is_lost(each)]
        if not failed:
            return results
        self._refuse_ill(self._all(work, [check]))
        for i, again in zip(failed, self._all(work, [items[i] for i in failed]), strict=True):
            results[i] = again
        if any(map(_is_lost, results)):
            self._refuse_ill(self._all(work, [check]))
        if len(items) >= FEWEST_ASKED_IN_VAIN:
            self._refuse_ill(results)
        return results

    def _refuse_ill(self, results: Sequence[T | Failure]) -> None:
        """Raises: ServerFailed if every request failed, for another reason than a filter."""
        lost = [each for each in results if isinstance(each, Failure) and _is_lost(each)]
        if len(lost) == len(results):
            raise ServerFailed(
                f"{self.address.shown} does not answer as it should: {lost[-1].kind} ({lost[-1].detail}); finished "
                "work is saved: mend or start the server, then run again to go on"
            )

    def _all(
        self, work: Callable[[Any], T | Failure], items: Sequence[Any], *, patient: bool = True
    ) -> list[T | Failure]:
        """In order. patient: ask for every item; else, after many failures in a row, the rest counts as failed too.

        Raises: ServerFailed as soon as one item could not reach the server.
        """
        if not items:
            return []
        most_in_vain = max(self.address.concurrency, FEWEST_ASKED_IN_VAIN)
        in_vain: list[Failure] = []
        stopped: list[Failure] = []

        def in_turn(item: Any) -> T | Failure:
            if stopped:
                return stopped[0]
            found = work(item)
            if not isinstance(found, Failure) or not _is_lost(found):
                in_vain.clear()
                return found
            in_vain.append(found)
            if found.kind == UNREACHABLE or (len(in_vain) >= most_in_vain and not patient):
                stopped.append(found)
            return found

        with ThreadPoolExecutor(min(self.address.concurrency, len(items))) as pool:
            try:
                results = list(pool.map(in_turn, items))
            except BaseException:  # Ctrl-C: nobody waits for retries any more
                self._stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self.close()
                raise
        if stopped and stopped[0].kind == UNREACHABLE:
            raise ServerFailed(
                f"{self.address.shown} cannot be reached ({stopped[0].detail}); finished work is saved: start the "
                "server or check the address, then run again"
            )
        return results

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[Any], T]) -> T | Failure:
        for attempt in range(self.address.retries + 1):
            self._wait_for_the_server()
            try:
                return self._try(method, path, body, read)
            except _Retry as failed:
                if not failed.again or attempt == self.address.retries or self._stopping.is_set():
                    return self._without_key(failed.failure)
                self._pause(attempt, failed.wait)
        raise AssertionError

    def _try(self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[Any], T]) -> T:
        try:
            reply = self._reply(method, path, body)
        except httpx2.TimeoutException as error:
            kind = UNREACHABLE if isinstance(error, httpx2.ConnectTimeout) else TIMEOUT
            raise _Retry(Failure(kind, f"no answer within {self.address.timeout:g} s")) from error
        except (httpx2.ConnectError, httpx2.ProxyError, httpx2.UnsupportedProtocol) as error:
            raise _Retry(Failure(UNREACHABLE, _line(error))) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:  # half a body, a connection that broke, bad encoding
            raise _Retry(Failure(BAD_REPLY, _line(error))) from error
        _refuse_status(reply)
        try:
            return read(json.loads(reply.content))
        except FilteredReply as error:
            raise _Retry(Failure(FILTERED, str(error)[:_DETAIL]), again=False) from error
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            what = str(error) if isinstance(error, BadReply) else f"not what {path} answers ({_line(error)})"
            raise _Retry(Failure(BAD_REPLY, what[:_DETAIL])) from error

    def _reply(self, method: str, path: str, body: Mapping[str, Any] | None) -> _Reply:
        """The whole of an answer. Raises: httpx2.HTTPError; _Retry if it goes on coming for too long."""
        longest = PATIENCE * self.address.timeout
        started = time.monotonic()
        with self._client.stream(method, path, json=body) as response:
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() - started > longest:
                    raise _Retry(Failure(TIMEOUT, f"an answer that had not ended after {longest:g} s"))
        return _Reply(response.status_code, response.headers, bytes(content))

    def _without_key(self, failure: Failure) -> Failure:
        """A server may repeat the key that it refused; failures are stored."""
        return Failure(failure.kind, failure.detail.replace(self._key, "[key]")) if self._key else failure

    def _wait_for_the_server(self) -> None:
        with self._lock:
            left = self._closed_until - time.monotonic()
        if left > 0:
            self._stopping.wait(left)

    def _pause(self, attempt: int, asked: float | None) -> None:
        if asked is not None:
            # Whoever else is about to ask waits too: the limit is the server's, not this request's.
            with self._lock:
                self._closed_until = max(self._closed_until, time.monotonic() + asked)
        with self._lock:
            jitter = float(self._jitter.uniform(0.5, 1.0))
        self._stopping.wait(min(self._first_wait * 2**attempt, LONGEST_WAIT_SECONDS) * jitter)


def _is_lost(found: object) -> bool:
    """Whether another try might have been answered: a filter that replaces an answer would do it again."""
    return isinstance(found, Failure) and found.kind != FILTERED


def _refuse_status(reply: _Reply) -> None:
    """Raises: _Retry unless the server answered with success."""
    status = reply.status
    if status < 300:
        return
    detail = f"status {status}: {_message(reply)}"
    if status == 429:
        wait = _retry_after(reply.headers.get("retry-after"))
        # A server that asks for hours is not waited for: the request fails and is counted.
        again = wait is None or wait <= LONGEST_WAIT_SECONDS
        raise _Retry(Failure(RATE_LIMITED, detail), wait=wait, again=again)
    if status >= 500 or status in _AGAIN:
        wait = _retry_after(reply.headers.get("retry-after"))
        again = wait is None or wait <= LONGEST_WAIT_SECONDS
        raise _Retry(Failure(SERVER_ERROR, detail), wait=wait, again=again)
    raise _Retry(Failure(REFUSED, detail), again=False)


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a number of seconds or an HTTP date; None if the header is absent or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _message(reply: _Reply) -> str:
    """What the server says about its refusal, on one line."""
    try:
        told = json.loads(reply.content)
        told = told.get("error", told) if isinstance(told, dict) else told
        told = told.get("message", told.get("detail", told)) if isinstance(told, dict) else told
    except (ValueError, RecursionError):
        told = reply.content.decode("utf-8", "replace")
    return " ".join(str(told).split())[:_DETAIL]


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_DETAIL]

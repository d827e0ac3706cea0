"""JSON over HTTP with pooled connections, bounded concurrency, retries with backoff, and failures instead of errors."""

from __future__ import annotations

import email.utils
import json
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
CONNECT_SECONDS = 10.0
_AGAIN = frozenset({408, 409, 425, 429})
_DETAIL = 200

T = TypeVar("T")


class BadReply(ValueError):  # noqa: N818 - named like the failure that it becomes
    """A reply that lacks what was asked for, or whose numbers are none."""


class _Retry(Exception):  # noqa: N818 - a signal inside this module, not an error
    """A try that failed. wait: seconds that the server asked for, if it did. again: whether trying again may help."""

    def __init__(self, failure: Failure, *, wait: float | None = None, again: bool = True) -> None:
        super().__init__(failure.detail)
        self.failure, self.wait, self.again = failure, wait, again


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

    def map(self, work: Callable[[Any], T | Failure], items: Sequence[Any]) -> list[T | Failure]:
        """`work` on every item, in order, at most `concurrency` at a time.

        Raises: ServerFailed if the server could not be reached at last: that says nothing about the items, and the run
        that asked can be continued later with the same numbers.
        """
        if not items:
            return []
        with ThreadPoolExecutor(min(self.address.concurrency, len(items))) as pool:
            try:
                results = list(pool.map(work, items))
            except BaseException:  # Ctrl-C: nobody waits for retries any more
                self._stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self.close()
                raise
        lost = [each for each in results if isinstance(each, Failure) and each.kind == UNREACHABLE]
        if lost:
            raise ServerFailed(
                f"{self.address.shown} cannot be reached ({lost[0].detail}); finished work is saved: start the server "
                "or check the address, then run again"
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
            response = self._client.request(method, path, json=body)
        except httpx2.TimeoutException as error:
            kind = UNREACHABLE if isinstance(error, httpx2.ConnectTimeout) else TIMEOUT
            raise _Retry(Failure(kind, f"no answer within {self.address.timeout:g} s")) from error
        except (httpx2.ConnectError, httpx2.ProxyError, httpx2.UnsupportedProtocol) as error:
            raise _Retry(Failure(UNREACHABLE, _line(error))) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:  # half a body, a connection that broke, bad encoding
            raise _Retry(Failure(BAD_REPLY, _line(error))) from error
        _refuse_status(response)
        try:
            return read(json.loads(response.content))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            what = str(error) if isinstance(error, BadReply) else f"not what {path} answers ({_line(error)})"
            raise _Retry(Failure(BAD_REPLY, what[:_DETAIL])) from error

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


def _refuse_status(response: httpx2.Response) -> None:
    """Raises: _Retry unless the server answered with success."""
    status = response.status_code
    if status < 300:
        return
    detail = f"status {status}: {_message(response)}"
    if status == 429:
        wait = _retry_after(response.headers.get("retry-after"))
        # A server that asks for hours is not waited for: the request fails and is counted.
        again = wait is None or wait <= LONGEST_WAIT_SECONDS
        raise _Retry(Failure(RATE_LIMITED, detail), wait=wait, again=again)
    if status >= 500 or status in _AGAIN:
        wait = _retry_after(response.headers.get("retry-after"))
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


def _message(response: httpx2.Response) -> str:
    """What the server says about its refusal, on one line."""
    try:
        told = json.loads(response.content)
        told = told.get("error", told) if isinstance(told, dict) else told
        told = told.get("message", told.get("detail", told)) if isinstance(told, dict) else told
    except (ValueError, RecursionError):
        told = response.text
    return " ".join(str(told).split())[:_DETAIL]


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_DETAIL]

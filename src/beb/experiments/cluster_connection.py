"""The connection to a Ray cluster: one line where Ray itself would wait for ever, or end the process."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

from beb.errors import ClusterError

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 1.0
HEAD_SECONDS = 30.0
"""So long may the head be away, as where it is restarted; after 60 seconds Ray ends the process."""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
"""How a client of HTTP/2, which Ray's servers speak, begins (RFC 9113, section 3.4): its preface, and no settings."""
FRAME_BYTES, KIND, SETTINGS = 9, 3, 4  # of the frame's head that answers, the place of its kind, and that kind


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The library, connected to a cluster; SIGTERM stops this process as Ctrl-C does. Raises: ClusterError."""
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "--executor ray needs Ray, which is not installed; install behavior-expectation-bounds[ray]"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS")
    with _termination() as handle:
        try:
            if where is not None:
                _require_cluster(where)
            ray.init(address=address, include_dashboard=None, logging_level="error", log_to_driver=False)
        except (
            Exception
        ) as error:  # ConnectionError, ValueError, RuntimeError, TimeoutError: whatever stands in the way
            reason = " ".join(str(error).split())[:200]
            raise ClusterError(
                f"no Ray cluster at {where or 'this machine'} ({reason}); start one with `ray start --head`, or give "
                "--executor ray:address=HOST:PORT"
            ) from error
        handle()
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _termination() -> Iterator[Callable[[], None]]:
    """A function to call when Ray has set its own handler of SIGTERM, which prints a stack: then the signal is handled
    as before, or, by a program that does not handle it, as Ctrl-C is.
    """
    if threading.current_thread() is not threading.main_thread():  # no other one may set it
        yield lambda: None
        return
    before = signal.getsignal(signal.SIGTERM)
    wanted = before if callable(before) else signal.default_int_handler
    try:
        yield partial(_handle, wanted)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _handle(handler: Callable[[int, FrameType | None], Any]) -> None:
    signal.signal(signal.SIGTERM, handler)


def _host_and_port(address: str) -> tuple[str, int] | None:
    """None for a name, as "auto" and "local". Raises: ValueError."""
    host, found, port = address.removeprefix("ray://").rpartition(":")
    return (host.strip("[]"), int(port)) if found else None


def _require_cluster(address: str) -> None:
    """Refuse an address at which nothing answers, or no server of Ray's kind: the library would wait for minutes.

    Raises: OSError, ValueError.
    """
    place = _host_and_port(address)
    if place is None:
        return
    with socket.create_connection(place, timeout=CONNECT_SECONDS) as server:
        if os.environ.get("RAY_USE_TLS", "0").lower() not in ("", "0", "false"):
            return  # which hides what speaks there
        answer = b""
        try:
            server.sendall(HELLO)
            while len(answer) < FRAME_BYTES and (more := server.recv(FRAME_BYTES - len(answer))):
                answer += more
        except OSError:
            answer = b""
    if len(answer) < FRAME_BYTES or answer[KIND] != SETTINGS:
        raise ConnectionError("what listens there is not Ray")


@dataclass(slots=True)
class Head:
    """The cluster's head, without which the work of other nodes cannot be followed.

    place: None where the library does not say it. looked: when, last. missed: since when it has not been there.
    """

    place: tuple[str, int] | None
    looked: float = field(default_factory=time.monotonic)
    missed: float | None = None

    @classmethod
    def of(cls, ray: Any) -> Head:
        """Of the cluster that the library is connected to."""
        try:
            return cls(_host_and_port(ray.get_runtime_context().gcs_address))
        except Exception:  # through a Ray client, which does not know it
            return cls(None)

    def look(self) -> None:
        """Raises: ClusterError once nothing has listened there for `HEAD_SECONDS`."""
        now = time.monotonic()
        if self.place is None or now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        try:
            socket.create_connection(self.place, timeout=LOOK_SECONDS).close()
        except OSError as error:
            self.missed = self.missed or now
            if now - self.missed >= HEAD_SECONDS:
                raise ClusterError(
                    f"the cluster's head cannot be reached at {self.place[0]}:{self.place[1]}; finished work is saved: "
                    "run again to go on"
                ) from error
        else:
            self.missed = None

    @property
    def is_missed(self) -> bool:
        """Whether it was not there when it was last looked for."""
        return self.missed is not None


def refuse_share(ray: Any, share: Mapping[str, float]) -> None:
    """Refuse what one worker is to have if no node has so much even when it is idle. Raises: ClusterError."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = as_resources(share)
    if any(all(node.get(name, 0.0) >= n for name, n in wanted.items()) for node in nodes):
        return
    found = Counter(told(node) for node in nodes)
    each = "; ".join(f"{n} × ({what})" for what, n in found.items())
    raise ClusterError(
        f"no node has room for one worker ({told(wanted)}); the nodes have {each or 'nothing'}: ask for less with "
        "--executor ray:cpus=X,gpus=X, or add such a node first"
    )


def as_resources(share: Mapping[str, float]) -> dict[str, float]:
    """What an actor asks for, by the names that it has among the resources of a node."""
    return {"CPU": share["num_cpus"], "GPU": share["num_gpus"]}


def told(resources: Mapping[str, float]) -> str:
    """Processors and GPUs as a text: "4 CPU, 1 GPU"."""
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU") if resources.get(name, 0))

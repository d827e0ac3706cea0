"""What is said where no cluster is, and where its head is gone: here without one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from beb.errors import ClusterError
from beb.experiments import cluster_connection
from beb.experiments.cluster_connection import Head, connected

pytest.importorskip("ray", reason="NOT TESTED: Ray is not installed; pip install ray, then run this again")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_an_address_where_something_else_listens_is_refused_at_once(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that says nothing, and one that speaks HTTP/1."""
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setattr(cluster_connection, "CONNECT_SECONDS", 0.5)
    message = rf"no Ray cluster at {address} \(what listens there is not Ray\); start one"
    began = time.monotonic()
    with pytest.raises(ClusterError, match=message), connected(address):
        pass

    def answer() -> None:
        listener.accept()[0].close()  # that of the first try
        with listener.accept()[0] as client:
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.recv(1024)

    thread = threading.Thread(target=answer)
    thread.start()
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ClusterError, match=message), connected(None):
        pass
    thread.join()
    assert time.monotonic() - began < 10


def test_a_head_is_missed_only_after_a_while(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_connection, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(cluster_connection, "HEAD_SECONDS", 0.5)
    host, port = listener.getsockname()
    head = Head((host, port))
    time.sleep(0.1)
    head.look()
    assert not head.is_missed
    listener.close()
    time.sleep(0.6)  # nobody looked meanwhile: it may have been there
    head.look()
    assert head.is_missed
    with socket.create_server((host, port)):
        time.sleep(0.1)
        head.look()
    assert not head.is_missed
    began = time.monotonic()

    def watch() -> None:
        while time.monotonic() - began < 10:
            time.sleep(0.06)
            head.look()

    with pytest.raises(ClusterError, match=f"head cannot be reached at {host}:{port}; finished work is saved"):
        watch()
    assert time.monotonic() - began >= 0.5


def test_a_head_that_the_library_does_not_name_is_not_watched() -> None:
    head = Head.of(None)
    assert head.place is None
    head.look()

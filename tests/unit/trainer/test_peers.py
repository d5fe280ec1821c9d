"""The watch over the other ranks: who is gone, who cannot be reached, who is only slow."""

from __future__ import annotations

import socket
import threading

import pytest

from bert.backends import peers


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_address():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{server.getsockname()[1]}"


def watch(workers, **more):
    """Watches as rank 0 until something is wrong; returns the error, None after a second."""
    found, done = [], threading.Event()

    def note(error):
        found.append(error)
        done.set()

    watcher = peers.PeerWatch(workers, 0, note, interval_seconds=0.01, **more)
    watcher.start()
    done.wait(1.0)
    watcher.stop()
    return str(found[0]) if found else None


def test_listening_peers_are_left_alone(listener):
    assert watch(["own:1", listener]) is None


def test_a_peer_that_refuses_is_gone(listener, closed_address):
    message = watch(["own:1", listener, closed_address])
    assert message.startswith(f"rank 0: rank 2 at {closed_address} is gone before training ended")
    assert peers.find_gone_peer(["own:1", listener, closed_address], 0) == 2


def test_a_peer_without_answer_is_given_time(monkeypatch, listener):
    monkeypatch.setattr(peers, "probe", lambda address: peers.SILENT)
    assert watch(["own:1", listener], unreachable_seconds=60.0) is None
    message = watch(["own:1", listener], unreachable_seconds=0.2)
    assert message == (
        f"rank 0: rank 1 at {listener} cannot be reached for 0.2 s; its host or the network to it "
        "is down"
    )


def test_a_peer_that_answers_again_starts_anew(monkeypatch, listener):
    answers = iter([peers.SILENT, peers.LISTENS] * 1000)
    monkeypatch.setattr(peers, "probe", lambda address: next(answers))
    assert watch(["own:1", listener], unreachable_seconds=0.05) is None


def test_a_full_queue_is_silent_and_not_gone():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        port = busy.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        answer = peers.probe(f"127.0.0.1:{port}")
        for client in waiting:
            client.close()
    assert answer == peers.SILENT

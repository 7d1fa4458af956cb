"""Servers, also behind proxies: one that answers, one that refuses, one that says nothing."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from thaw import reach
from thaw.reach import no_stall, unreachable


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for variable in (name, name.upper()):
            monkeypatch.delenv(variable, raising=False)


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """Says the same to everybody, or with b"" nothing; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:  # closed
                    return
                held.append(connection)
                if answer:
                    connection.recv(4096)
                    connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join(20)
            for connection in held:
                connection.close()


def test_direct() -> None:
    with server(b"") as port:
        assert unreachable(f"http://127.0.0.1:{port}/some/file") == ""
    assert unreachable(f"http://127.0.0.1:{port}") == "connection refused"


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "404 Not Found"])
def test_whatever_comes_back_through_a_proxy_is_an_answer(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert unreachable("http://nowhere.invalid") == ""


def test_a_proxy_that_is_away_and_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "REACH", 0.3)
    with server(b"") as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        start = time.monotonic()
        assert unreachable("https://nowhere.invalid") in ("timed out", "no answer")
        assert time.monotonic() - start < 5
    assert unreachable("https://nowhere.invalid") == "connection refused"


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "REACH", 0.2)
    monkeypatch.setattr(reach, "_connect", lambda server: time.sleep(3))
    assert unreachable("https://nowhere.invalid") == "no answer"


def test_the_limit_holds_inside_only() -> None:
    with no_stall():
        assert socket.getdefaulttimeout() == reach.STALL
    assert socket.getdefaulttimeout() is None

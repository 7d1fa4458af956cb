"""Whether a server can be had, told within seconds: what is downloaded later must not hang first."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener, getproxies, proxy_bypass

REACH, STALL = 3.0, 60.0
"""Seconds: for a first answer of the server; without a byte before a download is given up."""


def unreachable(server: str) -> str:
    """Why ``server`` (an address; its path counts for nothing) does not answer in `REACH` seconds; "" where it does."""
    asked, found = urlsplit(server), ["no answer"]
    by_proxy = bool(getproxies().get(asked.scheme)) and not proxy_bypass(asked.hostname or "")

    def ask() -> None:
        try:
            (_ask_proxy if by_proxy else _connect)(f"{asked.scheme}://{asked.netloc}")
            found[0] = ""
        except OSError as error:
            found[0] = _reason(error)

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name knows no limit of time
    asking.start()
    asking.join(REACH + 0.5)
    return found[0]


def _connect(server: str) -> None:
    asked = urlsplit(server)
    port = asked.port or {"http": 80, "https": 443}.get(asked.scheme, 443)
    socket.create_connection((asked.hostname or "", port), timeout=REACH).close()


def _ask_proxy(server: str) -> None:
    """A proxy takes every connection; whether something lies behind it is told by an answer, whatever it says."""
    try:
        build_opener().open(Request(server, method="HEAD"), timeout=REACH).close()  # urlopen keeps the first proxies that it saw
    except HTTPError as error:
        error.close()
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLError):  # the client that downloads may know certificates that this one does not
            raise


def _reason(error: OSError) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    said = cause.strerror if isinstance(cause, OSError) else None
    return (said or str(cause) or type(cause).__name__).lower()


@contextmanager
def no_stall() -> Iterator[None]:
    """For libraries that set no limit of their own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

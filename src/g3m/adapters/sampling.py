"""Fetches the beginning of a file through one proxy, to learn how fast that way is and that it leads there.

The sample is bounded in time and size, and its bytes are thrown away. While its connection is open, whoever
watches is told our port on this machine: by it a core's controller finds the connection. What goes wrong on
the network is part of the answer and no error.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import pycurl

from g3m.adapters.curl import Head, HttpOptions, make_handle, next_hop, source_error
from g3m.core.errors import Changed, Interrupted, SourceError
from g3m.core.resume import Answer
from g3m.core.secrets import host_of

REDIRECT_LIMIT = 5
WATCH_EVERY_S = 0.1
SHORT_S = 0.2
WATCH_AFTER_S = 0.5
"""How long a connection that has served is still held for the watcher."""

Watch = Callable[[int], bool]
"""Told our port while the connection is open; True ends the watching."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file to take the beginning of; `size_bytes` is the whole file's, if that is known."""

    url: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the file, how long from its first byte on, and how long altogether."""

    size_bytes: int = 64 * 2**20
    read_s: float = 2.0
    whole_s: float = 20.0


ONE_BYTE = Limits(size_bytes=1, read_s=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What came: from which host, after how long, how much in which time; `problem` says what did not."""

    host: str
    first_byte_s: float | None = None
    done_bytes: int = 0
    read_s: float = 0.0
    problem: str = ""

    @property
    def rate_bytes_per_s(self) -> float | None:
        """The throughput, where there was something to measure.

        What came all at once had been waiting in buffers: then the wait for it counts as well.
        """
        waited_s = 0.0 if self.read_s >= SHORT_S else self.first_byte_s or 0.0
        whole_s = self.read_s + waited_s
        return self.done_bytes / whole_s if self.done_bytes > 1 and whole_s > 0 else None


def take_sample(
    target: Target, proxy: str, limits: Limits, options: HttpOptions, watch: Watch = lambda _port: True
) -> Sample:
    """The beginning of the file, fetched through a proxy over a connection of its own."""
    url, end_s = target.url, time.monotonic() + limits.whole_s
    try:
        for _ in range(REDIRECT_LIMIT + 1):
            with closing(_Transfer(url, proxy, limits, options, watch)) as transfer:
                sample = transfer.run(end_s)
                if transfer.answer.status not in (301, 302, 303, 307, 308):
                    return replace(sample, problem=_problem(transfer.answer, target))
                url = next_hop(url, transfer.answer)
    except SourceError as error:
        host = host_of(url)
        return Sample(host=host, problem=error.message.removeprefix(f"{host}: "))
    return Sample(host=host_of(url), problem=f"more than {REDIRECT_LIMIT} redirects")


def _problem(answer: Answer, target: Target) -> str:
    """Why this is not the file, as far as a head can tell: a block page often says 200."""
    if answer.status not in (200, 206):
        return f"answered with {answer.status}"
    if answer.headers.get("content-type", "").startswith("text/html"):
        return "answered with a page in place of the file"
    said = answer.headers.get("content-range", "").rpartition("/")[2]
    said = answer.headers.get("content-length", "") if answer.status == 200 else said
    if target.size_bytes is not None and said.isdecimal() and int(said) != target.size_bytes:
        return f"answered with another file: {said} bytes and not {target.size_bytes}"
    return ""


class _Transfer:
    """One connection through the proxy, and one request over it."""

    def __init__(self, url: str, proxy: str, limits: Limits, options: HttpOptions, watch: Watch) -> None:
        self._url, self._limits, self._options, self._watch = url, limits, options, watch
        self._head = Head(tunnel=proxy.startswith("http"))
        self._done_bytes = 0
        self._began_s = time.monotonic()
        self._first_s = self._last_s = self._watched_s = 0.0
        self._seen = False
        self._socket: socket.socket | None = None
        self._easy = make_handle(url, proxy, [f"Range: bytes=0-{limits.size_bytes - 1}"], options)
        # A tunnel also for plain HTTP: one connection here is then one connection of the core's.
        self._easy.setopt(pycurl.HTTPPROXYTUNNEL, 1 if proxy.startswith("http") else 0)
        self._easy.setopt(pycurl.SOCKOPTFUNCTION, self._keep_socket)
        self._easy.setopt(pycurl.HEADERFUNCTION, self._head.take)
        self._easy.setopt(pycurl.WRITEFUNCTION, self._take)
        self._multi = pycurl.CurlMulti()
        self._multi.add_handle(self._easy)

    @property
    def answer(self) -> Answer:
        return self._head.answer

    def run(self, end_s: float) -> Sample:
        """Read until enough is here; SourceError if it breaks before the first byte."""
        finished = False
        while not finished and time.monotonic() < end_s and not self._is_enough():
            self._multi.perform()
            _, good, bad = self._multi.info_read()
            finished = bool(good or bad)
            self._look()
            if bad and not self._done_bytes and not self._is_enough():
                raise source_error(self._url, bad[0][1], bad[0][2])
            if self._options.stopping():
                raise Interrupted("stopped while measuring")
            if not finished:
                self._multi.select(WATCH_EVERY_S / 2)
        if not self._head.done:
            raise Changed(f"{host_of(self._url)}: no answer within {self._limits.whole_s:g} s")
        # What was cut off, or stood still, is measured until now: silence counts as well.
        stop_s = self._last_s if finished else time.monotonic()
        self._linger()
        return Sample(
            host=host_of(self._url),
            first_byte_s=self._first_s - self._began_s if self._first_s else None,
            done_bytes=self._done_bytes,
            read_s=stop_s - self._first_s,
        )

    def _is_enough(self) -> bool:
        if not self._first_s:
            return False
        late = time.monotonic() - self._first_s >= self._limits.read_s
        return late or self._done_bytes >= self._limits.size_bytes

    def _take(self, data: bytes) -> int:
        self._last_s = time.monotonic()
        self._first_s = self._first_s or self._last_s
        self._done_bytes += len(data)
        return len(data)

    def _keep_socket(self, descriptor: int, _purpose: int) -> int:
        self._forget_socket()
        self._socket = socket.socket(fileno=os.dup(descriptor))
        return pycurl.SOCKOPT_OK

    def _look(self) -> None:
        """Tell the watcher our port, not more often than it can be of use."""
        now_s = time.monotonic()
        if self._seen or self._socket is None or now_s - self._watched_s < WATCH_EVERY_S:
            return
        self._watched_s = now_s
        with suppress(OSError):
            port = self._socket.getsockname()[1]
            self._seen = bool(port) and self._watch(port)

    def _linger(self) -> None:
        """The connection stays open a little for the watcher: a core notes it after a while only."""
        end_s = time.monotonic() + WATCH_AFTER_S
        while not self._seen and self._socket is not None and time.monotonic() < end_s:
            self._look()
            time.sleep(WATCH_EVERY_S / 10)

    def _forget_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """End the connection."""
        self._forget_socket()
        self._multi.remove_handle(self._easy)
        self._easy.close()
        self._multi.close()

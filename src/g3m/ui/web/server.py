"""Serving the pages: the socket, the token, and the loop that ends with Ctrl-C or SIGTERM.

How connections are kept within bounds is in doorway.py, who is let in is in gate.py.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from g3m.adapters import fsio
from g3m.adapters.guard import Guard
from g3m.adapters.session import Session
from g3m.core.errors import UsageError
from g3m.core.secrets import Secret
from g3m.runners.jobs import jobs_of
from g3m.ui.web.app import gated, make_app
from g3m.ui.web.collection import Collection
from g3m.ui.web.doorway import Doorway
from g3m.ui.web.live import Live
from g3m.ui.web.pictures import Pictures

PORT = 8317
TRIES = 32
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAREWELL_S = 0.4
"""What is asked at the end is still answered for so long; then nothing is drawn any more."""

ENDING_S = 1
"""After so long nobody is waited for who reads slowly."""

LAST_S = 4.0
"""After so long the process ends whatever still works in a thread: a slow disk, a long question."""

_BUSY = (
    "another port: g3m view --port 0 takes any that is free",
    "换一个端口：g3m view --port 0 会使用任意空闲端口",
)
_SHORTER = (
    "name a shorter path: that of a socket may have about a hundred bytes",
    "请指定更短的路径：套接字路径不能超过约一百字节",
)
_SOCKET = ("name a file that is not there yet", "请指定尚不存在的文件")


@dataclass(frozen=True, slots=True)
class Served:
    """Where the pages are: the address with its token, or the path of the socket."""

    address: str
    port: int = 0
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where to serve: a port, or the path of a socket; and the first page, without its first slash."""

    port: int = PORT
    path: Path | None = None
    start: str = ""
    lang: str = ""


@contextmanager
def opened(session: Session) -> Iterator[tuple[Collection, Pictures]]:
    """The collection of a session, and its pictures, with guarded processes of their own."""
    with Guard(jobs_of(session)) as guard:
        collection = Collection(replace(session, guard=guard))
        try:
            yield collection, Pictures(collection, guard)
        finally:
            collection.close()


def view(*, port: int = PORT, **options: object) -> None:
    """Serve the pages of what is below `root` until Ctrl-C, and print their address; blocks.

    `port`: the next free one is taken if it is not free, any if 0. Raises UsageError if none is.
    """

    from g3m.runners.run import make_session

    def show(served: Served) -> None:
        sys.stdout.write(f"{served.address}\n")
        sys.stdout.flush()

    serve(make_session(options), Wanted(port=port), ready=show)


def serve(session: Session, wanted: Wanted, *, ready: Callable[[Served], None]) -> None:
    """Serve until Ctrl-C; `ready` hears where as soon as connections are taken.

    After SIGTERM and SIGHUP it raises SystemExit with 143 and 129. The socket's file is taken away.
    """
    path = wanted.path
    listening, served = _listen(wanted.port, path)
    socket_file = _SocketFile(path)
    try:
        with listening, opened(session) as (collection, pictures):
            token = None if path else Secret(secrets.token_urlsafe(24))
            live = Live(session)
            app = make_app(collection, pictures=pictures, live=live, lang=wanted.lang)
            server = _Server(_config(app, token), _Ends(pictures.close, live.end, socket_file.remove))
            if token is not None:
                mark = "&" if wanted.start else "?"
                address = f"{served.address}{wanted.start}{mark}t={token.reveal()}"
                served = replace(served, address=address)
            server.ready = lambda: ready(served)
            try:
                server.run(sockets=[listening])
            finally:
                live.close()
    finally:
        socket_file.remove()
    if server.ended_by not in (0, signal.SIGINT):
        raise SystemExit(128 + server.ended_by)


def _config(app: Starlette, token: Secret | None) -> uvicorn.Config:
    """No log holds an address, because one has the token; and nothing is chosen by what else is installed."""
    return uvicorn.Config(
        gated(app, token),
        http=Doorway,
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=ENDING_S,
    )


@dataclass(frozen=True, slots=True)
class _Ends:
    """What ends with the server: what draws, the streams, the file of the socket."""

    drawing: Callable[[], None]
    streams: Callable[[], None]
    socket_file: Callable[[], None]


class _Server(uvicorn.Server):
    """The loop; a signal ends it at once, and the process may still clear up behind it."""

    def __init__(self, config: uvicorn.Config, ends: _Ends) -> None:
        super().__init__(config)
        self._ends = ends
        self.ended_by = 0
        self.ready: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ends.streams()
        closing = asyncio.create_task(self._close_soon())
        await super().shutdown(sockets)
        closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing

    async def _close_soon(self) -> None:
        """Threads that wait for a picture cannot be cancelled; without a guard they wait for nothing."""
        await asyncio.sleep(FAREWELL_S)
        await asyncio.to_thread(self._ends.drawing)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own, it does not send the signal again: nothing would be cleared up then."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # the name is uvicorn's
        """The first signal ends the loop, the second the process."""
        if self.ended_by:
            self._leave()
        self.ended_by = sig
        self.should_exit = True
        last = threading.Timer(LAST_S, self._leave)
        last.daemon = True
        last.start()

    def _leave(self) -> None:
        self._ends.socket_file()
        os._exit(0 if self.ended_by == signal.SIGINT else 128 + self.ended_by)


class _SocketFile:
    """The file of a socket just made; what lies there later under its name is somebody else's."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._state = path.lstat() if path is not None else None

    def remove(self) -> None:
        """Take it away, if it is still the same."""
        with suppress(OSError):
            if self._path and self._state and os.path.samestat(self._state, self._path.lstat()):
                fsio.unlink(self._path)


def _listen(port: int, path: Path | None) -> tuple[socket.socket, Served]:
    if path is not None:
        return _unix(path), Served(str(path), path=path)
    for number in [0] if port == 0 else range(port, min(port + TRIES, 65536)):
        # asyncio turns Nagle's algorithm off only where the protocol is named; else answers wait for 40 ms.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", number))
            listening.listen(128)
        except OSError:
            listening.close()
            continue
        own = listening.getsockname()[1]
        return listening, Served(f"http://127.0.0.1:{own}/", own)
    last = min(port + TRIES, 65536) - 1
    raise UsageError(f"the ports {port} to {last} are taken", hint=_BUSY)


def _unix(path: Path) -> socket.socket:
    """A socket that only its owner can open: so from its first moment, because the mask says so."""
    with suppress(OSError):
        if stat.S_ISSOCK(path.lstat().st_mode) and _is_dead(path):
            fsio.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
        listening.listen(128)
    except OSError as error:
        listening.close()
        hint = _SOCKET if error.errno else _SHORTER
        raise UsageError(f"{path}: {error.strerror or error}", hint=hint) from None
    finally:
        os.umask(before)
    return listening


def _is_dead(path: Path) -> bool:
    """Whether nobody listens there; one who is too busy to answer does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED

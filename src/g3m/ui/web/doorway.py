"""One connection of a browser: how long it may take to ask, how many there may be, what a bad request gets.

What is asked is the gate's business. Other users of the machine can connect, too, so nobody may hold a place
by saying nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from g3m.ui.web.gate import HEADERS

ASKING_S = 20.0
"""A request's head must be here so soon; a tunnel over a bad line takes a second or two."""

MOST_CONNECTIONS = 128
_BAD = b"This is no HTTP request that the pages answer.\n"


class Doorway(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, within bounds."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._heard()
        elif self._waiting is None and (before is None or before.response_complete):
            self._expect()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # the name is uvicorn's
        """What cannot be read gets an answer with the headers of all others, if one is still possible."""
        head: list[Any] = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(_BAD)).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            *HEADERS,
        ]
        try:
            for event in (
                h11.Response(status_code=400, headers=head),
                h11.Data(data=_BAD),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer is under way already
            self.transport.abort()
            return
        self.transport.close()

    def _expect(self) -> None:
        self._waiting = self.loop.call_later(ASKING_S, self.transport.abort)

    def _heard(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

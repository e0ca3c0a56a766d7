"""One request with its honest answer, what may spoil it, and the script that says when it does."""

from __future__ import annotations

import fnmatch
import threading
from dataclasses import dataclass, replace
from typing import Protocol

from g3m.lab.messages import Asked, Delivery, Reply, Resource


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request with its honest answer; `resource` is the file behind it, if it is about a file."""

    asked: Asked
    resource: Resource | None
    honest: Reply

    @property
    def has_body(self) -> bool:
        """Whether the answer carries bytes that can be spoiled."""
        return self.has_body_behind(0)

    def has_body_behind(self, after_bytes: int) -> bool:
        """Whether there is more of the body once so many bytes of it are sent."""
        return self.asked.method == "GET" and after_bytes < self.honest.body.size_bytes

    def delivered(self, delivery: Delivery) -> Reply:
        """The honest answer, delivered in another manner."""
        return replace(self.honest, delivery=delivery)


class Mischief(Protocol):
    """One way to spoil an answer."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        """The spoiled answer, or None if this kind has no hold on the exchange."""


@dataclass(slots=True)
class _Entry:
    """A line of the script; `left` counts down to 0, None stands for ever."""

    path_pattern: str
    mischief: Mischief
    left: int | None
    method: str | None

    def concerns(self, asked: Asked) -> bool:
        return (
            self.left != 0
            and self.method in (None, asked.method)
            and fnmatch.fnmatchcase(asked.path, self.path_pattern)
        )


class Script:
    """What is to go wrong: an answer is spoiled by the first entry that has a hold on it."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()

    def add(self, path_pattern: str, mischief: Mischief, times: int | None, method: str | None) -> None:
        """Spoil the next `times` answers (None: all) to requests for paths like the pattern."""
        with self._lock:
            self._entries.append(_Entry(path_pattern, mischief, times, method))

    def clear(self) -> None:
        """Be honest from now on."""
        with self._lock:
            self._entries.clear()

    def apply(self, exchange: Exchange) -> Reply:
        """The answer to send, spoiled or honest."""
        with self._lock:
            for entry in self._entries:
                if not entry.concerns(exchange.asked):
                    continue
                spoiled = entry.mischief.spoil(exchange)
                if spoiled is not None:
                    if entry.left is not None:
                        entry.left -= 1
                    return replace(spoiled, mischief=type(entry.mischief).__name__)
        return exchange.honest

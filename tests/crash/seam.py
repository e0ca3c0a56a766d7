"""The same faults within Python, at the one module that changes the disk: thousands of points a minute.

Every call of `g3m.adapters.fsio` is counted, and one of them, or all from it on, is refused. From a kill on nothing
changes any more, whatever the call: what the program still does in its memory, nobody sees.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pytest

from g3m.adapters import fsio

KILL = "KILL"
SHORT = "SHORT"
"""Of what is to be written the system takes one byte."""
ROOM = ("ENOSPC", "EDQUOT", "EIO")
CHANGES: dict[str, tuple[str, ...]] = {
    "open_file": (*ROOM, "EACCES", "EMFILE"),
    "write": (*ROOM, SHORT),
    "write_at": (*ROOM, SHORT),
    "write_pieces_at": (*ROOM, SHORT),
    "truncate": ROOM,
    "sync": ROOM,
    "sync_data": ROOM,
    "rename": (*ROOM, "EACCES"),
    "link": (*ROOM, "EACCES", "EPERM"),
    "link_to": (*ROOM, "EACCES"),
    "unlink": ("EIO", "EACCES"),
    "make_one_folder": (*ROOM, "EACCES"),
    "remove_tree": ("EIO", "EACCES"),
    "touch": ("EIO", "EACCES"),
    "make_room": (),
    "punch": (),
}
"""Every call that changes something, and what it may answer; hints answer no error."""


@dataclass(frozen=True)
class Harm:
    """What happens at the `when`th call, counted from one; `on` is at every later call of that name, too."""

    when: int
    kind: str
    on: bool = False


class Seam:
    """The calls of a run, and the harm that is done to it."""

    def __init__(self, harm: Harm | None = None) -> None:
        self.calls: list[str] = []
        self._harm = harm
        self._turn = Lock()

    def guard(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call as a program meets it."""

        def guarded(*arguments: Any, **more: Any) -> Any:
            kind = self._met(name)
            if kind == SHORT and SHORT in CHANGES[name]:
                file, data, *offset = arguments
                data = [bytes(data[0][:1])] if name == "write_pieces_at" else data[:1]
                return call(file, data, *offset)
            if kind and not CHANGES[name]:
                return False
            if (
                kind == KILL or kind in CHANGES[name]
            ):  # another call may have the number, where threads take turns
                number = errno.EIO if kind == KILL else getattr(errno, kind)
                raise OSError(number, os.strerror(number), *map(os.fspath, _paths(arguments)[:1]))
            return call(*arguments, **more)

        return guarded

    def _met(self, name: str) -> str:
        with self._turn:
            self.calls.append(name)
            harm, number = self._harm, len(self.calls)
            if harm is None or number < harm.when:
                return ""
            if harm.kind == KILL or number == harm.when:
                return harm.kind
            return harm.kind if harm.on and name == self.calls[harm.when - 1] else ""


def _paths(arguments: tuple[Any, ...]) -> list[Any]:
    return [one for one in arguments if isinstance(one, (str, os.PathLike))]


@contextmanager
def seam(harm: Harm | None = None) -> Iterator[Seam]:
    """Count the calls within the block, and do the harm; nothing is synced for real, which takes longest."""
    watched = Seam(harm)
    with pytest.MonkeyPatch.context() as patched:
        for name in ("fsync", "fdatasync"):
            patched.setattr(os, name, lambda _: None)
        for name in CHANGES:
            patched.setattr(fsio, name, watched.guard(name, getattr(fsio, name)))
        yield watched


def harms(calls: list[str], *, errors: bool = True) -> Iterator[Harm]:
    """Every harm at every call of a run."""
    for number, name in enumerate(calls, 1):
        yield Harm(number, KILL)
        for kind in CHANGES[name] if errors else ():
            yield Harm(number, kind)
            yield Harm(number, kind, on=True)

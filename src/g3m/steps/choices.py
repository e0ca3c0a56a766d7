"""Remembers what a core's groups had chosen before g3m chose, so that it can be put back, also after a kill.

One small file in the user's state folder: controllers, groups and names of nodes. It holds no secret, and
is readable by its owner only because names of nodes say where somebody's traffic goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from g3m.adapters import fsio
from g3m.adapters.cores import Core
from g3m.adapters.disk import read_document, remove, write_document
from g3m.core.errors import storage_error

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """In this group of this controller's core, `former` was chosen before g3m chose `chosen`."""

    controller: str
    group: str
    former: str
    chosen: str


class Choices:
    """The file of choices."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, controller: str) -> tuple[Choice, ...]:
        """What g3m chose at a controller and has not put back."""
        return tuple(choice for choice in self._all() if choice.controller == controller)

    def note(self, controller: str, group: str, *, now: str, chosen: str) -> None:
        """Before a choice: what stands `now` is the former one, unless g3m itself put it there."""
        known = {(choice.controller, choice.group): choice for choice in self._all()}
        before = known.get((controller, group))
        former = before.former if before is not None and before.chosen == now else now
        known[controller, group] = Choice(controller, group, former, chosen)
        self._write(known.values())

    def change(self, core: Core, group: str, name: str) -> None:
        """Write down what stands, then choose."""
        self.note(str(core.controller), group, now=core.nodes()[group].now, chosen=name)
        core.choose(group, name)

    def forget(self, gone: Choice) -> None:
        """After putting back."""
        self._write(
            choice
            for choice in self._all()
            if (choice.controller, choice.group) != (gone.controller, gone.group)
        )

    def keep(self, controller: str, kept: Iterable[Choice]) -> None:
        """Let a controller's choices be these again, as they were before something was tried out."""
        others = [choice for choice in self._all() if choice.controller != controller]
        self._write([*others, *kept])

    def _all(self) -> tuple[Choice, ...]:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            body = json.loads(read_document(self._path) or "")
            rows = body["choices"] if body["format"] == FORMAT else ()
            return tuple(
                Choice(**{item.name: str(row[item.name]) for item in fields(Choice)}) for row in rows
            )
        return ()

    def _write(self, choices: Iterable[Choice]) -> None:
        body = [asdict(choice) for choice in choices]
        try:
            if not body:
                remove(self._path)
                return
            fsio.make_folder(self._path.parent, 0o700)
            write_document(self._path, json.dumps({"format": FORMAT, "choices": body}) + "\n", mode=0o600)
        except OSError as error:
            raise storage_error(error, self._path) from error

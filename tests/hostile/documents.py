"""Ways in which a document comes to grief: written by hand, by a program that fell, by a bit that flipped."""

from __future__ import annotations

import json
import os
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SEED = 8
DEEP = 100_000
"""So many brackets are too deep for any parser that calls itself."""

LONG_BYTES = 10 * 10**6
PATIENCE_S = 10
"""How long a reader of a pipe that nobody writes to may take before it counts as hanging."""

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    10**4000,
    1.5,
    float("nan"),
    float("-inf"),
    "",
    "x",
    "9" * 50,
    "../../../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\x1b[2J\u202e",
    [],
    [[]],
    {},
    {"": None},
)
"""What somebody writes where another value belongs."""

ODD_TOML = (
    "-1",
    "9" * 5000,
    "0x" + "f" * 5000,
    "1e999",
    "nan",
    "true",
    '""',
    '"../../../../etc/passwd"',
    '"/etc/passwd"',
    r'"a\u0000b"',
    r'"\u001b[2J\u202e"',
    "[]",
    "[[]]",
    "{}",
    "1979-05-27",
    "1979-13-40",
    "[" * DEEP,
    "'" + "x" * 10**6 + "'",
)
"""The same in TOML, as text."""

Damage = Callable[[Path], None]


def _whole(content: bytes) -> Damage:
    return lambda path: _write(path, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    path.write_bytes(content)


def _in_its_place(make: Callable[[Path], object]) -> Damage:
    def damage(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)

    return damage


def _encoded(encoding: str) -> Damage:
    return lambda path: _write(path, path.read_bytes().decode("latin-1").encode(encoding))


FILES: dict[str, Damage] = {
    "nothing": _whole(b""),
    "a blank": _whole(b"\n"),
    "zeros": lambda path: _write(path, bytes(len(path.read_bytes()) or 1)),
    "a zero in it": lambda path: _write(path, path.read_bytes()[:5] + b"\0" + path.read_bytes()[5:]),
    "a byte order mark": lambda path: _write(path, b"\xef\xbb\xbf" + path.read_bytes()),
    "UTF-16": _encoded("utf-16"),
    "no UTF-8": lambda path: _write(path, path.read_bytes()[:20] + b"\xff\xfe\xe9" + path.read_bytes()[20:]),
    "other ends of lines": lambda path: _write(path, path.read_bytes().replace(b"\n", b"\r\n")),
    "half of it": lambda path: _write(path, path.read_bytes()[: len(path.read_bytes()) // 2]),
    "twice": lambda path: _write(path, path.read_bytes() * 2),
    "a page": _whole(b"<!DOCTYPE html><html><body>Sign in</body></html>"),
    "a list": _whole(b"[]"),
    "a text": _whole(b'"text"'),
    "a number": _whole(b"7"),
    "an endless number": _whole(b"9" * 5000),
    "null": _whole(b"null"),
    "an object": _whole(b"{}"),
    "brackets": _whole(b"[" * DEEP),
    "braces": _whole(b'{"a":' * DEEP),
    "brackets in a table": _whole(b"a=" + b"[" * DEEP),
    "keys in keys": _whole(b".".join([b"a"] * 20_000) + b" = 1"),
    "one long key": _whole(b'{"' + b"k" * LONG_BYTES + b'": 1}'),
    "one long key of a table": _whole(b"k" * LONG_BYTES + b" = 1"),
    "a folder": _in_its_place(lambda path: path.mkdir()),
    "a pipe": _in_its_place(lambda path: os.mkfifo(path)),
    "a link to itself": _in_its_place(lambda path: path.symlink_to(path)),
    "a link to nothing": _in_its_place(lambda path: path.symlink_to("nowhere/at/all")),
}
"""What may stand in a document's place, whatever it should hold."""


def flips(count: int) -> Iterator[tuple[str, Damage]]:
    """So many single bits."""
    for number in range(count):

        def flip(path: Path, number: int = number) -> None:
            data, chosen = bytearray(path.read_bytes()), random.Random(f"{SEED}/{number}")
            if data:
                data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
            _write(path, bytes(data))

        yield f"bit {number}", flip


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within a document, from the outside in."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*here, key)
        yield from _places(inner, (*here, key))


def _changed(text: str, number: int, indent: int | None = None) -> str:
    """A JSON document with one value gone, or another in its place."""
    body, chosen = json.loads(text), random.Random(f"{SEED}/{number}")
    places = list(_places(body))
    if not places:
        return json.dumps(chosen.choice(ODD_VALUES))
    *way, last = chosen.choice(places)
    inner = body
    for key in way:
        inner = inner[key]
    if chosen.random() < 0.2:
        del inner[last]
    else:
        inner[last] = chosen.choice(ODD_VALUES)
    return _endless(json.dumps(body, indent=indent, ensure_ascii=indent is None)) + "\n" * (
        indent is not None
    )


def _endless(text: str) -> str:
    """A number of four thousand digits with a thousand more, which Python neither reads nor writes as such."""
    return text.replace("1" + "0" * 4000, "9" * 5000)


def by_hand(kind: str, count: int) -> Iterator[tuple[str, Damage]]:
    """So many changes of single values: of a `json` document, of one of `lines` of JSON, or of a `toml` one."""
    for number in range(count if kind in ("json", "lines", "toml") else 0):

        def change(path: Path, number: int = number) -> None:
            text, chosen = path.read_text(encoding="utf-8"), random.Random(f"line {SEED}/{number}")
            if kind == "json":
                _write(path, _changed(text, number, indent=1).encode("utf-8", "surrogatepass"))
                return
            lines = text.splitlines()
            at = chosen.randrange(len(lines)) if lines else 0
            if kind == "lines" and lines:
                lines[at] = _changed(lines[at], number)
            elif lines:
                lines[at : at + 1] = _changed_line(lines[at], chosen)
            _write(path, "\n".join([*lines, ""]).encode("utf-8", "surrogatepass"))

        yield f"change {number}", change


def _changed_line(line: str, chosen: random.Random) -> list[str]:
    """A line of TOML: gone, twice, of an unknown key, or with another value."""
    key, sign, _ = line.partition(" = ")
    way = chosen.random()
    if way < 0.1:
        return []
    if way < 0.2:
        return [line, line]
    if way < 0.3 or not sign:
        return [line.replace("e", "ee", 1)]
    return [f"{key} = {chosen.choice(ODD_TOML)}"]


def is_text(path: Path) -> bool:
    """Whether a document can be changed by hand."""
    return re.fullmatch(rb"[\t\n\r\x20-\x7e\x80-\xff]*", path.read_bytes()) is not None


class Hangs(AssertionError):
    """A reader waits for somebody to write into a pipe."""


@contextmanager
def released(path: Path) -> Iterator[None]:
    """Fail, and go on, where somebody opens a pipe in the place of a document and waits."""
    if not path.is_fifo():
        yield
        return
    done, late = threading.Event(), []

    def watch() -> None:
        while not done.wait(PATIENCE_S):
            late.append(path)
            with suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if late:
        raise Hangs(f"{path}: its reader waits for ever")

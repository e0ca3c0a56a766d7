"""How servers lie, one behaviour each; `honest`, which does not, is in `liar`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from bench.attacks.liar import PIECE_BYTES, Asked, Behaviour, Thing, answer, honest, part, pieces, span, whole

PAGE = b"<!DOCTYPE html><html><head><title>Network login</title></head><body>Please log in.</body></html>\n"


def slow(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """Honest, at about 2 MB/s a connection."""
    for step in honest(asked, thing):
        yield step
        yield 0.03


def half(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """Honest for the first half of what was asked for, then silent for as long as it takes."""
    first, end = span(asked, thing) or (0, len(thing.data))
    left = (end - first) // 2
    for number, step in enumerate(honest(asked, thing)):
        if isinstance(step, bytes) and number:
            step, left = step[:left], left - len(step)  # noqa: PLW2901
        yield step
        if left <= 0:
            yield 300.0


def cut(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """The length is said, half of it comes."""
    yield whole(thing)
    yield thing.data[: len(thing.data) // 2]


def cut_without_length(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """Half of it comes, and no length was said: the end of the connection is the end of the file."""
    yield answer(200, b"", thing)
    yield thing.data[: len(thing.data) // 2]


def short(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """Half of it comes, and its length is said to be just that."""
    yield whole(thing, len(thing.data) // 2)
    yield thing.data[: len(thing.data) // 2]


def page(_asked: Asked, _thing: Thing) -> Iterator[bytes | float]:
    """A login page with status 200."""
    yield answer(200, b"Content-Type: text/html\r\nContent-Length: %d\r\n" % len(PAGE)) + PAGE


def flipped(data: bytes) -> bytes:
    """Every byte another one."""
    return bytes(byte ^ 0x55 for byte in data)


def other_bytes(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """One byte in the middle is wrong, in whatever range it is sent; size and ETag are the true ones."""
    place = len(thing.data) // 2
    data = thing.data[:place] + flipped(thing.data[place : place + 1]) + thing.data[place + 1 :]
    wanted = span(asked, thing)
    if wanted:
        yield from part(thing, wanted, data)
    else:
        yield whole(thing)
        yield from pieces(data)


def gzipped(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """Compressed on the way, unasked, as a meddling proxy does."""
    body = gzip.compress(thing.data, 1)
    yield answer(200, b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(body), thing)
    yield from pieces(body)


def range_ignored(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """200 with the whole file, whatever range is asked for."""
    yield whole(thing)
    yield from pieces(thing.data)


def range_wrong(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """206 with the right header and other bytes behind it."""
    wanted = span(asked, thing)
    if wanted:
        yield from part(thing, wanted, flipped(thing.data))
    else:
        yield from range_ignored(asked, thing)


def careless(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """Honest but for If-Range, of which it does not know."""
    headers = {name: value for name, value in asked.headers.items() if name != "if-range"}
    yield from honest(Asked(asked.method, asked.path, headers, asked.count), thing)


def page_on_range(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """A login page where a range is asked for."""
    yield from (page if span(asked, thing) else honest)(asked, thing)


def busy(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """429 with Retry-After: 1 twice, then honest."""
    if asked.count < 2:
        yield answer(429, b"Retry-After: 1\r\nContent-Length: 0\r\n")
    else:
        yield from honest(asked, thing)


def trickle(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """One byte a second."""
    yield whole(thing)
    for place in range(len(thing.data)):
        yield thing.data[place : place + 1]
        yield 1.0


def endless(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """The file, and then more of it for ever, about 6 MB/s; no length."""
    yield answer(200, b"", thing)
    while True:
        for piece in pieces(thing.data):
            yield piece
            yield 0.01 if len(piece) == PIECE_BYTES else 0.001


def bomb(_: Asked, thing: Thing) -> Iterator[bytes | float]:
    """gzip of a GiB of zeros behind the head of the true file."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield answer(200, b"Content-Encoding: gzip\r\n", thing)
    yield packer.compress(thing.data[:1000])
    for _ in range(1024):
        packed = packer.compress(bytes(2**20))
        if packed:
            yield packed
    yield packer.flush()


def redirect_to(url: str) -> Behaviour:
    """302 to that address."""

    def behave(_asked: Asked, _thing: Thing) -> Iterator[bytes | float]:
        yield answer(302, b"Location: %s\r\nContent-Length: 0\r\n" % url.encode())

    return behave

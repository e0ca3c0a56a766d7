"""Samples that a person has dropped from a dataset: the record beside its shards, and what a list asks for.

    dropped.jsonl    {"format": 1, "kind": "Dropped"}, then {"key", "reason", "from"} for each sample

`check` in the first line is the crc32 of that line without it and of all others, so that a record that lost
lines is not taken for a shorter one. `shard` in a line: it lay there, and the shard was written anew without
it. `rewriting` in the first line: shards are being exchanged at this moment, so that index and shards may
differ until that is finished. All samples of a key are dropped.

Reading lists is for steps/drop.py, exchanging shards for steps/rewrite.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from g3m.core.listed import BadLine, body_of
from g3m.core.members import refuse_name
from g3m.core.samples import clean
from g3m.core.shard import ShardSummary
from g3m.core.weburl import BadUrl, web_address

DROPPED = "dropped.jsonl"
"""How the record is called that stands beside the shards."""

REASON = "dropped"
"""Why such a sample is left out, in lists, tables and counts."""

FORMAT = 1
_KIND = "Dropped"
_WITHOUT = " without "

_PLAIN_CHARACTERS = 2000
_PLAIN_TEXT = (
    r"https?://(?:[a-z0-9_-]{1,63}\.){1,3}[a-z]{2,63}"
    r"(?:/(?!\.)[A-Za-z0-9%:=&~+!$,;@()*_.-]*)+(?:\?[A-Za-z0-9%/:=&~+!$,;@()*_.-]+)?"
)
_PLAIN = re.compile(_PLAIN_TEXT)
"""Addresses that stand in their one form already: most do, and to read one takes long."""

_PLAIN_IN_JSON = re.compile(f'"({_PLAIN_TEXT})"'.encode())


class BadRecord(ValueError):
    """A record that cannot be read. Whoever meets one must not go on as if nothing had been dropped."""


@dataclass(frozen=True, slots=True)
class Drop:
    """One dropped key: why, by which list (`source`), and the shard that was written anew without it."""

    key: str
    reason: str = ""
    source: str = ""
    shard: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A shard that is being exchanged: what it will be, the file that it is made in, the keys that go."""

    shard: ShardSummary
    part: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What was dropped from one dataset, by key; false if that is nothing."""

    drops: Mapping[str, Drop] = field(default_factory=dict)
    rewriting: tuple[Exchange, ...] = ()

    def __contains__(self, key: object) -> bool:
        return key in self.drops

    def __len__(self) -> int:
        return len(self.drops)

    def numbers(self, keys: Iterable[str]) -> list[int]:
        """The numbers of the samples that are dropped, out of all keys of an index in their order.

        >>> Record({"b": Drop("b")}).numbers(["a", "b", "c", "b"])
        [1, 3]
        """
        drops = self.drops
        return [number for number, key in enumerate(keys) if key in drops] if drops else []

    def added(self, drops: Iterable[Drop]) -> Record:
        """The record with these, too; what was said of a key first stays."""
        return replace(self, drops={drop.key: drop for drop in drops} | dict(self.drops))

    def rewrote(self, shard: str, before: Record) -> bool:
        """Whether a shard is exchanged now, or was since there was another record of the same folder.

        >>> Record({"b": Drop("b", shard="0.tar")}).rewrote("0.tar", Record({"b": Drop("b")}))
        True
        """
        return any(one.shard.name == shard for one in self.rewriting) or any(
            drop.shard == shard and before.drops.get(key, Drop(key)).shard != shard
            for key, drop in self.drops.items()
        )

    def encode(self) -> str:
        """The content of the file."""
        head: dict[str, Any] = {"format": FORMAT, "kind": _KIND}
        if self.rewriting:
            head["rewriting"] = [_written(one) for one in self.rewriting]
        lines = []
        for key in sorted(self.drops):
            drop = self.drops[key]
            line = {"key": key, "reason": drop.reason, "from": drop.source}
            lines.append({**line, "shard": drop.shard} if drop.shard else line)
        rows = "".join(map(_line, lines))
        return _line({**head, "check": _check(head, rows)}) + rows


def parse(text: str | None) -> Record:
    """The record in the text of a file, an empty one if there is none; BadRecord for anything else.

    >>> "a" in parse('{"format": 1, "kind": "Dropped"}\\n{"key": "a", "reason": "asked", "from": "x.txt"}\\n')
    True
    """
    if text is None:
        return Record()
    lines = text.split("\n")
    if lines.pop() or not lines:
        raise BadRecord("its last line is cut")
    try:
        head, *rows = map(json.loads, lines)
        if head["format"] != FORMAT or head["kind"] != _KIND:
            raise BadRecord("it is of another format")
        check = head.pop("check", None)  # records of before have none
        if check is not None and check != _check(head, text.partition("\n")[2]):
            raise BadRecord("it is damaged, or cut")
        drops = [
            Drop(_text(row["key"]), _text(row["reason"]), _text(row["from"]), _text(row.get("shard", "")))
            for row in rows
        ]
        rewriting = tuple(map(_exchange, head.get("rewriting", ())))
    except BadRecord:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadRecord(f"it cannot be read ({error})") from None
    return Record({drop.key: drop for drop in drops}, rewriting)


def stamp_without(stamp: str, places: Sequence[int]) -> str:
    """The stamp of a shard in the catalog without the samples at these places, in order.

    >>> stamp_without(stamp_without("1234", [7]), [3, 7]) == stamp_without("1234", [3, 7])
    True
    """
    base = stamp.partition(_WITHOUT)[0]
    if not places:
        return base
    return f"{base}{_WITHOUT}{hashlib.sha256(repr(list(places)).encode()).hexdigest()[:16]}"


def _line(body: Mapping[str, Any]) -> str:
    return clean(json.dumps(body, ensure_ascii=False)) + "\n"


def _check(head: Mapping[str, Any], rows: str) -> int:
    """The checksum of a record: of its first line without it, and of all others."""
    return zlib.crc32((_line(head) + rows).encode())


def _written(one: Exchange) -> list[Any]:
    shard = one.shard
    return [shard.name, shard.samples, shard.size_bytes, shard.sha256, one.part, one.keys]


def _exchange(row: Any) -> Exchange:
    name, samples, size_bytes, sha256, part, keys = row
    if refuse_name(_text(name)) or refuse_name(_text(part)) or "/" in part:
        raise BadRecord("it names no file")
    if type(samples) is not int or type(size_bytes) is not int:
        raise BadRecord("it cannot be read (no number)")
    return Exchange(ShardSummary(name, samples, size_bytes, _text(sha256)), part, tuple(map(_text, keys)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadRecord(f"it cannot be read ({value!r} is no text)")
    return value


def url_line(line: str) -> str:
    """The address of a line, plain or JSON with "url", in its one form; BadLine if it has none.

    >>> url_line("HTTP://Example.com:80/a.jpg#top")
    'http://example.com/a.jpg'
    """
    url = body_of(line).get("url") if line.startswith("{") else line
    if not isinstance(url, str):
        raise BadLine('has no "url"')
    try:
        return web_address(url).url
    except BadUrl as error:
        raise BadLine(f"is no web address: {error}") from None


def same_url(url: object) -> str:
    """An address of a sample in the form in which those of lists are compared; empty if it is none."""
    if isinstance(url, str) and len(url) <= _PLAIN_CHARACTERS and _PLAIN.fullmatch(url):
        return url
    try:
        return web_address(url).url if isinstance(url, str) else ""
    except BadUrl:
        return ""


def may_name(data: bytes, urls: Collection[bytes]) -> bool:
    """Whether the json of a sample may hold one of some addresses in their one form; quickly, mostly no.

    >>> may_name(b'{"url": "https://a.example/1.jpg"}', {b"https://a.example/2.jpg"})
    False
    """
    found = _PLAIN_IN_JSON.findall(data)
    # Whatever else begins like an address must be read.
    return any(url in urls for url in found) or data.lower().count(b"http") > len(found)

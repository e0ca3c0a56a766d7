"""Samples that a person has dropped from a dataset: the record beside its shards, and what a list asks for.

    dropped.jsonl    {"format": 1, "kind": "Dropped"}, then {"key", "reason", "from"} for each sample

`shard` in a line: it lay there, and the shard was written anew without it. `rewriting` in the first line:
shards are being exchanged at this moment, so that index and shards may differ until that is finished. All
samples of a key are dropped. Reading lists is for steps/drop.py, exchanging shards for steps/rewrite.py.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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


class BadRecord(ValueError):
    """A record that cannot be read. Whoever meets one must not go on as if nothing had been dropped."""


class BadLine(ValueError):
    """A line of a list that names no sample."""


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

    def encode(self) -> str:
        """The content of the file."""
        head: dict[str, Any] = {"format": FORMAT, "kind": _KIND}
        if self.rewriting:
            head["rewriting"] = [_written(one) for one in self.rewriting]
        lines = [head]
        for key in sorted(self.drops):
            drop = self.drops[key]
            line = {"key": key, "reason": drop.reason, "from": drop.source}
            lines.append({**line, "shard": drop.shard} if drop.shard else line)
        return "".join(clean(json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)


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


def key_line(line: str) -> tuple[str, str]:
    """The dataset (empty: any) and the key of a line: KEY, DATASET/KEY or JSON with "key"; BadLine if none.

    DATASET/KEY is given back as a key, because only who knows the datasets can tell it from a key.

    >>> key_line("coco/000000000139"), key_line('{"dataset": "coco", "key": "000000000139"}')
    (('', 'coco/000000000139'), ('coco', '000000000139'))
    """
    if not line.startswith("{"):
        return "", line
    body = _body(line)
    key, dataset = body.get("key"), body.get("dataset") or ""
    if not isinstance(key, str) or not key or not isinstance(dataset, str):
        raise BadLine('has no "key"')
    return dataset, key


def url_line(line: str) -> str:
    """The address of a line, plain or JSON with "url", in its one form; BadLine if it has none.

    >>> url_line("HTTP://Example.com:80/a.jpg#top")
    'http://example.com/a.jpg'
    """
    url = _body(line).get("url") if line.startswith("{") else line
    if not isinstance(url, str):
        raise BadLine('has no "url"')
    try:
        return web_address(url).url
    except BadUrl as error:
        raise BadLine(f"is no web address: {error}") from None


def same_url(url: object) -> str:
    """An address of a sample in the form in which those of lists are compared; empty if it is none."""
    try:
        return web_address(url).url if isinstance(url, str) else ""
    except BadUrl:
        return ""


def _body(line: str) -> dict[str, Any]:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("is no JSON") from None
    if not isinstance(body, dict):
        raise BadLine("is no JSON object")
    return body


class Wanted:
    """The entries of lists of keys, and which of them found a sample."""

    def __init__(self, entries: Collection[tuple[str, str]]) -> None:
        self._left: dict[str, set[str]] = {}
        for dataset, key in entries:
            self._left.setdefault(dataset, set()).add(key)
        self._keys = {dataset: frozenset(keys) for dataset, keys in self._left.items()}
        self.entries = sum(map(len, self._keys.values()))

    def of(self, dataset: str) -> dict[str, list[tuple[str, str]]]:
        """The keys that are wanted of a dataset, each with the entries that say so."""
        prefix = f"{dataset}/"
        found: dict[str, list[tuple[str, str]]] = {}
        for scope in dict.fromkeys(("", dataset)):
            for entry in self._keys.get(scope, ()):
                found.setdefault(entry, []).append((scope, entry))
                if entry.startswith(prefix):
                    found.setdefault(entry[len(prefix) :], []).append((scope, entry))
        return found

    def hit(self, entries: Iterable[tuple[str, str]]) -> None:
        """These entries found a sample."""
        for dataset, key in entries:
            self._left[dataset].discard(key)

    def unmatched(self) -> Iterator[str]:
        """The entries that found none, sorted."""
        yield from sorted(
            f"{dataset}/{key}" if dataset else key for dataset, keys in self._left.items() for key in keys
        )
